//! What keeps an instance that sends heartbeats in the list.

use super::Metadata;
use std::fmt;
use std::time::Duration;

/// How long an instance may be silent: the rule of its heartbeats.
///
/// Times are kept in whole milliseconds; a silence of 49 days ends nothing.
///
/// ```
/// # use std::time::Duration;
/// use tower_graceful::model::{Lease, Liveness};
/// let after = |s| Lease::default().liveness(Duration::from_secs(s));
/// assert_eq!([after(14), after(15), after(30)], [Liveness::Healthy, Liveness::Unhealthy, Liveness::Expired]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    interval: Millis,
    unhealthy_after: Millis,
    expires_after: Millis,
}

/// A quarter of what a `Duration` takes; the longest is for never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Millis(u32);

/// What a lease says about its instance at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// Heard of lately.
    Healthy,
    /// Silent for a while: listed as unhealthy.
    Unhealthy,
    /// Silent for too long: to be removed.
    Expired,
}

/// Timeouts that could never work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidLease;

/// Metadata key of the heartbeat interval, in milliseconds; Nacos' name.
const INTERVAL: &str = "preserved.heart.beat.interval";
/// Metadata key of the silence after which an instance is unhealthy, in milliseconds; Nacos' name.
const UNHEALTHY_AFTER: &str = "preserved.heart.beat.timeout";
/// Metadata key of the silence after which an instance is removed, in milliseconds; Nacos' name.
const EXPIRES_AFTER: &str = "preserved.ip.delete.timeout";

impl Lease {
    /// A lease whose heartbeat is due every `interval`, unhealthy after `unhealthy_after` of silence and
    /// expired after `expires_after`.
    ///
    /// # Errors
    /// When one of the two timeouts is shorter than the interval: such an instance would flap for ever.
    pub fn new(
        interval: Duration,
        unhealthy_after: Duration,
        expires_after: Duration,
    ) -> Result<Self, InvalidLease> {
        if unhealthy_after < interval || expires_after < interval {
            return Err(InvalidLease);
        }
        let [interval, unhealthy_after, expires_after] =
            [interval, unhealthy_after, expires_after].map(Millis::new);
        Ok(Self { interval, unhealthy_after, expires_after })
    }

    /// Reads Nacos' `preserved.*` keys; what is absent or not a number of milliseconds has its default.
    ///
    /// # Errors
    /// As [`Lease::new`].
    pub fn from_metadata(metadata: &Metadata) -> Result<Self, InvalidLease> {
        let millis = |key, default| {
            let given = metadata.get(key).and_then(|text| text.trim().parse().ok());
            given.map_or(default, Duration::from_millis)
        };
        let default = Self::default();
        Self::new(
            millis(INTERVAL, default.interval()),
            millis(UNHEALTHY_AFTER, default.unhealthy_after()),
            millis(EXPIRES_AFTER, default.expires_after()),
        )
    }

    /// The same lease, which silence never ends nor spoils.
    #[must_use]
    pub const fn without_end(self) -> Self {
        Self { unhealthy_after: Millis::NEVER, expires_after: Millis::NEVER, ..self }
    }

    /// What the lease says when the last heartbeat came `silent_for` ago.
    pub fn liveness(&self, silent_for: Duration) -> Liveness {
        if silent_for >= self.expires_after() {
            Liveness::Expired
        } else if silent_for >= self.unhealthy_after() {
            Liveness::Unhealthy
        } else {
            Liveness::Healthy
        }
    }

    /// Time between two heartbeats.
    pub const fn interval(&self) -> Duration {
        Duration::from_millis(self.interval.0 as u64)
    }

    /// Silence after which the instance is unhealthy; the longest span there is for never.
    pub const fn unhealthy_after(&self) -> Duration {
        self.unhealthy_after.span()
    }

    /// Silence after which the instance is removed; the longest span there is for never.
    pub const fn expires_after(&self) -> Duration {
        self.expires_after.span()
    }
}

impl Default for Lease {
    /// Nacos' 5, 15 and 30 seconds.
    fn default() -> Self {
        Self { interval: Millis(5_000), unhealthy_after: Millis(15_000), expires_after: Millis(30_000) }
    }
}

impl Millis {
    const NEVER: Self = Self(u32::MAX);

    fn new(span: Duration) -> Self {
        u32::try_from(span.as_millis()).map_or(Self::NEVER, Self)
    }

    const fn span(self) -> Duration {
        if self.0 == Self::NEVER.0 { Duration::MAX } else { Duration::from_millis(self.0 as u64) }
    }
}

impl fmt::Display for InvalidLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("heartbeat interval must not exceed the heartbeat timeout nor the delete timeout")
    }
}

impl std::error::Error for InvalidLease {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_changes_the_timeouts_and_what_is_no_number_does_not() {
        let lease = Lease::from_metadata(&Metadata::from_iter([
            (INTERVAL, "1000"),
            (UNHEALTHY_AFTER, "soon"),
            (EXPIRES_AFTER, "2000"),
        ]));
        let [interval, unhealthy_after, expires_after] = [1, 15, 2].map(Duration::from_secs);
        assert_eq!(lease, Lease::new(interval, unhealthy_after, expires_after));
        assert_eq!(lease.unwrap().liveness(Duration::from_secs(2)), Liveness::Expired);
    }

    #[test]
    fn a_silence_of_49_days_ends_nothing() {
        let second = Duration::from_secs(1);
        let longer = Lease::new(second, second * 5_000_000, Duration::MAX).unwrap();
        for lease in [longer, Lease::default().without_end()] {
            assert_eq!(lease.liveness(second * 10_000_000), Liveness::Healthy);
        }
    }

    #[test]
    fn a_timeout_shorter_than_the_interval_is_refused() {
        assert_eq!(
            Lease::from_metadata(&Metadata::from_iter([(UNHEALTHY_AFTER, "4999")])),
            Err(InvalidLease)
        );
        assert_eq!(Lease::from_metadata(&Metadata::from_iter([(EXPIRES_AFTER, "4999")])), Err(InvalidLease));
    }
}
