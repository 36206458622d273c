//! How much of its weight a young instance takes.

use super::{Metadata, UnixMillis, key};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The ramp of an instance's weight: `(age / window) ^ exponent`, never below the floor, 1.0 from `window`
/// on. A zero window means no warm-up.
///
/// One curve covers what is known elsewhere: exponent 1 is the linear ramp of Dubbo and HAProxy, 2 that of
/// Polaris, and Envoy's aggression is 1 / exponent.
///
/// ```
/// # use std::time::Duration;
/// use tower_graceful::model::{WarmUp, WarmUpAge};
/// let curve = WarmUp::default(); // 120 s, exponent 2, floor 1 %
/// assert_eq!(curve.factor(WarmUpAge::NotStarted), 0.01);
/// assert_eq!(curve.factor(WarmUpAge::Running(Duration::from_secs(60))), 0.25);
/// assert_eq!(curve.factor(WarmUpAge::Running(Duration::from_secs(120))), 1.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WarmUp {
    window: Duration,
    exponent: f64,
    floor: f64,
    clock: WarmUpClock,
}

/// What starts an instance's warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WarmUpClock {
    /// The first real request after registration: an instance that nobody calls stays cold.
    #[default]
    FirstRequest,
    /// The registration.
    Registration,
}

/// Where an instance stands on its curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarmUpAge {
    /// The warm-up has not begun; the factor is the floor, whatever the time.
    NotStarted,
    /// The warm-up began this long ago.
    Running(Duration),
}

/// A curve that cannot be.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum InvalidWarmUp {
    /// The window exceeds a day.
    Window(Duration),
    /// The exponent lies outside 0.1 to 10.
    Exponent(f64),
    /// The floor lies outside 0 to 1.
    Floor(f64),
    /// A floor of 0 with the clock that the first request starts: that request would never come.
    FloorNeverLeft,
}

impl WarmUp {
    /// No warm-up: full weight at once.
    pub const NONE: Self = Self { window: Duration::ZERO, ..Self::DEFAULT };

    const DEFAULT: Self = Self {
        window: Duration::from_secs(120),
        exponent: 2.0,
        floor: 0.01,
        clock: WarmUpClock::FirstRequest,
    };
    const WINDOW_MAX: Duration = Duration::from_secs(24 * 60 * 60);
    const EXPONENTS: std::ops::RangeInclusive<f64> = 0.1..=10.0;

    /// The default curve over another window.
    ///
    /// # Errors
    /// When the window exceeds 24 hours.
    pub fn new(window: Duration) -> Result<Self, InvalidWarmUp> {
        Self { window, ..Self::DEFAULT }.checked()
    }

    /// The same curve with another exponent: below 1 it rises early, above 1 late. Default 2.
    ///
    /// # Errors
    /// When the exponent lies outside 0.1 to 10.
    pub fn with_exponent(self, exponent: f64) -> Result<Self, InvalidWarmUp> {
        Self { exponent, ..self }.checked()
    }

    /// The same curve with another lowest factor. Default 0.01.
    ///
    /// # Errors
    /// When the floor lies outside 0 to 1, or is 0 while the clock is [`WarmUpClock::FirstRequest`].
    pub fn with_floor(self, floor: f64) -> Result<Self, InvalidWarmUp> {
        Self { floor, ..self }.checked()
    }

    /// The same curve with another start. Default [`WarmUpClock::FirstRequest`].
    ///
    /// # Errors
    /// When the floor is 0 and the clock becomes [`WarmUpClock::FirstRequest`].
    pub fn with_clock(self, clock: WarmUpClock) -> Result<Self, InvalidWarmUp> {
        Self { clock, ..self }.checked()
    }

    fn checked(self) -> Result<Self, InvalidWarmUp> {
        if self.window > Self::WINDOW_MAX {
            Err(InvalidWarmUp::Window(self.window))
        } else if !Self::EXPONENTS.contains(&self.exponent) {
            Err(InvalidWarmUp::Exponent(self.exponent))
        } else if !(0.0..=1.0).contains(&self.floor) {
            Err(InvalidWarmUp::Floor(self.floor))
        } else if self.floor == 0.0 && self.clock == WarmUpClock::FirstRequest {
            Err(InvalidWarmUp::FloorNeverLeft)
        } else {
            Ok(self)
        }
    }

    /// The part of its weight that an instance takes at `age`, in 0.0..=1.0.
    pub fn factor(&self, age: WarmUpAge) -> f64 {
        match age {
            _ if self.window.is_zero() => 1.0,
            WarmUpAge::NotStarted => self.floor,
            WarmUpAge::Running(age) if age >= self.window => 1.0,
            WarmUpAge::Running(age) => self.raised(age.div_duration_f64(self.window)).max(self.floor),
        }
    }

