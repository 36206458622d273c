//! Moments and spans of time as people read them. Pure. Moments are in UTC, as those of logs are.

#![expect(clippy::trivially_copy_pass_by_ref, reason = "templates hand over references")]

use crate::model::UnixMillis;
use std::fmt;

/// Seconds after which what an instance has reported says little of now: it reports every second.
const REPORT_LATE: u64 = 5;

/// A moment in milliseconds since 1970: `10:37:12`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(pub(super) u64);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let second = self.0 / 1000 % 86_400;
        write!(f, "{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
    }
}

/// A moment in milliseconds since 1970, with its day: `2024-11-20T00:00:00Z`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp(pub(super) u64);

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date(self.0 / 86_400_000);
        write!(f, "{year:04}-{month:02}-{day:02}T{}Z", Clock(self.0))
    }
}

/// Year, month and day of a day, counted from 1970-01-01, in the Gregorian calendar.
fn date(day: u64) -> (u64, u64, u64) {
    // Years begin in March here, so that the day that a leap year has more is the last one; 400 of them are an era.
    let day = day + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    (era * 400 + year + u64::from(month <= 2), month, day)
}

/// A span of milliseconds in its largest unit, or its two largest: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`,
/// `3 d 4 h`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span(pub(super) u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = self.0 / 1000;
        match s {
            0..10 => write!(f, "{}.{} s", s, self.0 % 1000 / 100),
            10..60 => write!(f, "{s} s"),
            60..3600 => write!(f, "{} min {} s", s / 60, s % 60),
            3600..86_400 => write!(f, "{} h {} min", s / 3600, s / 60 % 60),
            _ => write!(f, "{} d {} h", s / 86_400, s / 3600 % 24),
        }
    }
}

/// The time of a moment in milliseconds.
pub(super) fn clock(at: &u64) -> Clock {
    Clock(*at)
}

/// The time of a moment in seconds.
pub(super) fn clock_of_second(at: &u64) -> Clock {
    Clock(at.saturating_mul(1000))
}

/// Day and time of a moment in milliseconds.
pub(super) fn stamp(at: &u64) -> Stamp {
    Stamp(*at)
}

/// A span of milliseconds.
pub(super) fn span(ms: &u64) -> Span {
    Span(*ms)
}

/// The present moment, as templates ask it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now(pub(super) UnixMillis);

impl Now {
    /// How long a moment in milliseconds has been over.
    pub(super) fn ago(self, at: &u64) -> Span {
        Span(self.0.as_u64().saturating_sub(*at))
    }

    /// Whether a report, of a second since 1970, is so old that it says little of now.
    pub(super) fn is_late(self, reported: &u64) -> bool {
        reported + REPORT_LATE < self.0.as_u64() / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_with_their_day() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399_999, "2000-02-28T23:59:59Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_732_060_800_000, "2024-11-20T00:00:00Z"),
            (1_735_689_599_000, "2024-12-31T23:59:59Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(Stamp(ms).to_string(), text);
        }
    }

    #[test]
    fn a_span_is_as_exact_as_it_is_short() {
        for (ms, text) in [
            (0, "0.0 s"),
            (949, "0.9 s"),
            (12_000, "12 s"),
            (200_000, "3 min 20 s"),
            (7_500_000, "2 h 5 min"),
            (273_600_000, "3 d 4 h"),
        ] {
            assert_eq!(Span(ms).to_string(), text);
        }
    }
}
