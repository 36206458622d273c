//! What a balancer carries when tasks share it.
//!
//! ```console
//! $ cargo bench --features full --bench shared
//! ```
//!
//! - `shared`: whole calls over instances in memory by 1 and by 4 tasks, on a thread each, every one with a
//!   clone of its own. tower's balancer has to be shared through a `Buffer` or a mutex.
//! - `shared-random`: exact weighted random choices among instances of other weights each.

mod peers;
mod report;

use http::{Request, Response};
use peers::{P2c, RoundRobin, p2c};
use report::{OURS, Report, Subject, fleet};
use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use tokio::runtime::Runtime;
use tokio::sync::Barrier;
use tokio::time::Instant;
use tower::buffer::Buffer;
use tower::{Service, ServiceExt};
use tower_graceful::BoxError;
use tower_graceful::consumer::{Balance, BalanceLayer, Policy};
use tower_graceful::model::Weight;
use tower_graceful::naming::Snapshots;

const N: usize = 10;

/// So that the tasks are at it together, and their start weighs nothing.
const CALLS_MIN: u32 = 20_000;

/// More than the tasks that share it, so that none waits for a place.
const BUFFERED_MAX: usize = 1024;

fn main() -> Result<(), BoxError> {
    let mut report = Report::new("shared");
    for threads in [1, 4] {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).build()?;
        let ours = Balance::new(Snapshots::fixed("orders".parse()?, fleet(N, false)), |_| peers::InMemory);
        let buffer = runtime.block_on(async { Buffer::new(p2c(N), BUFFERED_MAX) });
        let locked = Locked(Arc::new(Mutex::new(p2c(N))));
        report.compare_rates(
            "shared",
            N,
            threads,
            vec![
                by_tasks(OURS, &runtime, threads, ours),
                by_tasks("Buffer<p2c>", &runtime, threads, buffer),
                by_tasks("Mutex<p2c>", &runtime, threads, locked),
            ],
        );
    }
    for threads in [1, 4] {
        let random = random()?;
        let by_hand = RoundRobin::new((0..N).collect());
        report.compare_rates(
            "shared-random",
            N,
            threads,
            vec![
                Subject::threads(OURS, threads, || || _ = black_box(random.sample(|it| it.address().port()))),
                Subject::threads("round robin by hand", threads, || || _ = black_box(by_hand.next())),
            ],
        );
    }
    Ok(report.finish()?)
}

fn random() -> Result<Balance<()>, BoxError> {
    let mut instances = fleet(N, false);
    for (weight, instance) in (1..).zip(&mut instances) {
        instance.weight = Weight::new(f64::from(weight)).expect("positive");
    }
    let snapshots = Snapshots::fixed("orders".parse()?, instances);
    Ok(BalanceLayer::new(snapshots).with_policy(Policy::WeightedRandom).over(|_| ()))
}

/// So many tasks at once, each with a clone of `service`.
fn by_tasks<'a, S>(name: &'static str, runtime: &'a Runtime, tasks: usize, service: S) -> Subject<'a>
where
    S: Service<Request<()>, Response: Send, Error: Send, Future: Send> + Clone + Send + 'static,
{
    Subject::timed(name, move |times| {
        let start = Arc::new(Barrier::new(tasks));
        runtime.block_on(async {
            let run = |_| tokio::spawn(calls(service.clone(), times.max(CALLS_MIN), start.clone()));
            let running: Vec<_> = (0..tasks).map(run).collect();
            let mut total = 0.0;
            for task in running {
                total += task.await.expect("no subject panics");
            }
            total / tasks as f64
        })
    })
}

/// Nanoseconds of one of so many calls.
async fn calls<S: Service<Request<()>>>(mut service: S, times: u32, start: Arc<Barrier>) -> f64 {
    start.wait().await;
    let started = Instant::now();
    for _ in 0..times {
        let Ok(ready) = service.ready().await else { panic!("an instance in memory is ready") };
        let Ok(answer) = ready.call(Request::new(())).await else { panic!("and answers") };
        drop(black_box(answer));
    }
    started.elapsed().as_secs_f64() * 1e9 / f64::from(times)
}

/// tower's balancer behind a mutex, held while it chooses.
#[derive(Clone)]
struct Locked(Arc<Mutex<P2c>>);

impl Service<Request<()>> for Locked {
    type Response = Response<()>;
    type Error = BoxError;
    type Future = <P2c as Service<Request<()>>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let mut balance = self.0.lock().expect("nobody panics");
        assert!(balance.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
        balance.call(request)
    }
}