    /// `part` to the exponent; the usual ones without the cost of a power, for consumers ask again and again.
    fn raised(&self, part: f64) -> f64 {
        match self.exponent {
            1.0 => part,
            2.0 => part * part,
            exponent => part.powf(exponent),
        }
    }

    /// Time from the start of the warm-up to full weight.
    pub const fn window(&self) -> Duration {
        self.window
    }

    /// What starts the warm-up.
    pub const fn clock(&self) -> WarmUpClock {
        self.clock
    }

    /// Reads the curve from a registration; nothing when it names no window.
    ///
    /// Values that are out of range or do not read have their default, and a floor of 0 that would never be
    /// left is read as the default too: a foreign mistake must not keep an instance without traffic.
    ///
    /// Where our window is absent, Dubbo's `timestamp` and `warmup` are read: a straight line from 1 %, begun
    /// at the timestamp. It takes both: a timestamp alone says when a process began, and asks for no warm-up.
    pub fn from_metadata(metadata: &Metadata) -> Option<Self> {
        if metadata.get(key::WARM_UP).is_none() {
            return Self::from_dubbo(metadata);
        }
        let window = Duration::try_from_secs_f64(metadata.parse(key::WARM_UP)?).ok()?;
        let mut curve = Self::new(window).unwrap_or_default();
        if let Some(clock) = metadata.parse(key::WARM_UP_CLOCK) {
            curve = curve.with_clock(clock).unwrap_or(curve);
        }
        if let Some(exponent) = metadata.parse(key::WARM_UP_EXPONENT) {
            curve = curve.with_exponent(exponent).unwrap_or(curve);
        }
        if let Some(floor) = metadata.parse(key::WARM_UP_FLOOR) {
            curve = curve.with_floor(floor).unwrap_or(curve);
        }
        Some(curve)
    }

    fn from_dubbo(metadata: &Metadata) -> Option<Self> {
        Self::begun_in(metadata)?;
        let window = Duration::from_millis(metadata.parse(key::DUBBO_WARM_UP)?);
        let line = Self { exponent: 1.0, clock: WarmUpClock::Registration, ..Self::DEFAULT };
        Some(Self { window, ..line }.checked().unwrap_or(line))
    }

    /// The moment at which the warm-up that a registration speaks of began; nothing before it has begun.
    pub(super) fn begun_in(metadata: &Metadata) -> Option<UnixMillis> {
        let ours = metadata.get(key::WARM_UP).is_some();
        metadata.parse(if ours { key::WARM_UP_START } else { key::DUBBO_TIMESTAMP })
    }

    /// The entries that describe the curve in a registration.
    pub fn to_metadata(&self) -> [(&'static str, String); 4] {
        [
            (key::WARM_UP, self.window.as_secs_f64().to_string()),
            (key::WARM_UP_EXPONENT, self.exponent.to_string()),
            (key::WARM_UP_FLOOR, self.floor.to_string()),
            (key::WARM_UP_CLOCK, self.clock.to_string()),
        ]
    }
}

impl Default for WarmUp {
    /// 120 s, exponent 2, floor 1 %, started by the first request.
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl WarmUpClock {
    const fn as_str(self) -> &'static str {
        match self {
            Self::FirstRequest => "first-request",
            Self::Registration => "registration",
        }
    }
}

impl fmt::Display for WarmUpClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for WarmUpClock {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let all = [Self::FirstRequest, Self::Registration];
        all.into_iter().find(|clock| clock.as_str() == text).ok_or(())
    }
}

impl fmt::Display for InvalidWarmUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Window(window) => {
                write!(f, "warm-up window of {window:?} is not valid: accepted is 0 s to 24 h")
            }
            Self::Exponent(exponent) => {
                write!(f, "warm-up exponent {exponent} is not valid: accepted is 0.1 to 10")
            }
            Self::Floor(floor) => write!(f, "warm-up floor {floor} is not valid: accepted is 0 to 1"),
            Self::FloorNeverLeft => f.write_str(
                "warm-up floor 0 needs the clock `registration`: with `first-request` no request would ever \
                 start the warm-up",
            ),
        }
    }
}

impl std::error::Error for InvalidWarmUp {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn running(seconds: f64) -> WarmUpAge {
        WarmUpAge::Running(Duration::from_secs_f64(seconds))
    }

