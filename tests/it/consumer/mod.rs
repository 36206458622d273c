//! A request going out: the whole consumer stack over sockets, against providers that stay, go, start and
//! break.

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bytes::Bytes;
use http::StatusCode;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio_stream::wrappers::ReceiverStream;
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceExt};
use tower_graceful::consumer::{
    BoxError, GracefulClient, GracefulClientLayer, InstanceClient, InstanceError, ReplayBody, balance,
    http_client, http_client_h2,
};
use tower_graceful::model::{Instance, ServiceKey, Weight, key};
use tower_graceful::naming::header::{OFFLINE, REFUSED, REFUSED_TRUE};
use tower_graceful::naming::{InProcess, Register, Subscribe};

mod bodies;
mod ending;
mod failover_http1;
mod failover_http2;
mod fleet;
mod goaway;
mod grpc;
mod raw;

/// A provider on a socket and a runtime of its own, so that it can end as abruptly as a process does.
struct Running {
    instance: Instance,
    calls: Arc<AtomicU64>,
    runtime: Option<Runtime>,
}

impl Running {
    /// Serves `router` on `addr`, and registers it under an epoch.
    async fn start(naming: &InProcess, addr: impl Into<SocketAddr>, epoch: u64, router: Router) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let bound = runtime.spawn(TcpListener::bind(addr.into()));
        let listener = bound.await.unwrap().unwrap();
        let metadata = [(key::EPOCH, epoch.to_string()), (key::VERSION, "0.1.0".to_owned())];
        let instance = Instance::new(listener.local_addr().unwrap().into());
        let instance = instance.with_metadata(metadata.into_iter().collect());
        let calls = Arc::<AtomicU64>::default();
        let counter = calls.clone();
        let router = router.layer(axum::middleware::map_request(move |request: Request| {
            counter.fetch_add(1, Ordering::Relaxed);
            std::future::ready(request)
        }));
        runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
        naming.register(&orders(), &instance).await.unwrap();
        Self { instance, calls, runtime: Some(runtime) }
    }

    fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Registers it with a weight so small that the first try meets another.
    async fn seldom(&self, naming: &InProcess) -> Instance {
        let seldom = Instance { weight: Weight::new(1e-6).unwrap(), ..self.instance.clone() };
        naming.register(&orders(), &seldom).await.unwrap();
        seldom
    }

    /// Ends like a process that is killed: connections and port go, the registration stays.
    async fn kill(mut self) -> Instance {
        let runtime = self.runtime.take().unwrap();
        let kill = move || runtime.shutdown_timeout(Duration::from_secs(10)); // It takes no time: nothing blocks.
        tokio::task::spawn_blocking(kill).await.unwrap();
        self.instance.clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

const ANY: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

fn orders() -> ServiceKey {
    "orders".parse().unwrap()
}

fn echo() -> Router {
    Router::new().route("/echo", any(async |body: axum::body::Body| body))
}

type Http<B> = GracefulClient<balance::Dial<Client<HttpConnector, ReplayBody<B>>>>;

/// The stack as the quick start has it, over HTTP/1.1 or HTTP/2.
async fn clients<B>(naming: &InProcess) -> [Http<B>; 2]
where
    B: http_body::Body + Unpin + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let snapshots = naming.subscribe(&orders()).await.unwrap();
    let layer = GracefulClientLayer::new(snapshots).with_app("storefront");
    [layer.layer(http_client()), layer.layer(http_client_h2())]
}

/// A client of any kind.
type AnyClient = BoxCloneSyncService<http::Request<String>, http::Response<axum::body::Body>, BoxError>;

/// Over one client for all instances, and over one for each of them, which goes with it; in both versions.
async fn clients_of_all_kinds(naming: &InProcess) -> [AnyClient; 4] {
    let [old, new] = clients(naming).await;
    let each = GracefulClientLayer::new(naming.subscribe(&orders()).await.unwrap());
    let (old_each, new_each) = (InstanceClient::builder(), InstanceClient::builder().http2());
    let body = axum::body::Body::new;
    [
        AnyClient::new(old.map_response(move |answer| answer.map(body))),
        AnyClient::new(new.map_response(move |answer| answer.map(body))),
        AnyClient::new(each.over(move |it| old_each.build(it)).map_response(move |answer| answer.map(body))),
        AnyClient::new(each.over(move |it| new_each.build(it)).map_response(move |answer| answer.map(body))),
    ]
}

async fn echoed(client: &Http<String>, body: &str) -> Result<String, BoxError> {
    let request = http::Request::post("/echo").body(body.to_owned())?;
    let answer = client.clone().oneshot(request).await?;
    assert_eq!(answer.status(), StatusCode::OK);
    Ok(String::from_utf8(answer.into_body().collect().await?.to_bytes().to_vec())?)
}

/// Waits until it is so, 10 s at most.
async fn until(so: impl Fn() -> bool) {
    let waiting = async {
        while !so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("within 10 s");
}

/// The pieces of an answer, as they are made.
type Pieces = tokio::sync::mpsc::Sender<Result<Frame<Bytes>, Infallible>>;

/// A provider whose one answer consists of the pieces that it is given.
async fn held(naming: &InProcess) -> (Running, Pieces) {
    let (pieces, receiver) = tokio::sync::mpsc::channel(1);
    let body = axum::body::Body::new(StreamBody::new(ReceiverStream::new(receiver)));
    let body = Arc::new(Mutex::new(Some(body)));
    let answer = any(async move || body.lock().unwrap().take().unwrap());
    (Running::start(naming, ANY, 1, Router::new().route("/held", answer)).await, pieces)
}
