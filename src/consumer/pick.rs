//! One weighted choice: (weights, chance, calls in flight) -> index. Pure, and without allocation.
//!
//! The law of a choice is that of the weights. Load may only take traffic away from an instance: see
//! [`Policy::P2c`].

/// How an instance is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Policy {
    /// Two independent weighted draws, a and b. Take a, unless it is busy beyond the dead band:
    /// `in_flight[a] - 1 > c * (weight[a] / weight[b]) * (in_flight[b] + 1)`; then b.
    ///
    /// While all are idle or evenly loaded a is almost always kept, so the law stays that of the weights; an
    /// instance that answers slowly is refused. One with a single call in flight is never refused, so none
    /// starves, and a refused draw always goes to a less loaded one.
    P2c {
        /// Width of the dead band, from 0 on; the wider, the less load counts. Default 1. Below 0, or not a
        /// number, counts as 0.
        c: f64,
    },
    /// One weighted draw; load does not count.
    WeightedRandom,
}

impl Policy {
    /// The same with a dead band that can be.
    pub(super) fn sound(self) -> Self {
        match self {
            Self::P2c { c } => Self::P2c { c: c.max(0.0) },
            Self::WeightedRandom => self,
        }
    }
}

impl Default for Policy {
    /// [`Policy::P2c`] with `c` = 1.
    fn default() -> Self {
        Self::P2c { c: 1.0 }
    }
}

/// Weights of instances at one moment, made for drawing: Vose's alias table over integers.
#[derive(Debug, Default)]
pub(super) struct Weights {
    /// In units of the heaviest / [`HEAVIEST`].
    units: Box<[u32]>,
    columns: Box<[Column]>,
    /// Then no table is needed to draw.
    all_equal: bool,
}

/// A column of the alias table: itself below the threshold, its alias from there on.
#[derive(Clone, Copy, Debug)]
struct Column {
    threshold: u32,
    alias: u32,
}

/// Units of the heaviest instance: fine enough for a floor of 1 % on a weight of 1 %, and small enough that
/// a product with any number of calls in flight is exact in an `f64`.
const HEAVIEST: f64 = (1 << 20) as f64;

impl Weights {
    /// Quantises `weights`, finite and not negative; when all are zero, each gets the same.
    pub(super) fn new(weights: &[f64]) -> Self {
        let heaviest = weights.iter().copied().fold(0.0, f64::max);
        let units: Box<[u32]> = weights.iter().map(|&weight| to_units(weight, heaviest)).collect();
        let all_equal = units.windows(2).all(|pair| pair[0] == pair[1]);
        let columns = if all_equal { Box::default() } else { alias_table(&units) };
        Self { units, columns, all_equal }
    }

    /// Number of instances.
    pub(super) fn len(&self) -> usize {
        self.units.len()
    }

    /// Weight of an instance, as a part of the heaviest.
    pub(super) fn of(&self, index: usize) -> f64 {
        f64::from(self.units[index]) / HEAVIEST
    }

    /// Chooses one of at least one.
    #[inline]
    pub(super) fn choose(
        &self,
        policy: Policy,
        mut chance: impl FnMut() -> u64,
        in_flight: impl Fn(usize) -> u32,
    ) -> usize {
        if self.units.len() == 1 {
            return 0;
        }
        let a = self.draw(chance());
        match policy {
            Policy::WeightedRandom => a,
            Policy::P2c { c } => {
                let busy = in_flight(a);
                if busy <= 1 {
                    return a;
                }
                let b = self.draw(chance());
                let (of_a, of_b) = (f64::from(self.units[a]), f64::from(self.units[b]));
                let beyond = f64::from(busy - 1) * of_b > c * (f64::from(in_flight(b)) + 1.0) * of_a;
                if beyond { b } else { a }
            }
        }
    }

