//! What balancing adds to real requests: CPU time of the client for one request over loopback, 64 in flight.
//!
//! ```console
//! $ cargo bench --features full --bench http
//! ```
//!
//! - `http`: HTTP/1 over one pool of connections, `http-h2`: HTTP/2 over a channel of tonic for each instance;
//!   microseconds of CPU time for one request.
//! - `http-over`, `http-h2-over`: the same in percent over a round robin by hand, the median of paired runs.
//!
//! The instances run in a process of their own, so that only what the client spends is counted. The rounds
//! are paired: whatever else the machine does meets all of a round.

mod peers;
mod report;

use axum::Router;
use axum::serve::ListenerExt;
use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri};
use http_body_util::BodyExt;
use peers::RoundRobin;
use report::{OURS, Report, cpu_s, median};
use rustix::time::ClockId;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tower::balance::p2c::Balance as P2c;
use tower::buffer::Buffer;
use tower::discover::ServiceList;
use tower::load::{CompleteOnResponse, PendingRequests};
use tower::util::Oneshot;
use tower::{Service, ServiceExt};
use tower_graceful::consumer::{Balance, BalanceLayer, GracefulClientLayer};
use tower_graceful::model::Instance;
use tower_graceful::naming::Snapshots;
use tower_graceful::{BoxError, http_client, http_client_h2};
use tower_layer::Layer;

const N: usize = 4;
const IN_FLIGHT: usize = 64;
/// Paired runs, and requests of each task in one of them: a tenth of a second and more.
const PAIRS: usize = 15;
const EACH: usize = 60;
/// More than are in flight, so that none waits for a place.
const BUFFERED_MAX: usize = 1024;
/// Name of ours with failover and goodbye around it.
const WHOLE: &str = "tower-graceful, whole stack";
/// Name of ours without a header timeout.
const UNTIMED: &str = "tower-graceful, no timeout";
/// Argument of the process that serves.
const AS_INSTANCES: &str = "instances";

fn main() -> Result<(), BoxError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if std::env::args().any(|argument| argument == AS_INSTANCES) {
        return runtime.block_on(serve());
    }
    let (_elsewhere, instances) = Elsewhere::start()?;
    let _entered = runtime.enter(); // Channels and buffers have tasks of their own.
    let mut report = Report::new("http");
    compare(&mut report, &runtime, ("http", "http-over"), &http1(&instances)?);
    compare(&mut report, &runtime, ("http-h2", "http-h2-over"), &http2(&instances)?);
    Ok(report.finish()?)
}

