//! What becomes of everyone's requests when instances are slow, leave, or come in numbers.

use super::world::{SECOND, Served, Server, Spread, World};
use crate::consumer::endpoints::{MaxAmplification, Rules};
use crate::consumer::pick::Policy;
use crate::model::WarmUp;
use std::time::Duration;

/// Of a warm server, which so carries 400 requests a second.
const WORKERS: usize = 8;
const SERVICE_TIME: Duration = Duration::from_millis(20);

/// A server that is `slowness(now)` times as slow as a warm one.
fn server(slowness: impl Fn(Duration) -> f64 + 'static) -> Server {
    Server::new(WORKERS, Spread::Exponential, move |now| SERVICE_TIME.mul_f64(slowness(now)))
}

fn warm() -> Server {
    server(|_| 1.0)
}

/// `times` as slow as a warm one when it joins, and as fast at the end of its warm-up.
fn cold(joined: Duration, times: f64) -> Server {
    let window = WarmUp::default().window();
    server(move |now| {
        let cold = 1.0 - now.saturating_sub(joined).div_duration_f64(window).min(1.0);
        1.0 + (times - 1.0) * cold
    })
}

fn rules(max_amplification: Option<f64>) -> Rules {
    let max_amplification = max_amplification.map(|times| MaxAmplification::new(times).unwrap());
    Rules { max_amplification, ..Rules::default() }
}

/// The time within which 99 of 100 requests were served, and the part that took longer than a second.
fn tail(served: &[Served]) -> (Duration, f64) {
    let mut latencies: Vec<Duration> = served.iter().map(|served| served.latency).collect();
    latencies.sort_unstable();
    let slow = latencies.iter().filter(|latency| **latency > SECOND).count();
    (latencies[latencies.len() * 99 / 100], slow as f64 / latencies.len() as f64)
}

/// One of four turns four times as slow after 5 s of 30, at half of what all of them could carry.
async fn one_turns_slow(seed: u64, policy: Policy) -> Vec<Served> {
    let mut world = World::new(seed);
    (1..=3).for_each(|port| world.join(port, warm()));
    world.join(4, server(|now| if now < 5 * SECOND { 1.0 } else { 4.0 }));
    world.publish();
    world.consume(&Rules { policy, ..Rules::default() });
    world.run(800.0, 30 * SECOND).await;
    world.served
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_turns_slow_gets_less_than_its_weight() {
    let mut served = Vec::new();
    for seed in 1..=5 {
        served.extend(one_turns_slow(seed, Policy::default()).await);
    }
    let (ours, _) = tail(&served);
    assert!(ours <= Duration::from_millis(200), "{ours:?}");
    let (by_weight, _) = tail(&one_turns_slow(1, Policy::WeightedRandom).await);
    assert!(by_weight >= 20 * SECOND, "this would be no test: {by_weight:?}");
}

/// Three warm instances are replaced by three new ones, one every 30 s: each new one comes 30 s before its
/// predecessor has to go, which then goes at once or fades.
async fn release(seed: u64, rules: &Rules, fade: Duration) -> World {
    const RATE: f64 = 600.0;
    let mut world = World::new(seed);
    (1..=3).for_each(|port| world.join(port, warm()));
    world.publish();
    world.consume(rules);
    for (step, port) in (1..).zip(1..=4) {
        let end = step * 30 * SECOND;
        if port <= 3 {
            let now = world.now();
            world.join_cold(10 + port, WarmUp::default(), cold(now, 4.0));
        }
        if port > 1 && !fade.is_zero() {
            world.fade(port - 1, fade);
            world.publish();
            let faded = world.now() + fade;
            world.run(RATE, faded).await;
        }
        if port > 1 {
            world.remove(port - 1);
        }
        world.publish();
        world.run(RATE, end).await;
    }
    world.run(RATE, 200 * SECOND).await;
    world
}

/// The tail of several releases together: how chance falls in the worst seconds makes one differ from another.
async fn tail_of_releases(max_amplification: Option<f64>, fade: Duration) -> (Duration, f64) {
    let mut served = Vec::new();
    for seed in 1..=4 {
        served.extend(release(seed, &rules(max_amplification), fade).await.served);
    }
    tail(&served)
}

#[tokio::test(start_paused = true)]
async fn the_bound_halves_the_surge_of_a_release() {
    let (bounded, slow) = tail_of_releases(Some(1.5), Duration::ZERO).await;
    assert!(bounded <= Duration::from_millis(1300) && slow <= 0.035, "{bounded:?}, {slow}");
    let (plain, slow) = tail_of_releases(None, Duration::ZERO).await;
    assert!(plain >= 2 * SECOND && slow >= 0.07, "this would be no test: {plain:?}, {slow}");
}

#[tokio::test(start_paused = true)]
async fn with_a_fade_a_release_is_no_surge() {
    let (tail, slow) = tail_of_releases(Some(1.5), 20 * SECOND).await;
    assert!(tail <= Duration::from_millis(160) && slow == 0.0, "{tail:?}, {slow}");
}

#[tokio::test(start_paused = true)]
async fn when_a_fleet_grows_the_bound_costs_nothing() {
    let mut tails = Vec::new();
    for max in [Some(1.5), None] {
        let mut world = World::new(3);
        (1..=3).for_each(|port| world.join(port, warm()));
        world.publish();
        world.consume(&rules(max));
        world.run(900.0, 10 * SECOND).await;
        let now = world.now();
        (11..=19).for_each(|port| world.join_cold(port, WarmUp::default(), cold(now, 6.0)));
        world.publish();
        world.run(900.0, 150 * SECOND).await;
        tails.push(tail(&world.served).0);
    }
    assert!(tails[0] <= tails[1].mul_f64(1.05), "{tails:?}");
}

/// The share of one instance that stays, by the law, second by second while another one leaves.
async fn shares(fade: Duration, stay: u16) -> Vec<f64> {
    let mut world = World::new(1);
    (1..=stay + 1).for_each(|port| world.join(port, warm()));
    world.publish();
    world.consume(&Rules::default());
    let mut shares = Vec::new();
    for second in 0..30 {
        if second == 5 {
            world.fade(stay + 1, fade);
            world.publish();
        }
        let table = world.consumer().table();
        let weights = &table.weights;
        shares.push(weights.of(0) / (0..weights.len()).map(|index| weights.of(index)).sum::<f64>());
        drop(table);
        world.proceed((second + 1) * SECOND).await;
    }
    shares
}

#[tokio::test(start_paused = true)]
async fn a_fade_hands_its_load_over_without_a_jump() {
    for stay in [1, 2, 3] {
        let fair = 1.0 / f64::from(stay + 1);
        let jump = |shares: Vec<f64>| {
            shares.windows(2).map(|pair| (pair[1] - pair[0]).abs() / fair).fold(0.0, f64::max)
        };
        let with = jump(shares(20 * SECOND, stay).await);
        let without = jump(shares(Duration::ZERO, stay).await);
        assert!(with <= 0.1, "{stay} stay: a jump of {with} of a fair load");
        assert!(without >= 0.3, "this would be no test: {without}");
    }
}
