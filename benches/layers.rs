//! What the provider's layers add to a request.
//!
//! ```console
//! $ cargo bench --features full --bench layers
//! ```
//!
//! - `layers`: an axum router with an empty handler in memory, with the layers around it and without.
//! - `layers-added`: the same as the difference, the median of paired turns.
//! - `allocations`: how often a request asks the heap for memory.
//! - `end-to-end`: both routers behind the same HTTP server over loopback, HTTP/1.1, 64 connections with a
//!   request under way on each. Client and server share one thread, so that what a request costs is the CPU time
//!   of both ends, whatever else the machine does; requests per second of it.
//! - `served`: the same by `Provider::serve`, with all that it does for its connections.
//! - `routed`: the same under `axum::serve`, the layers given to `Router::layer`, which boxes whatever is given to
//!   it: hence the layer that does nothing.
//! - `...-lost`: how much of what the router alone does each of them takes, in percent, the median of paired runs.

mod peers;
mod report;

use axum::Router;
use axum::body::Body;
use axum::routing::{Route, get};
use axum::serve::ListenerExt;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use peers::call;
use report::{OURS, Report, Subject, cpu_s, median, spent};
use rustix::time::ClockId;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tower_graceful::BoxError;
use tower_graceful::model::{Phase, UnixMillis};
use tower_graceful::naming::header::OfflineTag;
use tower_graceful::provider::{App, GracefulLayer, Lifecycle, Provider};
use tower_layer::{Layer, layer_fn};
use tower_service::Service;

/// What the layers are measured against.
const ALONE: &str = "the router alone";
const IDLE: &str = "a layer that does nothing";

/// Pairs of turns in memory, and requests in one: some milliseconds.
const TURNS: usize = 201;
const TURN: u32 = 5_000;

/// Requests whose allocations are counted, after as many that warm up.
const COUNTED: u32 = 10_000;

/// Connections, requests on each in one run, which is some tens of milliseconds, and rounds of runs.
const CONNECTIONS: usize = 64;
const EACH: usize = 50;
const ROUNDS: usize = 101;

fn main() -> Result<(), BoxError> {
    let mut report = Report::new("layers");
    in_memory(&mut report)?;
    end_to_end(&mut report)?;
    Ok(report.finish()?)
}

fn in_memory(report: &mut Report) -> Result<(), BoxError> {
    let (bare, layered) = (router(), layers()?.layer(router()));
    let mut bare = || request(&mut bare.clone());
    let mut layered = || request(&mut layered.clone());
    let allocations = [(OURS, allocations(&mut layered)), (ALONE, allocations(&mut bare))];
    let mut added: Vec<f64> =
        (0..TURNS).map(|_| spent(TURN, &mut layered) - spent(TURN, &mut bare)).collect();
    report.compare("layers", 1, 1, vec![Subject::alone(OURS, layered), Subject::alone(ALONE, bare)]);
    report.value("layers-added", OURS, (1, 1), (median(&mut added), "ns"));
    for (subject, count) in allocations {
        report.value("allocations", subject, (1, 1), (count, "per request"));
    }
    Ok(())
}

fn router() -> Router {
    Router::new().route("/", get(async || ()))
}

/// The layers of an instance that serves.
fn layers() -> Result<GracefulLayer, BoxError> {
    let lifecycle = Lifecycle::new();
    lifecycle.serve();
    let tag = OfflineTag::new("10.0.0.7:8080".parse()?, UnixMillis::new(1_732_060_800_000));
    Ok(GracefulLayer::new(lifecycle, &tag))
}

fn request(service: &mut impl Service<Request<Body>>) {
    call(service, Request::new(Body::empty()));
}

fn allocations(operation: &mut impl FnMut()) -> f64 {
    let mut all = || (0..COUNTED).for_each(|_| operation());
    all();
    allocation_counter::measure(all).count_total as f64 / f64::from(COUNTED)
}

