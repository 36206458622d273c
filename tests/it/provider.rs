//! A provider from its start to its end, over real sockets: what consumers, probes and operators see.
//!
//! The spans that make tests wait (quiet period, limits) are set short; nothing sleeps and hopes.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Response, StatusCode, header};
use axum::routing::get;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tower_graceful::Clock;
use tower_graceful::model::{Instance, InstanceKey, Phase, ServiceKey, UnixMillis, WarmUp, WarmUpClock, key};
use tower_graceful::naming::header::{CALLER, CallerTag, OFFLINE, OfflineTag, REFUSED};
use tower_graceful::naming::{self, BoxFuture, InProcess, Register, Snapshots, Subscribe};
use tower_graceful::provider::{
    Bound, GracefulLayer, Lifecycle, Provider, ProviderBuilder, ProviderHandle, Report, ServeError,
    ShutdownHandle,
};

const MS: Duration = Duration::from_millis(1);
/// Longer than anything here takes; a test that waits this long has failed.
const FAR: Duration = Duration::from_secs(20);

struct Running {
    bound: Bound,
    handle: ProviderHandle,
    shutdown: ShutdownHandle,
    naming: InProcess,
    serving: JoinHandle<Result<Report, ServeError>>,
}

fn orders() -> ProviderBuilder {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    // Signals are for the runner of the tests.
    Provider::builder("orders").readiness_bind(any).offline_bind(any).quiet_period(50 * MS).without_signals()
}

async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// Starts it with a registry of its own and waits until it is bound.
async fn start(builder: ProviderBuilder, router: Router) -> Running {
    let naming = InProcess::new();
    start_with(builder.registry(naming.clone()), naming, router).await
}

async fn start_with(builder: ProviderBuilder, naming: InProcess, router: Router) -> Running {
    let provider = builder.build().unwrap();
    let (handle, shutdown) = (provider.handle(), provider.shutdown_handle());
    let serving = tokio::spawn(provider.serve(listen().await, router));
    let bound = handle.bound().await.unwrap();
    Running { bound, handle, shutdown, naming, serving }
}

async fn serve(builder: ProviderBuilder, router: Router) -> Running {
    let running = start(builder, router).await;
    assert_eq!(running.handle.reached(Phase::Serving).await, Phase::Serving);
    running
}

impl Running {
    fn address(&self) -> SocketAddr {
        self.bound.address
    }

    async fn http1(&self) -> Http1 {
        Http1(handshake_http1(self.address()).await)
    }

    async fn http2(&self) -> Http2 {
        let io = TokioIo::new(TcpStream::connect(self.address()).await.unwrap());
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        Http2(sender, tokio::spawn(connection))
    }

    async fn ready(&self) -> (StatusCode, String) {
        ask(self.bound.readiness.unwrap(), "/readiness").await
    }

    async fn offline(&self, query: &str) -> String {
        ask(self.bound.offline.unwrap(), &format!("/offline{query}")).await.1
    }

    async fn listed(&self) -> Option<Instance> {
        let list = self.naming.subscribe(&service()).await.unwrap().latest();
        list.get(&self.bound.instance.key).cloned()
    }

    /// The list as it is once the instance on it satisfies `condition`.
    async fn listed_when(&self, condition: impl Fn(&Instance) -> bool) -> Instance {
        let mut list = self.naming.subscribe(&service()).await.unwrap();
        let found = |instance: Option<&Instance>| instance.is_some_and(&condition);
        let list = list.wait_for(|list| found(list.get(&self.bound.instance.key))).await;
        list.get(&self.bound.instance.key).unwrap().clone()
    }

    async fn report(self) -> Report {
        self.serving.await.unwrap().unwrap()
    }
}

fn service() -> ServiceKey {
    "orders".parse().unwrap()
}

struct Http1(http1::SendRequest<Empty<Bytes>>);
struct Http2(http2::SendRequest<Empty<Bytes>>, JoinHandle<hyper::Result<()>>);

