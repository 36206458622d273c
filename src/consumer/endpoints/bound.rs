//! How much more a warm instance may be given when others go: the elastic bound.
//!
//! With a plain ramp the last warm instance of a release carries nearly everything until its successors are
//! warm. So the ramp gives way: the more warm capacity has been taken away, the flatter the curve, until
//! the weights add up to enough again. Their order by age is kept, and nothing jumps.
//!
//! With S, the sum of the weights, and R, the largest S within the last warm-up window, which is what carried
//! the load: if S < R / m, every factor w is replaced by w^(1-x) with the smallest x in 0..=1 that gives
//! S = R / m. So a warm instance gets at most m times what one got before. The reference is what was there,
//! never how many there are now: when a fleet grows the bound stays silent. A consumer that has just started
//! has no history, and R = S.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;
use tokio::time::Instant;

/// A bound on the load of a warm instance that cannot be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InvalidAmplification(f64);

impl fmt::Display for InvalidAmplification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "max amplification {} is not valid: accepted is a finite number from 1 on", self.0)
    }
}

impl std::error::Error for InvalidAmplification {}

/// How many times its load before a warm instance may get while others ramp.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::consumer) struct MaxAmplification(f64);

impl MaxAmplification {
    pub(in crate::consumer) fn new(times: f64) -> Result<Self, InvalidAmplification> {
        if times.is_finite() && times >= 1.0 { Ok(Self(times)) } else { Err(InvalidAmplification(times)) }
    }
}

impl Default for MaxAmplification {
    /// 1.5: what a fleet that is sized for the loss of a third of it can carry.
    fn default() -> Self {
        Self(1.5)
    }
}

/// What one instance adds to the sum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Part {
    /// Its weight when warm, less what it has faded.
    pub(super) full: f64,
    /// Where it stands on its warm-up curve, in 0.0..=1.0.
    pub(super) factor: f64,
}

/// The bound and the history that it speaks from.
#[derive(Debug)]
pub(super) struct Bound {
    max: Option<MaxAmplification>,
    recent: Recent,
    /// Where the exponent was last time: it moves little from one tick to the next.
    last: f64,
}

/// Weights, and when they change though nobody ramps or fades.
pub(super) struct Bounded {
    pub(super) weights: Vec<f64>,
    pub(super) eases: Option<Instant>,
    /// How many times its load before a warm instance gets, from 1.0 on.
    pub(super) amplification: f64,
}

impl Bound {
    /// Without a maximum it never speaks.
    pub(super) fn new(max: Option<MaxAmplification>) -> Self {
        Self { max, recent: Recent::default(), last: 0.0 }
    }

    /// The weights of `parts` from `now` on; `window` is the longest of their warm-ups.
    pub(super) fn apply(&mut self, parts: &[Part], window: Duration, now: Instant) -> Bounded {
        let weights: Vec<f64> = parts.iter().map(|part| part.full * part.factor).collect();
        let sum: f64 = weights.iter().sum();
        let largest = self.recent.largest(sum, window, now);
        // Where nobody is left, nobody gets anything.
        let times = |sum: f64| if sum > 0.0 { (largest / sum).max(1.0) } else { 1.0 };
        let least = self.max.map_or(0.0, |MaxAmplification(max)| largest / max);
        if sum >= least {
            return Bounded { weights, eases: None, amplification: times(sum) };
        }
        let Raised { exponent, weights } = Raised::to(parts, least, self.last);
        self.last = exponent;
        let amplification = times(weights.iter().sum());
        Bounded { weights, eases: self.recent.falls(window), amplification }
    }
}

impl Part {
    /// No exponent raises a factor of 0, so in a power it counts as a little more.
    const LIFTABLE: f64 = 1e-9;

    /// The logarithm of the factor, for powers of it; never above 0.
    fn ln(&self) -> f64 {
        if self.factor >= 1.0 { 0.0 } else { self.factor.max(Self::LIFTABLE).ln() }
    }
}

/// Weights with every factor raised to an exponent.
struct Raised {
    exponent: f64,
    weights: Vec<f64>,
}

