mod health;

use super::rules::Subset;
use super::*;
use crate::Clock;
use crate::model::{Address, Metadata, Snapshot, UnixMillis, Weight, key};
use crate::naming::{Publisher, Snapshots};
use crate::observe::{Observer, State};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;
use tokio::time::{Instant, advance};

const NOON: UnixMillis = UnixMillis::new(1_732_060_800_000);
const SECOND: Duration = Duration::from_secs(1);
const AT_ONCE: Duration = Duration::ZERO;

/// A service whose instances are called by their ports, and a balancer's view of it.
struct Fixture {
    publisher: Publisher,
    snapshots: Snapshots,
    clock: Clock,
}

impl Fixture {
    fn new() -> Self {
        let (publisher, snapshots) = Publisher::new("orders".parse().unwrap());
        Self { publisher, snapshots, clock: Clock::manual(NOON).0 }
    }

    fn publish(&self, instances: impl IntoIterator<Item = Instance>) {
        let revision = self.snapshots.version() + 1;
        let list = Snapshot::new("orders".parse().unwrap(), revision, instances.into_iter().collect());
        self.publisher.publish(list);
    }

    /// Without the bound: the curves as they are.
    fn endpoints(&self, policy: Policy) -> Endpoints<u16> {
        self.endpoints_by(Rules { policy, max_amplification: None, ..Rules::default() })
    }

    fn endpoints_by(&self, rules: Rules) -> Endpoints<u16> {
        let make = |instance: &Instance| instance.address().port();
        Endpoints::new(self.snapshots.clone(), Rules { clock: self.clock.clone(), ..rules }, Box::new(make))
    }
}

fn instance(port: u16) -> Instance {
    Instance::new(Address::new("10.0.0.7", port).unwrap())
}

fn with(port: u16, entries: &[(&str, String)]) -> Instance {
    instance(port).with_metadata(Metadata::from_iter(entries.to_vec()))
}

fn of_epoch(port: u16, epoch: u64) -> Instance {
    with(port, &[(key::EPOCH, epoch.to_string())])
}

/// Of the epoch, with a linear ramp of 100 s that began at `start`: after 10 s it has a weight of 0.1.
fn ramping(port: u16, epoch: u64, start: Option<UnixMillis>) -> Instance {
    let mut entries = vec![
        (key::EPOCH, epoch.to_string()),
        (key::WARM_UP, "100".to_owned()),
        (key::WARM_UP_EXPONENT, "1".to_owned()),
    ];
    entries.extend(start.map(|start| (key::WARM_UP_START, start.to_string())));
    with(port, &entries)
}

/// The ports in use with their weights, as parts of the heaviest.
fn weights(endpoints: &Endpoints<u16>) -> BTreeMap<u16, f64> {
    let table = endpoints.table();
    let used = &table.slots[..table.weights.len()];
    used.iter().enumerate().map(|(index, slot)| (slot.service, table.weights.of(index))).collect()
}

fn in_use(endpoints: &Endpoints<u16>) -> Vec<u16> {
    weights(endpoints).into_keys().collect()
}

fn endpoint(endpoints: &Endpoints<u16>, port: u16) -> Arc<Endpoint> {
    let table = endpoints.table();
    let slot = table.slots.iter().find(|slot| slot.service == port).unwrap();
    slot.endpoint().clone()
}

fn in_flight(endpoints: &Endpoints<u16>, port: u16) -> u32 {
    let table = endpoints.table();
    table.slots.iter().find(|slot| slot.service == port).unwrap().seats.taken()
}

#[track_caller]
fn assert_weight(endpoints: &Endpoints<u16>, port: u16, weight: f64) {
    let weights = weights(endpoints);
    assert!((weights[&port] - weight).abs() < 1e-5, "{weights:?} instead of {weight}");
}

#[test]
fn who_must_not_take_traffic_gets_none() {
    let fixture = Fixture::new();
    let sick = Instance { healthy: false, ..instance(1) };
    let disabled = Instance { enabled: false, ..instance(2) };
    let light = Instance { weight: Weight::NONE, ..instance(3) };
    let nowhere = instance(0);
    fixture.publish([
        sick.clone(),
        disabled.clone(),
        light.clone(),
        nowhere.clone(),
        instance(4),
        instance(5),
    ]);
    let endpoints = fixture.endpoints(Policy::default());
    assert_eq!(in_use(&endpoints), [4, 5]);

    fixture.publish([sick, disabled.clone(), light.clone()]);
    assert_eq!(in_use(&endpoints), [1], "all that are left are unhealthy");
    fixture.publish([disabled, light, nowhere]);
    assert!(endpoints.choose(None).is_none());
}

