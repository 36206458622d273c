//! Moments as they travel between processes.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A moment in milliseconds since 1970-01-01T00:00:00Z, as registrations and headers carry it.
///
/// ```
/// # use std::time::Duration;
/// use tower_graceful::model::UnixMillis;
/// let start: UnixMillis = "1732060800000".parse()?;
/// let now = start + Duration::from_secs(3);
/// assert_eq!(now.since(start), Duration::from_secs(3));
/// assert_eq!(start.since(now), Duration::ZERO); // A clock that runs ahead never gives a negative age.
/// # Ok::<(), std::num::ParseIntError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(u64);

impl UnixMillis {
    /// The moment `millis` milliseconds after 1970 began.
    pub const fn new(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970 began.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// Time from `earlier` to this moment; zero when `earlier` lies after it.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for UnixMillis {
    type Output = Self;

    /// Saturates at the end of time; fractions of a millisecond are dropped.
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for UnixMillis {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.trim().parse().map(Self)
    }
}
