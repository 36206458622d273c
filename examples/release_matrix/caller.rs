//! A caller that asks rarely: a consumer process of its own.

use super::common::BoxError;
use super::common::line::{Line, Ready, say};
use super::common::plan::{Planned, Schedule, follow};
use super::common::serving::close;
use super::consumer::{aged, ask, graceful};
use super::provider::SERVICE;
use super::scenario::Protocol;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tower_graceful::client::Nacos;

#[derive(clap::Args, Debug)]
pub struct CallerFlags {
    #[arg(long)]
    registry: String,
    #[arg(long, value_enum)]
    protocol: Protocol,
    /// Tells it from the other callers.
    #[arg(long)]
    number: u32,
    /// Once in so many seconds it asks, somewhere in that time.
    #[arg(long)]
    every: f64,
    /// For so many seconds in all.
    #[arg(long)]
    span: f64,
    /// How many seconds late its lists are.
    #[arg(long)]
    list_age: f64,
    #[arg(long)]
    pub child: bool,
}

/// Asks as it is told, says what becomes of each request, and ends.
///
/// # Errors
/// When the registry cannot be reached, or nobody hears it.
pub async fn run(flags: &CallerFlags) -> Result<ExitCode, BoxError> {
    let nacos = Nacos::builder(&flags.registry).app("rare").connect()?;
    let (lists, passing) = aged(nacos.subscribe(SERVICE).await?, Duration::from_secs_f64(flags.list_age));
    let passing = tokio::spawn(passing);
    let (asking, hearing) = graceful(flags.protocol, lists, "rare").await?;
    let hearing = tokio::spawn(hearing);
    let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)); // It only asks.
    say(&Line::Ready(Ready::at(nowhere))).await?;

    let (outcomes, mut heard) = mpsc::unbounded_channel();
    let span = Duration::from_secs_f64(flags.span);
    let plan = Schedule::new(flags.number.into(), flags.every.recip()).take_while(|next| next.due < span);
    let asked = async {
        let (_never, stop) = oneshot::channel();
        let protocol = flags.protocol;
        let ask = |planned: Planned, start| {
            let (asking, outcomes) = (asking.clone(), outcomes.clone());
            let id = format!("rare-{}-{}", flags.number, planned.number);
            async move {
                let _ = outcomes.send(ask(asking, protocol, planned, id, start).await);
            }
        };
        follow(plan, stop, ask).await;
        drop(outcomes);
    };
    let told = async {
        while let Some(outcome) = heard.recv().await {
            say(&Line::Asked(outcome)).await?;
        }
        Ok::<_, BoxError>(())
    };
    let ((), told) = tokio::join!(asked, told);
    passing.abort();
    hearing.abort();
    close(nacos).await;
    told.map(|()| ExitCode::SUCCESS)
}
