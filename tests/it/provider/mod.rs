//! A provider from its start to its end, over real sockets: what consumers, probes and operators see.
//!
//! The spans that make tests wait (quiet period, limits) are set short; nothing sleeps and hopes.

mod alone;
mod end;
mod fade;
mod greeter;
mod grpc_health;
mod leave;
mod moody;
mod notify;
mod prepare;
mod process;
mod shapes;
mod start;

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

use moody::{Mood, Moody};

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
        self.bound.address().unwrap()
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