async fn handshake_http1(address: SocketAddr) -> http1::SendRequest<Empty<Bytes>> {
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (sender, connection) = http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn request(path: &str) -> Request<Empty<Bytes>> {
    Request::get(path).header("host", "orders").body(Empty::new()).unwrap()
}

impl Http1 {
    async fn get(&mut self, path: &str) -> Response<Incoming> {
        self.0.send_request(request(path)).await.unwrap()
    }
}

impl Http2 {
    async fn get(&mut self, path: &str) -> Response<Incoming> {
        self.0.send_request(request(&format!("http://orders{path}"))).await.unwrap()
    }
}

async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

async fn ask(address: SocketAddr, path: &str) -> (StatusCode, String) {
    let answer = handshake_http1(address).await.send_request(request(path)).await.unwrap();
    (answer.status(), text(answer).await)
}

fn hello() -> Router {
    Router::new().route("/", get(async || "hello")).route("/livez", get(async || "alive"))
}

/// `/slow` answers when told to; `arrived` says that it was called.
fn slow() -> (Router, Arc<Notify>, Arc<Notify>) {
    let (arrived, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (here, gate) = (arrived.clone(), release.clone());
    let handler = async move || {
        here.notify_one();
        gate.notified().await;
        "slow"
    };
    (hello().route("/slow", get(handler)), arrived, release)
}

/// A registry that can be away, refuse for ever, or fail to answer a deregistration.
#[derive(Clone, Debug)]
struct Moody {
    naming: InProcess,
    mood: watch::Sender<Mood>,
    asked: Arc<AtomicU64>,
    deregistered: Arc<AtomicU64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Well,
    Away,
    NeverAgain,
    Deaf,
}

impl Moody {
    fn new(mood: Mood) -> Self {
        Self {
            naming: InProcess::new(),
            mood: watch::Sender::new(mood),
            asked: Arc::default(),
            deregistered: Arc::default(),
        }
    }

    async fn judge(&self) -> Result<(), naming::Error> {
        let mood = *self.mood.borrow();
        match mood {
            Mood::Well => Ok(()),
            Mood::Away => Err(naming::Error::Unavailable {
                tried: "register".to_owned(),
                source: Arc::new(std::io::Error::other("connection refused")),
            }),
            Mood::NeverAgain => Err(naming::Error::Invalid { message: "metadata too long".to_owned() }),
            Mood::Deaf => pending().await,
        }
    }
}

impl Register for Moody {
    fn register<'a>(
        &'a self,
        service: &'a ServiceKey,
        instance: &'a Instance,
    ) -> BoxFuture<'a, Result<(), naming::Error>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Box::pin(async {
            self.judge().await?;
            self.naming.register(service, instance).await
        })
    }

    fn deregister<'a>(
        &'a self,
        service: &'a ServiceKey,
        instance: &'a InstanceKey,
    ) -> BoxFuture<'a, Result<(), naming::Error>> {
        self.deregistered.fetch_add(1, Ordering::SeqCst);
        Box::pin(async {
            self.judge().await?;
            self.naming.deregister(service, instance).await
        })
    }
}

impl Subscribe for Moody {
    fn subscribe<'a>(&'a self, service: &'a ServiceKey) -> BoxFuture<'a, Result<Snapshots, naming::Error>> {
        self.naming.subscribe(service)
    }
}

