//! The one place that reads wall time.

use crate::model::UnixMillis;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

/// Wall time, from the system or set by hand.
///
/// Wall time is only for moments that travel between processes (epoch, start of the warm-up). Spans within
/// a process are measured with `tokio::time::Instant`, which no change of the system's clock touches.
///
/// ```
/// # use std::time::Duration;
/// use tower_graceful::{Clock, model::UnixMillis};
/// let (clock, hand) = Clock::manual(UnixMillis::new(1_000));
/// hand.advance(Duration::from_millis(500));
/// assert_eq!(clock.now(), UnixMillis::new(1_500));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Clock(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    System,
    Manual(ManualClock),
}

impl Clock {
    /// The system's clock.
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `start` until the returned hand moves it.
    pub fn manual(start: UnixMillis) -> (Self, ManualClock) {
        let clock = ManualClock(Arc::new(AtomicU64::new(start.as_u64())));
        (Self(Source::Manual(clock.clone())), clock)
    }

    /// The present moment.
    pub fn now(&self) -> UnixMillis {
        match &self.0 {
            Source::System => system_now(),
            Source::Manual(clock) => clock.now(),
        }
    }
}

/// Moves the clock made with it by [`Clock::manual`].
#[derive(Clone)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// Moves the clock forward by `span`.
    pub fn advance(&self, span: Duration) {
        self.set(self.now() + span);
    }

    /// Sets the clock to `moment`, forward or backward.
    pub fn set(&self, moment: UnixMillis) {
        self.0.store(moment.as_u64(), Ordering::Relaxed);
    }

    fn now(&self) -> UnixMillis {
        UnixMillis::new(self.0.load(Ordering::Relaxed))
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ManualClock").field(&self.now()).finish()
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads wall time")]
fn system_now() -> UnixMillis {
    let since_1970 = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis::default() + since_1970
}
