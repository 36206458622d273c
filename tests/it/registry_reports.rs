//! What providers and consumers tell the registry of themselves, read back over HTTP; and the order to leave,
//! which goes the other way.

use super::registry::{Running, SOON};
use axum::Router;
use axum::routing::get;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tower::{Layer, Service, ServiceExt};
use tower_graceful::client::Nacos;
use tower_graceful::model::{Phase, WarmUp};
use tower_graceful::provider::{
    Provider, ProviderBuilder, ProviderHandle, Report, ServeError, ShutdownHandle,
};
use tower_graceful::{GracefulClientLayer, http_client};

/// What a long request takes: more than the second after which it is told.
const LONG: Duration = Duration::from_secs(3);
const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const TRAFFIC: &str = "/traffic?serviceName=orders";
const EVENTS: &str = "/events?serviceName=orders";

/// A provider of `orders`, with a client of its own.
pub(super) struct Orders {
    pub(super) nacos: Nacos,
    pub(super) handle: ProviderHandle,
    pub(super) shutdown: ShutdownHandle,
    pub(super) address: SocketAddr,
    pub(super) serving: JoinHandle<Result<Report, ServeError>>,
}

impl Orders {
    pub(super) async fn start(
        registry: &Running,
        build: impl FnOnce(ProviderBuilder) -> ProviderBuilder,
    ) -> Self {
        let nacos = client_of(registry, "orders");
        let builder = Provider::builder("orders").registry(nacos.clone()).without_signals();
        let builder = builder.readiness_bind(ANY).offline_bind(ANY).warm_up(WarmUp::NONE);
        let provider = build(builder.cache_time(Duration::ZERO)).build().unwrap();
        let (handle, shutdown) = (provider.handle(), provider.shutdown_handle());
        let router = Router::new()
            .route("/buy", get(async || "bought"))
            .route("/export", get(async || sleep(LONG).await))
            .route("/fail", get(async || StatusCode::INTERNAL_SERVER_ERROR));
        let listener = TcpListener::bind(ANY).await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(provider.serve(listener, router));
        assert_eq!(handle.reached(Phase::Serving).await, Phase::Serving);
        Self { nacos, handle, shutdown, address, serving }
    }

    /// A request past all layers, as a script sends it.
    async fn called_directly(&self, path: &str) -> StatusCode {
        let request = Request::get(format!("http://{}{path}", self.address)).body(String::new()).unwrap();
        http_client().oneshot(request).await.unwrap().status()
    }
}

fn client_of(registry: &Running, app: &str) -> Nacos {
    Nacos::builder(&registry.http.to_string()).app(app).connect().unwrap()
}