impl Raised {
    /// With the largest exponent in 0..=1 for which the sum of full * factor^exponent reaches `least`; 0 when
    /// none does. `near` is where it may be.
    ///
    /// By Newton's method. The sum falls with the exponent and is convex, so that a step from anywhere ends
    /// short of the solution, and so does every one from there: whenever one stops, the sum is enough.
    fn to(parts: &[Part], least: f64, near: f64) -> Self {
        /// Steps needed for factors down to 1e-9; from the last exponent on two are usual.
        const STEPS: usize = 64;
        /// As near as matters: the weights are drawn in units of a millionth.
        const NEAR: f64 = 1e-7;
        let logarithms: Vec<f64> = parts.iter().map(Part::ln).collect();
        let mut raised = Self { exponent: near, weights: vec![0.0; parts.len()] };
        for _ in 0..STEPS {
            let (sum, slope) = raised.raise(parts, &logarithms);
            let next = (raised.exponent + (sum - least) / slope).clamp(0.0, 1.0);
            let enough = sum >= least || raised.exponent == 0.0;
            // Not a number where all are warm: no exponent changes anything then.
            if next.is_nan() || (enough && (next - raised.exponent).abs() <= NEAR) {
                break;
            }
            raised.exponent = next;
        }
        raised
    }

    /// The sum of the weights at this exponent, and how steeply it falls.
    fn raise(&mut self, parts: &[Part], logarithms: &[f64]) -> (f64, f64) {
        let (mut sum, mut slope) = (0.0, 0.0);
        for ((part, ln), weight) in parts.iter().zip(logarithms).zip(&mut self.weights) {
            *weight = if *ln == 0.0 { part.full } else { part.full * (self.exponent * ln).exp() };
            sum += *weight;
            slope -= *weight * ln;
        }
        (sum, slope)
    }
}

/// The largest sum within a window that ends now: sums that fall, each with the moment until which it held.
/// A smaller one that ended earlier can never be the largest again, and is not kept.
#[derive(Debug, Default)]
struct Recent(VecDeque<Held>);

#[derive(Clone, Copy, Debug)]
struct Held {
    sum: f64,
    until: Instant,
}

impl Recent {
    /// A sum that falls by less than this part counts as the same: a fade makes a handful of entries.
    const RESOLUTION: f64 = 1e-3;

    /// With the resolution, sums that fall to a four-hundredth; from there on the last one is held on to.
    const MAX: usize = 6000;

    /// Takes note that the sum is `sum` from `now` on, and gives the largest within `window`.
    fn largest(&mut self, sum: f64, window: Duration, now: Instant) -> f64 {
        if let Some(last) = self.0.back_mut() {
            last.until = now;
        }
        while self.0.back().is_some_and(|last| last.sum <= sum) {
            self.0.pop_back();
        }
        let falls = self.0.back().is_none_or(|last| sum < last.sum * (1.0 - Self::RESOLUTION));
        if falls && self.0.len() < Self::MAX {
            self.0.push_back(Held { sum, until: now });
        }
        while self.0.len() > 1
            && self.0.front().is_some_and(|first| now.saturating_duration_since(first.until) >= window)
        {
            self.0.pop_front();
        }
        self.0.front().map_or(sum, |first| first.sum)
    }

