//! What a client tells the registry of its process, and what the registry orders an instance in it.

use super::*;
use crate::model::UnixMillis;
use crate::naming::Order;
use crate::observe::{
    Gauge, LeaveCause, Observer, ProviderEvent, ProviderReading, Reading, RequestCounts, Role,
};
use crate::protocol::code;
use crate::protocol::report::{
    GracefulCommandRequest, GracefulCommandResponse, GracefulReportRequest, ReportedSecond,
};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// A provider as far as observers see it: so many requests have come.
#[derive(Default)]
struct Provider(AtomicU64);

impl Gauge for Provider {
    fn read(&self) -> Reading {
        let started = self.0.load(Ordering::Relaxed);
        let governed = RequestCounts { started, ..RequestCounts::default() };
        Reading::Provider(ProviderReading { governed, ..ProviderReading::default() })
    }
}

fn observer(nacos: &Nacos) -> Arc<dyn Observer> {
    nacos.observer().unwrap().of(Role::Provider, &orders()).unwrap()
}

fn tell(observer: &Arc<dyn Observer>, event: &ProviderEvent<'_>) {
    observer.provider(&orders(), UnixMillis::new(7), event);
}

/// Registers the instance, and tells of it.
async fn register(nacos: &Nacos, peer: &mut Peer, observer: &Arc<dyn Observer>) {
    let registering = registering(nacos, instance(1));
    peer.asked::<InstanceRequest>().await.yes();
    registering.await.unwrap().unwrap();
    tell(observer, &ProviderEvent::Registered { instance: &instance(1) });
}

const LEAVING: ProviderEvent<'static> =
    ProviderEvent::Leaving { cause: LeaveCause::Signal("SIGTERM"), in_flight: 0 };

fn words(report: &GracefulReportRequest) -> Vec<&str> {
    report.events.iter().map(|event| &*event.event).collect()
}

