//! A request that is held back after it failed.

use crate::naming::backoff;
use tokio::time::Instant;

/// Holds one thing back for a growing while after each failure.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pause {
    attempts: u32,
    until: Option<Instant>,
}

impl Pause {
    /// Begins the next, longer pause.
    pub(super) fn lengthen(&mut self, now: Instant, chance: f64) {
        self.until = Some(now + backoff::delay(self.attempts, chance));
        self.attempts = self.attempts.saturating_add(1);
    }

    /// Forgets all failures.
    pub(super) fn end(&mut self) {
        *self = Self::default();
    }

    /// When it is over; nothing when there is none.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Whether it lasts at `now`.
    pub(super) fn lasts(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_pause_grows_with_each_failure_until_it_is_ended() {
        let (mut pause, now) = (Pause::default(), Instant::now());
        assert!(!pause.lasts(now));
        pause.lengthen(now, 1.0);
        pause.lengthen(now, 1.0);
        assert!(pause.lasts(now + Duration::from_millis(199)));
        assert!(!pause.lasts(now + Duration::from_millis(200)));
        pause.end();
        assert_eq!(pause.until(), None);
    }
}
