//! How old a new instance is held to be, whatever its clock says and however often it comes and goes.

use super::fit::Fit;
use super::ramps::{LATENCY, WINDOW_S, assert_follows, share};
use super::world::{SECOND, Server, World};
use crate::Clock;
use crate::consumer::endpoints::Rules;
use crate::model::{UnixMillis, WarmUp};

const RATE: f64 = 3000.0;
const NEW: u16 = 1001;
const NOON_MS: u64 = 1_732_060_800_000;
/// By how much the provider's clock is wrong, in milliseconds.
const SKEWS: [i64; 3] = [-60_000, 0, 60_000];

/// Two warm instances, and the rules of a consumer whose clock stands at noon.
fn two_warm(seed: u64) -> (World, Rules) {
    let mut world = World::new(seed);
    (1..=2).for_each(|port| world.join(port, server()));
    (world, Rules { clock: Clock::manual(UnixMillis::new(NOON_MS)).0, ..Rules::default() })
}

fn server() -> Server {
    Server::constant(LATENCY)
}

/// What a clock shows at noon that is wrong by so much.
fn noon(skew_ms: i64) -> UnixMillis {
    UnixMillis::new(NOON_MS.saturating_add_signed(skew_ms))
}

/// The new one got at every moment what someone of the age `age(moment)` ought to get; nothing while it has none.
fn assert_aged(world: &World, age: impl Fn(f64) -> Option<f64>, what: &str) {
    let arrivals = world.served.iter().filter(|served| served.port == NEW).map(|served| served.at);
    let due = |moment| age(moment).map_or(0.0, |age| share(WarmUp::default(), age, 2, 1));
    assert_follows(&Fit::new(arrivals, WINDOW_S, RATE, due), what);
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_follows_its_curve_whatever_its_clock_says() {
    for skew in SKEWS {
        let (mut world, rules) = two_warm(3);
        world.publish();
        world.consume(&rules);
        world.join_begun(NEW, 1, noon(skew), WarmUp::default(), server());
        world.publish();
        world.run(RATE, WINDOW_S * SECOND).await;
        assert_aged(&world, Some, &format!("{skew} ms"));
    }
}

/// Then nothing but clocks can tell: one that is behind makes it older by as much, and one that is ahead does
/// not make it younger than it is.
#[tokio::test(start_paused = true)]
async fn to_a_consumer_that_starts_later_a_wrong_clock_makes_an_instance_older_at_most() {
    for skew in SKEWS {
        let (mut world, rules) = two_warm(4);
        world.join_begun(NEW, 1, noon(skew), WarmUp::default(), server());
        world.publish();
        world.consume(&rules);
        world.run(RATE, WINDOW_S * SECOND).await;
        let older = if skew < 0 { 60.0 } else { 0.0 };
        assert_aged(&world, |moment| Some(moment + older), &format!("{skew} ms"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_flap_and_a_registration_anew_cost_no_age_and_a_restart_begins_afresh() {
    for skew in SKEWS {
        let (mut world, rules) = two_warm(5);
        world.publish();
        world.consume(&rules);
        world.join_begun(NEW, 1, noon(skew), WarmUp::default(), server());
        world.publish();
        // Off the list for 5 s, and for 20 s.
        for (goes, returns) in [(20, 25), (35, 55)] {
            world.run(RATE, goes * SECOND).await;
            let flapping = world.remove(NEW).unwrap();
            world.publish();
            world.run(RATE, returns * SECOND).await;
            world.list(flapping);
            world.publish();
        }
        // The same address and another process, after 70 s.
        world.run(RATE, 70 * SECOND).await;
        world.join_begun(NEW, 2, noon(skew), WarmUp::default(), server());
        world.publish();
        world.run(RATE, WINDOW_S * SECOND).await;
        let age = |moment: f64| match moment {
            20.0..25.0 | 35.0..55.0 => None,
            70.0.. => Some(moment - 70.0),
            _ => Some(moment),
        };
        assert_aged(&world, age, &format!("{skew} ms"));
    }
}
