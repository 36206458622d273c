//! How long to wait before something is tried again that has failed.

use std::time::Duration;

/// Longest wait after a first failure: a registry that restarts is found again before anyone misses it.
#[cfg(any(feature = "client", feature = "serve"))]
const FIRST: Duration = Duration::from_millis(100);
/// No wait is longer: once the registry is back, everything is registered again within this time.
#[cfg(any(feature = "client", feature = "serve"))]
pub(crate) const LONGEST: Duration = Duration::from_secs(5);

/// The wait for a registry after `attempt` failures in a row (from 0 on), with `chance` in `0.0..=1.0`.
#[cfg(any(feature = "client", feature = "serve"))]
pub(crate) fn delay(attempt: u32, chance: f64) -> Duration {
    growing(FIRST, LONGEST, attempt, chance)
}

/// `min(first * 2^attempt, longest) * (1 + chance) / 2`: it doubles up to a bound, and the chance keeps those
/// whom one failure has met from coming back in one moment.
pub(crate) fn growing(first: Duration, longest: Duration, attempt: u32, chance: f64) -> Duration {
    let whole = first.saturating_mul(2u32.saturating_pow(attempt)).min(longest);
    whole.mul_f64(f64::midpoint(1.0, chance.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_chance_halves_them_at_most() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(5));
        let millis = |attempt, chance| growing(first, longest, attempt, chance).as_millis();
        assert_eq!([0, 1, 2, 5].map(|attempt| millis(attempt, 1.0)), [100, 200, 400, 3_200]);
        assert_eq!([6, 60, u32::MAX].map(|attempt| millis(attempt, 1.0)), [5_000; 3]);
        assert_eq!([millis(0, 0.0), millis(0, 0.5), millis(9, 0.0)], [50, 75, 2_500]);
        assert_eq!([millis(0, -3.0), millis(0, 7.0)], [50, 100]);
    }
}