#[tokio::test]
async fn a_provider_refuses_until_it_is_listed_and_says_what_it_waits_for() {
    let registry = Moody::new(Mood::Away);
    let builder = orders().registry(registry.clone()).metadata("zone", "a");
    let running = start_with(builder, registry.naming.clone(), hello()).await;
    let mut client = running.http1().await;
    let refused = client.get("/").await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()[REFUSED], "?1");
    assert_eq!(refused.headers()[header::RETRY_AFTER], "1");
    assert_eq!(client.get("/livez").await.status(), StatusCode::OK);
    while registry.asked.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(MS).await;
    }
    let (status, said) = running.ready().await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    let waiting =
        r#"{"ready":false,"phase":"starting","waiting_for":"the registry to take the registration","#;
    assert!(said.starts_with(waiting) && said.contains("connection refused"), "{said}");

    registry.mood.send_replace(Mood::Well);
    running.handle.reached(Phase::Serving).await;
    assert_eq!(running.ready().await, (StatusCode::OK, r#"{"ready":true,"phase":"serving"}"#.to_owned()));
    assert_eq!(text(client.get("/").await).await, "hello");
    let listed = running.listed().await.unwrap();
    assert!(listed.is_governed() && listed.epoch().is_some());
    assert_eq!(listed.metadata.get("zone"), Some("a"));
    assert_eq!(WarmUp::from_metadata(&listed.metadata), Some(WarmUp::default()));

    drop(client); // Open, it would be a caller that has not been told.
    running.shutdown.shut_down();
    assert!(running.report().await.is_clean());
}

#[tokio::test]
async fn the_first_real_request_starts_the_warm_up_once_the_registry_hears_of_it() {
    let (clock, hand) = Clock::manual(UnixMillis::new(1_000));
    let registry = Moody::new(Mood::Well);
    let builder = orders().registry(registry.clone()).clock(clock);
    let running = start_with(builder, registry.naming.clone(), hello()).await;
    running.handle.reached(Phase::Serving).await;
    assert_eq!(running.listed().await.unwrap().epoch(), Some(UnixMillis::new(1_000)));

    registry.mood.send_replace(Mood::Away);
    hand.set(UnixMillis::new(2_000));
    let mut client = running.http1().await;
    assert_eq!(text(client.get("/livez").await).await, "alive");
    hand.set(UnixMillis::new(3_000));
    assert_eq!(text(client.get("/").await).await, "hello");
    hand.set(UnixMillis::new(4_000));
    while registry.asked.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(MS).await;
    }
    registry.mood.send_replace(Mood::Well);
    let warming = running.listed_when(|instance| instance.metadata.get(key::WARM_UP_START).is_some()).await;
    assert_eq!(warming.metadata.get(key::WARM_UP_START), Some("3000"));
    drop(client);
    running.shutdown.shut_down();
    assert!(running.report().await.is_clean());
}

#[tokio::test]
async fn a_warm_up_that_registration_starts_is_in_the_registration() {
    let curve = WarmUp::default().with_clock(WarmUpClock::Registration).unwrap();
    let (clock, _) = Clock::manual(UnixMillis::new(7));
    let running = serve(orders().warm_up(curve).clock(clock), hello()).await;
    assert_eq!(running.listed().await.unwrap().metadata.get(key::WARM_UP_START), Some("7"));
    running.shutdown.abort();
    running.report().await;
}

#[tokio::test]
async fn without_a_registry_a_provider_is_ready_at_once_and_leaves_as_well() {
    let builder = orders().without_offline();
    let provider = builder.build().unwrap();
    let (handle, shutdown) = (provider.handle(), provider.shutdown_handle());
    let serving = tokio::spawn(provider.serve(listen().await, hello()));
    handle.reached(Phase::Serving).await;
    assert_eq!(handle.bound().await.unwrap().offline, None);
    shutdown.shut_down();
    assert!(serving.await.unwrap().unwrap().is_clean());
}

