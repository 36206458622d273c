//! The way out of an instance: warm-up in reverse.
//!
//! An instance that goes at once throws its whole load on the others within one second. One that serves on
//! while its weight falls hands the load over bit by bit.

use super::since::Since;
use std::time::Duration;
use tokio::time::Instant;

/// An instance that leaves, by its registration or by its own answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fade {
    since: Since,
    over: Duration,
}

impl Fade {
    /// Longer than any platform waits for a process to leave: whoever says more is taken at this.
    const MAX: Duration = Duration::from_secs(60 * 60);

    pub(super) fn new(since: Since, over: Duration) -> Self {
        Self { since, over: over.min(Self::MAX) }
    }

    pub(super) const fn since(self) -> Since {
        self.since
    }

    /// The part of its weight that the instance takes still: `1 - age / over`, 0 from `over` on.
    pub(super) fn factor(self, now: Instant) -> f64 {
        let age = self.since.age(now);
        if age >= self.over { 0.0 } else { 1.0 - age.as_secs_f64() / self.over.as_secs_f64() }
    }

    /// When nothing is left; in the past when it was over as soon as we heard of it.
    pub(super) fn end(self) -> Instant {
        self.since.at_age(self.over).expect("an hour from a moment that was is within the clock")
    }

    /// Whichever is over first.
    pub(super) fn sooner(self, other: Self) -> Self {
        if other.end() < self.end() { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_fade_of_nothing_is_over_at_once() {
        let now = Instant::now();
        let fade = Fade::new(Since::now(now), Duration::ZERO);
        assert_eq!((fade.factor(now), fade.end()), (0.0, now));
    }

    #[test]
    fn nobody_fades_for_longer_than_an_hour() {
        let now = Instant::now();
        assert_eq!(Fade::new(Since::now(now), Duration::MAX).end(), now + 3600 * SECOND);
    }

    proptest! {
        #[test]
        fn the_factor_falls_in_a_straight_line_from_one_to_zero(
            over in 1u32..4_000_000, ages in any::<[u32; 8]>(),
        ) {
            let (now, over) = (Instant::now(), Duration::from_millis(over.into()));
            let fade = Fade::new(Since::now(now), over);
            let over = over.min(Fade::MAX);
            let mut ages = ages.map(|age| Duration::from_millis(u64::from(age % 4_000_000)));
            ages.sort_unstable();
            let factors = ages.map(|age| fade.factor(now + age));
            prop_assert!(factors.is_sorted_by(|earlier, later| earlier >= later));
            for (factor, age) in factors.iter().zip(ages) {
                prop_assert!((0.0..=1.0).contains(factor));
                prop_assert_eq!(*factor == 0.0, now + age >= fade.end());
            }
            prop_assert_eq!(fade.factor(now), 1.0);
            prop_assert!((fade.factor(now + over / 2) - 0.5).abs() < 1e-5);
        }
    }
}