async fn told_when(registry: &Running, path: &str, condition: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let told = async {
        loop {
            let (status, body) = registry.send("GET", &format!("/graceful/v1{path}"), "").await;
            assert_eq!(status, 200, "{path}: {body}");
            last = serde_json::from_str(&body).unwrap();
            if condition(&last) {
                return last.clone();
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    let told = timeout(SOON, told).await;
    told.unwrap_or_else(|_| panic!("{path} never came to that: {last}"))
}

/// All requests of an instance: what became of those of governed callers, or of others.
fn sum(traffic: &Value, side: &str) -> [u64; 3] {
    let seconds = traffic["instances"][0]["seconds"].as_array().cloned().unwrap_or_default();
    ["started", "finished", "failed"]
        .map(|what| seconds.iter().map(|second| second[side][what].as_u64().unwrap()).sum())
}

/// The events that processes tell, the oldest first: the side, the word, and the reason.
fn told(events: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let events =
        events["events"].as_array().unwrap().iter().rev().filter(|event| event.get("told_by").is_some());
    events.map(|event| (text(&event["told_by"]), text(&event["event"]), text(&event["reason"]))).collect()
}

fn position(events: &[(String, String, String)], word: &str) -> usize {
    events.iter().position(|(_, event, _)| event == word).unwrap_or_else(|| panic!("no {word} in {events:?}"))
}

#[tokio::test]
async fn requests_are_counted_by_the_second_and_by_whether_their_caller_is_governed() {
    let registry = Running::start().await;
    let orders = Orders::start(&registry, |builder| builder.warm_up(WarmUp::default())).await;
    let storefront = client_of(&registry, "storefront");
    let layer = GracefulClientLayer::new(storefront.subscribe("orders").await.unwrap());
    let mut governed = layer.layer(http_client());
    for _ in 0..7 {
        let request = Request::get("/buy").body(String::new()).unwrap();
        let answer = governed.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    assert_eq!(orders.called_directly("/fail").await, 500);
    assert_eq!(orders.called_directly("/buy").await, 200);
    assert_eq!(orders.called_directly("/livez").await, 404); // A probe, which is no request.

    let traffic = told_when(&registry, TRAFFIC, |told| sum(told, "ungoverned")[1] == 2).await;
    assert_eq!((sum(&traffic, "governed"), sum(&traffic, "ungoverned")), ([7, 7, 0], [2, 2, 1]));
    let one = &traffic["instances"][0];
    assert_eq!((&one["port"], &one["verdict"]["word"]), (&json!(orders.address.port()), &json!("in-use")));
    assert!(one["ahead_ms"].as_i64().unwrap().abs() < 1000, "one clock: {one}");
    // It is alone, so all of it should be its own.
    let ideal: f64 = one["ideal"].as_array().unwrap().iter().map(|second| second[1].as_f64().unwrap()).sum();
    assert!((ideal - 9.0).abs() < 0.01, "{one}");
    let events = told_when(&registry, EVENTS, |told| told.to_string().contains("warm-up-started")).await;
    let events = self::told(&events);
    let started = &events[position(&events, "warm-up-started")];
    assert_eq!(started.2, "by a request for /buy, for 120s");
    assert!(position(&events, "registered") < position(&events, "ready"), "{events:?}");
    let (_, metrics) = registry.send("GET", "/metrics", "").await;
    assert!(metrics.contains("\nregistry_traffic_seconds ") && metrics.contains("\nregistry_events "));
}

#[tokio::test]
async fn an_order_of_the_registry_takes_an_instance_offline_and_its_way_out_can_be_read() {
    let registry = Running::start().await;
    let orders = Orders::start(&registry, |builder| builder).await;
    let storefront = client_of(&registry, "storefront");
    let layer = GracefulClientLayer::new(storefront.subscribe("orders").await.unwrap());
    let mut governed = layer.layer(http_client());
    let mut buy = async || {
        let request = Request::get("/buy").body(String::new()).unwrap();
        governed.ready().await.unwrap().call(request).await.unwrap().status()
    };
    assert_eq!(buy().await, 200);
    told_when(&registry, TRAFFIC, |told| sum(told, "governed")[1] == 1).await;

    let (ip, port) = (orders.address.ip(), orders.address.port());
    let offline = format!("/graceful/v1/instances/offline?serviceName=orders&ip={ip}");
    let (status, why) = registry.send("POST", &format!("{offline}&port=1"), "").await;
    assert_eq!(status, 404, "{why}");
    let (status, taken) = registry.send("POST", &format!("{offline}&port={port}"), "").await;
    assert_eq!((status, &*taken), (200, r#"{"taken":true}"#));
    timeout(SOON, orders.handle.reached(Phase::Leaving)).await.unwrap();
    let (status, _) = registry.send("POST", &format!("{offline}&port={port}"), "").await;
    assert!(status == 200 || status == 404, "it is leaving, or gone from the list: {status}");

    // A script that does not care, and goes on calling.
    let late = async {
        loop {
            assert_eq!(orders.called_directly("/buy").await, 200);
            sleep(Duration::from_millis(20)).await;
        }
    };
    let called = |told: &Value| told["instances"][0]["verdict"]["word"] == "called";
    let traffic = tokio::select! {
        () = late => unreachable!(),
        traffic = told_when(&registry, TRAFFIC, called) => traffic,
    };
    let one = &traffic["instances"][0];
    let text = one["verdict"]["text"].as_str().unwrap();
    assert!(text.starts_with("requests still come "), "{text}");
    assert!(one["left"]["at"].as_u64() <= one["left"]["deregistered"].as_u64(), "{one}");
    let caller = &one["late_callers"][0];
    assert_eq!((&caller["path"], &caller["address"]), (&json!("/buy"), &json!("127.0.0.1")), "{one}");
    assert!(caller.get("caller").is_none(), "it has no layers: {caller}");

    let quiet = |told: &Value| told["instances"][0]["verdict"]["word"] == "quiet";
    let traffic = told_when(&registry, TRAFFIC, quiet).await;
    let text = traffic["instances"][0]["verdict"]["text"].as_str().unwrap();
    assert!(text.contains("all from callers without the consumer's layers"), "{text}");

    orders.shutdown.shut_down();
    timeout(SOON, orders.serving).await.unwrap().unwrap().unwrap();
    orders.nacos.close(SOON).await.unwrap();
    let events = told_when(&registry, EVENTS, |told| told.to_string().contains("\"stopped\"")).await;
    let all = events["events"].as_array().unwrap();
    let ordered = all.iter().find(|event| event["event"] == "offline-ordered").unwrap();
    assert!(ordered["reason"].as_str().unwrap().ends_with(": taken"), "{ordered}");
    assert_eq!((&ordered["by"]["kind"], &ordered["by"]["ip"]), (&json!("operator"), &json!("127.0.0.1")));
    let told = told(&events);
    for words in ["registered", "ready", "leaving", "deregistered", "drained", "stopped"].windows(2) {
        assert!(position(&told, words[0]) < position(&told, words[1]), "{words:?} in {told:?}");
    }
    assert_eq!(told[position(&told, "leaving")].2, "an operator of the registry, 0 requests under way");
}

#[tokio::test]
async fn requests_that_hold_up_the_end_are_named_without_their_queries() {
    let registry = Running::start().await;
    let orders = Orders::start(&registry, |builder| builder).await;
    let end = async {
        while orders.handle.in_flight() == 0 {
            sleep(Duration::from_millis(5)).await;
        }
        orders.shutdown.shut_down();
        let events = told_when(&registry, EVENTS, |told| told.to_string().contains("held-up")).await;
        let told = told(&events);
        let reason = &told[position(&told, "held-up")].2;
        assert!(reason.starts_with("1 under way, oldest: GET /export for 1."), "{reason}");
    };
    let (answered, ()) = tokio::join!(orders.called_directly("/export?secret=7"), end);
    assert_eq!(answered, 200);
    timeout(SOON, orders.serving).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_consumer_tells_what_it_does_about_an_instance() {
    let registry = Running::start().await;
    let lonely = Orders::start(&registry, |builder| builder).await;
    let storefront = client_of(&registry, "storefront");
    let layer = GracefulClientLayer::new(storefront.subscribe("orders").await.unwrap());
    let mut governed = layer.layer(http_client());
    // It goes without a word, and its client keeps the entry.
    lonely.serving.abort();
    let _ = lonely.serving.await;
    let request = Request::get("/buy").body(String::new()).unwrap();
    governed.ready().await.unwrap().call(request).await.unwrap_err();
    let events = told_when(&registry, EVENTS, |told| told.to_string().contains("put-aside")).await;
    let told = told(&events);
    let (side, _, reason) = &told[position(&told, "put-aside")];
    assert_eq!((&**side, &**reason), ("consumer", "connect"));
}
