//! The client against a registry that each test plays by hand. Time is paused: what waits, waits in no time.

mod failover;
mod login;
mod reports;
mod stage;

use super::*;
use crate::model::{Instance, Metadata, Reason, Removal, ServiceKey};
use crate::naming::header::CallerTag;
use crate::naming::{Error, Register, Snapshots, Told, Untold};
use crate::protocol::entity::ServiceInfo;
use crate::protocol::message::{
    BatchInstanceRequest, ClientDetectionRequest, ClientDetectionResponse, ConnectResetRequest,
    GracefulDeregisterRequest, GracefulDeregisterResponse, InstanceRequest, NotifySubscriberResponse,
    QueryServiceResponse, ServiceQueryRequest, SetupAckRequest, SubscribeServiceRequest,
    SubscribeServiceResponse, UntoldCaller,
};
use stage::{Peer, Stage};
use std::path::PathBuf;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, sleep};

fn orders() -> ServiceKey {
    "orders".parse().unwrap()
}

fn instance(port: u16) -> Instance {
    Instance::new(format!("10.0.0.7:{port}").parse().unwrap())
}

fn list(revision: u64, ports: &[u16]) -> ServiceInfo {
    let instances: Vec<_> = ports.iter().map(|port| instance(*port)).collect();
    ServiceInfo::new(&orders(), revision, "", instances.iter())
}

/// The list that says why an instance is not on it.
fn without(list: ServiceInfo, port: u16, reason: Reason) -> ServiceInfo {
    list.explained(&[Removal::new(&instance(port), reason)])
}

fn ports(snapshots: &Snapshots) -> Vec<u16> {
    snapshots.latest().instances().iter().map(|instance| instance.address().port()).collect()
}

/// Begins a registration of `orders` and returns its outcome to come.
fn registering(nacos: &Nacos, instance: Instance) -> JoinHandle<Result<(), Error>> {
    let nacos = nacos.clone();
    tokio::spawn(async move { nacos.register(&orders(), &instance).await })
}

fn deregistering(nacos: &Nacos, instance: Instance) -> JoinHandle<Result<(), Error>> {
    let nacos = nacos.clone();
    tokio::spawn(async move { nacos.deregister(&orders(), &instance.key).await })
}

fn closing(nacos: &Nacos, within: Duration) -> JoinHandle<Result<(), Error>> {
    let nacos = nacos.clone();
    tokio::spawn(async move { nacos.close(within).await })
}

/// Registers an instance of `orders`, and the registry accepts it.
async fn registered(nacos: &Nacos, peer: &mut Peer, port: u16) {
    let registering = registering(nacos, instance(port));
    peer.asked::<InstanceRequest>().await.yes();
    registering.await.unwrap().unwrap();
}

/// Follows `orders`, and the registry gives a first list.
async fn subscribed(nacos: &Nacos, peer: &mut Peer, first: ServiceInfo) -> Snapshots {
    let nacos = nacos.clone();
    let subscribing = tokio::spawn(async move { nacos.subscribe("orders").await });
    answer_subscription(peer, first).await;
    subscribing.await.unwrap().unwrap()
}

async fn answer_subscription(peer: &mut Peer, info: ServiceInfo) {
    let asked = peer.asked::<SubscribeServiceRequest>().await;
    let question = asked.question();
    assert_eq!((question.subscribe, question.service_name.as_str()), (true, "orders"));
    asked.with(SubscribeServiceResponse { service_info: info, ..SubscribeServiceResponse::default() });
}

