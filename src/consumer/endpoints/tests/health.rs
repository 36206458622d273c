//! Who is put aside because no connection can be made, and how they return.

use super::*;

/// A call to this port, sent now, gets no connection.
fn refuse(endpoints: &Endpoints<u16>, port: u16) {
    let endpoint = endpoint(endpoints, port);
    endpoint.unreachable(endpoint.verdict());
}

/// A call to this port, sent now, is answered.
fn answer(endpoints: &Endpoints<u16>, port: u16) {
    let endpoint = endpoint(endpoints, port);
    endpoint.answered(endpoint.verdict());
}

/// How many of so many picks go to `port`.
fn picks(endpoints: &Endpoints<u16>, number: usize, port: u16) -> usize {
    (0..number).filter(|_| endpoints.choose(None).unwrap().service == port).count()
}

#[tokio::test(start_paused = true)]
async fn whoever_cannot_be_connected_to_is_tried_by_one_request_after_each_wait() {
    let fixture = Fixture::new();
    fixture.publish([of_epoch(1, 1), of_epoch(2, 2)]);
    let endpoints = fixture.endpoints(Policy::default());
    refuse(&endpoints, 1);
    assert_eq!(in_use(&endpoints), [2]);
    // The waits are of 1, 2 and 4 seconds, and chance halves them at most.
    for (least, most) in [(500, 1000), (1000, 2000), (2000, 4000)] {
        advance(Duration::from_millis(least - 1)).await;
        assert_eq!(picks(&endpoints, 100, 1), 0);
        advance(Duration::from_millis(most - least + 1)).await;
        assert_eq!(picks(&endpoints, 100, 1), 1);
        assert_eq!(in_use(&endpoints), [2], "until the trial has succeeded");
        refuse(&endpoints, 1);
    }
    advance(8 * SECOND).await;
    assert_eq!(picks(&endpoints, 100, 1), 1);
    answer(&endpoints, 1);
    assert_eq!(in_use(&endpoints), [1, 2]);
    assert_eq!(endpoints.table().next_change, None, "and no pick reads a clock any more");
}

