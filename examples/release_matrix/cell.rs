//! One cell, told from top to bottom.

use super::common::BoxError;
use super::common::line::Line;
use super::common::plan::{Planned, Schedule, follow};
use super::common::process::Process;
use super::common::serving::CLOSE_MAX;
use super::consumer::{Asking, aged, ask, graceful, plain};
use super::fleet::Fleet;
use super::provider::SERVICE;
use super::report::Cell;
use super::scenario::{Case, Plan, Protocol};
use super::tally::Tally;
use futures_util::future::{try_join, try_join_all};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tower_graceful::client::Nacos;

/// What a cell may take longer than its load: starting and ending processes, and the longest drain.
const BESIDES: Duration = Duration::from_secs(120);
/// What is asked for is the same in every run.
const SEED: u64 = 1;
/// Where the logs of the processes go, a directory for each cell.
const LOGS: &str = "target/release_matrix";

/// Runs one cell and sums it up.
///
/// # Errors
/// When a process does not come up, ends otherwise than it should, or the cell comes to no end.
pub async fn run(case: Case, plan: &Plan) -> Result<Cell, BoxError> {
    let tally = Tally::default();
    let within = plan.span + BESIDES;
    let told = timeout(within, tell(case, plan, &tally)).await;
    told.map_err(|_| format!("it came to no end within {within:?}"))??;
    let book = tally.book();
    Ok(Cell::of(case, &book))
}

/// The story.
async fn tell(case: Case, plan: &Plan, tally: &Tally) -> Result<(), BoxError> {
    let logs = PathBuf::from(LOGS).join(case.to_string().replace(['/', ' '], "-"));
    let fleet = Fleet::start(case, logs.clone(), tally.clone()).await?;
    let nacos = Nacos::builder(&fleet.registry_addr().to_string()).app("release_matrix").connect()?;
    let mut beside = JoinSet::new(); // What goes on beside the requests; it ends with this story.
    let (lists, passing) = aged(nacos.subscribe(SERVICE).await?, plan.list_age);
    beside.spawn(passing);
    let asking = if plan.plain {
        let (asking, reading) = plain(case.protocol, lists);
        beside.spawn(reading);
        asking
    } else {
        let (asking, hearing) = graceful(case.protocol, lists, "release_matrix").await?;
        beside.spawn(hearing);
        asking
    };

    let callers = rare_callers(case.protocol, plan, &fleet, &logs, tally).await?;
    let load = async {
        steady_load(case.protocol, plan, asking, tally).await;
        Ok(())
    };
    try_join(load, releases(plan, &fleet)).await?;
    try_join_all(callers.into_iter().map(Process::exited)).await?;

    nacos.close(CLOSE_MAX).await?;
    fleet.end().await
}

/// The load of one busy consumer: this process.
async fn steady_load(protocol: Protocol, plan: &Plan, asking: Asking, tally: &Tally) {
    let rate = f64::from(plan.requests) / plan.span.as_secs_f64();
    let schedule = Schedule::new(SEED, rate).take(plan.requests as usize);
    let (_never, stop) = oneshot::channel();
    let ask = |planned: Planned, start| {
        let (asking, tally, id) = (asking.clone(), tally.clone(), planned.id());
        async move {
            let outcome = ask(asking, protocol, planned, id, start).await;
            tally.book().steady.push(outcome);
        }
    };
    follow(schedule, stop, ask).await;
}

/// Replaces providers by the clock: when it is time for the next, whatever became of the one before.
async fn releases(plan: &Plan, fleet: &Fleet) -> Result<(), BoxError> {
    let start = Instant::now();
    let middle = (plan.rolls.len() - 1) / 2;
    let rolls = plan.rolls.iter().enumerate().map(async |(number, due)| {
        sleep_until(start + *due).await;
        fleet.roll(number == middle).await
    });
    try_join_all(rolls).await.map(drop)
}

/// Starts those who ask rarely; each ends by itself.
async fn rare_callers(
    protocol: Protocol,
    plan: &Plan,
    fleet: &Fleet,
    logs: &Path,
    tally: &Tally,
) -> Result<Vec<Process>, BoxError> {
    let Some((count, every)) = plan.rare else { return Ok(Vec::new()) };
    let arguments = format!(
        "caller --protocol {} --registry {} --every {} --span {} --list-age {}",
        protocol.flag(),
        fleet.registry_addr(),
        every.as_secs_f64(),
        plan.span.as_secs_f64(),
        plan.list_age.as_secs_f64(),
    );
    let arguments: Arc<[String]> = arguments.split_whitespace().map(str::to_owned).collect();
    let starting = (1..=count).map(async |number| {
        let own = [String::from("--number"), number.to_string()];
        let arguments: Vec<_> = arguments.iter().cloned().chain(own).collect();
        let mut process = Process::start(&format!("caller-{number}"), &arguments, logs).await?;
        let tally = tally.clone();
        process.hear(move |line| {
            if let Line::Asked(outcome) = line {
                tally.book().rare.push(outcome);
            }
        });
        Ok(process)
    });
    try_join_all(starting).await
}