    /// Chooses by weight among those that `allowed` lets through: a slow way, for retries only. Nothing
    /// when it lets none through.
    pub(super) fn choose_among(&self, chance: u64, allowed: impl Fn(usize) -> bool) -> Option<usize> {
        let allowed = || (0..self.units.len()).filter(|&index| allowed(index));
        let weigh = |index: usize| u64::from(self.units[index]);
        let total: u64 = allowed().map(weigh).sum();
        if total == 0 {
            return allowed().nth(scale(chance, allowed().count()));
        }
        let mut ticket = (u128::from(chance) * u128::from(total)) >> 64;
        allowed().find(|&index| {
            let won = ticket < u128::from(weigh(index));
            ticket = ticket.saturating_sub(weigh(index).into());
            won
        })
    }

    /// The high half of `chance` chooses a column, the low half decides between it and its alias.
    #[inline]
    fn draw(&self, chance: u64) -> usize {
        let index = scale(chance, self.units.len());
        if self.all_equal {
            return index;
        }
        let column = self.columns[index];
        if low_half(chance) < column.threshold { index } else { column.alias as usize }
    }
}

/// `chance` as an index below `len`, by its high half.
#[inline]
fn scale(chance: u64, len: usize) -> usize {
    (((chance >> 32) * len as u64) >> 32) as usize
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is what is asked for")]
fn low_half(chance: u64) -> u32 {
    chance as u32
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "lies within 0..=HEAVIEST")]
fn to_units(weight: f64, heaviest: f64) -> u32 {
    if weight <= 0.0 || heaviest <= 0.0 {
        return 0;
    }
    ((weight / heaviest * HEAVIEST + 0.5) as u32).max(1) // However light, it gets its turn.
}

/// Vose's method: each column is filled up to the mean by one other.
fn alias_table(units: &[u32]) -> Box<[Column]> {
    let total: u64 = units.iter().map(|&unit| u64::from(unit)).sum();
    let mut left: Vec<u64> = units.iter().map(|&unit| u64::from(unit) * units.len() as u64).collect();
    let mut columns: Box<[Column]> = (0u32..).zip(units).map(|(alias, _)| Column::full(alias)).collect();
    let (mut light, mut heavy): (Vec<u32>, Vec<u32>) =
        (0u32..).zip(units).map(|(index, _)| index).partition(|&index| left[index as usize] < total);
    while let (Some(&giver), Some(taker)) = (heavy.last(), light.pop()) {
        let own = left[taker as usize];
        columns[taker as usize] = Column { threshold: fraction(own, total), alias: giver };
        left[giver as usize] -= total - own;
        if left[giver as usize] < total {
            heavy.pop();
            light.push(giver);
        }
    }
    columns // In integers nothing is left over: what remains on either side fills its column exactly.
}

impl Column {
    const fn full(alias: u32) -> Self {
        Self { threshold: u32::MAX, alias }
    }
}