#[tokio::test(start_paused = true)]
async fn a_trial_that_never_ends_is_forgotten() {
    let fixture = Fixture::new();
    fixture.publish([of_epoch(1, 1), of_epoch(2, 2)]);
    let endpoints = fixture.endpoints(Policy::default());
    refuse(&endpoints, 1);
    advance(SECOND).await;
    assert_eq!(picks(&endpoints, 100, 1), 1);
    advance(9 * SECOND).await;
    assert_eq!(picks(&endpoints, 100, 1), 0);
    advance(SECOND).await;
    assert_eq!(picks(&endpoints, 100, 1), 1);
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_not_risked_on_a_trial() {
    let fixture = Fixture::new();
    fixture.publish([of_epoch(1, 1), of_epoch(2, 2), of_epoch(3, 3)]);
    let endpoints = fixture.endpoints(Policy::default());
    refuse(&endpoints, 1);
    advance(SECOND).await;
    let tried = Tried(vec![endpoint(&endpoints, 2)]);
    assert!((0..100).all(|_| endpoints.choose(Some(&tried)).unwrap().service == 3));
    assert_eq!(picks(&endpoints, 100, 1), 1, "it waits for another request");
}

#[tokio::test(start_paused = true)]
async fn a_trial_stands_whatever_becomes_of_others() {
    let fixture = Fixture::new();
    fixture.publish([of_epoch(1, 1), of_epoch(2, 2)]);
    let endpoints = fixture.endpoints(Policy::default());
    refuse(&endpoints, 1);
    advance(SECOND).await;
    let trial = endpoints.choose(None).unwrap();
    assert_eq!(trial.service, 1);
    let stands = || endpoints.stands(trial.guard.endpoint(), trial.basis);
    fixture.publish([of_epoch(1, 1), of_epoch(2, 2), of_epoch(3, 3)]);
    assert!(stands());
    fixture.publish([of_epoch(2, 2), of_epoch(3, 3)]);
    assert!(!stands(), "it has gone");
}

#[tokio::test(start_paused = true)]
async fn who_only_misses_heartbeats_is_used_before_who_cannot_be_connected_to() {
    let fixture = Fixture::new();
    let unhealthy = Instance { healthy: false, ..of_epoch(1, 1) };
    fixture.publish([unhealthy.clone(), of_epoch(2, 2)]);
    let endpoints = fixture.endpoints(Policy::default());
    assert_eq!(in_use(&endpoints), [2]);
    refuse(&endpoints, 2);
    assert_eq!(in_use(&endpoints), [1], "what would meet the other first would have to be repeated");
    advance(SECOND).await;
    assert_eq!(picks(&endpoints, 100, 2), 1, "it is tried as ever");
    answer(&endpoints, 2);
    assert_eq!(in_use(&endpoints), [2]);
    refuse(&endpoints, 2);
    refuse(&endpoints, 1);
    assert_eq!(in_use(&endpoints), [2], "of two who cannot be reached, the one who is said to be well");
}

#[tokio::test(start_paused = true)]
async fn when_nobody_can_be_connected_to_all_are_used_and_the_first_answer_ends_all_waits() {
    let fixture = Fixture::new();
    fixture.publish([of_epoch(1, 1), of_epoch(2, 2), of_epoch(3, 3)]);
    let endpoints = fixture.endpoints(Policy::default());
    for port in [1, 2, 3] {
        refuse(&endpoints, port);
    }
    assert_eq!(in_use(&endpoints), [1, 2, 3]);
    // Failing for long, so that the waits are long.
    for _ in 0..10 {
        advance(30 * SECOND).await;
        (1..=3).for_each(|port| refuse(&endpoints, port));
    }
    answer(&endpoints, 2);
    assert_eq!(in_use(&endpoints), [2]);
    let mut tried: Vec<u16> = (0..100).map(|_| endpoints.choose(None).unwrap().service).collect();
    tried.retain(|&port| port != 2);
    tried.sort_unstable();
    assert_eq!(tried, [1, 3], "each at once, and once");
    answer(&endpoints, 3);
    assert_eq!(in_use(&endpoints), [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn of_those_that_nobody_would_use_gladly_the_likeliest_to_answer_are_used() {
    let fixture = Fixture::new();
    let sick = Instance { healthy: false, ..of_epoch(4, 4) };
    fixture.publish([of_epoch(1, 1), of_epoch(2, 2), of_epoch(3, 3), sick]);
    let endpoints = fixture.endpoints(Policy::default());
    refuse(&endpoints, 1);
    endpoint(&endpoints, 2).put_aside(UnixMillis::new(2), AT_ONCE);
    endpoint(&endpoints, 3).put_aside(UnixMillis::new(3), AT_ONCE);
    assert_eq!(in_use(&endpoints), [2, 3], "those that leave answer");
    refuse(&endpoints, 2);
    refuse(&endpoints, 3);
    assert_eq!(in_use(&endpoints), [4], "one that misses heartbeats may be there all the same");
    refuse(&endpoints, 4);
    assert_eq!(in_use(&endpoints), [1], "one that could not be connected to may be back");
    fixture.publish([Instance { healthy: false, ..of_epoch(4, 4) }]);
    assert_eq!(in_use(&endpoints), [4]);
}

#[tokio::test(start_paused = true)]
async fn whoever_would_not_be_used_anyway_is_not_tried() {
    let fixture = Fixture::new();
    fixture.publish([of_epoch(1, 1), of_epoch(2, 2)]);
    let endpoints = fixture.endpoints(Policy::default());
    refuse(&endpoints, 1);
    endpoint(&endpoints, 1).put_aside(UnixMillis::new(1), AT_ONCE);
    advance(10 * SECOND).await;
    assert_eq!(picks(&endpoints, 100, 1), 0);
    advance(aside::Aside::HOLD).await;
    assert_eq!(picks(&endpoints, 100, 1), 1, "the tombstone has been forgotten");
}

#[tokio::test(start_paused = true)]
async fn recovery_restarts_no_ramp_and_a_new_epoch_is_a_newcomer_in_good_health() {
    let fixture = Fixture::new();
    fixture.publish([instance(1), ramping(2, 7, None)]);
    let endpoints = fixture.endpoints(Policy::default());
    fixture.publish([instance(1), ramping(2, 7, Some(NOON))]);
    advance(30 * SECOND).await;
    refuse(&endpoints, 2);
    assert_eq!(in_use(&endpoints), [1]);
    advance(30 * SECOND).await;
    answer(&endpoints, 2);
    assert_weight(&endpoints, 2, 0.6);

    refuse(&endpoints, 2);
    fixture.publish([instance(1), ramping(2, 8, Some(NOON))]);
    assert_weight(&endpoints, 2, 0.01);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_listed_again_is_tried_at_once() {
    let fixture = Fixture::new();
    fixture.publish([instance(1), instance(2)]);
    let endpoints = fixture.endpoints(Policy::default());
    refuse(&endpoints, 2);
    for list in [vec![instance(1)], vec![instance(1), instance(2)]] {
        fixture.publish(list);
        assert_eq!(in_use(&endpoints), [1]);
    }
    assert_eq!(picks(&endpoints, 100, 2), 1);
}

#[tokio::test(start_paused = true)]
async fn the_first_failure_asks_for_the_list() {
    let fixture = Fixture::new();
    fixture.publish([of_epoch(1, 1), of_epoch(2, 2)]);
    let endpoints = fixture.endpoints(Policy::default());
    refuse(&endpoints, 1);
    tokio_test::assert_ready!(tokio_test::task::spawn(fixture.publisher.refresh_wanted()).poll());
    advance(SECOND).await;
    refuse(&endpoints, 1);
    tokio_test::assert_pending!(tokio_test::task::spawn(fixture.publisher.refresh_wanted()).poll());
}