/// What is compared: a name, and one run.
type Contender = (&'static str, Box<dyn Fn(&Runtime)>);

/// The first of them is what the others are measured against.
fn compare(
    report: &mut Report,
    runtime: &Runtime,
    (case, over): (&'static str, &'static str),
    contenders: &[Contender],
) {
    for (_, run) in contenders {
        run(runtime); // Connects.
    }
    let mut spent: Vec<Vec<f64>> = vec![Vec::new(); contenders.len()];
    for round in 0..PAIRS {
        for turn in 0..contenders.len() {
            let index = (round + turn) % contenders.len(); // Nobody is always the first.
            let before = cpu_s(ClockId::ProcessCPUTime);
            contenders[index].1(runtime);
            let took_us = (cpu_s(ClockId::ProcessCPUTime) - before) * 1e6;
            spent[index].push(took_us / (IN_FLIGHT * EACH) as f64);
        }
    }
    for ((name, _), own) in contenders.iter().zip(&spent) {
        let mut percent: Vec<f64> =
            own.iter().zip(&spent[0]).map(|(own, base)| 100.0 * (own / base - 1.0)).collect();
        report.value(case, name, (N, 1), (median(&mut own.clone()), "us"));
        report.value(over, name, (N, 1), (median(&mut percent), "%"));
    }
}

fn http1(instances: &Instances) -> Result<Vec<Contender>, BoxError> {
    let client = http_client();
    let each: Vec<_> = instances.0.iter().map(|address| At::new(client.clone(), address)).collect();
    let loaded = each.iter().cloned();
    let loaded = loaded.map(|service| PendingRequests::new(service, CompleteOnResponse::default()));
    let p2c = P2c::new(ServiceList::new::<Request<Body>>(loaded.collect::<Vec<_>>()));
    Ok(vec![
        contender("round robin by hand", Turns(Arc::new(RoundRobin::new(each)))),
        contender(OURS, BalanceLayer::new(instances.snapshots()?).layer(http_client())),
        contender(UNTIMED, untimed(instances)?.layer(http_client())),
        contender(WHOLE, GracefulClientLayer::new(instances.snapshots()?).layer(http_client())),
        contender("Buffer<p2c>", Buffer::new(p2c, BUFFERED_MAX)),
    ])
}

fn http2(instances: &Instances) -> Result<Vec<Contender>, BoxError> {
    let all = || instances.0.iter().map(|address| endpoint(address));
    let channels: Vec<Channel> = all().map(|endpoint| endpoint.connect_lazy()).collect();
    let channel = |instance: &Instance| endpoint(&instance.address().to_string()).connect_lazy();
    Ok(vec![
        contender("round robin by hand", Turns(Arc::new(RoundRobin::new(channels)))),
        contender(OURS, Balance::new(instances.snapshots()?, channel)),
        contender(UNTIMED, untimed(instances)?.over(channel)),
        contender(WHOLE, GracefulClientLayer::new(instances.snapshots()?).layer(http_client_h2())),
        contender("tonic's balance channel", Channel::balance_list(all())),
    ])
}

/// The peers watch no time either.
fn untimed(instances: &Instances) -> Result<BalanceLayer, BoxError> {
    Ok(BalanceLayer::new(instances.snapshots()?).with_header_timeout(None))
}

fn endpoint(address: &str) -> Endpoint {
    Endpoint::from_shared(format!("http://{address}")).expect("an address is an authority").tcp_nodelay(true)
}

/// A run: so many tasks at once, each with requests one after the other, every one by a clone of `service`.
fn contender<S, R>(name: &'static str, service: S) -> Contender
where
    S: Service<Request<Body>, Response = Response<R>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + 'static,
    R: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let run = move |runtime: &Runtime| {
        runtime.block_on(async {
            let running: Vec<_> = (0..IN_FLIGHT).map(|_| tokio::spawn(requests(service.clone()))).collect();
            for task in running {
                task.await.expect("no contender panics");
            }
        });
    };
    (name, Box::new(run))
}

async fn requests<S, R>(service: S)
where
    S: Service<Request<Body>, Response = Response<R>, Error: Into<BoxError>> + Clone,
    R: http_body::Body<Error: Into<BoxError>>,
{
    for _ in 0..EACH {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = Uri::from_static("/orders/7");
        let answer = service.clone().oneshot(request).await.map_err(Into::into).expect("an answer");
        assert!(answer.status().is_success());
        answer.into_body().collect().await.map_err(Into::into).expect("a body");
    }
}

/// What one writes by hand around one client.
#[derive(Clone)]
struct At<C> {
    client: C,
    authority: Authority,
}

impl<C> At<C> {
    fn new(client: C, address: &str) -> Self {
        Self { client, authority: address.parse().expect("an address is an authority") }
    }
}

impl<C: Service<Request<Body>>> Service<Request<Body>> for At<C> {
    type Response = C::Response;
    type Error = C::Error;
    type Future = C::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.client.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.authority.clone());
        *request.uri_mut() = Uri::from_parts(parts).expect("a URI");
        self.client.call(request)
    }
}

/// Each in its turn.
struct Turns<S>(Arc<RoundRobin<S>>);

impl<S> Clone for Turns<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Service<Request<Body>> + Clone> Service<Request<Body>> for Turns<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = Oneshot<S, Request<Body>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.0.next().clone().oneshot(request)
    }
}

/// The addresses of the instances.
struct Instances(Vec<String>);

impl Instances {
    fn snapshots(&self) -> Result<Snapshots, BoxError> {
        let instances = self.0.iter().map(|address| Ok(Instance::new(address.parse()?)));
        Ok(Snapshots::fixed("orders".parse()?, instances.collect::<Result<_, BoxError>>()?))
    }
}

/// The process of the instances, which ends when we close its input, or end ourselves.
struct Elsewhere(Child);

impl Elsewhere {
    fn start() -> Result<(Self, Instances), BoxError> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.arg(AS_INSTANCES).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().ok_or("a pipe")?;
        let addresses = BufReader::new(output).lines().take(N).collect::<Result<_, _>>()?;
        Ok((Self(child), Instances(addresses)))
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait(); // It ends by itself when its input does.
    }
}

/// Serves as all the instances, until the input is closed.
async fn serve() -> Result<(), BoxError> {
    let app = Router::new().fallback(async || "a book");
    for _ in 0..N {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
        let listener = listener.tap_io(|stream| _ = stream.set_nodelay(true));
        tokio::spawn(axum::serve(listener, app.clone()).into_future());
    }
    std::io::stdout().flush()?;
    tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await?;
    Ok(())
}
