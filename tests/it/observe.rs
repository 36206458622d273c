//! What the layers tell while a provider and a consumer live their lives, in numbers and in words.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use http_body_util::BodyExt as _;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower::{Layer as _, ServiceExt as _};
use tower_graceful::consumer::{BalanceLayer, GracefulClientLayer};
use tower_graceful::model::{Instance, InstanceKey, Phase, ServiceKey, Snapshot, UnixMillis, WarmUp, Weight};
use tower_graceful::naming::header::{CALLER, CallerTag};
use tower_graceful::naming::{self, BoxFuture, InProcess, Publisher, Register, Snapshots, Subscribe, notice};
use tower_graceful::observe::{ConsumerEvent, Metrics, Observer, ProviderEvent};
use tower_graceful::provider::{Provider, ProviderBuilder};
use tower_graceful::{Clock, http_client};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const WINDOW: Duration = Duration::from_secs(100);

fn service() -> ServiceKey {
    "orders".parse().unwrap()
}

fn orders() -> ProviderBuilder {
    // Signals are for the runner of the tests.
    Provider::builder("orders").readiness_bind(ANY).offline_bind(ANY).without_signals()
}

async fn listen() -> TcpListener {
    TcpListener::bind(ANY).await.unwrap()
}

async fn ask(at: SocketAddr, path: &str, token: &str) -> (StatusCode, String) {
    let request = http::Request::get(format!("http://{at}{path}")).header("authorization", token);
    let answer = http_client().oneshot(request.body(String::new()).unwrap()).await.unwrap();
    let status = answer.status();
    (status, String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
}

/// Waits for `condition`; a test that waits for longer than anything here takes has failed.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), holds).await.expect(what);
}

async fn get_of(at: SocketAddr, path: &str) -> (StatusCode, String) {
    ask(at, path, "").await
}

/// A registry that takes nothing before it is opened.
#[derive(Clone, Debug)]
struct Held {
    naming: InProcess,
    open: watch::Sender<bool>,
}

impl Register for Held {
    fn register<'a>(
        &'a self,
        service: &'a ServiceKey,
        instance: &'a Instance,
    ) -> BoxFuture<'a, Result<(), naming::Error>> {
        Box::pin(async {
            let _ = self.open.subscribe().wait_for(|open| *open).await;
            self.naming.register(service, instance).await
        })
    }

    fn deregister<'a>(
        &'a self,
        service: &'a ServiceKey,
        instance: &'a InstanceKey,
    ) -> BoxFuture<'a, Result<(), naming::Error>> {
        self.naming.deregister(service, instance)
    }
}

impl Subscribe for Held {
    fn subscribe<'a>(&'a self, service: &'a ServiceKey) -> BoxFuture<'a, Result<Snapshots, naming::Error>> {
        self.naming.subscribe(service)
    }
}

/// The value of a series of the service `orders` in Prometheus' text.
fn value(text: &str, name: &str, label: &str) -> f64 {
    let service = r#"service="public##DEFAULT_GROUP@@orders""#;
    let comma = if label.is_empty() { "" } else { "," };
    let (one, other) =
        (format!("{name}{{{service}{comma}{label}}} "), format!("{name}{{{label}{comma}{service}}} "));
    let found = text.lines().find_map(|line| line.strip_prefix(&one).or_else(|| line.strip_prefix(&other)));
    found.unwrap_or_else(|| panic!("no {name} {label} in\n{text}")).parse().unwrap()
}