#[tokio::test(start_paused = true)]
async fn what_happens_is_told_at_once_and_then_once_a_second_with_the_requests_of_each() {
    let (_stage, nacos, mut peer) = Stage::with_client().await;
    let observer = observer(&nacos);
    tell(&observer, &ProviderEvent::Serving);
    register(&nacos, &mut peer, &observer).await;
    let first = peer.asked::<GracefulReportRequest>().await;
    let told = first.question();
    assert_eq!((words(told), &*told.role, told.port), (vec!["ready", "registered"], "provider", 1));
    let (provider, then) = (Arc::new(Provider::default()), Instant::now());
    let gauge: Weak<dyn Gauge> = Arc::<Provider>::downgrade(&provider);
    observer.follow(gauge);
    provider.0.store(5, Ordering::Relaxed);
    first.yes();
    let second = peer.asked::<GracefulReportRequest>().await;
    assert!(then.elapsed() >= Duration::from_secs(1), "{:?}", then.elapsed());
    let started =
        |told: &GracefulReportRequest| told.traffic.iter().map(ReportedSecond::started).sum::<u64>();
    assert_eq!(started(second.question()), 5);
    provider.0.store(7, Ordering::Relaxed);
    sleep(Duration::from_secs(3)).await;
    assert!(!peer.is_asked(), "one is under way");
    second.yes();
    assert_eq!(started(peer.asked::<GracefulReportRequest>().await.question()), 2);
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_knows_no_reports_is_told_one_for_each_connection() {
    for apart in [false, true] {
        let (mut stage, nacos, mut peer) = Stage::with_client().await;
        let observer = observer(&nacos);
        let provider = Arc::new(Provider::default());
        let gauge: Weak<dyn Gauge> = Arc::<Provider>::downgrade(&provider);
        observer.follow(gauge);
        register(&nacos, &mut peer, &observer).await;
        let first = peer.asked::<GracefulReportRequest>().await;
        if apart {
            first.error(code::NO_HANDLER, "RequestHandler Not Found");
        } else {
            first.no(code::NO_HANDLER, "RequestHandler Not Found");
        }
        for n in 1..100 {
            provider.0.store(n, Ordering::Relaxed);
            tell(&observer, &LEAVING);
            sleep(Duration::from_secs(1)).await;
            assert!(!peer.is_asked(), "after {n} s");
        }
        peer.cut();
        let mut peer = stage.accept().await;
        peer.asked::<InstanceRequest>().await.yes();
        provider.0.store(200, Ordering::Relaxed);
        let again = peer.asked::<GracefulReportRequest>().await;
        assert!(again.question().events.is_empty(), "what nobody wanted to know is forgotten");
        again.yes();
        tell(&observer, &LEAVING);
        assert_eq!(words(peer.asked::<GracefulReportRequest>().await.question()), ["leaving"]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_words_of_an_instance_go_before_it_and_those_of_a_process_before_its_connection() {
    let (_stage, nacos, mut peer) = Stage::with_client().await;
    let observer = observer(&nacos);
    register(&nacos, &mut peer, &observer).await;
    peer.asked::<GracefulReportRequest>().await.yes();
    tell(&observer, &LEAVING);
    let leaving = deregistering(&nacos, instance(1));
    let last = peer.asked::<GracefulReportRequest>().await;
    assert_eq!(words(last.question()), ["leaving"]);
    peer.asked::<InstanceRequest>().await.yes(); // It waits for no answer to the report.
    leaving.await.unwrap().unwrap();
    last.yes();
    tell(&observer, &ProviderEvent::Stopped { cut_connections: 0, cut_tasks: 0 });
    drop(observer);
    let closing = closing(&nacos, Duration::from_secs(2));
    let last = peer.asked::<GracefulReportRequest>().await;
    assert_eq!(words(last.question()), ["stopped"]);
    let then = Instant::now();
    let never = last.never();
    closing.await.unwrap().unwrap();
    assert!(then.elapsed() <= Duration::from_millis(110), "{:?}", then.elapsed());
    drop(never);
}

#[tokio::test(start_paused = true)]
async fn after_a_reconnect_nothing_is_told_of_an_instance_that_is_not_back() {
    let (mut stage, nacos, mut peer) = Stage::with_client().await;
    let observer = observer(&nacos);
    register(&nacos, &mut peer, &observer).await;
    peer.asked::<GracefulReportRequest>().await.yes();
    peer.cut();
    tell(&observer, &LEAVING);
    let mut peer = stage.accept().await;
    let registration = peer.asked::<InstanceRequest>().await;
    sleep(Duration::from_secs(2)).await;
    assert!(!peer.is_asked());
    registration.yes();
    assert_eq!(words(peer.asked::<GracefulReportRequest>().await.question()), ["leaving"]);
}

#[tokio::test(start_paused = true)]
async fn who_wants_no_reports_sends_none() {
    let mut stage = Stage::new();
    let nacos = stage.connect(Nacos::builder("stage:8848").reports(false));
    let _peer = stage.accept().await;
    assert!(nacos.observer().is_none());
    let following = nacos.begin_subscribe(&orders()).unwrap();
    assert!(following.snapshots.observer().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_order_reaches_the_instance_that_is_meant_and_is_refused_where_nobody_is() {
    let (_stage, nacos, mut peer) = Stage::with_client().await;
    let metadata = Metadata::from_iter([("graceful.epoch", "7")]);
    let instance = instance(1).with_metadata(metadata);
    let waiting = tokio::spawn({
        let nacos = nacos.clone();
        async move { nacos.ordered(&orders(), &instance).await }
    });
    yield_now().await;
    let order = |request_id: &str, port, epoch, command: &str| GracefulCommandRequest {
        request_id: request_id.to_owned(),
        service_name: "orders".to_owned(),
        group_name: "DEFAULT_GROUP".to_owned(),
        ip: "10.0.0.7".to_owned(),
        port,
        epoch,
        command: command.to_owned(),
        actor: "ann".to_owned(),
        ..GracefulCommandRequest::default()
    };
    for (id, port, epoch, command, taken) in [
        ("a", 2, 7, "offline", false),
        ("b", 1, 8, "offline", false),
        ("c", 1, 7, "explode", false),
        ("d", 1, 7, "offline", true),
        ("e", 1, 7, "offline", false), // Nobody waits any more.
    ] {
        peer.say(&order(id, port, epoch, command));
        let answer: GracefulCommandResponse = peer.heard().await;
        assert_eq!((&*answer.request_id, answer.success), (id, taken), "{}", answer.message);
    }
    assert_eq!(waiting.await.unwrap(), Order::offline("ann"));
}