#[tokio::test(start_paused = true)]
async fn the_last_ones_standing_are_used_even_when_put_aside() {
    let fixture = Fixture::new();
    let sick = Instance { healthy: false, ..of_epoch(3, 3) };
    fixture.publish([of_epoch(1, 1), of_epoch(2, 2), sick]);
    let endpoints = fixture.endpoints(Policy::default());
    endpoint(&endpoints, 1).put_aside(UnixMillis::new(1), AT_ONCE);
    assert_eq!(in_use(&endpoints), [2]);
    endpoint(&endpoints, 2).put_aside(UnixMillis::new(2), AT_ONCE);
    assert_eq!(in_use(&endpoints), [1, 2], "leaving instances answer, unhealthy ones hardly do");
}

#[tokio::test(start_paused = true)]
async fn a_retry_goes_to_whoever_has_not_been_tried_and_to_the_reserve_last() {
    let fixture = Fixture::new();
    fixture.publish([of_epoch(1, 1), of_epoch(2, 2), of_epoch(3, 3)]);
    let endpoints = fixture.endpoints(Policy::default());
    endpoint(&endpoints, 3).put_aside(UnixMillis::new(3), AT_ONCE);
    let mut tried = Tried::default();
    let mut met = Vec::new();
    for _ in 0..3 {
        let choice = endpoints.choose(Some(&tried)).unwrap();
        met.push(choice.service);
        tried.0.push(choice.guard.endpoint().clone());
    }
    assert_eq!(met.pop(), Some(3));
    met.sort_unstable();
    assert_eq!(met, [1, 2]);
    assert!(endpoints.choose(Some(&tried)).is_some(), "nothing else is left");
}