/// One life, from the first request that comes too early to the last one that stays too long.
#[tokio::test]
async fn every_metric_is_exported_and_has_the_value_of_what_happened() {
    let metrics = Metrics::alone();
    let (clock, hand) = Clock::manual(UnixMillis::new(1_000));
    let held = Held { naming: InProcess::new(), open: watch::Sender::new(false) };
    let release = watch::Sender::new(false);
    let (of_handler, begun) = (release.clone(), watch::Sender::new(0));
    let begins = begun.clone();
    let router = Router::new()
        .route("/", get(async || "hello"))
        .route("/forever", get(async || pending::<&str>().await))
        .route(
            "/held",
            get(async move || {
                begins.send_modify(|begun| *begun += 1);
                let _ = of_handler.subscribe().wait_for(|release| *release).await;
                "done"
            }),
        );
    let provider = orders()
        .registry(held.clone())
        .notice(true)
        .clock(clock)
        .warm_up(WarmUp::new(WINDOW).unwrap())
        .metrics(metrics.clone())
        .metrics_bind(ANY)
        .drain_timeout(Duration::from_secs(2))
        .lame_duck_max(Duration::from_secs(1))
        .build()
        .unwrap();
    let (handle, shutdown) = (provider.handle(), provider.shutdown_handle());
    let serving = tokio::spawn(provider.serve(listen().await, router));
    let bound = handle.bound().await.unwrap();
    let (at, scrape) = (bound.address().unwrap(), bound.metrics.unwrap());
    let scraped = async || {
        let (status, text) = get_of(scrape, "/metrics").await;
        assert_eq!(status, StatusCode::OK);
        text
    };

    // It starts: who comes now is turned away.
    assert_eq!(get_of(at, "/").await.0, StatusCode::SERVICE_UNAVAILABLE);
    let text = scraped().await;
    assert_eq!(value(&text, "graceful_requests_total", r#"outcome="refused_starting""#), 1.0);
    assert_eq!(value(&text, "graceful_phase", r#"phase="starting""#), 1.0);
    held.open.send_replace(true);
    handle.reached(Phase::Serving).await;

    // It serves a consumer, and warms up.
    let snapshots = held.naming.subscribe(&service()).await.unwrap();
    let client = GracefulClientLayer::new(snapshots).with_observer(metrics.clone()).layer(http_client());
    let call = |path: &str| client.clone().oneshot(http::Request::get(path).body(String::new()).unwrap());
    for _ in 0..3 {
        assert_eq!(call("/").await.unwrap().status(), StatusCode::OK);
    }
    hand.advance(WINDOW / 2);
    let text = scraped().await;
    assert_eq!(value(&text, "graceful_phase", r#"phase="serving""#), 1.0);
    assert_eq!(value(&text, "graceful_phase", r#"phase="starting""#), 0.0);
    assert_eq!(value(&text, "graceful_requests_total", r#"outcome="served""#), 3.0);
    assert_eq!(value(&text, "graceful_warmup_ratio", ""), 0.25);
    assert_eq!(value(&text, "graceful_picks_total", r#"state="warming""#), 3.0);
    assert_eq!(value(&text, "graceful_endpoints", r#"state="warming""#), 1.0);
    assert_eq!(value(&text, "graceful_amplification_ratio", ""), 1.0);
    assert_eq!(value(&text, "graceful_drain_duration_seconds", ""), 0.0);
    assert!((0.0..60.0).contains(&value(&text, "graceful_snapshot_age_seconds", "")));
    assert_eq!(value(&text, "graceful_registry_away_seconds", ""), 0.0);

    // An instance that nobody can connect to takes nearly all picks, one of them.
    let closed = listen().await.local_addr().unwrap();
    let dead = Instance { weight: Weight::new(1e6).unwrap(), ..Instance::new(closed.into()) };
    held.naming.register(&service(), &dead).await.unwrap();
    assert_eq!(call("/").await.unwrap().status(), StatusCode::OK);
    let text = scraped().await;
    assert_eq!(value(&text, "graceful_picks_total", r#"state="warm""#), 1.0);
    assert_eq!(value(&text, "graceful_put_aside_total", r#"cause="connect""#), 1.0);
    assert_eq!(value(&text, "graceful_retries_total", r#"cause="connect""#), 1.0);
    assert_eq!(value(&text, "graceful_endpoints", r#"state="failing""#), 1.0);
    held.naming.deregister(&service(), &dead.key).await.unwrap();

    // Of three more callers that take notices one will answer well, one not so well, and one not at all.
    let mute = listen().await;
    let takes =
        [taker(StatusCode::NO_CONTENT).await, taker(StatusCode::FORBIDDEN).await, mute.local_addr().unwrap()];
    for (id, notice) in (1..).zip(takes) {
        let caller = CallerTag { id, app: String::new(), notice: Some(notice.into()) }.to_value();
        let request = http::Request::get(format!("http://{at}/")).header(CALLER, caller);
        let answer = http_client().oneshot(request.body(String::new()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }

    // It leaves with two requests under way; one is answered, and says so, and one never is.
    let answered = tokio::spawn(call("/held"));
    let stays = tokio::spawn(async move { get_of(at, "/forever").await });
    let _ = begun.subscribe().wait_for(|begun| *begun == 1).await;
    until("both are under way", || handle.in_flight() == 2).await;
    assert_eq!(value(&scraped().await, "graceful_inflight_requests", ""), 2.0);
    shutdown.shut_down();
    handle.reached(Phase::Leaving).await;
    release.send_replace(true);
    answered.await.unwrap().unwrap();
    assert_eq!(get_of(at, "/").await.0, StatusCode::OK);
    let text = scraped().await;
    assert_eq!(value(&text, "graceful_phase", r#"phase="leaving""#), 1.0);
    assert_eq!(value(&text, "graceful_put_aside_total", r#"cause="tag""#), 1.0);
    assert_eq!(value(&text, "graceful_requests_total", r#"outcome="after_offline""#), 1.0);
    assert!(value(&text, "graceful_drain_duration_seconds", "") > 0.0);

    // Time is up.
    let report = serving.await.unwrap().unwrap();
    assert_eq!(report.cut_requests, 1);
    stays.abort();
    let text = metrics.text().unwrap();
    assert_eq!(value(&text, "graceful_phase", r#"phase="stopped""#), 1.0);
    assert_eq!(value(&text, "graceful_drain_abandoned_total", ""), 1.0);
    assert!((2.0..4.0).contains(&value(&text, "graceful_drain_duration_seconds", "")), "{text}");
    assert_eq!(value(&text, "graceful_requests_total", r#"outcome="served""#), 9.0);
    for result in ["taken", "refused", "unanswered"] {
        assert_eq!(value(&text, "graceful_notices_total", &format!("result={result:?}")), 1.0, "{result}");
    }
    assert_eq!(report.callers_notified, 1);

    let documented = include_str!("../../docs/metrics.md").lines();
    let rows: Vec<_> = documented.filter_map(|line| line.strip_prefix("| `graceful_")).collect();
    assert_eq!(rows.len(), 14);
    for row in rows {
        let mut cells = row.split(" | ");
        let (name, kind) = (cells.next().unwrap().trim_end_matches('`'), cells.next().unwrap());
        assert!(text.contains(&format!("# TYPE graceful_{name} {kind}\n")), "{name} is no {kind} in\n{text}");
        assert!(text.contains(&format!("# HELP graceful_{name} ")), "{name} is not described");
    }
}

/// Somebody who answers notices with `status`.
async fn taker(status: StatusCode) -> SocketAddr {
    let listener = listen().await;
    let at = listener.local_addr().unwrap();
    let router = Router::new().route(notice::PATH, axum::routing::post(async move || status));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    at
}

/// Told to go before it has ever served, it turns away who calls then, and counts that apart.
#[tokio::test]
async fn what_is_refused_by_a_provider_whose_start_was_broken_off_is_counted() {
    let metrics = Metrics::alone();
    let held = Held { naming: InProcess::new(), open: watch::Sender::new(false) };
    let provider = orders().registry(held).metrics(metrics.clone()).build().unwrap();
    let (handle, shutdown) = (provider.handle(), provider.shutdown_handle());
    let serving =
        tokio::spawn(provider.serve(listen().await, Router::new().route("/", get(async || "hello"))));
    let bound = handle.bound().await.unwrap();
    get_of(bound.offline.unwrap(), "/offline").await;
    assert_eq!(get_of(bound.address().unwrap(), "/").await.0, StatusCode::SERVICE_UNAVAILABLE);
    let text = metrics.text().unwrap();
    assert_eq!(value(&text, "graceful_requests_total", r#"outcome="refused_leaving""#), 1.0);
    assert_eq!(value(&text, "graceful_requests_total", r#"outcome="refused_starting""#), 0.0);
    shutdown.shut_down();
    assert!(serving.await.unwrap().unwrap().is_clean());
}

#[test]
fn a_thousand_instances_add_no_series() {
    let list = |revision, instances: u32| {
        let at = |index: u32| format!("10.0.{}.{}:8080", index / 250, index % 250 + 1).parse().unwrap();
        Snapshot::new(service(), revision, (0..instances).map(|index| Instance::new(at(index))).collect())
    };
    let metrics = Metrics::alone();
    let (publisher, snapshots) = Publisher::new(service());
    let balance = BalanceLayer::new(snapshots).with_observer(metrics.clone()).over(|_| ());
    let after_picks = |list| {
        publisher.publish(list);
        (0..5000).for_each(|_| drop(balance.pick().unwrap()));
        metrics.text().unwrap()
    };
    let series = |text: &str| text.lines().filter(|line| line.starts_with("graceful_")).count();
    let (few, many) = (after_picks(list(1, 1)), after_picks(list(2, 1000)));
    assert_eq!(series(&many), series(&few));
    assert_eq!(value(&many, "graceful_endpoints", r#"state="warm""#), 1000.0);
    assert_eq!(value(&many, "graceful_picks_total", r#"state="warm""#), 10_000.0);
    assert!(!many.contains("10.0.0."), "an address is no label");
}

/// Takes note of what it is told, in short words.
#[derive(Clone, Debug, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn add(&self, entry: String) {
        self.0.lock().unwrap().push(entry);
    }

    fn entries(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    async fn has(&self, entry: &str) {
        until(entry, || self.entries().iter().any(|one| one.ends_with(entry))).await;
    }
}

impl Observer for Diary {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the enum is open to all but its crate")]
    fn consumer(&self, service: &ServiceKey, event: &ConsumerEvent<'_>) {
        assert_eq!(service.name.as_str(), "orders");
        match event {
            ConsumerEvent::ListApplied { instances, .. } => self.add(format!("{instances} listed")),
            ConsumerEvent::Joined { instance, .. } => self.add(format!("{} joins", instance.address())),
            ConsumerEvent::Gone { instance, .. } => self.add(format!("{} goes", instance.address())),
            ConsumerEvent::PutAside { cause, .. } => self.add(format!("aside by {cause}")),
            ConsumerEvent::Retried { cause, .. } => self.add(format!("again after {cause}")),
            ConsumerEvent::NotRetried { cause, why, .. } => {
                self.add(format!("not again after {cause}: {why}"));
            }
            ConsumerEvent::AmplificationChanged { ratio, .. } => self.add(format!("{ratio:.1} times")),
            other => self.add(format!("{other:?}")),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the enum is open to all but its crate")]
    fn provider(&self, service: &ServiceKey, at: UnixMillis, event: &ProviderEvent<'_>) {
        assert_eq!(service.name.as_str(), "orders");
        let event = match event {
            ProviderEvent::Registered { .. } => "registered".to_owned(),
            ProviderEvent::WarmUpStarted { .. } => "warming up".to_owned(),
            ProviderEvent::WarmUpFinished { .. } => "warm".to_owned(),
            ProviderEvent::Leaving { cause, .. } => format!("leaving: {cause}"),
            ProviderEvent::Deregistered { .. } => "deregistered".to_owned(),
            ProviderEvent::Drained { abandoned, .. } => format!("drained but for {abandoned}"),
            ProviderEvent::Stopped { cut_connections, .. } => format!("stopped, {cut_connections} cut"),
            other => format!("{other:?}").to_lowercase(),
        };
        self.add(format!("{at} {event}"));
    }
}

#[tokio::test]
async fn each_step_of_a_provider_is_told_with_its_time_and_its_cause() {
    let (diary, other) = (Diary::default(), Diary::default());
    let (clock, hand) = Clock::manual(UnixMillis::new(1_000));
    let provider = orders()
        .registry(InProcess::new())
        .clock(clock)
        .warm_up(WarmUp::new(Duration::from_millis(20)).unwrap())
        .quiet_period(Duration::from_millis(50))
        .observer(diary.clone())
        .observer(other.clone())
        .build()
        .unwrap();
    let (handle, shutdown) = (provider.handle(), provider.shutdown_handle());
    let serving =
        tokio::spawn(provider.serve(listen().await, Router::new().route("/", get(async || "hello"))));
    handle.reached(Phase::Serving).await;
    let bound = handle.bound().await.unwrap();
    diary.has("serving").await;
    hand.set(UnixMillis::new(2_000));
    get_of(bound.address().unwrap(), "/").await;
    diary.has("warming up").await;
    diary.has("warm").await;
    hand.set(UnixMillis::new(3_000));
    let (status, _) = get_of(bound.offline.unwrap(), "/offline?wait=20s").await;
    assert_eq!(status, StatusCode::OK);
    diary.has("drained but for 0").await;
    hand.set(UnixMillis::new(4_000));
    shutdown.shut_down();
    serving.await.unwrap().unwrap();
    let told = [
        "1000 registered",
        "1000 serving",
        "2000 warming up",
        "2000 warm",
        "3000 leaving: /offline",
        "3000 deregistered",
        "3000 drained but for 0",
        "4000 stopped, 0 cut",
    ];
    assert_eq!(diary.entries(), told);
    assert_eq!(other.entries(), told);
}

#[tokio::test]
async fn what_a_consumer_learns_and_does_is_told() {
    let (diary, naming) = (Diary::default(), InProcess::new());
    let closed = Instance::new(listen().await.local_addr().unwrap().into());
    naming.register(&service(), &closed).await.unwrap();
    let layer = GracefulClientLayer::new(naming.subscribe(&service()).await.unwrap());
    let client = layer.with_observer(diary.clone()).layer(http_client());
    let call = || client.clone().oneshot(http::Request::post("/").body(String::new()).unwrap());
    assert!(call().await.is_err());
    let address = closed.address();
    let joins = format!("{address} joins");
    let told = ["1 listed", "aside by connect", "again after connect", "again after connect"];
    let entries = diary.entries();
    assert_eq!(entries[0], joins);
    assert_eq!(entries[1..5], told);
    assert!(entries[5].starts_with("not again after connect: "), "{entries:?}");
    naming.deregister(&service(), &closed.key).await.unwrap();
    let _ = tokio::time::timeout(Duration::from_millis(1), call()).await;
    let entries = diary.entries();
    assert_eq!(entries[6..8], [format!("{address} goes"), "0 listed".to_owned()], "{entries:?}");
}

#[tokio::test]
async fn metrics_beside_offline_are_for_those_who_may_order_it_out() {
    const TOKEN: &str = "0123456789abcdef";
    let start = async |builder: ProviderBuilder| {
        let provider = builder.build().unwrap();
        let (handle, shutdown) = (provider.handle(), provider.shutdown_handle());
        let serving = tokio::spawn(provider.serve(listen().await, Router::new()));
        (handle.bound().await.unwrap(), shutdown, serving)
    };
    let (bound, shutdown, serving) = start(orders().metrics(Metrics::alone()).offline_token(TOKEN)).await;
    assert_eq!(bound.metrics, bound.offline);
    let at = bound.metrics.unwrap();
    assert_eq!(get_of(at, "/metrics").await.0, StatusCode::UNAUTHORIZED);
    let (status, text) = ask(at, "/metrics", &format!("Bearer {TOKEN}")).await;
    assert_eq!((status, text.contains("graceful_phase")), (StatusCode::OK, true));
    shutdown.abort();
    serving.await.unwrap().unwrap();

    let (bound, shutdown, serving) = start(orders()).await;
    assert_eq!(bound.metrics, None);
    assert_eq!(get_of(bound.offline.unwrap(), "/metrics").await.0, StatusCode::NOT_FOUND);
    shutdown.abort();
    serving.await.unwrap().unwrap();
}

/// An operator asks for metrics that the code does not speak of: the recorder is the whole process's then.
#[tokio::test]
async fn where_only_a_port_is_given_the_metrics_of_the_application_are_there_as_well() {
    let provider = orders().metrics_bind(ANY).build().unwrap();
    metrics::counter!("orders_taken_total").increment(7);
    let (handle, shutdown) = (provider.handle(), provider.shutdown_handle());
    let serving = tokio::spawn(provider.serve(listen().await, Router::new()));
    let at = handle.bound().await.unwrap().metrics.unwrap();
    let (status, text) = get_of(at, "/metrics").await;
    assert_eq!(status, StatusCode::OK);
    assert!(text.contains("orders_taken_total 7") && text.contains("graceful_phase"), "{text}");
    assert_eq!(get_of(at, "/").await.0, StatusCode::NOT_FOUND);
    shutdown.abort();
    serving.await.unwrap().unwrap();
}
