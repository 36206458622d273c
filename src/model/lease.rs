//! What keeps an instance that sends heartbeats in the list.

use super::Metadata;
use std::fmt;
use std::time::Duration;

/// How long an instance may be silent: the rule of its heartbeats.
///
/// ```
/// # use std::time::Duration;
/// use tower_graceful::model::{Lease, Liveness};
/// let after = |s| Lease::default().liveness(Duration::from_secs(s));
/// assert_eq!([after(14), after(15), after(30)], [Liveness::Healthy, Liveness::Unhealthy, Liveness::Expired]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    interval: Duration,
    unhealthy_after: Duration,
    expires_after: Duration,
}

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
            millis(INTERVAL, default.interval),
            millis(UNHEALTHY_AFTER, default.unhealthy_after),
            millis(EXPIRES_AFTER, default.expires_after),
        )
    }

    /// The same lease, which silence never ends nor spoils.
    #[must_use]
    pub const fn without_end(self) -> Self {
        Self { unhealthy_after: Duration::MAX, expires_after: Duration::MAX, ..self }
    }

    /// What the lease says when the last heartbeat came `silent_for` ago.
    pub fn liveness(&self, silent_for: Duration) -> Liveness {
        if silent_for >= self.expires_after {
            Liveness::Expired
        } else if silent_for >= self.unhealthy_after {
            Liveness::Unhealthy
        } else {
            Liveness::Healthy
        }
    }

    /// Time between two heartbeats.
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// Silence after which the instance is unhealthy.
    pub const fn unhealthy_after(&self) -> Duration {
        self.unhealthy_after
    }

    /// Silence after which the instance is removed.
    pub const fn expires_after(&self) -> Duration {
        self.expires_after
    }
}

impl Default for Lease {
    /// Nacos' 5, 15 and 30 seconds.
    fn default() -> Self {
        let [interval, unhealthy_after, expires_after] = [5, 15, 30].map(Duration::from_secs);
        Self { interval, unhealthy_after, expires_after }
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
    fn a_timeout_shorter_than_the_interval_is_refused() {
        assert_eq!(
            Lease::from_metadata(&Metadata::from_iter([(UNHEALTHY_AFTER, "4999")])),
            Err(InvalidLease)
        );
        assert_eq!(Lease::from_metadata(&Metadata::from_iter([(EXPIRES_AFTER, "4999")])), Err(InvalidLease));
    }
}