fn end_to_end(report: &mut Report) -> Result<(), BoxError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut sides = runtime.block_on(sides())?;
    for round in 0..=ROUNDS {
        for turn in 0..sides.len() {
            let side = (round + turn) % sides.len(); // Each goes first, and after each, equally often.
            let rate = run(&runtime, &mut sides[side].connections)?;
            if round > 0 {
                sides[side].rates.push(rate); // The first round warms up.
            }
        }
    }
    for side in &sides {
        let rate = median(&mut side.rates.clone());
        report.value(side.case, side.subject, (CONNECTIONS, 1), (rate, "req/s"));
    }
    for side in sides.iter().filter(|side| side.subject != ALONE) {
        let pairs = side.rates.iter().zip(&sides[side.base].rates);
        let mut lost: Vec<f64> = pairs.map(|(own, base)| 100.0 * (1.0 - own / base)).collect();
        report.value(side.lost, side.subject, (CONNECTIONS, 1), (median(&mut lost), "%"));
    }
    Ok(())
}

/// What is measured end to end.
struct Side {
    case: &'static str,
    /// Name of the case that says what it loses.
    lost: &'static str,
    subject: &'static str,
    /// Place of what it is compared with.
    base: usize,
    connections: Vec<Connection>,
    rates: Vec<f64>,
}

async fn sides() -> Result<Vec<Side>, BoxError> {
    let idle = router().layer(layer_fn(Idle as fn(Route) -> Idle<Route>));
    let side = |(case, lost), subject, base, connections| Side {
        case,
        lost,
        subject,
        base,
        connections,
        rates: Vec::new(),
    };
    let (plain, served, routed) =
        (("end-to-end", "end-to-end-lost"), ("served", "served-lost"), ("routed", "routed-lost"));
    Ok(vec![
        side(plain, ALONE, 0, by_hyper(router()).await?),
        side(plain, OURS, 0, by_hyper(layers()?.layer(router())).await?),
        side(served, OURS, 0, by_provider(router()).await?),
        side(routed, ALONE, 3, by_axum(router()).await?),
        side(routed, IDLE, 3, by_axum(idle).await?),
        side(routed, OURS, 3, by_axum(router().layer(layers()?)).await?),
    ])
}

/// Passes requests on.
#[derive(Clone)]
struct Idle<S>(S);

impl<S: Service<R>, R> Service<R> for Idle<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> S::Future {
        self.0.call(request)
    }
}

type Connection = SendRequest<Empty<Bytes>>;

/// Serves `app` as simply as can be, and connects to it.
async fn by_hyper(app: impl App) -> Result<Vec<Connection>, BoxError> {
    let service = app.into_service();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            _ = stream.set_nodelay(true);
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let http = auto::Builder::new(TokioExecutor::new());
                _ = http.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
            });
        }
    });
    connect(address).await
}

async fn by_provider(app: Router) -> Result<Vec<Connection>, BoxError> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let provider =
        Provider::builder("orders").without_readiness().without_offline().without_signals().build()?;
    let lifecycle = provider.handle().lifecycle().clone();
    tokio::spawn(provider.serve(listener, app));
    lifecycle.reached(Phase::Serving).await;
    connect(address).await
}

async fn by_axum(router: Router) -> Result<Vec<Connection>, BoxError> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let listener = listener.tap_io(|stream| _ = stream.set_nodelay(true));
    tokio::spawn(axum::serve(listener, router).into_future());
    connect(address).await
}

async fn connect(address: SocketAddr) -> Result<Vec<Connection>, BoxError> {
    let mut connections = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        connections.push(sender);
    }
    Ok(connections)
}

/// Requests in a second of CPU time, in one run over all connections at once.
fn run(runtime: &Runtime, connections: &mut Vec<Connection>) -> Result<f64, BoxError> {
    let started = cpu_s(ClockId::ProcessCPUTime);
    *connections = runtime.block_on(async {
        let running: Vec<_> = connections.drain(..).map(|sender| tokio::spawn(requests(sender))).collect();
        let mut senders = Vec::with_capacity(CONNECTIONS);
        for task in running {
            senders.push(task.await??);
        }
        Ok::<_, BoxError>(senders)
    })?;
    Ok((CONNECTIONS * EACH) as f64 / (cpu_s(ClockId::ProcessCPUTime) - started))
}

async fn requests(mut sender: Connection) -> Result<Connection, hyper::Error> {
    for _ in 0..EACH {
        let request = Request::get("/").header("host", "orders").body(Empty::new()).expect("a request");
        let answer = sender.send_request(request).await?;
        assert!(answer.status().is_success());
        answer.into_body().collect().await?;
        sender.ready().await?;
    }
    Ok(sender)
}