#[tokio::test(start_paused = true)]
async fn a_start_that_was_seen_to_appear_is_timed_by_our_own_clock() {
    for skew in [0, 3_600_000] {
        for start in [NOON.as_u64() - skew, NOON.as_u64() + skew].map(UnixMillis::new) {
            let fixture = Fixture::new();
            fixture.publish([instance(1), ramping(2, 7, None)]);
            let endpoints = fixture.endpoints(Policy::default());
            assert_weight(&endpoints, 2, 0.01);
            advance(50 * SECOND).await;
            assert_weight(&endpoints, 2, 0.01);

            fixture.publish([instance(1), ramping(2, 7, Some(start))]);
            advance(10 * SECOND).await;
            assert_weight(&endpoints, 2, 0.1);
            // Nobody looked for 10 s, and the age is told from the news all the same.
            advance(30 * SECOND).await;
            assert_weight(&endpoints, 2, 0.4);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_whose_warm_up_has_begun_is_as_old_as_the_news_of_it() {
    let fixture = Fixture::new();
    fixture.publish([instance(1)]);
    let endpoints = fixture.endpoints(Policy::default());
    fixture.publish([instance(1), ramping(2, 7, Some(UnixMillis::new(5)))]);
    advance(20 * SECOND).await;
    assert_weight(&endpoints, 2, 0.2);
}

#[tokio::test(start_paused = true)]
async fn what_stood_in_the_first_list_is_timed_by_wall_clocks() {
    let (past, future) =
        (UnixMillis::new(NOON.as_u64() - 40_000), UnixMillis::new(NOON.as_u64() + 3_600_000));
    let fixture = Fixture::new();
    fixture.publish([instance(1), ramping(2, 7, Some(past)), ramping(3, 7, Some(future))]);
    let endpoints = fixture.endpoints(Policy::default());
    assert_weight(&endpoints, 2, 0.4);
    assert_weight(&endpoints, 3, 0.01);
    advance(20 * SECOND).await;
    assert_weight(&endpoints, 2, 0.6);
    assert_weight(&endpoints, 3, 0.2); // A clock that runs ahead does not keep it cold for ever.
}

#[tokio::test(start_paused = true)]
async fn a_flap_keeps_the_age_and_a_new_epoch_starts_afresh() {
    let fixture = Fixture::new();
    fixture.publish([instance(1), ramping(2, 7, None)]);
    let endpoints = fixture.endpoints(Policy::default());
    fixture.publish([instance(1), ramping(2, 7, Some(NOON))]);
    let busy = endpoints.choose(Some(&Tried(vec![endpoint(&endpoints, 1)]))).unwrap();
    advance(30 * SECOND).await;
    fixture.publish([instance(1)]);
    assert_eq!(in_use(&endpoints), [1]);
    advance(30 * SECOND).await;
    fixture.publish([instance(1), ramping(2, 7, Some(NOON))]);
    assert_weight(&endpoints, 2, 0.6);
    assert_eq!(in_flight(&endpoints, 2), 1);
    drop(busy);
    assert_eq!(in_flight(&endpoints, 2), 0);

    let busy = endpoints.choose(Some(&Tried(vec![endpoint(&endpoints, 1)]))).unwrap();
    fixture.publish([instance(1), ramping(2, 8, Some(NOON))]);
    assert_weight(&endpoints, 2, 0.01);
    assert_eq!(in_flight(&endpoints, 2), 0);
    drop(busy);
}

#[tokio::test(start_paused = true)]
async fn a_flap_of_a_whole_large_fleet_costs_nobody_its_age() {
    const FLEET: u16 = 3000;
    let fixture = Fixture::new();
    let started = NOON.as_u64() - 1_000_000;
    let fleet = || (1..=FLEET).map(|port| ramping(port, 7, Some(UnixMillis::new(started))));
    fixture.publish(fleet());
    let endpoints = fixture.endpoints(Policy::default());
    for left in [2000, 1] {
        fixture.publish(fleet().take(left));
        assert_eq!(in_use(&endpoints).len(), left);
        advance(SECOND).await;
    }
    fixture.publish(fleet());
    let weights = weights(&endpoints);
    assert!(weights.len() == usize::from(FLEET) && weights.values().all(|&weight| weight == 1.0));
}

#[tokio::test(start_paused = true)]
async fn what_a_fleet_replaces_does_not_fill_the_memory() {
    let fixture = Fixture::new();
    let endpoints = fixture.endpoints(Policy::default());
    for epoch in 1..=200 {
        fixture.publish((1..=20).map(|port| of_epoch(port, epoch)));
        in_use(&endpoints);
    }
    let roster = endpoints.table.lock();
    assert_eq!(roster.gone.remembered(), (1024, 1024));
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_filter_or_of_what_makes_services_forgets_nobody() {
    let fixture = Fixture::new();
    let warm = |port| ramping(port, 7, Some(UnixMillis::new(NOON.as_u64() - 1_000_000)));
    let panicking = Arc::new(AtomicU64::new(0));
    let panics_at = |turn: u64| {
        let panicking = panicking.clone();
        move |port: u16| assert!(port != 2 || panicking.load(Ordering::Relaxed) != turn, "as told")
    };
    let (filtered, made) = (panics_at(1), panics_at(2));
    let subset = Subset::default().and(move |instance| {
        filtered(instance.address().port());
        true
    });
    let rules = Rules { subset, clock: fixture.clock.clone(), ..Rules::default() };
    let make = move |instance: &Instance| {
        made(instance.address().port());
        instance.address().port()
    };
    fixture.publish([1, 3, 4].map(warm));
    let endpoints = Endpoints::new(fixture.snapshots.clone(), rules, Box::new(make));
    let busy = endpoints.choose(Some(&Tried(vec![endpoint(&endpoints, 1), endpoint(&endpoints, 3)])));
    fixture.publish([1, 2, 3, 4].map(warm));
    for turn in [1, 2] {
        panicking.store(turn, Ordering::Relaxed);
        let pick = std::panic::AssertUnwindSafe(|| endpoints.choose(None).map(|choice| choice.service));
        assert!(std::panic::catch_unwind(pick).is_err());
    }
    panicking.store(0, Ordering::Relaxed);
    assert_eq!(in_use(&endpoints), [1, 2, 3, 4]);
    for port in [1, 3, 4] {
        assert_weight(&endpoints, port, 1.0);
    }
    assert_eq!(in_flight(&endpoints, 4), 1);
    drop(busy);
}

#[tokio::test(start_paused = true)]
async fn weights_follow_the_ramp_in_ticks_until_it_ends_and_then_no_clock_is_read() {
    let fixture = Fixture::new();
    fixture.publish([instance(1), ramping(2, 7, Some(NOON))]);
    let endpoints = fixture.endpoints(Policy::default());
    for tenths in 0..1000u32 {
        assert_weight(&endpoints, 2, (f64::from(tenths) / 1000.0).max(0.01));
        assert_eq!(endpoints.table().next_change, Some(Instant::now() + SECOND / 10));
        advance(SECOND / 10).await;
    }
    assert_weight(&endpoints, 2, 1.0);
    assert_eq!(endpoints.table().next_change, None);
}

#[test]
fn a_tick_is_as_long_as_its_table_is_dear_within_bounds() {
    let tick = |micros| Roster::<u16>::tick(Duration::from_micros(micros));
    assert_eq!([1, 100, 400, 1000].map(tick), [100, 100, 400, 1000].map(Duration::from_millis));
    assert_eq!(
        [50_000, u64::MAX].map(tick),
        [SECOND; 2],
        "whoever lost the processor meanwhile does not wait"
    );
}

#[tokio::test(start_paused = true)]
async fn however_long_services_take_to_make_the_ramp_goes_on() {
    let fixture = Fixture::new();
    fixture.publish([instance(1)]);
    let make = |instance: &Instance| {
        // The first poll moves the clock.
        std::pin::pin!(advance(SECOND / 20)).poll(&mut Context::from_waker(Waker::noop())).is_ready();
        instance.address().port()
    };
    let rules = Rules { clock: fixture.clock.clone(), max_amplification: None, ..Rules::default() };
    let endpoints = Endpoints::new(fixture.snapshots.clone(), rules, Box::new(make));
    let begun = Instant::now();
    fixture.publish([instance(1), ramping(2, 7, Some(NOON))]);
    assert_weight(&endpoints, 2, 0.01);
    assert!(Instant::now() > begun, "it has been made");
    advance(10 * SECOND).await;
    assert_weight(&endpoints, 2, begun.elapsed().as_secs_f64() / 100.0);
}

/// Of the epoch, and leaving since `since` over 20 s.
fn leaving(port: u16, epoch: u64, since: UnixMillis) -> Instance {
    with(port, &[(key::EPOCH, epoch.to_string()), (key::LEAVING, format!("{since};20"))])
}

#[tokio::test(start_paused = true)]
async fn a_way_out_that_was_seen_to_begin_is_timed_by_our_own_clock() {
    for skew in [0, 60_000] {
        for since in [NOON.as_u64() - skew, NOON.as_u64() + skew].map(UnixMillis::new) {
            let fixture = Fixture::new();
            fixture.publish([of_epoch(1, 1), of_epoch(2, 7)]);
            let endpoints = fixture.endpoints(Policy::default());
            assert_weight(&endpoints, 2, 1.0);
            fixture.publish([of_epoch(1, 1), leaving(2, 7, since)]);
            advance(5 * SECOND).await;
            assert_weight(&endpoints, 2, 0.75);
            assert_eq!(endpoints.table().next_change, Some(Instant::now() + SECOND / 10));
            // A flap of the list delays nothing.
            fixture.publish([of_epoch(1, 1)]);
            advance(5 * SECOND).await;
            fixture.publish([of_epoch(1, 1), leaving(2, 7, since)]);
            assert_weight(&endpoints, 2, 0.5);
            advance(10 * SECOND).await;
            assert_eq!(in_use(&endpoints), [1]);
            assert_eq!(endpoints.table().next_change, None);
            // The incarnation after it is none of that.
            fixture.publish([of_epoch(1, 1), of_epoch(2, 8)]);
            assert_weight(&endpoints, 2, 1.0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_way_out_that_stood_in_the_first_list_is_timed_by_wall_clocks() {
    let ago = |seconds: u64| UnixMillis::new(NOON.as_u64() - seconds * 1000);
    let fixture = Fixture::new();
    let ahead = UnixMillis::new(NOON.as_u64() + 60_000);
    fixture.publish([of_epoch(1, 1), leaving(2, 7, ago(5)), leaving(3, 7, ago(60)), leaving(4, 7, ahead)]);
    let endpoints = fixture.endpoints(Policy::default());
    assert_eq!(in_use(&endpoints), [1, 2, 4]);
    assert_weight(&endpoints, 2, 0.75);
    assert_weight(&endpoints, 4, 1.0);
    advance(10 * SECOND).await;
    assert_weight(&endpoints, 2, 0.25);
    assert_weight(&endpoints, 4, 0.5); // A clock that runs ahead does not keep it for ever.
}

#[tokio::test(start_paused = true)]
async fn a_tag_with_a_fade_takes_its_sender_out_bit_by_bit() {
    let fixture = Fixture::new();
    fixture.publish([of_epoch(1, 1), of_epoch(2, 2)]);
    let endpoints = fixture.endpoints(Policy::default());
    let two = endpoint(&endpoints, 2);
    two.put_aside(UnixMillis::new(2), 20 * SECOND);
    assert_weight(&endpoints, 2, 1.0);
    for quarter in [0.75, 0.5, 0.25] {
        advance(5 * SECOND).await;
        two.put_aside(UnixMillis::new(2), 20 * SECOND); // Each answer says it again.
        assert_weight(&endpoints, 2, quarter);
    }
    advance(5 * SECOND).await;
    assert_eq!(in_use(&endpoints), [1]);
    assert_eq!(endpoints.table().next_change, Some(Instant::now() + aside::Aside::HOLD));
}

/// Counts picks by how the chosen one stands.
#[derive(Clone, Debug, Default)]
struct Picks(Arc<std::sync::Mutex<BTreeMap<&'static str, u32>>>);

impl Observer for Picks {
    fn picked(&self, state: State) {
        *self.0.lock().unwrap().entry(state.as_str()).or_default() += 1;
    }
}

#[tokio::test(start_paused = true)]
async fn each_pick_is_told_with_how_the_chosen_one_stands() {
    let (fixture, picks) = (Fixture::new(), Picks::default());
    let observers = picks.clone().into();
    let endpoints = fixture.endpoints_by(Rules { observers, max_amplification: None, ..Rules::default() });
    let told = || {
        picks.0.lock().unwrap().clear();
        (0..64).for_each(|_| drop(endpoints.choose(None)));
        picks.0.lock().unwrap().keys().copied().collect::<Vec<_>>()
    };
    fixture.publish([of_epoch(1, 1), ramping(2, 2, Some(NOON))]);
    told(); // The list is heard of now.
    advance(50 * SECOND).await;
    assert_eq!(told(), ["warm", "warming"]);
    endpoint(&endpoints, 1).put_aside(UnixMillis::new(1), 20 * SECOND);
    advance(5 * SECOND).await;
    assert_eq!(told(), ["fading", "warming"]);
    endpoint(&endpoints, 2).put_aside(UnixMillis::new(2), AT_ONCE);
    assert_eq!(told(), ["fading"]);
    endpoint(&endpoints, 1).put_aside(UnixMillis::new(1), AT_ONCE);
    assert_eq!(told(), ["aside"], "the last ones standing");
    fixture.publish([of_epoch(3, 3)]);
    let three = endpoint(&endpoints, 3);
    three.unreachable(three.verdict());
    assert_eq!(told(), ["failing"]);
    fixture.publish([Instance { healthy: false, ..of_epoch(4, 4) }]);
    assert_eq!(told(), ["unhealthy"]);
    assert!(endpoints.choose(None).is_some());
}

#[tokio::test(start_paused = true)]
async fn whichever_word_is_sooner_counts() {
    let fixture = Fixture::new();
    fixture.publish([of_epoch(1, 1), of_epoch(2, 2)]);
    let endpoints = fixture.endpoints(Policy::default());
    fixture.publish([of_epoch(1, 1), leaving(2, 2, NOON)]);
    assert_weight(&endpoints, 2, 1.0);
    endpoint(&endpoints, 2).put_aside(UnixMillis::new(2), 10 * SECOND);
    advance(5 * SECOND).await;
    assert_weight(&endpoints, 2, 0.5);
    endpoint(&endpoints, 2).put_aside(UnixMillis::new(2), AT_ONCE);
    assert_eq!(in_use(&endpoints), [1]);
}

#[tokio::test(start_paused = true)]
async fn the_last_ones_standing_are_used_even_when_they_have_faded() {
    let fixture = Fixture::new();
    fixture.publish([of_epoch(1, 1), of_epoch(2, 2)]);
    let endpoints = fixture.endpoints(Policy::default());
    fixture.publish([leaving(1, 1, NOON), leaving(2, 2, NOON)]);
    endpoint(&endpoints, 1).put_aside(UnixMillis::new(1), 10 * SECOND);
    assert_eq!(in_use(&endpoints), [1, 2]);
    advance(15 * SECOND).await;
    assert_eq!(in_use(&endpoints), [2]);
    advance(5 * SECOND).await;
    assert_eq!(in_use(&endpoints), [1, 2]);
    assert_weight(&endpoints, 1, 1.0);
    assert_weight(&endpoints, 2, 1.0);
}

#[tokio::test(start_paused = true)]
async fn dubbo_instances_ramp_in_a_straight_line_from_their_start() {
    let dubbo = |port, timestamp: UnixMillis| {
        with(
            port,
            &[
                (key::DUBBO_TIMESTAMP, timestamp.to_string()),
                (key::DUBBO_WARM_UP, "100000".to_owned()),
                (key::WARM_UP_START, NOON.to_string()), // Ours, without our window: says nothing.
            ],
        )
    };
    let fixture = Fixture::new();
    fixture.publish([instance(1), dubbo(2, UnixMillis::new(NOON.as_u64() - 40_000))]);
    let endpoints = fixture.endpoints(Policy::default());
    assert_weight(&endpoints, 2, 0.4);
    advance(30 * SECOND).await;
    assert_weight(&endpoints, 2, 0.7);
}

#[tokio::test(start_paused = true)]
async fn a_warm_instance_gets_at_most_so_many_times_its_load_before() {
    let fixture = Fixture::new();
    fixture.publish([instance(1), instance(2), instance(3)]);
    let endpoints = fixture.endpoints_by(Rules::default());
    assert_eq!(in_use(&endpoints), [1, 2, 3]);
    fixture.publish([instance(1), instance(2), ramping(3, 7, Some(NOON))]);
    assert_weight(&endpoints, 3, 0.01); // 2.01 of 3 are enough.
    fixture.publish([instance(1), ramping(2, 7, Some(NOON)), ramping(3, 7, Some(NOON))]);
    assert_weight(&endpoints, 2, 0.5);
    assert_weight(&endpoints, 3, 0.5); // Of 3, 1 / 1.5 are left.
    advance(99 * SECOND).await;
    assert_weight(&endpoints, 3, 0.99); // Their own ramp has overtaken the bound.
}

#[tokio::test(start_paused = true)]
async fn ramps_that_gave_way_return_when_what_is_missing_lies_behind_the_window() {
    let fixture = Fixture::new();
    fixture.publish([instance(1), instance(2), instance(3)]);
    let endpoints = fixture.endpoints_by(Rules::default());
    // Nobody has called it yet, and nothing ramps: only the window moves.
    fixture.publish([instance(1), ramping(2, 7, None)]);
    assert_weight(&endpoints, 2, 1.0);
    assert_eq!(endpoints.table().next_change, Some(Instant::now() + 100 * SECOND));
    advance(100 * SECOND).await;
    assert_weight(&endpoints, 2, 0.01);
    assert_eq!(endpoints.table().next_change, None);
}

#[tokio::test(start_paused = true)]
async fn only_the_subset_is_used_and_its_lists_are_judged_as_a_whole() {
    let fixture = Fixture::new();
    let in_cluster = |port, epoch, cluster: &str| {
        let mut instance = of_epoch(port, epoch);
        instance.key.cluster = cluster.parse().unwrap();
        instance
    };
    let list = [in_cluster(1, 1, "gz"), in_cluster(2, 2, "sh"), in_cluster(3, 3, "gz")];
    fixture.publish(list.clone());
    let subset = Rules::default().subset.and(|instance| instance.key.cluster.as_str() == "gz");
    let subset = subset.and(|instance| instance.weight == Weight::FULL);
    let endpoints = fixture.endpoints_by(Rules { subset, ..Rules::default() });
    assert_eq!(in_use(&endpoints), [1, 3]);

    // Someone who is outside for a while does not lose the tombstone.
    endpoint(&endpoints, 3).put_aside(UnixMillis::new(3), AT_ONCE);
    let [one, two, three] = list.clone();
    fixture.publish([one, two, Instance { weight: Weight::new(2.0).unwrap(), ..three }]);
    assert_eq!(in_use(&endpoints), [1]);
    fixture.publish(list);
    assert_eq!(in_use(&endpoints), [1]);

    fixture.publish([in_cluster(2, 2, "sh")]);
    assert!(endpoints.choose(None).is_none());
}

#[tokio::test(start_paused = true)]
async fn while_one_renews_the_weights_others_use_the_old_ones() {
    let fixture = Fixture::new();
    fixture.publish([ramping(1, 7, Some(NOON)), instance(2)]);
    let endpoints = fixture.endpoints(Policy::default());
    advance(SECOND).await;
    let elected = endpoints.table.lock();
    assert!(endpoints.choose(None).is_some());
    drop(elected);
}

#[tokio::test(start_paused = true)]
async fn a_choice_stands_until_its_instance_goes() {
    let fixture = Fixture::new();
    fixture.publish([of_epoch(1, 1), of_epoch(2, 2)]);
    let endpoints = fixture.endpoints(Policy::default());
    let (first, second) = (endpoint(&endpoints, 1), endpoint(&endpoints, 2));
    let one = endpoints.choose(Some(&Tried(vec![second.clone()]))).unwrap();
    let two = endpoints.choose(Some(&Tried(vec![first.clone()]))).unwrap();
    first.put_aside(UnixMillis::new(1), AT_ONCE);
    let stands = |choice: &Choice<u16>| endpoints.stands(choice.guard.endpoint(), choice.basis);
    assert!(!stands(&one) && stands(&two));
    fixture.publish([of_epoch(1, 1)]);
    assert!(stands(&one) && !stands(&two));
}

#[tokio::test(start_paused = true)]
async fn only_the_first_judgement_asks_for_the_list() {
    let fixture = Fixture::new();
    fixture.publish([of_epoch(1, 1), of_epoch(2, 2)]);
    let endpoints = fixture.endpoints(Policy::default());
    let one = endpoint(&endpoints, 1);
    one.put_aside(UnixMillis::new(1), AT_ONCE);
    tokio_test::assert_ready!(tokio_test::task::spawn(fixture.publisher.refresh_wanted()).poll());
    one.put_aside(UnixMillis::new(1), AT_ONCE);
    tokio_test::assert_pending!(tokio_test::task::spawn(fixture.publisher.refresh_wanted()).poll());
}

/// A publication, or a judgement, that has returned counts in every later pick of every thread.
#[test]
fn whoever_is_gone_is_not_picked_again() {
    const ROUNDS: u64 = 1000;
    let fixture = Fixture::new();
    let list = |round: u64| [of_epoch(1, 1), of_epoch(2, 2), of_epoch(3, 1000 + round)];
    fixture.publish(list(0));
    let endpoints = fixture.endpoints(Policy::default());
    let (applied, picks) = (AtomicU64::new(1000), AtomicU64::new(0));
    std::thread::scope(|threads| {
        let pickers = [(); 3].map(|()| {
            threads.spawn(|| {
                loop {
                    // Epochs of instance 3 below this one have been withdrawn before the pick began.
                    let least = applied.load(Ordering::SeqCst);
                    if least == u64::MAX {
                        break;
                    }
                    let choice = endpoints.choose(None).unwrap();
                    let epoch = choice.guard.endpoint().epoch().unwrap().as_u64();
                    assert!(epoch < 1000 || epoch >= least, "{epoch} picked after {least}");
                    picks.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        for round in 0..ROUNDS {
            let before = picks.load(Ordering::Relaxed);
            let epoch = 1000 + round;
            if round % 2 == 0 {
                endpoint(&endpoints, 3).put_aside(UnixMillis::new(epoch), AT_ONCE);
                applied.store(epoch + 1, Ordering::SeqCst);
            }
            fixture.publish(list(round + 1));
            applied.store(epoch + 1, Ordering::SeqCst);
            while picks.load(Ordering::Relaxed) < before + 3
                && !pickers.iter().any(std::thread::ScopedJoinHandle::is_finished)
            {
                std::thread::yield_now();
            }
        }
        applied.store(u64::MAX, Ordering::SeqCst);
    });
}

#[derive(Clone, Debug)]
enum Step {
    /// An answer of this incarnation, called before, says that it leaves over so many seconds.
    Tag(Incarnation, u64),
    /// A call to this incarnation gets no connection.
    Refuse(Incarnation),
    /// One is answered.
    Answer(Incarnation),
    /// A list with these: 0 is nobody at the address, otherwise the epoch.
    List([u64; 2]),
    Pass(Duration),
}

type Incarnation = (u16, u64);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        ((1u16..=2, 1u64..=2), prop_oneof![Just(0), 1u64..30]).prop_map(|(who, fade)| Step::Tag(who, fade)),
        (1u16..=2, 1u64..=2).prop_map(Step::Refuse),
        (1u16..=2, 1u64..=2).prop_map(Step::Answer),
        prop::array::uniform2(0u64..=2).prop_map(Step::List),
        (0u64..70).prop_map(|seconds| Step::Pass(Duration::from_secs(seconds))),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    /// In any order of tags, failed connects, stale lists, restarts at the same address and flaps: a tombstone
    /// holds until the registry is seen without its incarnation or a minute has passed, a failed connect until
    /// an answer; another incarnation is none of their business, and the best of the last ones are used.
    #[test]
    fn whoever_said_goodbye_or_cannot_be_reached_is_used_only_as_the_last_one_standing(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let fixture = Fixture::new();
            let endpoints = fixture.endpoints(Policy::default());
            let mut listed: Vec<Incarnation> = Vec::new();
            let mut met: BTreeMap<Incarnation, Arc<Endpoint>> = BTreeMap::new();
            // When each takes nothing any more, and when that is forgotten.
            let mut aside: BTreeMap<Incarnation, [Instant; 2]> = BTreeMap::new();
            let mut failing: BTreeSet<Incarnation> = BTreeSet::new();
            for step in steps {
                match step {
                    Step::Tag(who, fade) => {
                        if let Some(endpoint) = met.get(&who) {
                            let (now, fade) = (Instant::now(), Duration::from_secs(fade));
                            endpoint.put_aside(UnixMillis::new(who.1), fade);
                            let before = aside.get(&who).filter(|[_, until]| *until > now);
                            let end = before.map_or(now + fade, |[end, _]| (*end).min(now + fade));
                            aside.insert(who, [end, end.max(now) + Duration::from_secs(60)]);
                        }
                    }
                    Step::Refuse(who) => {
                        if let Some(endpoint) = met.get(&who) {
                            endpoint.unreachable(endpoint.verdict());
                            failing.insert(who);
                        }
                    }
                    Step::Answer(who) => {
                        if let Some(endpoint) = met.get(&who) {
                            endpoint.answered(endpoint.verdict());
                            failing.remove(&who);
                        }
                    }
                    Step::List(epochs) => {
                        listed = (1..).zip(epochs).filter(|(_, epoch)| *epoch > 0).collect();
                        fixture.publish(listed.iter().map(|&(port, epoch)| of_epoch(port, epoch)));
                        aside.retain(|who, _| listed.contains(who));
                    }
                    Step::Pass(time) => advance(time).await,
                }
                let now = Instant::now();
                let gone = |who: &Incarnation| aside.get(who).is_some_and(|[end, until]| *end <= now && now < *until);
                let rank = |who: &Incarnation| (failing.contains(who), gone(who));
                let best = listed.iter().map(rank).min();
                let expected: Vec<Incarnation> =
                    listed.iter().filter(|who| Some(rank(who)) == best).copied().collect();
                let table = endpoints.table();
                let mut used = Vec::new();
                for slot in &table.slots[..table.weights.len()] {
                    let who = (slot.service, slot.endpoint().epoch().unwrap().as_u64());
                    met.insert(who, slot.endpoint().clone());
                    used.push(who);
                }
                used.sort_unstable();
                prop_assert_eq!(used, expected);
            }
            Ok(())
        })?;
    }
}
