//! How long to wait before trying again.

use std::time::Duration;
use tokio::time::Instant;

/// Longest wait after a first failure: a registry that restarts is found again before anyone misses it.
const FIRST: Duration = Duration::from_millis(100);
/// No wait is longer: once the registry is back, everything is registered again within this time.
pub(super) const LONGEST: Duration = Duration::from_secs(5);

/// The wait after `attempt` failures in a row (from 0 on), with `chance` in `0.0..=1.0`.
///
/// `min(FIRST * 2^attempt, LONGEST) * (1 + chance) / 2`: it doubles up to a bound, and the chance keeps the
/// clients of a registry that went down from coming back in one moment.
pub(super) fn delay(attempt: u32, chance: f64) -> Duration {
    let whole = FIRST.saturating_mul(2u32.saturating_pow(attempt)).min(LONGEST);
    whole.mul_f64(f64::midpoint(1.0, chance.clamp(0.0, 1.0)))
}

/// Holds one thing back for a growing while after each failure.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pause {
    attempts: u32,
    until: Option<Instant>,
}

impl Pause {
    /// Begins the next, longer pause.
    pub(super) fn lengthen(&mut self, now: Instant, chance: f64) {
        self.until = Some(now + delay(self.attempts, chance));
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

    #[test]
    fn waits_double_up_to_a_bound_and_chance_halves_them_at_most() {
        let millis = |attempt, chance| delay(attempt, chance).as_millis();
        assert_eq!([0, 1, 2, 5].map(|attempt| millis(attempt, 1.0)), [100, 200, 400, 3_200]);
        assert_eq!([6, 60, u32::MAX].map(|attempt| millis(attempt, 1.0)), [5_000; 3]);
        assert_eq!([millis(0, 0.0), millis(0, 0.5), millis(9, 0.0)], [50, 75, 2_500]);
        assert_eq!([millis(0, -3.0), millis(0, 7.0)], [50, 100]);
    }

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
