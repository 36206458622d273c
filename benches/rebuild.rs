//! What it costs to renew the weights while everyone ramps: the one pick in 100 ms that does it.
//!
//! ```console
//! $ cargo bench --features full --bench rebuild
//! ```
//!
//! - `rebuild`: two thirds of the fleet have been replaced, so that the elastic bound speaks.
//! - `rebuild-unbound`: the same without the bound.
//!
//! Time stands still but for the tick, so that every pick that is measured finds the weights old.

mod report;

use report::{OURS, Report, Subject, fleet, timed};
use std::hint::black_box;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::advance;
use tower_graceful::consumer::{Balance, BalanceLayer};
use tower_graceful::model::Snapshot;
use tower_graceful::naming::Publisher;

/// How often a table is renewed at most.
const TICK: Duration = Duration::from_millis(100);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut report = Report::new("rebuild");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    for n in [10, 1000, 10_000] {
        for (case, bound) in [("rebuild", true), ("rebuild-unbound", false)] {
            let balance = runtime.block_on(async { replaced(n, bound) })?;
            let subject = Subject::timed(OURS, |times| renewals(&runtime, &balance, times));
            report.compare(case, n, 1, vec![subject]);
        }
    }
    Ok(report.finish()?)
}

/// A balancer that has seen a warm fleet, which one that ramps has replaced.
fn replaced(n: usize, bound: bool) -> Result<Balance<()>, Box<dyn std::error::Error>> {
    let (publisher, snapshots) = Publisher::new("orders".parse()?);
    let layer = BalanceLayer::new(snapshots);
    let layer = if bound { layer } else { layer.with_max_amplification(None)? };
    let balance = layer.over(|_| ());
    for (revision, ramping) in [(1, false), (2, true)] {
        publisher.publish(Snapshot::new("orders".parse()?, revision, fleet(n, ramping)));
        balance.sample(|_| ())?;
    }
    Ok(balance)
}

/// The mean of so many picks that find the weights old.
fn renewals(runtime: &Runtime, balance: &Balance<()>, times: u32) -> f64 {
    let mut total = 0.0;
    runtime.block_on(async {
        for _ in 0..times {
            advance(TICK).await;
            total += timed(1, &mut || drop(black_box(balance.sample(|_| ()))));
        }
    });
    total / f64::from(times)
}
