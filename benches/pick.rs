//! What it costs to choose an instance.
//!
//! ```console
//! $ cargo bench --features full --bench pick
//! ```
//!
//! - `pick-warm`: the bare choice while everyone is warm, and `pick-ramping`: while everyone ramps, the clock
//!   read and the renewals of the table included.
//! - `pick-inflight`: the choice with the call counted as in flight, and uncounted again. The peer is a whole
//!   call through tower's balancer, for it has no choice apart from that.
//!
//! - `pick-metrics`: the same with metrics of each pick, and without.
//!
//! The round robin by hand is the least that any choice costs: a counter that all threads share.

mod peers;
mod report;

use http::Request;
use peers::{RoundRobin, call, p2c};
use report::{OURS, Report, Subject, fleet};
use std::hint::black_box;
use tower_graceful::consumer::{Balance, BalanceLayer};
use tower_graceful::naming::Snapshots;
use tower_graceful::observe::Metrics;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut report = Report::new("pick");
    for n in [10, 100, 1000, 10_000] {
        for threads in [1, 4] {
            let (warm, ramping) = (balance(n, false)?, balance(n, true)?);
            let round_robin = RoundRobin::new((0..n).collect());
            let by_hand =
                || Subject::threads("round robin by hand", threads, || || _ = black_box(round_robin.next()));
            let bare = |balance| Subject::threads(OURS, threads, move || move || sample(balance));
            report.compare("pick-warm", n, threads, vec![bare(&warm), by_hand()]);
            report.compare("pick-ramping", n, threads, vec![bare(&ramping), by_hand()]);
            let counted = Subject::threads(OURS, threads, || || drop(black_box(warm.pick())));
            let mut subjects = vec![counted];
            if threads == 1 {
                let mut peer = p2c(n);
                subjects.push(Subject::alone("tower p2c", move || call(&mut peer, Request::new(()))));
            }
            report.compare("pick-inflight", n, threads, subjects);

            let observed = observed(n)?;
            let measured = Subject::threads(OURS, threads, || || drop(black_box(observed.pick())));
            let without = Subject::threads("without metrics", threads, || || drop(black_box(warm.pick())));
            report.compare("pick-metrics", n, threads, vec![measured, without]);
        }
    }
    Ok(report.finish()?)
}

fn balance(n: usize, ramping: bool) -> Result<Balance<()>, Box<dyn std::error::Error>> {
    Ok(Balance::new(Snapshots::fixed("orders".parse()?, fleet(n, ramping)), |_| ()))
}

fn observed(n: usize) -> Result<Balance<()>, Box<dyn std::error::Error>> {
    let layer = BalanceLayer::new(Snapshots::fixed("orders".parse()?, fleet(n, false)));
    Ok(layer.with_observer(Metrics::alone()).over(|_| ()))
}

fn sample(balance: &Balance<()>) {
    let _ = black_box(balance.sample(|instance| instance.address().port()));
}
