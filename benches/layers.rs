//! What the provider's layers add to a request.
//!
//! ```console
//! $ cargo bench --features full --bench layers
//! ```
//!
//! - `layers`: an axum router with an empty handler in memory, with the layers around it and without.
//! - `layers-added`: the same as the difference, the median of paired turns.
//! - `allocations`: how often a request asks the heap for memory.
//! - `end-to-end`: both routers under `axum::serve` over loopback, HTTP/1.1, 64 connections with a request under
//!   way on each. Client and server share one thread, so that what a request costs is the CPU time of both
//!   ends, whatever else the machine does; requests per second of it.
//! - `end-to-end-lost`: how much of that the layers take, in percent, the median of paired runs.

mod peers;
mod report;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use axum::serve::ListenerExt;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use peers::call;
use report::{OURS, Report, Subject, median, timed};
use rustix::time::{ClockId, clock_gettime};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tower_graceful::BoxError;
use tower_graceful::model::UnixMillis;
use tower_graceful::naming::header::OfflineTag;
use tower_graceful::provider::{GracefulLayer, Lifecycle};
use tower_layer::Layer;
use tower_service::Service;

/// What the layers are measured against.
const ALONE: &str = "the router alone";

/// Pairs of turns in memory, and requests in one: some milliseconds.
const TURNS: usize = 201;
const TURN: u32 = 5_000;

/// Requests whose allocations are counted, after as many that warm up.
const COUNTED: u32 = 10_000;

/// Connections, requests on each in one run, which is some tens of milliseconds, and pairs of runs.
const CONNECTIONS: usize = 64;
const EACH: usize = 50;
const PAIRS: usize = 101;

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
        (0..TURNS).map(|_| timed(TURN, &mut layered) - timed(TURN, &mut bare)).collect();
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
    let mut bare = runtime.block_on(connections(router()))?;
    let mut layered = runtime.block_on(connections(router().layer(layers()?)))?;
    let (mut with, mut without, mut lost) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=PAIRS {
        let (own, base) = if round % 2 == 0 {
            let own = run(&runtime, &mut layered)?;
            (own, run(&runtime, &mut bare)?)
        } else {
            let base = run(&runtime, &mut bare)?;
            (run(&runtime, &mut layered)?, base)
        };
        if round > 0 {
            // The first one warms up.
            with.push(own);
            without.push(base);
            lost.push(100.0 * (1.0 - own / base));
        }
    }
    for (subject, rates) in [(OURS, &mut with), (ALONE, &mut without)] {
        report.value("end-to-end", subject, (CONNECTIONS, 1), (median(rates), "req/s"));
    }
    report.value("end-to-end-lost", OURS, (CONNECTIONS, 1), (median(&mut lost), "%"));
    Ok(())
}

type Connection = SendRequest<Empty<Bytes>>;

/// Serves `router`, and connects to it.
async fn connections(router: Router) -> Result<Vec<Connection>, BoxError> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let listener = listener.tap_io(|stream| _ = stream.set_nodelay(true));
    tokio::spawn(axum::serve(listener, router).into_future());
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
    let started = cpu_s();
    *connections = runtime.block_on(async {
        let running: Vec<_> = connections.drain(..).map(|sender| tokio::spawn(requests(sender))).collect();
        let mut senders = Vec::with_capacity(CONNECTIONS);
        for task in running {
            senders.push(task.await??);
        }
        Ok::<_, BoxError>(senders)
    })?;
    Ok((CONNECTIONS * EACH) as f64 / (cpu_s() - started))
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

/// CPU time of this process so far, in seconds.
fn cpu_s() -> f64 {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9
}
