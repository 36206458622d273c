//! What operators set while a provider runs: from a request over HTTP, through the registry, to the provider
//! that does otherwise from then on and says on whose word.

use super::registry::{Running, SOON};
use axum::Router;
use axum::routing::get;
use http_body_util::BodyExt as _;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tower::ServiceExt;
use tower_graceful::client::Nacos;
use tower_graceful::http_client;
use tower_graceful::model::{Phase, ServiceKey, Source, UnixMillis, WarmUp, WarmUpClock};
use tower_graceful::observe::{Observer, ProviderEvent};
use tower_graceful::provider::{
    Provider, ProviderBuilder, ProviderHandle, Report, ServeError, ShutdownHandle,
};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const WARM_UP: &str = "graceful.warmup";
const EXPONENT: &str = "graceful.warmup.exponent";
const NOTICE: &str = "graceful.notice";

/// A setting that has changed: its key, the provider's own word, the one that counts, and whose that is.
type Changed = (&'static str, Option<String>, Option<String>, Option<Source>);

/// Hands on which settings change.
#[derive(Debug)]
struct Listener(mpsc::UnboundedSender<Changed>);

impl Observer for Listener {
    fn provider(&self, _: &ServiceKey, _: UnixMillis, event: &ProviderEvent<'_>) {
        if let ProviderEvent::SettingChanged { key, own, counts, source, .. } = *event {
            self.0.send((key, own.map(str::to_owned), counts.map(str::to_owned), source)).unwrap();
        }
    }
}

async fn next(changes: &mut mpsc::UnboundedReceiver<Changed>) -> Changed {
    timeout(SOON, changes.recv()).await.expect("the provider hears of nothing").unwrap()
}

fn change(key: &'static str, own: &str, counts: &str, source: Option<Source>) -> Changed {
    (key, Some(own.to_owned()), Some(counts.to_owned()), source)
}

async fn is_ready(at: SocketAddr) -> bool {
    let request = http::Request::get(format!("http://{at}/readiness")).body(String::new()).unwrap();
    http_client().oneshot(request).await.unwrap().status().is_success()
}

#[tokio::test]
async fn a_provider_follows_what_operators_set_while_it_runs_and_says_on_whose_word() {
    let registry = Running::start().await;
    let nacos = || Nacos::builder(&registry.http.to_string()).connect().unwrap();
    let (tell, mut changes) = mpsc::unbounded_channel();
    let curve = WarmUp::new(Duration::from_secs(600)).unwrap().with_clock(WarmUpClock::Registration).unwrap();
    let builder = Provider::builder("orders").registry(nacos()).warm_up(curve).ready_after_warm_up(true);
    let builder = builder.readiness_bind(ANY).offline_bind(ANY).without_signals().observer(Listener(tell));
    let provider = builder.build().unwrap();
    let (handle, shutdown) = (provider.handle(), provider.shutdown_handle());
    let listener = TcpListener::bind(ANY).await.unwrap();
    let serving = tokio::spawn(provider.serve(listener, Router::new().route("/", get(async || "hello"))));
    assert_eq!(handle.reached(Phase::Serving).await, Phase::Serving);
    let bound = handle.bound().await.unwrap();
    let (ready_at, port) = (bound.readiness.unwrap(), bound.address().unwrap().port());
    assert!(!is_ready(ready_at).await, "ten minutes of warm-up lie ahead");
    let consumer = nacos();
    let mut list = consumer.subscribe("orders").await.unwrap();
    let operator = async |method: &str, path: &str| {
        assert_eq!(registry.send(method, path, "").await, (200, "ok".to_owned()), "{method} {path}");
    };
    let instance = format!("/instance?serviceName=orders&ip=127.0.0.1&port={port}");

    let said = format!("{WARM_UP}=300,{EXPONENT}=3,{NOTICE}=true,owner=me");
    operator("PUT", &format!("/service?serviceName=orders&metadata={said}")).await;
    let service = Some(Source::Service);
    assert_eq!(next(&mut changes).await, change(WARM_UP, "600", "300", service));
    assert_eq!(next(&mut changes).await, change(EXPONENT, "2", "3", service));
    assert_eq!(next(&mut changes).await, (NOTICE, None, Some("true".to_owned()), service));

    operator("PATCH", &format!("{instance}&metadata={WARM_UP}=0,zone=b")).await;
    assert_eq!(next(&mut changes).await, change(WARM_UP, "600", "0", Some(Source::Instance)));
    let warm = async {
        while !is_ready(ready_at).await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, warm).await.expect("without a warm-up it is ready");

    let key = &bound.instance.key;
    let listed = list.wait_for(|list| list.source(key, WARM_UP) == Some(Source::Instance));
    let listed = timeout(SOON, listed).await.expect("consumers are told as well");
    let sources = [EXPONENT, NOTICE, "owner", "zone", "graceful.epoch"].map(|word| listed.source(key, word));
    assert_eq!(sources, [service, service, None, None, None], "only words of this crate's are told of");

    operator("PUT", &instance).await;
    assert_eq!(next(&mut changes).await, change(WARM_UP, "600", "300", service));
    operator("PUT", "/service?serviceName=orders&metadata=%7B%7D").await;
    assert_eq!(next(&mut changes).await, change(WARM_UP, "600", "600", None));
    assert_eq!(next(&mut changes).await, change(EXPONENT, "2", "2", None));
    assert_eq!(next(&mut changes).await, (NOTICE, None, None, None));

    shutdown.shut_down();
    assert!(serving.await.unwrap().unwrap().is_clean());
    consumer.close(SOON).await.unwrap();
    registry.stop().await;
}

/// A provider that starts, and where it says whether it is ready.
async fn starting(builder: ProviderBuilder) -> (ProviderHandle, ShutdownHandle, Serving, SocketAddr) {
    let provider = builder.readiness_bind(ANY).offline_bind(ANY).without_signals().build().unwrap();
    let (handle, shutdown) = (provider.handle(), provider.shutdown_handle());
    let listener = TcpListener::bind(ANY).await.unwrap();
    let serving = tokio::spawn(provider.serve(listener, Router::new().route("/", get(async || "hello"))));
    let ready_at = handle.bound().await.unwrap().readiness.unwrap();
    (handle, shutdown, serving, ready_at)
}

type Serving = tokio::task::JoinHandle<Result<Report, ServeError>>;

async fn waits_for_an_operator(ready_at: SocketAddr) {
    let says = async {
        loop {
            let request = http::Request::get(format!("http://{ready_at}/readiness"));
            let answer = http_client().oneshot(request.body(String::new()).unwrap()).await.unwrap();
            let said = answer.into_body().collect().await.unwrap().to_bytes();
            let what = b"\"waiting_for\":\"the delay before the registration, which an operator has set\"";
            if said.windows(what.len()).any(|part| part == what) {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, says).await.expect("readiness does not say what the start waits for");
}

#[tokio::test]
async fn operators_say_when_the_instances_of_a_service_register() {
    let registry = Running::start().await;
    let nacos = || Nacos::builder(&registry.http.to_string()).connect().unwrap();
    let (tell, mut changes) = mpsc::unbounded_channel();
    let operator = async |delay: &str| {
        let path = format!("/graceful/v1/services/rollout?serviceName=orders&delay={delay}");
        let (status, holds) = registry.send("POST", &path, "").await;
        assert_eq!(status, 200, "{holds}");
    };
    assert_eq!(registry.send("POST", "/service?serviceName=orders&ephemeral=true", "").await.0, 200);
    operator("1.5").await;
    let began = Instant::now();
    let builder = Provider::builder("orders").registry(nacos()).register_after(Duration::from_secs(600));
    let (handle, shutdown, serving, ready_at) = starting(builder.observer(Listener(tell))).await;
    let service = Some(Source::Service);
    assert_eq!(next(&mut changes).await, change("graceful.delay", "600", "1.5", service));
    waits_for_an_operator(ready_at).await;
    let watcher = nacos();
    let mut list = watcher.subscribe("orders").await.unwrap();
    assert_eq!((list.latest().instances().len(), list.latest().setting("graceful.delay")), (0, Some("1.5")));
    assert_eq!(timeout(SOON, handle.reached(Phase::Serving)).await.unwrap(), Phase::Serving);
    assert!(began.elapsed() >= Duration::from_millis(1500), "{:?}", began.elapsed());
    let listed = timeout(SOON, list.wait_for(|list| !list.instances().is_empty())).await.unwrap();
    assert_eq!(listed.instances()[0].metadata.get("graceful.delay"), None, "it is there already");

    operator("600").await;
    let (lifted, stop_lifted, serving_lifted, ready_at) =
        starting(Provider::builder("orders").registry(nacos())).await;
    waits_for_an_operator(ready_at).await;
    operator("0").await;
    assert_eq!(timeout(SOON, lifted.reached(Phase::Serving)).await.unwrap(), Phase::Serving);

    operator("600").await;
    let (_, stop_waiting, serving_waiting, ready_at) =
        starting(Provider::builder("orders").registry(nacos())).await;
    waits_for_an_operator(ready_at).await;
    for (stop, serving) in
        [(stop_waiting, serving_waiting), (stop_lifted, serving_lifted), (shutdown, serving)]
    {
        stop.shut_down();
        assert!(timeout(SOON, serving).await.expect("it does not end").unwrap().unwrap().is_clean());
    }
    watcher.close(SOON).await.unwrap();
    registry.stop().await;
}