#[tokio::test]
async fn answers_of_a_leaving_provider_say_so_in_the_words_of_each_protocol() {
    let running = serve(orders().lame_duck_max(5000 * MS), hello()).await;
    let (mut old, mut new) = (running.http1().await, running.http2().await);
    assert!(!old.get("/").await.headers().contains_key(OFFLINE));
    assert!(!new.get("/").await.headers().contains_key(OFFLINE));
    running.shutdown.shut_down();
    running.handle.reached(Phase::Leaving).await;
    assert_eq!(running.ready().await.0, StatusCode::INTERNAL_SERVER_ERROR);

    let instance = &running.bound.instance;
    let tag = format!("\"{}\";epoch={};fade=0", instance.address(), instance.epoch().unwrap());
    let answer = old.get("/").await;
    assert_eq!(answer.headers()[OFFLINE], tag);
    assert_eq!(answer.headers()[header::CONNECTION], "close");
    assert_eq!(text(answer).await, "hello");
    let answer = new.get("/").await;
    assert_eq!(answer.headers()[OFFLINE], tag);
    assert!(!answer.headers().contains_key(header::CONNECTION));

    // GOAWAY without an error: the client's connection ends well, though its handle still lives.
    new.1.await.unwrap().unwrap();
    assert_eq!(running.listed().await, None);
    let report = running.report().await;
    assert!(report.is_clean() && report.untold_callers == 0, "{report}");
    assert_eq!(report.requests_after_signal, 2);
    assert!(report.lame_duck < 5000 * MS, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_request_is_lost_when_a_provider_leaves_under_load() {
    let running = serve(orders(), hello()).await;
    let answered = watch::Sender::new(0_u64);
    let mut clients = JoinSet::new();
    for caller in 1..=4 {
        clients.spawn(call_until_told(Client::Old(running.http1().await), caller, answered.clone()));
        clients.spawn(call_until_told(Client::New(running.http2().await), caller + 4, answered.clone()));
    }
    answered.subscribe().wait_for(|answered| *answered > 200).await.unwrap();
    running.shutdown.shut_down();
    clients.join_all().await;
    let report = running.report().await;
    assert!(report.is_clean() && report.untold_callers == 0, "{report}");
    assert!(report.lame_duck < 5000 * MS, "{report}");
}

enum Client {
    Old(Http1),
    New(Http2),
}

/// Calls as fast as it is answered, until an answer says that the provider leaves. Panics when a request is
/// lost.
async fn call_until_told(mut client: Client, caller: u64, answered: watch::Sender<u64>) {
    let caller = CallerTag { id: caller, app: "storefront".to_owned(), notice: None }.to_value();
    loop {
        let mut request = request("http://orders/");
        request.headers_mut().insert(CALLER, caller.clone());
        let answer = match &mut client {
            Client::Old(Http1(sender)) => sender.send_request(request).await.unwrap(),
            Client::New(Http2(sender, _)) => sender.send_request(request).await.unwrap(),
        };
        let told = answer.headers().contains_key(OFFLINE);
        assert_eq!(text(answer).await, "hello");
        answered.send_modify(|answered| *answered += 1);
        if told {
            return;
        }
    }
}

#[tokio::test]
async fn what_is_under_way_when_a_provider_leaves_is_answered() {
    let (router, arrived, release) = slow();
    let running = serve(orders(), router).await;
    let (mut old, mut new) = (running.http1().await, running.http2().await);
    let slow = tokio::spawn(async move { text(old.get("/slow").await).await });
    arrived.notified().await;
    let also_slow = tokio::spawn(async move { text(new.get("/slow").await).await });
    arrived.notified().await;
    assert_eq!(running.handle.in_flight(), 2);
    running.shutdown.shut_down();
    let drain = ask(running.bound.offline.unwrap(), "/offline?wait=100ms").await.1;
    assert!(drain.contains(r#""in_flight":2"#), "{drain}");
    release.notify_waiters();
    assert_eq!((slow.await.unwrap(), also_slow.await.unwrap()), ("slow".to_owned(), "slow".to_owned()));
    let report = running.report().await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.in_flight_at_signal, 2);
}

#[tokio::test]
async fn what_never_ends_is_cut_at_the_deadline_and_counted() {
    let endless = async || {
        let first = futures_util::stream::once(async { Ok::<_, Infallible>(Bytes::from_static(b"first")) });
        let endless = futures_util::stream::StreamExt::chain(first, futures_util::stream::pending());
        Body::from_stream(endless)
    };
    let builder = orders().lame_duck_max(100 * MS).drain_timeout(400 * MS);
    let running = serve(builder, hello().route("/endless", get(endless))).await;
    let mut half = TcpStream::connect(running.address()).await.unwrap();
    half.write_all(b"GET / HTTP/1.1\r\nhost: orders\r\nx-half").await.unwrap();
    let mut client = running.http1().await;
    let mut answer = client.get("/endless").await;
    answer.frame().await.unwrap().unwrap();
    running.shutdown.shut_down();
    assert!(answer.frame().await.unwrap().is_err());
    assert!(matches!(half.read(&mut [0; 1]).await, Ok(0) | Err(_)));
    let report = running.report().await;
    assert_eq!((report.cut_connections, report.is_clean()), (2, false));
    assert!(report.drain_time >= 400 * MS, "{report}");
}

#[tokio::test]
async fn a_rare_caller_is_waited_for_until_it_has_been_told() {
    let running = serve(orders(), hello()).await;
    let id = "\"9f86d081884c7d65\";app=\"storefront\"";
    let call = async |address| {
        let mut sender = handshake_http1(address).await;
        let mut request = request("/");
        request.headers_mut().insert(CALLER, id.parse().unwrap());
        sender.send_request(request).await.unwrap()
    };
    call(running.address()).await; // Its connection is gone; the process behind it will call again.
    running.shutdown.shut_down();
    // Eight times the quiet period without a request, and it is still waited for.
    let waiting = running.offline("?wait=400ms").await;
    assert!(waiting.contains(r#""phase":"leaving""#) && waiting.contains(r#""untold":1"#), "{waiting}");
    assert!(call(running.address()).await.headers().contains_key(OFFLINE));
    let report = running.report().await;
    assert!(report.is_clean() && report.untold_callers == 0, "{report}");
    assert!(400 * MS <= report.lame_duck && report.lame_duck < 10_000 * MS, "{report}");
}

#[tokio::test]
async fn a_caller_that_never_comes_back_is_waited_for_until_the_limit() {
    let running = serve(orders().lame_duck_max(300 * MS), hello()).await;
    let mut client = running.http2().await; // Without a name it is its connection.
    client.get("/").await;
    running.shutdown.shut_down();
    let report = running.report().await;
    assert!(report.lame_duck >= 300 * MS, "{report}");
    assert_eq!((report.untold_callers, report.is_clean()), (1, true));
}

#[tokio::test]
async fn who_is_ordered_offline_drains_and_stays_until_a_signal() {
    let running = serve(orders(), hello()).await;
    let drained = running.offline("?wait=10s").await;
    assert_eq!(drained, r#"{"phase":"leaving","in_flight":0,"left_ms":0,"untold":0}"#);
    assert_eq!(running.offline("").await, drained, "ordered again, nothing changes");
    assert_eq!(running.listed().await, None);
    let answer = running.http1().await.get("/").await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.headers().contains_key(OFFLINE));
    assert_eq!(running.ready().await.0, StatusCode::INTERNAL_SERVER_ERROR);
    running.shutdown.shut_down();
    let report = running.report().await;
    assert!(report.is_clean() && report.drain_time < 10_000 * MS, "{report}");
}

#[tokio::test]
async fn offline_ends_the_process_where_that_is_wanted() {
    let running = serve(orders().exit_after_offline(true), hello()).await;
    running.offline("").await;
    assert!(running.report().await.is_clean());
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let (router, arrived, _) = slow();
    let running = serve(orders(), router).await;
    let mut client = running.http1().await;
    let slow = tokio::spawn(async move { client.0.send_request(request("/slow")).await });
    arrived.notified().await;
    running.shutdown.shut_down();
    running.handle.reached(Phase::Leaving).await;
    running.shutdown.abort();
    let report = tokio::time::timeout(FAR, running.report()).await.unwrap();
    assert_eq!(report.cut_connections, 1);
    assert!(slow.await.unwrap().is_err());
}

#[tokio::test]
async fn a_signal_during_the_start_ends_it() {
    let registry = Moody::new(Mood::Away);
    let running = start_with(orders().registry(registry.clone()), registry.naming.clone(), hello()).await;
    running.shutdown.shut_down();
    assert_eq!(running.handle.reached(Phase::Serving).await, Phase::Leaving);
    assert!(running.report().await.is_clean());
    assert_eq!(
        registry.deregistered.load(Ordering::SeqCst),
        1,
        "what may have been registered is taken back"
    );
}

#[tokio::test]
async fn a_registry_that_does_not_answer_holds_up_nothing() {
    let registry = Moody::new(Mood::Well);
    let builder = orders().registry(registry.clone()).lame_duck_max(200 * MS);
    let running = start_with(builder, registry.naming.clone(), hello()).await;
    running.handle.reached(Phase::Serving).await;
    registry.mood.send_replace(Mood::Deaf);
    running.shutdown.shut_down();
    let report = tokio::time::timeout(FAR, running.report()).await.unwrap();
    assert!(report.is_clean() && report.lame_duck >= 200 * MS, "{report}");
}

#[tokio::test]
async fn a_registration_that_can_never_be_is_an_error() {
    let registry = Moody::new(Mood::NeverAgain);
    let provider = orders().registry(registry).build().unwrap();
    let error = provider.serve(listen().await, hello()).await.unwrap_err();
    assert!(matches!(error, ServeError::Registration(naming::Error::Invalid { .. })), "{error}");
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_names_the_setting() {
    let taken = listen().await;
    let address = taken.local_addr().unwrap();
    for (builder, setting) in [
        (orders().readiness_bind(address), "readiness_bind"),
        (orders().offline_bind(address), "offline_bind"),
    ] {
        let provider = builder.build().unwrap();
        let handle = provider.handle();
        let error = provider.serve(listen().await, hello()).await.unwrap_err().to_string();
        assert!(error.contains(setting) && error.contains(&address.to_string()), "{error}");
        assert_eq!((handle.phase(), handle.bound().await), (Phase::Stopped, None));
    }
}

#[tokio::test]
async fn words_for_one_hop_end_at_it() {
    let handler = async |headers: HeaderMap| {
        let seen = if headers.contains_key(CALLER) { "seen" } else { "not seen" };
        // As if taken over from an answer of its own backend.
        ([(OFFLINE, "\"10.0.0.9:80\";epoch=1"), (REFUSED, "?1")], seen)
    };
    let running = serve(orders(), Router::new().route("/", get(handler))).await;
    let mut request = request("/");
    request.headers_mut().insert(CALLER, "\"9f86d081884c7d65\"".parse().unwrap());
    let answer = running.http1().await.0.send_request(request).await.unwrap();
    assert!(!answer.headers().contains_key(OFFLINE) && !answer.headers().contains_key(REFUSED));
    assert_eq!(text(answer).await, "not seen");
    running.shutdown.abort();
    running.report().await;
}

#[tokio::test]
async fn the_layers_alone_work_under_plain_axum() {
    let lifecycle = Lifecycle::new();
    let tag = "\"10.0.0.7:8080\";epoch=1;fade=0";
    let epoch = UnixMillis::new(1);
    let graceful =
        GracefulLayer::new(lifecycle.clone(), &OfflineTag::new("10.0.0.7:8080".parse().unwrap(), epoch));
    let (listener, stop) = (listen().await, Arc::new(Notify::new()));
    let (address, stopped) = (listener.local_addr().unwrap(), stop.clone());
    let app = hello().layer(graceful.clone());
    let server = axum::serve(listener, app).with_graceful_shutdown(async move { stopped.notified().await });
    let server = tokio::spawn(server.into_future());
    let mut client = Http1(handshake_http1(address).await);
    assert_eq!(client.get("/").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    lifecycle.serve();
    assert_eq!(text(client.get("/").await).await, "hello");
    lifecycle.leave();
    let answer = client.get("/").await;
    assert_eq!(answer.headers()[OFFLINE], tag);
    assert_eq!(answer.headers()[header::CONNECTION], "close");
    assert_eq!(text(answer).await, "hello");
    graceful.in_flight().idle().await;
    stop.notify_one();
    server.await.unwrap().unwrap();
}