    #[test]
    fn the_curve_starts_at_its_floor_and_ends_at_one() {
        let curve = WarmUp::new(Duration::from_secs(10)).unwrap().with_floor(0.05).unwrap();
        assert_eq!(curve.factor(running(0.0)), 0.05);
        assert_eq!(curve.factor(running(5.0)), 0.25);
        assert_eq!(curve.factor(running(10.0)), 1.0);
        assert_eq!(WarmUp::NONE.factor(WarmUpAge::NotStarted), 1.0);
    }

    #[test]
    fn a_floor_of_zero_needs_a_clock_that_runs_without_requests() {
        let curve = WarmUp::default();
        assert_eq!(curve.with_floor(0.0), Err(InvalidWarmUp::FloorNeverLeft));
        let by_registration = curve.with_clock(WarmUpClock::Registration).unwrap();
        assert_eq!(by_registration.with_floor(0.0).unwrap().factor(running(0.0)), 0.0);
        let read = Metadata::from_iter([(key::WARM_UP, "120"), (key::WARM_UP_FLOOR, "0")]);
        assert_eq!(WarmUp::from_metadata(&read), Some(curve));
    }

    #[test]
    fn metadata_is_read_leniently() {
        let read = |entries: &[(&str, &str)]| WarmUp::from_metadata(&Metadata::from_iter(entries.to_vec()));
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[(key::WARM_UP, "soon")]), None);
        assert_eq!(read(&[(key::WARM_UP, "NaN")]), None);
        assert_eq!(read(&[(key::WARM_UP, " 30 "), (key::WARM_UP_EXPONENT, "NaN")]), {
            Some(WarmUp::new(Duration::from_secs(30)).unwrap())
        });
    }

    #[test]
    fn dubbo_is_understood_where_we_are_silent() {
        let read = |entries: &[(&str, &str)]| WarmUp::from_metadata(&Metadata::from_iter(entries.to_vec()));
        let (timestamp, warm_up) = ((key::DUBBO_TIMESTAMP, "1732060800000"), (key::DUBBO_WARM_UP, "600000"));
        let line = read(&[timestamp, warm_up]).unwrap();
        assert_eq!(line.window(), Duration::from_secs(600));
        assert_eq!([0.0, 60.0, 300.0, 600.0].map(|age| line.factor(running(age))), [0.01, 0.1, 0.5, 1.0]);
        assert_eq!(read(&[timestamp, warm_up, (key::WARM_UP, "120")]), Some(WarmUp::default()));
        assert_eq!(read(&[timestamp, (key::DUBBO_WARM_UP, "0")]).unwrap().factor(running(0.0)), 1.0);
        for unclear in [&[timestamp][..], &[warm_up], &[timestamp, (key::DUBBO_WARM_UP, "-1")]] {
            assert_eq!(read(unclear), None, "{unclear:?}");
        }
    }

    #[test]
    fn what_is_out_of_range_is_refused_with_the_range() {
        let curve = WarmUp::default();
        for (error, range) in [
            (WarmUp::new(Duration::from_secs(86_401)).unwrap_err(), "0 s to 24 h"),
            (curve.with_exponent(f64::NAN).unwrap_err(), "0.1 to 10"),
            (curve.with_floor(-0.1).unwrap_err(), "0 to 1"),
        ] {
            assert!(error.to_string().contains(range), "{error}");
        }
    }

    proptest! {
        #[test]
        fn the_factor_never_falls_and_stays_within_its_bounds(
            window in 0u64..100_000, exponent in 0.1..10.0, floor in 0.001..1.0, ages in any::<[u32; 8]>(),
        ) {
            let curve = WarmUp::new(Duration::from_millis(window)).unwrap();
            let curve = curve.with_exponent(exponent).unwrap().with_floor(floor).unwrap();
            let mut ages = ages.map(|age| u64::from(age % 120_000));
            ages.sort_unstable();
            let factors = ages.map(|age| curve.factor(WarmUpAge::Running(Duration::from_millis(age))));
            prop_assert!(factors.is_sorted());
            prop_assert!(factors.iter().all(|factor| (floor..=1.0).contains(factor)));
        }

        #[test]
        fn a_curve_survives_its_registration(
            millis in 0u64..86_400_000, exponent in 0.1..10.0, floor in 0.001..1.0, by_registration: bool,
        ) {
            let clock = if by_registration { WarmUpClock::Registration } else { WarmUpClock::FirstRequest };
            let curve = WarmUp::new(Duration::from_millis(millis)).unwrap().with_clock(clock).unwrap();
            let curve = curve.with_exponent(exponent).unwrap().with_floor(floor).unwrap();
            let metadata = Metadata::from_iter(curve.to_metadata());
            prop_assert_eq!(WarmUp::from_metadata(&metadata), Some(curve));
        }
    }
}
