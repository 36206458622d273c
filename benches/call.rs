//! What a balancer adds to a call: the whole `Service`, cloned for each request as axum and tonic do, over
//! instances in memory.
//!
//! ```console
//! $ cargo bench --features full --bench call
//! ```
//!
//! - `call`: one service for each instance. tower's balancer cannot be cloned, and is called in place.
//! - `call-rewrite`: over one client, so that each call sets scheme and authority of its URI.
//! - `call-stack`: the same with failover and goodbye around it, for a request with four headers. Failover
//!   keeps a copy of the head, which is two allocations, unless a request is sent once only.
//! - `allocations`: how often a call asks the heap for memory. Counting is on in the other cases too; it costs
//!   a peer that allocates a nanosecond or two.
//!
//! Making the request and dropping the answer is in every number: `round robin by hand` and `the client
//! alone` tell how much that is.

mod peers;
mod report;

use http::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Request, Uri};
use peers::{InMemory, RoundRobin, call, p2c};
use report::{OURS, Report, Subject, fleet};
use tower_graceful::BoxError;
use tower_graceful::consumer::balance::Dial;
use tower_graceful::consumer::{Balance, BalanceLayer, FailoverLayer, GracefulClient, GracefulClientLayer};
use tower_graceful::naming::Snapshots;
use tower_layer::Layer;

/// Name of ours with failover and goodbye around it, and of the same without retries.
const WHOLE: &str = "tower-graceful, whole stack";
const ONCE: &str = "tower-graceful, sent once";

/// Calls whose allocations are counted, after as many that warm up.
const COUNTED: u32 = 10_000;

fn main() -> Result<(), BoxError> {
    let mut report = Report::new("call");
    for n in [10, 100, 1000, 10_000] {
        let (balance, mut p2c) = (Balance::new(snapshots(n)?, |_| InMemory), p2c(n));
        let rewriting = BalanceLayer::new(snapshots(n)?).layer(InMemory);
        let by_hand = RoundRobin::new(vec![InMemory; n]);
        let uri = Uri::from_static("/orders/7?full=true");
        let to_uri = || {
            let mut request = Request::new(());
            request.uri_mut().clone_from(&uri);
            request
        };

        let mut ours = || call(&mut balance.clone(), Request::new(()));
        let mut rewritten = || call(&mut rewriting.clone(), to_uri());
        let mut tower = || call(&mut p2c, Request::new(()));
        let (whole, once) = (stack(n, 3)?, stack(n, 1)?);
        let with_headers = || {
            let mut request = Request::new(String::new());
            request.uri_mut().clone_from(&uri);
            for name in [HOST, ACCEPT, USER_AGENT, CONTENT_TYPE] {
                request.headers_mut().insert(name, HeaderValue::from_static("as usual"));
            }
            request
        };
        let mut retried = || call(&mut whole.clone(), with_headers());
        let mut sent_once = || call(&mut once.clone(), with_headers());
        let mut headed = || call(&mut InMemory, with_headers());
        for (subject, count) in [
            (OURS, allocations(&mut ours)),
            ("tower-graceful, rewriting", allocations(&mut rewritten)),
            (WHOLE, allocations(&mut retried)),
            (ONCE, allocations(&mut sent_once)),
            ("the client alone, four headers", allocations(&mut headed)),
            ("tower p2c", allocations(&mut tower)),
        ] {
            report.value("allocations", subject, (n, 1), (count, "per call"));
        }
        report.compare(
            "call",
            n,
            1,
            vec![
                Subject::alone(OURS, ours),
                Subject::alone("tower p2c", tower),
                Subject::alone("round robin by hand", || call(&mut by_hand.next().clone(), Request::new(()))),
            ],
        );
        report.compare(
            "call-rewrite",
            n,
            1,
            vec![
                Subject::alone(OURS, rewritten),
                Subject::alone("the client alone", || call(&mut InMemory, to_uri())),
            ],
        );
        report.compare(
            "call-stack",
            n,
            1,
            vec![
                Subject::alone(WHOLE, retried),
                Subject::alone(ONCE, sent_once),
                Subject::alone("the client alone", headed),
            ],
        );
    }
    Ok(report.finish()?)
}

fn stack(n: usize, tries: u32) -> Result<GracefulClient<Dial<InMemory>>, BoxError> {
    let failover = FailoverLayer::new().with_tries(tries.try_into()?);
    Ok(GracefulClientLayer::new(snapshots(n)?).with_failover(failover).layer(InMemory))
}

fn allocations(operation: &mut impl FnMut()) -> f64 {
    let mut all = || (0..COUNTED).for_each(|_| operation());
    all();
    allocation_counter::measure(all).count_total as f64 / f64::from(COUNTED)
}

fn snapshots(n: usize) -> Result<Snapshots, BoxError> {
    Ok(Snapshots::fixed("orders".parse()?, fleet(n, false)))
}