/// `own / total` of 2^32; below 1, as a light column is. Both are whole in an `f64`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "lies within 0..2^32")]
fn fraction(own: u64, total: u64) -> u32 {
    (own as f64 / total as f64 * (1u64 << 32) as f64) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PICKS: u32 = 1_000_000;

    fn tally(weights: &[f64], policy: Policy, in_flight: impl Fn(usize) -> u32) -> Vec<u32> {
        tally_with(7, weights, policy, in_flight)
    }

    fn tally_with(seed: u64, weights: &[f64], policy: Policy, in_flight: impl Fn(usize) -> u32) -> Vec<u32> {
        let (weights, mut rng) = (Weights::new(weights), fastrand::Rng::with_seed(seed));
        let mut tally = vec![0; weights.len()];
        for _ in 0..PICKS {
            tally[weights.choose(policy, || rng.u64(..), &in_flight)] += 1;
        }
        tally
    }

    /// Each count within 4 standard deviations of its mean, and chi-square within 4 of its own. Gives the
    /// counts that are not.
    fn follows(weights: &[f64], tally: &[u32]) -> Result<(), String> {
        match beyond(weights, tally).first() {
            Some(index) => Err(format!("weight {}: {} picks", weights[*index], tally[*index])),
            None => chi_square(weights, tally),
        }
    }

    /// Whose counts lie more than 4 standard deviations beside their mean.
    fn beyond(weights: &[f64], tally: &[u32]) -> Vec<usize> {
        let total: f64 = weights.iter().sum();
        let is_beyond = |index: &usize| {
            let p = weights[*index] / total;
            let mean = f64::from(PICKS) * p;
            (f64::from(tally[*index]) - mean).abs() > 4.0 * (mean * (1.0 - p)).sqrt()
        };
        (0..weights.len()).filter(is_beyond).collect()
    }

    fn chi_square(weights: &[f64], tally: &[u32]) -> Result<(), String> {
        let total: f64 = weights.iter().sum();
        let mut chi_square = 0.0;
        for (&weight, &count) in weights.iter().zip(tally) {
            let mean = f64::from(PICKS) * weight / total;
            if mean > 0.0 {
                chi_square += (f64::from(count) - mean).powi(2) / mean;
            }
        }
        let freedom = weights.iter().filter(|&&weight| weight > 0.0).count() as f64 - 1.0;
        let bound = freedom + 4.0 * (2.0 * freedom).sqrt();
        if chi_square > bound { Err(format!("chi-square {chi_square} beyond {bound}")) } else { Ok(()) }
    }

    #[test]
    fn picks_follow_the_weights_under_both_policies() {
        let mut rng = fastrand::Rng::with_seed(3);
        for n in [2, 3, 10, 100, 1000] {
            let random: Vec<f64> = (0..n).map(|_| rng.f64() + 0.01).collect();
            for first in [1.0, 0.5, 0.1, 0.01, 0.0] {
                let mut one_lighter = vec![1.0; n];
                one_lighter[0] = first;
                for weights in [&one_lighter, &random] {
                    for policy in [Policy::default(), Policy::WeightedRandom] {
                        // One call in flight everywhere: evenly loaded, so the dead band must not speak.
                        let first = tally(weights, policy, |_| 1);
                        chi_square(weights, &first).unwrap_or_else(|why| panic!("{n} {policy:?}: {why}"));
                        // Of 22 300 counts chance leads one or two beyond 4 standard deviations, and hardly
                        // ever the same one again in another million picks.
                        let mut beyond_twice = beyond(weights, &first);
                        if !beyond_twice.is_empty() {
                            let second = beyond(weights, &tally_with(8, weights, policy, |_| 1));
                            beyond_twice.retain(|index| second.contains(index));
                        }
                        assert!(beyond_twice.is_empty(), "{n} {policy:?}: {beyond_twice:?} of {weights:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn all_weights_zero_means_all_alike() {
        let tally = tally(&[0.0, 0.0, 0.0], Policy::default(), |_| 0);
        follows(&[1.0, 1.0, 1.0], &tally).unwrap();
    }

    #[test]
    fn however_light_an_instance_gets_its_turn() {
        let weights = Weights::new(&[1e9, 1e-9]);
        assert!((0..).map(|low| u64::MAX << 32 | low).take(1 << 10).any(|chance| weights.draw(chance) == 1));
    }

    #[test]
    fn a_slow_instance_is_refused_but_never_starved() {
        let busy = |index| if index == 0 { 9 } else { 0 };
        let counts = tally(&[1.0, 1.0, 1.0, 1.0], Policy::default(), busy);
        // Drawn first with 1/4, and kept only when it is drawn twice.
        follows(&[1.0, 5.0, 5.0, 5.0], &counts).unwrap();
        let counts = tally(&[1.0, 1.0, 1.0, 1.0], Policy::default(), |index| u32::from(index == 0));
        follows(&[1.0, 1.0, 1.0, 1.0], &counts).unwrap();
        let counts = tally(&[1.0, 1.0, 1.0, 1.0], Policy::WeightedRandom, busy);
        follows(&[1.0, 1.0, 1.0, 1.0], &counts).unwrap();
    }

    #[test]
    fn the_dead_band_is_as_wide_as_the_policy_says() {
        let weights = Weights::new(&[2.0, 1.0]);
        let draws = |c: f64, busy: u32| {
            let mut chances = [0, u64::MAX << 32].into_iter(); // a = 0, b = 1.
            weights.choose(Policy::P2c { c }, || chances.next().unwrap(), |i| if i == 0 { busy } else { 0 })
        };
        // Refused from (busy - 1) * 1 > c * (0 + 1) * 2 on.
        assert_eq!((draws(1.0, 3), draws(1.0, 4)), (0, 1));
        assert_eq!((draws(2.0, 5), draws(2.0, 6)), (0, 1));
        assert_eq!(draws(f64::INFINITY, 1000), 0);
    }

    #[test]
    fn a_dead_band_that_cannot_be_is_none() {
        for c in [-1.0, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(Policy::P2c { c }.sound(), Policy::P2c { c: 0.0 });
        }
        assert_eq!(Policy::P2c { c: f64::INFINITY }.sound(), Policy::P2c { c: f64::INFINITY });
    }

    proptest! {
        #[test]
        fn the_table_gives_each_exactly_its_units(weights in prop::collection::vec(0.0..5.0f64, 1..40)) {
            let weights = Weights::new(&weights);
            if weights.all_equal { return Ok(()) }
            let mut share = vec![0.0; weights.len()];
            for (index, column) in weights.columns.iter().enumerate() {
                let own = f64::from(column.threshold) / f64::from(u32::MAX);
                share[index] += own;
                share[column.alias as usize] += 1.0 - own;
            }
            let total: f64 = weights.units.iter().map(|&unit| f64::from(unit)).sum();
            for (share, &unit) in share.iter().zip(&weights.units) {
                let due = f64::from(unit) / total * weights.len() as f64;
                prop_assert!((share - due).abs() < 1e-6, "{share} instead of {due}");
            }
        }

        #[test]
        fn only_the_busier_is_refused_and_only_for_the_less_busy(
            given in prop::collection::vec((0.0..5.0f64, prop_oneof![0u32..4, 0u32..1000]), 2..10), chances: [u64; 2], c in 0.0..4.0f64,
        ) {
            let (weights, busy): (Vec<f64>, Vec<u32>) = given.into_iter().unzip();
            let weights = Weights::new(&weights);
            let [a, b] = chances.map(|chance| weights.draw(chance));
            let mut left = chances.into_iter();
            let chosen = weights.choose(Policy::P2c { c }, || left.next().unwrap(), |index| busy[index]);
            prop_assert!(chosen == a || chosen == b);
            let load = |index: usize, calls: f64| calls * weights.of(if index == a { b } else { a });
            let beyond = load(a, f64::from(busy[a]) - 1.0) > c * load(b, f64::from(busy[b]) + 1.0);
            prop_assert_eq!(chosen != a, busy[a] > 1 && beyond && a != b);
            if chosen != a && c >= 1.0 {
                prop_assert!(load(b, busy[b].into()) < load(a, busy[a].into()), "it is less loaded");
            }
            let drawn = weights.choose(Policy::WeightedRandom, || chances[0], |index| busy[index]);
            prop_assert_eq!(drawn, a);
        }

        #[test]
        fn whoever_is_barred_is_not_chosen(
            weights in prop::collection::vec(0.0..5.0f64, 1..10), chance: u64, barred: [bool; 10],
        ) {
            let chosen = Weights::new(&weights).choose_among(chance, |index| !barred[index]);
            prop_assert_eq!(chosen.is_none(), barred[..weights.len()].iter().all(|&barred| barred));
            prop_assert!(chosen.is_none_or(|index| !barred[index]));
        }
    }

    #[test]
    fn a_choice_among_some_follows_their_weights() {
        let (weights, mut rng) = (Weights::new(&[5.0, 1.0, 3.0]), fastrand::Rng::with_seed(1));
        let mut tally = [0; 3];
        for _ in 0..PICKS {
            tally[weights.choose_among(rng.u64(..), |index| index != 0).unwrap()] += 1;
        }
        follows(&[0.0, 1.0, 3.0], &tally).unwrap();
    }
}