/// The port and kind of the next request that registers or deregisters one instance, which is accepted.
async fn one(peer: &mut Peer) -> (String, i64) {
    let asked = peer.asked::<InstanceRequest>().await;
    let question = (asked.question().r#type.clone(), asked.question().instance.port);
    asked.yes();
    question
}

fn registers(port: i64) -> (String, i64) {
    ("registerInstance".into(), port)
}

fn deregisters(port: i64) -> (String, i64) {
    ("deregisterInstance".into(), port)
}

/// The ports of the next request that registers several instances, which is accepted.
async fn several(peer: &mut Peer) -> Vec<i64> {
    let asked = peer.asked::<BatchInstanceRequest>().await;
    let ports = asked.question().instances.iter().map(|instance| instance.port).collect();
    asked.yes();
    ports
}

/// Asserts that the client asks nothing for a minute; it goes on asking for health.
async fn asks_nothing(peer: &Peer) {
    sleep(Duration::from_secs(60)).await;
    assert!(!peer.is_asked());
}

#[tokio::test(start_paused = true)]
async fn the_setup_says_who_we_are_and_offers_no_abilities() {
    for promises_abilities in [false, true] {
        let mut stage = Stage::new();
        stage.promises_abilities = promises_abilities;
        let builder = Nacos::builder("stage:8848").namespace("test").app("storefront");
        let nacos = stage.connect(builder);
        let mut peer = stage.accept().await;
        let labels: Vec<_> = peer.setup.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let id = format!("{:016x}", CallerTag::of_this_process("").id);
        let caller = ("graceful.caller", id.as_str());
        assert_eq!(labels, [("AppName", "storefront"), caller, ("module", "naming"), ("source", "sdk")]);
        assert_eq!((peer.setup.tenant.as_str(), &peer.setup.ability_table), ("test", &None));
        assert!(peer.setup.client_version.starts_with("Tower-Graceful:v"));
        peer.say(&SetupAckRequest::default()); // Should a registry send it all the same.
        registered(&nacos, &mut peer, 1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_setup_that_is_overtaken_is_waited_for() {
    let mut stage = Stage::new();
    stage.overtaken = 3;
    let nacos = stage.connect(Nacos::builder("stage:8848"));
    let mut peer = stage.accept().await;
    registered(&nacos, &mut peer, 1).await;
    assert!(stage.wire_is_quiet(), "on the first connection");
}

#[tokio::test(start_paused = true)]
async fn a_registration_resolves_when_the_registry_has_acknowledged_it() {
    let (_stage, nacos, mut peer) = Stage::with_client().await;
    let registering = registering(&nacos, instance(1).with_metadata(Metadata::from_iter([("zone", "a")])));
    let asked = peer.asked::<InstanceRequest>().await;
    let question = asked.question();
    assert_eq!(question.namespace, "public");
    assert_eq!((question.service_name.as_str(), question.group_name.as_str()), ("orders", "DEFAULT_GROUP"));
    assert_eq!((question.instance.ip.as_str(), question.instance.port), ("10.0.0.7", 1));
    assert_eq!(question.instance.metadata["zone"].as_deref(), Some("a"));
    sleep(Duration::from_secs(1)).await;
    assert!(!registering.is_finished());
    asked.yes();
    registering.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_handed_on_at_once_and_the_instance_is_never_tried_again() {
    let (mut stage, nacos, mut peer) = Stage::with_client().await;
    let typed = registering(&nacos, instance(1));
    peer.asked::<InstanceRequest>().await.no(400, "bad weight");
    let error = typed.await.unwrap().unwrap_err();
    assert!(matches!(&error, Error::Refused { code: 400, message } if message == "bad weight"), "{error:?}");
    let enveloped = registering(&nacos, instance(1));
    peer.asked::<InstanceRequest>().await.error(403, "no right");
    assert!(matches!(enveloped.await.unwrap(), Err(Error::Refused { code: 403, .. })));
    peer.cut();
    asks_nothing(&stage.accept().await).await;
}

#[tokio::test(start_paused = true)]
async fn what_can_only_be_refused_is_not_sent() {
    let (_stage, nacos, peer) = Stage::with_client().await;
    let long = instance(1).with_metadata(Metadata::from_iter([("zone", "x".repeat(1021))]));
    let error = nacos.register(&orders(), &long).await.unwrap_err().to_string();
    assert!(error.contains("zone=1025"), "{error}");
    let persistent = Instance { ephemeral: false, ..instance(1) };
    assert!(matches!(nacos.register(&orders(), &persistent).await, Err(Error::Invalid { .. })));
    assert!(matches!(nacos.subscribe("a b").await, Err(Error::Invalid { .. })));
    let elsewhere = "other##orders".parse().unwrap();
    assert!(matches!(nacos.register(&elsewhere, &instance(1)).await, Err(Error::Invalid { .. })));
    assert!(!peer.is_asked());
}

#[tokio::test(start_paused = true)]
async fn a_busy_registry_is_asked_again() {
    let (_stage, nacos, mut peer) = Stage::with_client().await;
    let registering = registering(&nacos, instance(1));
    peer.asked::<InstanceRequest>().await.error(300, "starting");
    peer.asked::<InstanceRequest>().await.no(503, "too many");
    peer.asked::<InstanceRequest>().await.yes();
    registering.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn several_instances_of_one_service_are_registered_side_by_side() {
    let (mut stage, nacos, mut peer) = Stage::with_client().await;
    registered(&nacos, &mut peer, 1).await;
    let second = registering(&nacos, instance(2));
    assert_eq!(several(&mut peer).await, [1, 2]);
    second.await.unwrap().unwrap();
    peer.cut();
    let mut peer = stage.accept().await;
    assert_eq!(several(&mut peer).await, [1, 2]);
    let first = deregistering(&nacos, instance(1));
    assert_eq!(one(&mut peer).await, registers(2));
    first.await.unwrap().unwrap();
    let second = deregistering(&nacos, instance(2));
    assert_eq!(one(&mut peer).await, deregisters(2));
    second.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_is_registered_again_on_a_new_connection() {
    let (mut stage, nacos, mut peer) = Stage::with_client().await;
    registered(&nacos, &mut peer, 1).await;
    let update = registering(&nacos, instance(1).with_metadata(Metadata::from_iter([("v", "2")])));
    peer.asked::<InstanceRequest>().await.yes();
    update.await.unwrap().unwrap();
    let cut = Instant::now();
    peer.cut();
    let mut peer = stage.accept().await;
    let asked = peer.asked::<InstanceRequest>().await;
    assert_eq!(asked.question().instance.metadata["v"].as_deref(), Some("2"));
    assert!(cut.elapsed() <= Duration::from_millis(150), "{:?}", cut.elapsed());
    asked.yes();
    asks_nothing(&peer).await;
}

#[tokio::test(start_paused = true)]
async fn a_registration_waits_over_a_reconnect() {
    let (mut stage, nacos, mut peer) = Stage::with_client().await;
    let registering = registering(&nacos, instance(1));
    let unanswered = peer.asked::<InstanceRequest>().await;
    peer.cut();
    drop(unanswered.never());
    let mut peer = stage.accept().await;
    assert_eq!(one(&mut peer).await, registers(1));
    registering.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_registration_without_an_answer_is_made_on_a_new_connection() {
    let (mut stage, nacos, mut peer) = Stage::with_client().await;
    let registering = registering(&nacos, instance(1));
    let asked = Instant::now();
    let _open = peer.asked::<InstanceRequest>().await.never();
    let mut second = stage.accept().await;
    assert_eq!(asked.elapsed().as_secs(), 3);
    peer.closed().await; // The old one could still do it, and nobody would know.
    assert_eq!(one(&mut second).await, registers(1));
    registering.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_to_a_registry_that_is_away_ends_and_leaves_nothing_behind() {
    let mut stage = Stage::new();
    stage.set_away(true);
    let nacos = stage.connect(Nacos::builder("stage:8848"));
    let began = Instant::now();
    let error = nacos.register(&orders(), &instance(1)).await.unwrap_err();
    assert_eq!(began.elapsed(), DEFAULT_REQUEST_TIMEOUT * TRIES);
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "connecting failed");
    assert!(matches!(nacos.subscribe("orders").await, Err(Error::Unavailable { .. })));
    stage.set_away(false);
    asks_nothing(&stage.accept().await).await;
}

#[tokio::test(start_paused = true)]
async fn a_registration_that_is_given_up_is_taken_off_again() {
    let (_stage, nacos, mut peer) = Stage::with_client().await;
    let registering = registering(&nacos, instance(1));
    let asked = peer.asked::<InstanceRequest>().await;
    registering.abort();
    assert!(registering.await.unwrap_err().is_cancelled());
    asked.yes();
    assert_eq!(one(&mut peer).await, deregisters(1));
}

#[tokio::test(start_paused = true)]
async fn what_was_deregistered_while_the_registry_was_away_is_not_registered_again() {
    let (mut stage, nacos, mut peer) = Stage::with_client().await;
    registered(&nacos, &mut peer, 1).await;
    registered_second(&nacos, &mut peer).await;
    stage.set_away(true);
    peer.cut();
    let began = Instant::now();
    let error = nacos.deregister(&orders(), &instance(1).key).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(began.elapsed() <= DEFAULT_REQUEST_TIMEOUT * DEREGISTER_TRIES);
    stage.set_away(false);
    let mut peer = stage.accept().await;
    assert_eq!(one(&mut peer).await, registers(2));
    asks_nothing(&peer).await;
}

async fn registered_second(nacos: &Nacos, peer: &mut Peer) {
    let second = registering(nacos, instance(2));
    assert_eq!(several(peer).await, [1, 2]);
    second.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn deregistering_takes_effect_with_the_call() {
    let (mut stage, nacos, mut peer) = Stage::with_client().await;
    registered(&nacos, &mut peer, 1).await;
    drop(nacos.deregister(&orders(), &instance(1).key)); // Never polled.
    assert_eq!(one(&mut peer).await, deregisters(1));
    peer.cut();
    asks_nothing(&stage.accept().await).await;
}

#[tokio::test(start_paused = true)]
async fn a_registration_on_its_way_is_followed_by_its_deregistration() {
    let (_stage, nacos, mut peer) = Stage::with_client().await;
    let registering = registering(&nacos, instance(1));
    let asked = peer.asked::<InstanceRequest>().await;
    let deregistering = deregistering(&nacos, instance(1));
    assert!(matches!(registering.await.unwrap(), Err(Error::Invalid { .. })));
    assert!(!deregistering.is_finished());
    asked.yes();
    assert_eq!(one(&mut peer).await, deregisters(1));
    deregistering.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn deregistering_what_is_not_registered_asks_nobody() {
    let (_stage, nacos, peer) = Stage::with_client().await;
    nacos.deregister(&orders(), &instance(1).key).await.unwrap();
    assert!(!peer.is_asked());
}

#[tokio::test(start_paused = true)]
async fn who_leaves_hears_which_consumers_know() {
    let (mut stage, nacos, mut peer) = Stage::with_client().await;
    registered(&nacos, &mut peer, 1).await;
    registered_second(&nacos, &mut peer).await;
    assert!(!nacos.hears_of_consumers(), "no list has said whose registry this is");
    let _seen = subscribed(&nacos, &mut peer, list(7, &[1, 2]).explained(&[])).await;
    assert!(nacos.hears_of_consumers());

    let first = leaving(&nacos, 1);
    let asked = peer.asked::<GracefulDeregisterRequest>().await;
    let question = asked.question();
    assert_eq!((question.service_name.as_str(), question.wait_ms), ("orders", 2_000));
    assert_eq!(question.instances.iter().map(|stays| stays.port).collect::<Vec<_>>(), [2]);
    sleep(DEFAULT_REQUEST_TIMEOUT + TOLD_WITHIN / 2).await; // It may take so long.
    let silent =
        |caller: &str| UntoldCaller { caller: caller.into(), app: "mail".into(), address: "a:1".into() };
    asked.with(GracefulDeregisterResponse {
        told: ["9f86d081884c7d65", "nobody"].map(str::to_owned).into(),
        untold: vec![silent("7"), silent("?")],
        ..GracefulDeregisterResponse::default()
    });
    let untold = vec![Untold { caller: 7, app: "mail".into(), address: "a:1".into() }];
    let told = Told { callers: vec![0x9f86_d081_884c_7d65], untold };
    assert_eq!(first.await.unwrap().unwrap(), told);

    peer.cut();
    let mut peer = stage.accept().await;
    assert!(!nacos.hears_of_consumers(), "the next connection may lead to another registry");
    assert_eq!(one(&mut peer).await, registers(2));
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_does_not_hear_of_consumers_is_asked_once_and_does_what_it_can() {
    let (_stage, nacos, mut peer) = Stage::with_client().await;
    registered(&nacos, &mut peer, 1).await;
    registered_second(&nacos, &mut peer).await;
    let _seen = subscribed(&nacos, &mut peer, list(7, &[1, 2]).explained(&[])).await;
    let first = leaving(&nacos, 1);
    peer.asked::<GracefulDeregisterRequest>().await.error(302, "RequestHandler Not Found");
    assert_eq!(one(&mut peer).await, registers(2));
    assert_eq!(first.await.unwrap().unwrap(), Told::default());
    assert!(!nacos.hears_of_consumers());
    let second = leaving(&nacos, 2);
    assert_eq!(one(&mut peer).await, deregisters(2));
    assert_eq!(second.await.unwrap().unwrap(), Told::default());
}

fn leaving(nacos: &Nacos, port: u16) -> JoinHandle<Result<Told, Error>> {
    let nacos = nacos.clone();
    tokio::spawn(async move { nacos.leave(&orders(), &instance(port).key).await })
}

#[tokio::test(start_paused = true)]
async fn all_subscribers_of_a_service_share_one_cell() {
    let (_stage, nacos, mut peer) = Stage::with_client().await;
    let first = subscribed(&nacos, &mut peer, list(7, &[1])).await;
    let second = nacos.subscribe("DEFAULT_GROUP@@orders").await.unwrap();
    peer.push("1", list(8, &[1, 2]));
    peer.heard::<NotifySubscriberResponse>().await;
    assert_eq!((ports(&first), ports(&second)), (vec![1, 2], vec![1, 2]));
    assert!(!peer.is_asked());
}

#[tokio::test(start_paused = true)]
async fn a_push_is_acknowledged_after_readers_see_it() {
    let (_stage, nacos, mut peer) = Stage::with_client().await;
    let snapshots = subscribed(&nacos, &mut peer, list(7, &[1])).await;
    for revision in 8..30 {
        let version = snapshots.version();
        peer.push(&revision.to_string(), list(revision, &[1, 2]));
        let acknowledged = peer.heard::<NotifySubscriberResponse>().await;
        assert_eq!((acknowledged.request_id, acknowledged.result_code), (revision.to_string(), 200));
        assert_eq!(snapshots.version(), version + 1);
        assert_eq!(snapshots.latest().revision(), revision);
    }
}

#[tokio::test(start_paused = true)]
async fn an_older_push_is_acknowledged_and_not_applied() {
    let (_stage, nacos, mut peer) = Stage::with_client().await;
    let snapshots = subscribed(&nacos, &mut peer, list(7, &[1])).await;
    peer.push("1", list(6, &[1, 2]));
    peer.heard::<NotifySubscriberResponse>().await;
    assert_eq!((ports(&snapshots), snapshots.version()), (vec![1], 1));
}

#[tokio::test(start_paused = true)]
async fn a_push_about_something_else_is_acknowledged() {
    let (_stage, _nacos, mut peer) = Stage::with_client().await;
    peer.push("1", list(6, &[1, 2]));
    assert_eq!(peer.heard::<NotifySubscriberResponse>().await.request_id, "1");
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_keeps_the_list_and_a_new_one_may_count_from_anew() {
    let (mut stage, nacos, mut peer) = Stage::with_client().await;
    let mut snapshots = subscribed(&nacos, &mut peer, list(700, &[1, 2])).await;
    stage.set_away(true);
    peer.cut();
    sleep(Duration::from_secs(600)).await;
    assert_eq!((ports(&snapshots), snapshots.version()), (vec![1, 2], 1));
    stage.set_away(false);
    let mut peer = stage.accept().await;
    snapshots.changed().await; // The first one.
    answer_subscription(&mut peer, list(1, &[3])).await;
    assert_eq!(snapshots.changed().await.revision(), 1);
    assert_eq!(ports(&snapshots), [1, 2, 3], "the others may not be back yet");
    snapshots.changed().await;
    assert_eq!(ports(&snapshots), [3]);
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_of_the_registry_those_who_were_ordered_off_are_not_waited_for() {
    let (mut stage, nacos, mut peer) = Stage::with_client().await;
    let mut snapshots = subscribed(&nacos, &mut peer, list(7, &[1, 2, 3])).await;
    snapshots.changed().await; // The first one.
    peer.cut();
    let mut peer = stage.accept().await;
    answer_subscription(&mut peer, without(list(1, &[2]), 1, Reason::Deregistered)).await;
    snapshots.changed().await;
    assert_eq!(ports(&snapshots), [2, 3]);
    peer.push("1", without(list(2, &[2]), 3, Reason::ConnectionLost));
    peer.heard::<NotifySubscriberResponse>().await;
    assert_eq!(ports(&snapshots), [2, 3], "it may be on its way back once more");
    peer.push("2", without(list(3, &[2]), 3, Reason::Disabled));
    peer.heard::<NotifySubscriberResponse>().await;
    assert_eq!(ports(&snapshots), [2]);
}

#[tokio::test(start_paused = true)]
async fn the_last_instance_goes_at_once_by_order_and_after_a_while_by_accident() {
    for (reason, goes_after) in [
        (Reason::Deregistered, Duration::ZERO),
        (Reason::Disabled, Duration::ZERO),
        (Reason::Expired, DEFAULT_KEEP_EMPTY),
        (Reason::ConnectionLost, DEFAULT_KEEP_EMPTY),
    ] {
        let (_stage, nacos, mut peer) = Stage::with_client().await;
        let mut snapshots = subscribed(&nacos, &mut peer, list(7, &[1])).await;
        peer.push("1", without(list(8, &[]), 1, reason));
        let began = Instant::now();
        snapshots.wait_for(|list| list.instances().is_empty()).await;
        assert_eq!(began.elapsed().as_secs(), goes_after.as_secs(), "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_restarted_registry_that_knows_nobody_yet_does_not_empty_the_list() {
    let (mut stage, nacos, mut peer) = Stage::with_client().await;
    let mut snapshots = subscribed(&nacos, &mut peer, list(7, &[1, 2])).await;
    peer.cut();
    let mut peer = stage.accept().await;
    answer_subscription(&mut peer, list(1, &[])).await;
    let began = Instant::now();
    peer.push("1", list(2, &[]));
    peer.heard::<NotifySubscriberResponse>().await;
    assert_eq!(ports(&snapshots), [1, 2]);
    snapshots.wait_for(|list| list.instances().is_empty()).await;
    let kept = began.elapsed();
    assert_eq!(kept.as_secs(), DEFAULT_KEEP_EMPTY.as_secs());
}

#[tokio::test(start_paused = true)]
async fn wishes_for_the_list_make_one_query_at_a_time() {
    let (_stage, nacos, mut peer) = Stage::with_client().await;
    let mut snapshots = subscribed(&nacos, &mut peer, list(7, &[1])).await;
    snapshots.refresh();
    let query = peer.asked::<ServiceQueryRequest>().await;
    assert_eq!(query.question().service_name, "orders");
    for _ in 0..10 {
        snapshots.refresh();
        sleep(Duration::from_millis(10)).await;
    }
    assert!(!peer.is_asked(), "one is on its way");
    query.with(QueryServiceResponse { service_info: list(8, &[2]), ..QueryServiceResponse::default() });
    let query = peer.asked::<ServiceQueryRequest>().await;
    assert_eq!(snapshots.wait_for(|list| list.revision() == 8).await.instances().len(), 1);
    query.with(QueryServiceResponse { service_info: list(8, &[2]), ..QueryServiceResponse::default() });
    asks_nothing(&peer).await;
}

#[tokio::test(start_paused = true)]
async fn a_list_that_does_not_come_costs_no_registration() {
    let (stage, nacos, mut peer) = Stage::with_client().await;
    registered(&nacos, &mut peer, 1).await;
    let snapshots = subscribed(&nacos, &mut peer, list(7, &[1])).await;
    snapshots.refresh();
    let _open = peer.asked::<ServiceQueryRequest>().await.never();
    peer.asked::<ServiceQueryRequest>().await.error(500, "no list today");
    asks_nothing(&peer).await;
    assert!(stage.wire_is_quiet(), "the connection is the same");
}

#[tokio::test(start_paused = true)]
async fn a_service_without_readers_is_unsubscribed() {
    let (mut stage, nacos, mut peer) = Stage::with_client().await;
    let snapshots = subscribed(&nacos, &mut peer, list(7, &[1])).await;
    let clone = snapshots.clone();
    drop(snapshots);
    asks_nothing(&peer).await;
    drop(clone);
    let asked = peer.asked::<SubscribeServiceRequest>().await;
    assert!(!asked.question().subscribe);
    asked.yes();
    let snapshots = subscribed(&nacos, &mut peer, list(8, &[2])).await;
    assert_eq!(ports(&snapshots), [2]);
    drop(snapshots);
    peer.cut();
    asks_nothing(&stage.accept().await).await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_subscription_is_handed_on_at_once() {
    let (_stage, nacos, mut peer) = Stage::with_client().await;
    let subscribing = tokio::spawn(async move { nacos.subscribe("orders").await });
    peer.asked::<SubscribeServiceRequest>().await.no(403, "no right");
    assert!(matches!(subscribing.await.unwrap(), Err(Error::Refused { code: 403, .. })));
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_does_not_know_us_any_more_is_connected_to_anew() {
    let (mut stage, nacos, mut peer) = Stage::with_client().await;
    registered(&nacos, &mut peer, 1).await;
    let second = registering(&nacos, instance(2));
    peer.asked::<BatchInstanceRequest>().await.error(301, "Connection is unregistered.");
    let mut next = stage.accept().await;
    peer.closed().await;
    assert_eq!(one(&mut next).await, registers(1));
    assert_eq!(several(&mut next).await, [1, 2]);
    second.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_answers_but_knows_us_no_more_is_found_out_by_asking_for_health() {
    let (mut stage, nacos, mut peer) = Stage::with_client().await;
    registered(&nacos, &mut peer, 1).await;
    peer.disown();
    let mut next = stage.accept().await;
    assert_eq!(one(&mut next).await, registers(1));
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_asks_to_reconnect_is_obeyed() {
    let (mut stage, nacos, mut peer) = Stage::with_client().await;
    registered(&nacos, &mut peer, 1).await;
    peer.say(&ConnectResetRequest { request_id: "9".into(), ..ConnectResetRequest::default() });
    let mut next = stage.accept().await;
    assert_eq!(one(&mut next).await, registers(1));
    peer.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_asks_whether_we_are_there_is_answered() {
    let (_stage, _nacos, mut peer) = Stage::with_client().await;
    peer.say(&ClientDetectionRequest { request_id: "9".into(), ..ClientDetectionRequest::default() });
    assert_eq!(peer.heard::<ClientDetectionResponse>().await.request_id, "9");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_has_fallen_silent_is_given_up() {
    let (mut stage, nacos, mut peer) = Stage::with_client().await;
    registered(&nacos, &mut peer, 1).await;
    asks_nothing(&peer).await; // A minute of health.
    peer.freeze();
    let frozen = Instant::now();
    let mut next = stage.accept().await;
    assert!(frozen.elapsed() <= Duration::from_millis(8_200), "{:?}", frozen.elapsed());
    assert_eq!(one(&mut next).await, registers(1));
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_away_is_dialled_at_growing_intervals() {
    let (mut stage, _nacos, peer) = Stage::with_client().await;
    stage.set_away(true);
    peer.cut();
    let began = Instant::now();
    sleep(Duration::from_secs(60)).await;
    let dials = stage.refused();
    assert!((16..=30).contains(&dials), "{dials}"); // 6 within 6.3 s, then one each 5 s; chance halves both.
    stage.set_away(false);
    stage.accept().await;
    assert!(began.elapsed() <= Duration::from_secs(66));
}

#[tokio::test(start_paused = true)]
async fn closing_takes_off_what_is_registered_and_ends_the_connection() {
    let (stage, nacos, mut peer) = Stage::with_client().await;
    registered(&nacos, &mut peer, 1).await;
    registered_second(&nacos, &mut peer).await;
    let snapshots = subscribed(&nacos, &mut peer, list(7, &[1])).await;
    let waiting = registering(&nacos, instance(3));
    let asked = peer.asked::<BatchInstanceRequest>().await;
    let closing = closing(&nacos, Duration::from_secs(10));
    assert!(matches!(waiting.await.unwrap(), Err(Error::Closed)));
    asked.yes();
    one(&mut peer).await;
    closing.await.unwrap().unwrap();
    peer.closed().await;
    assert!(matches!(nacos.register(&orders(), &instance(1)).await, Err(Error::Closed)));
    assert!(matches!(nacos.deregister(&orders(), &instance(1).key).await, Err(Error::Closed)));
    assert!(matches!(nacos.subscribe("orders").await, Err(Error::Closed)));
    assert_eq!(ports(&snapshots), [1], "readers keep the last list");
    nacos.close(Duration::ZERO).await.unwrap();
    sleep(Duration::from_secs(60)).await;
    assert!(stage.wire_is_quiet());
}

#[tokio::test(start_paused = true)]
async fn closing_ends_in_time_with_a_registry_that_is_silent() {
    let (_stage, nacos, mut peer) = Stage::with_client().await;
    registered(&nacos, &mut peer, 1).await;
    peer.freeze();
    let began = Instant::now();
    let error = nacos.close(Duration::from_secs(2)).await.unwrap_err();
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    assert_eq!(
        error.to_string(),
        "the registry is unavailable (closing: 1 instances not acknowledged as off)"
    );
}

#[tokio::test(start_paused = true)]
async fn closing_without_a_connection_ends_at_once() {
    let (stage, nacos, mut peer) = Stage::with_client().await;
    registered(&nacos, &mut peer, 1).await;
    stage.set_away(true);
    peer.cut();
    sleep(Duration::from_secs(30)).await;
    let began = Instant::now();
    assert!(matches!(nacos.close(Duration::from_secs(2)).await, Err(Error::Unavailable { .. })));
    assert_eq!(began.elapsed(), Duration::ZERO);

    let stage = Stage::new();
    stage.set_away(true);
    let nacos = stage.connect(Nacos::builder("stage:8848"));
    let registering = registering(&nacos, instance(1));
    sleep(Duration::from_secs(1)).await;
    nacos.close(Duration::from_secs(2)).await.unwrap(); // Nothing was ever registered.
    assert!(matches!(registering.await.unwrap(), Err(Error::Closed)));
}

#[tokio::test(start_paused = true)]
async fn the_connection_ends_with_the_last_handle() {
    let (stage, nacos, mut peer) = Stage::with_client().await;
    registered(&nacos, &mut peer, 1).await;
    let snapshots = subscribed(&nacos, &mut peer, list(7, &[1])).await;
    let clone = nacos.clone();
    drop(nacos);
    yield_now().await;
    snapshots.refresh();
    peer.asked::<ServiceQueryRequest>().await.error(500, "no");
    drop(clone);
    peer.closed().await;
    sleep(Duration::from_secs(60)).await;
    assert!(stage.wire_is_quiet());
    assert_eq!(ports(&snapshots), [1]);
}

/// A directory for snapshot files that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(test: &str) -> Self {
        let id = CallerTag::of_this_process("").id;
        Self(std::env::temp_dir().join(format!("tower-graceful-{test}-{id:016x}")))
    }

    fn client(&self, stage: &Stage) -> Nacos {
        stage.connect(Nacos::builder("stage:8848").snapshot_files(&self.0))
    }

    /// Leaves the list of an earlier process.
    async fn left_by(&self, ports: &[u16]) {
        let mut stage = Stage::new();
        let nacos = self.client(&stage);
        let mut peer = stage.accept().await;
        let _snapshots = subscribed(&nacos, &mut peer, list(7, ports)).await;
        nacos.close(DEFAULT_REQUEST_TIMEOUT).await.unwrap();
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_registry_a_client_starts_from_its_files_and_then_follows_the_registry() {
    let directory = Directory::new("starts");
    directory.left_by(&[1, 2]).await;
    let mut stage = Stage::new();
    stage.set_away(true);
    let (nacos, began) = (directory.client(&stage), Instant::now());
    let mut snapshots = nacos.subscribe("orders").await.unwrap();
    assert_eq!(began.elapsed().as_secs(), DEFAULT_REQUEST_TIMEOUT.as_secs());
    assert_eq!((ports(&snapshots), snapshots.version()), (vec![1, 2], 1));
    let asked = Instant::now();
    nacos.subscribe("orders").await.unwrap();
    assert_eq!(asked.elapsed(), Duration::ZERO);
    let unknown = nacos.subscribe("mail").await.unwrap_err();
    assert!(matches!(unknown, Error::Unavailable { .. }), "there is no file of it: {unknown}");
    assert_eq!(asked.elapsed(), DEFAULT_REQUEST_TIMEOUT * TRIES);

    snapshots.changed().await; // The first one.
    stage.set_away(false);
    let mut peer = stage.accept().await;
    answer_subscription(&mut peer, list(8, &[])).await;
    peer.push("1", list(9, &[]));
    peer.heard::<NotifySubscriberResponse>().await;
    assert_eq!(ports(&snapshots), [1, 2], "a registry that knows nobody yet");
    peer.push("2", list(10, &[2, 3]));
    peer.heard::<NotifySubscriberResponse>().await;
    assert_eq!(ports(&snapshots), [2, 3]);
    nacos.close(DEFAULT_REQUEST_TIMEOUT).await.unwrap(); // Or it may still write.
}

#[tokio::test(start_paused = true)]
async fn a_file_that_lists_nobody_is_nothing_to_start_from() {
    let directory = Directory::new("nobody");
    directory.left_by(&[]).await;
    let stage = Stage::new();
    stage.set_away(true);
    assert!(directory.client(&stage).subscribe("orders").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn once_the_registry_is_known_to_be_away_a_file_is_used_at_once() {
    let directory = Directory::new("at-once");
    directory.left_by(&[1]).await;
    let stage = Stage::new();
    stage.set_away(true);
    let nacos = directory.client(&stage);
    sleep(DEFAULT_REQUEST_TIMEOUT).await;
    let asked = Instant::now();
    assert_eq!(ports(&nacos.subscribe("orders").await.unwrap()), [1]);
    assert_eq!(asked.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn while_the_registry_answers_no_file_is_read() {
    let directory = Directory::new("answers");
    directory.left_by(&[1]).await;
    let mut stage = Stage::new();
    let nacos = directory.client(&stage);
    let mut peer = stage.accept().await;
    sleep(Duration::from_secs(60)).await;
    let client = nacos.clone();
    let subscribing = tokio::spawn(async move { client.subscribe("orders").await });
    let asked = peer.asked::<SubscribeServiceRequest>().await;
    sleep(DEFAULT_REQUEST_TIMEOUT.mul_f64(0.99)).await;
    asked.with(SubscribeServiceResponse { service_info: list(8, &[2]), ..Default::default() });
    let snapshots = subscribing.await.unwrap().unwrap();
    assert_eq!((ports(&snapshots), snapshots.version()), (vec![2], 1));
    nacos.close(DEFAULT_REQUEST_TIMEOUT).await.unwrap(); // Or it may still write.
}

#[tokio::test(start_paused = true)]
async fn what_is_only_kept_is_not_written() {
    let directory = Directory::new("kept");
    let mut stage = Stage::new();
    let nacos = directory.client(&stage);
    let mut peer = stage.accept().await;
    let snapshots = subscribed(&nacos, &mut peer, list(7, &[1, 2])).await;
    peer.push("1", list(8, &[2]));
    peer.heard::<NotifySubscriberResponse>().await;
    peer.push("2", without(list(9, &[]), 2, Reason::Expired));
    peer.heard::<NotifySubscriberResponse>().await;
    nacos.close(DEFAULT_REQUEST_TIMEOUT).await.unwrap();
    assert_eq!(ports(&snapshots), [2]);

    let stage = Stage::new();
    stage.set_away(true);
    let snapshots = directory.client(&stage).subscribe("orders").await.unwrap();
    assert_eq!((ports(&snapshots), snapshots.latest().revision()), (vec![2], 8));
}
