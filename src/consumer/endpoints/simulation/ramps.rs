//! The share of a new instance follows its curve.

use super::fit::Fit;
use super::world::{SECOND, Server, World};
use crate::consumer::endpoints::Rules;
use crate::consumer::pick::Policy;
use crate::model::{WarmUp, WarmUpAge, WarmUpClock};
use std::time::Duration;

pub(super) const WINDOW_S: u32 = 120;
pub(super) const LATENCY: Duration = Duration::from_millis(20);

/// `warm` old instances are joined by `new` ones, of which the first has the port 1001.
async fn scale_out(
    seed: u64,
    consumers: usize,
    rules: &Rules,
    warm: u16,
    new: u16,
    curve: WarmUp,
    rate: f64,
) -> World {
    let mut world = World::new(seed);
    (1..=warm).for_each(|port| world.join(port, Server::constant(LATENCY)));
    world.publish();
    (0..consumers).for_each(|_| world.consume(rules));
    (1001..=1000 + new).for_each(|port| world.join_cold(port, curve, Server::constant(LATENCY)));
    world.publish();
    world.run(rate, WINDOW_S * SECOND).await;
    world
}

/// What the new ones got together, against their curve.
fn fit(world: &World, warm: u16, new: u16, curve: WarmUp, rate: f64) -> Fit {
    let arrivals = world.served.iter().filter(|served| served.port > 1000).map(|served| served.at);
    Fit::new(arrivals, WINDOW_S, rate, |age| f64::from(new) * share(curve, age, warm, new))
}

/// The part that one of the new ones ought to get of all requests.
pub(super) fn share(curve: WarmUp, age: f64, warm: u16, new: u16) -> f64 {
    let weight = curve.factor(WarmUpAge::Running(Duration::from_secs_f64(age)));
    weight / (f64::from(warm) + f64::from(new) * weight)
}

#[track_caller]
pub(super) fn assert_follows(fit: &Fit, what: &str) {
    let (rmse, floor) = (fit.rmse(), fit.floor());
    assert!(rmse <= 1.15 * floor, "{what}: root mean square of {rmse}, where chance alone gives {floor}");
    let (bias, sigma) = (fit.bias(), fit.sigma());
    assert!(bias.abs() <= 0.02 + 3.0 * sigma, "{what}: {bias} of the requests, sigma is {sigma}");
}

async fn follows_its_curve(policy: Policy) {
    let (mut chi_square, mut freedom) = (0.0, 0.0);
    for exponent in [0.5, 1.0, 2.0, 4.0] {
        for rate in [300.0, 3000.0] {
            let curve = WarmUp::default().with_exponent(exponent).unwrap();
            let world = scale_out(3, 1, &Rules { policy, ..Rules::default() }, 2, 1, curve, rate).await;
            let fit = fit(&world, 2, 1, curve, rate);
            assert_follows(&fit, &format!("{policy:?}, exponent {exponent}, {rate} a second"));
            let one = fit.chi_square();
            (chi_square, freedom) = (chi_square + one.0, freedom + one.1);
        }
    }
    // The lower bound is for power of two: load evens out what chance does, but it must not lead.
    let per_freedom = chi_square / freedom;
    assert!((0.6..=1.3).contains(&per_freedom), "{policy:?}: chi-square per degree of freedom {per_freedom}");
}

#[tokio::test(start_paused = true)]
async fn under_power_of_two_choices_a_ramp_follows_its_curve() {
    follows_its_curve(Policy::default()).await;
}

#[tokio::test(start_paused = true)]
async fn under_weighted_random_choice_a_ramp_follows_its_curve() {
    follows_its_curve(Policy::WeightedRandom).await;
}

#[tokio::test(start_paused = true)]
async fn fifty_consumers_that_call_rarely_follow_the_curve_as_one_does() {
    const RATE: f64 = 500.0;
    let from_nothing =
        WarmUp::default().with_clock(WarmUpClock::Registration).unwrap().with_floor(0.0).unwrap();
    for (warm, new, curve) in [(2, 1, WarmUp::default()), (130, 2, from_nothing)] {
        let world = scale_out(3, 50, &Rules::default(), warm, new, curve, RATE).await;
        assert_follows(&fit(&world, warm, new, curve, RATE), &format!("{new} among {warm}"));
        for port in 1001..=1000 + new {
            // The moment at which four requests were to be expected.
            let millis = (0..).scan(0.0, |expected, milli| {
                *expected += share(curve, f64::from(milli) / 1e3, warm, new) * RATE / 1e3;
                (*expected < 4.0).then_some(milli)
            });
            let latest = Duration::from_millis(millis.last().unwrap().try_into().unwrap());
            let first = world.served.iter().find(|served| served.port == port).unwrap().at;
            assert!(first <= latest, "{port} among {warm}: first request after {first:?}, not {latest:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn at_every_millisecond_the_weight_is_that_of_the_curve() {
    let curve = WarmUp::default();
    let mut world = World::new(1);
    world.join(1, Server::constant(LATENCY));
    world.publish();
    world.consume(&Rules::default());
    world.join_cold(2, curve, Server::constant(LATENCY));
    world.publish();
    let mut last = 0.0;
    for milli in 0..120_000 {
        let table = world.consumer().table();
        let weight = table.weights.of(1);
        let ideal = curve.factor(WarmUpAge::Running(Duration::from_millis(milli)));
        assert!((weight - ideal).abs() <= 0.002, "{milli} ms: {weight} instead of {ideal}");
        assert!(weight >= last && table.next_change.is_some(), "{milli} ms");
        assert!(milli > 0 || (weight - 0.01).abs() < 1e-6, "begins at {weight}");
        last = weight;
        drop(table);
        world.proceed(Duration::from_millis(milli + 1)).await;
    }
    let table = world.consumer().table();
    assert_eq!((table.weights.of(1), table.next_change), (1.0, None));
}