    /// When the largest sum leaves the window; nothing while it still holds.
    fn falls(&self, window: Duration) -> Option<Instant> {
        let first = self.0.front().filter(|_| self.0.len() > 1)?;
        first.until.checked_add(window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);
    const WINDOW: Duration = Duration::from_secs(120);

    fn bound(max: f64) -> Bound {
        Bound::new(Some(MaxAmplification::new(max).unwrap()))
    }

    fn parts(factors: &[f64]) -> Vec<Part> {
        factors.iter().map(|&factor| Part { full: 1.0, factor }).collect()
    }

    fn total(parts: &[Part]) -> f64 {
        parts.iter().map(|part| part.full).sum()
    }

    fn assert_near(weights: &[f64], expected: &[f64]) {
        let near = |(one, other): (&f64, &f64)| (one - other).abs() < 1e-6;
        assert!(weights.len() == expected.len() && weights.iter().zip(expected).all(near), "{weights:?}");
    }

    #[test]
    fn ramps_give_way_as_far_as_it_takes_and_no_further() {
        let (mut bound, now) = (bound(1.5), Instant::now());
        let weights = |bound: &mut Bound, factors: &[f64]| bound.apply(&parts(factors), WINDOW, now).weights;
        assert_near(&weights(&mut bound, &[1.0, 1.0, 1.0]), &[1.0, 1.0, 1.0]);
        assert_near(&weights(&mut bound, &[1.0, 1.0, 0.01]), &[1.0, 1.0, 0.01]);
        // Of 3, at least 2 must be left: the square roots do that.
        assert_near(&weights(&mut bound, &[1.0, 0.81, 0.01]), &[1.0, 0.9, 0.1]);
        // When all of them together are too little, each gives all it has.
        assert_near(&weights(&mut bound, &[0.01]), &[1.0]);
    }

    #[test]
    fn without_a_maximum_or_a_history_the_ramp_is_let_be() {
        let now = Instant::now();
        let mut off = Bound::new(None);
        off.apply(&parts(&[1.0, 1.0]), WINDOW, now);
        assert_near(&off.apply(&parts(&[0.01]), WINDOW, now).weights, &[0.01]);
        let fresh = bound(1.0).apply(&parts(&[0.01, 0.5]), WINDOW, now);
        assert_near(&fresh.weights, &[0.01, 0.5]);
        assert_eq!(fresh.eases, None);
    }

    #[test]
    fn what_lies_further_back_than_the_window_counts_no_more() {
        let (mut bound, start) = (bound(1.5), Instant::now());
        bound.apply(&parts(&[1.0, 1.0]), WINDOW, start);
        // The two carried the load until now.
        let gone = start + 1000 * SECOND;
        let bounded = bound.apply(&parts(&[0.5, 0.25]), WINDOW, gone);
        assert!((bounded.weights.iter().sum::<f64>() - 2.0 / 1.5).abs() < 1e-6);
        assert_eq!(bounded.eases, Some(gone + WINDOW));
        let later = bound.apply(&parts(&[0.5, 0.25]), WINDOW, gone + WINDOW);
        assert_near(&later.weights, &[0.5, 0.25]);
        assert_eq!(later.eases, None);
    }

    #[test]
    fn what_a_warm_instance_gets_is_told_in_multiples_of_its_load_before() {
        let now = Instant::now();
        for (max, ratio) in [(Some(MaxAmplification(1.5)), 1.5), (None, 30.0)] {
            let mut bound = Bound::new(max);
            let mut ratio_of = |factors: &[f64]| bound.apply(&parts(factors), WINDOW, now).amplification;
            assert_eq!(ratio_of(&[]), 1.0, "nobody gets anything");
            assert_eq!(ratio_of(&[1.0, 1.0, 1.0]), 1.0);
            assert_eq!(ratio_of(&[1.0, 1.0, 0.5]), 1.2);
            assert!((ratio_of(&[0.04, 0.04, 0.02]) - ratio).abs() < 1e-6);
        }
    }

    #[test]
    fn a_bound_below_one_is_refused_with_what_is_accepted() {
        for bad in [0.99, -1.0, f64::NAN, f64::INFINITY] {
            assert!(MaxAmplification::new(bad).unwrap_err().to_string().contains("from 1 on"), "{bad}");
        }
        assert!(MaxAmplification::new(1.0).is_ok());
    }

    #[test]
    fn a_sum_that_falls_for_ever_does_not_fill_the_memory() {
        let (mut recent, start, mut sum) = (Recent::default(), Instant::now(), 1e6);
        for step in 0..50_000 {
            assert!(recent.largest(sum, 1_000_000 * SECOND, start + step * SECOND) >= sum);
            sum *= 0.999;
        }
        assert!(recent.0.len() <= Recent::MAX);
    }

    proptest! {
        #[test]
        fn the_curve_is_as_flat_as_it_must_be_and_no_flatter(
            given in prop::collection::vec((0.0..10.0f64, prop_oneof![Just(0.0), Just(1.0), 1e-12..1.0f64]), 1..20),
            least in 0.0..100.0f64, near in 0.0..=1.0f64,
        ) {
            let parts: Vec<Part> = given.iter().map(|&(full, factor)| Part { full, factor }).collect();
            let Raised { exponent, weights } = Raised::to(&parts, least, near);
            let (reached, all) = (weights.iter().sum::<f64>(), total(&parts));
            prop_assert!((0.0..=1.0).contains(&exponent));
            prop_assert!(reached >= least.min(all) * (1.0 - 1e-9), "{reached} of {least}");
            let needed = exponent == 1.0 || all <= least || reached <= least + 1e-3;
            prop_assert!(needed, "{reached} where {least} was enough");
        }

        #[test]
        fn the_largest_recent_sum_is_that_of_a_list_of_them_all(
            steps in prop::collection::vec((0u32..40, 0.0..10.0f64), 1..60),
        ) {
            let (mut recent, mut now) = (Recent::default(), Instant::now());
            let mut all: Vec<Held> = Vec::new();
            for (seconds, sum) in steps {
                now += seconds * SECOND;
                if let Some(last) = all.last_mut() {
                    last.until = now;
                }
                all.push(Held { sum, until: now });
                let within = |held: &&Held| now - held.until < WINDOW;
                let expected = all.iter().filter(within).map(|held| held.sum).fold(0.0, f64::max);
                let largest = recent.largest(sum, WINDOW, now);
                prop_assert!(largest >= expected && largest * (1.0 - Recent::RESOLUTION) <= expected);
            }
        }
    }

    /// An instance in a random history: when it comes, begins to warm up, begins to fade (over 20 s), goes.
    #[derive(Clone, Debug)]
    struct Stay {
        comes: u32,
        warms: u32,
        fades: u32,
        goes: u32,
    }

    impl Stay {
        fn part(&self, second: u32) -> Option<Part> {
            let age = second.checked_sub(self.warms).map_or(0.0, f64::from);
            let faded = second.checked_sub(self.fades).map_or(0.0, f64::from) / 20.0;
            let factor = (age / WINDOW.as_secs_f64()).powi(2).clamp(0.01, 1.0);
            let here = (self.comes..self.goes).contains(&second);
            here.then_some(Part { full: (1.0 - faded).max(0.0), factor })
        }
    }

    fn history(lasting: u32) -> impl Strategy<Value = Vec<Stay>> {
        let stay = (0u32..300, 0u32..60, 0u32..400, 0u32..60).prop_map(move |(comes, idle, fades, more)| {
            let fades = lasting + comes + fades;
            Stay { comes: comes.saturating_sub(150), warms: comes + idle, fades, goes: fades + more }
        });
        prop::collection::vec(stay, 1..8)
    }

    proptest! {
        #[test]
        fn in_any_history_enough_weight_is_left_and_older_is_never_below_younger(
            stays in history(0), max in 1.0..3.0f64,
        ) {
            let (mut bound, start, mut past) = (bound(max), Instant::now(), Vec::new());
            for second in 0..600 {
                let here: Vec<(&Stay, Part)> =
                    stays.iter().filter_map(|stay| Some((stay, stay.part(second)?))).collect();
                let parts: Vec<Part> = here.iter().map(|(_, part)| *part).collect();
                let weights = bound.apply(&parts, WINDOW, start + second * SECOND).weights;
                past.push(parts.iter().map(|part| part.full * part.factor).sum());
                // A sum that was replaced held until then: so the window reaches one second further back.
                let recent = past.iter().rev().take(120 + 1).copied().fold(0.0, f64::max);
                let (reached, all) = (weights.iter().sum::<f64>(), total(&parts));
                let least = recent / max;
                prop_assert!(reached >= least.min(all) * (1.0 - 1e-6), "{second}: {reached} of {least}, {all}");
                prop_assert!(weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0));
                for (one, (older, part)) in here.iter().enumerate() {
                    for (other, (younger, other_part)) in here.iter().enumerate() {
                        if older.warms < younger.warms && part.full >= other_part.full {
                            prop_assert!(weights[one] >= weights[other] * (1.0 - 1e-9));
                        }
                    }
                }
            }
        }

        #[test]
        fn while_a_fleet_only_grows_the_bound_is_silent(stays in history(1000), max in 1.0..3.0f64) {
            let (mut bound, start) = (bound(max), Instant::now());
            for second in 0..600 {
                let parts: Vec<Part> = stays.iter().filter_map(|stay| stay.part(second)).collect();
                let Bounded { weights, eases, .. } = bound.apply(&parts, WINDOW, start + second * SECOND);
                let plain: Vec<f64> = parts.iter().map(|part| part.full * part.factor).collect();
                prop_assert_eq!(weights, plain);
                prop_assert_eq!(eases, None);
            }
        }
    }
}
