//! `graceful offline`: has instances leave in order.

use super::api::{Acted, Api, Kind, Listed, Recorded, Target, These, events, failed, place};
use super::confirm::Sure;
use super::shown::{Shown, note};
use super::transfer::Trouble;
use super::{Failure, log, remote};
use clap::Args;
use http::{Method, StatusCode};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tower_graceful::model::ServiceKey;

/// How often what the instance tells of its way out is looked at.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(200);
/// What an instance tells last: it has drained, and stays as it is until its process ends.
const LAST: [&str; 2] = ["drained", "stopped"];

/// Has instances leave as by their own `/offline`: consumers are told, what is under way is answered.
///
/// The order goes over the connection that the instance has to the registry; no port of it is needed, and no
/// token. Only providers with this crate's layers and client take it, and only from this crate's registry.
#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    these: These,

    /// Wait until each has drained, this many seconds at most, and say what it tells on its way.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    wait: Option<u64>,

    #[command(flatten)]
    sure: Sure,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    shown: Shown,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    log::to_stderr(log::Format::Text, "warn");
    let Arguments { these, wait, sure, target, shown } = arguments;
    remote::block_on(async {
        let api = target.enter().await?;
        if let Kind::Nacos(_) = api.kind {
            let base = api.server.base();
            return Err(Failure::could_not(format!(
                "{base} is a Nacos, which has no way to order that: `graceful disable` has consumers turn away, and a POST to /offline of the instance itself (port 54199) has it leave"
            )));
        }
        let found = these.find(&api, target).await?;
        found.leaves_nobody("left", sure)?;
        let mut rows = Vec::new();
        for one in &found.meant {
            let before = events_of(&api, &found.service, one, 0, 1).await?;
            let before = before.first().map_or(0, |event| event.sequence);
            order(&api, &found.service, one).await?;
            let done = match wait {
                None => "leaves",
                Some(seconds) => {
                    until_drained(&api, &found.service, one, before, Duration::from_secs(*seconds)).await?;
                    "has left"
                }
            };
            rows.push(Acted::new(one, done));
        }
        shown.list(&rows, "")
    })?
}

async fn order(api: &Api, service: &ServiceKey, one: &Listed) -> Result<(), Failure> {
    let ordered = api.try_change(Method::POST, "/graceful/v1/instances/offline", service, &place(one)).await;
    ordered.map_err(|trouble| {
        let Trouble::Refused { status: StatusCode::CONFLICT, words, .. } = &trouble else {
            return failed(trouble);
        };
        Failure::could_not(format!("{}: {words}; `graceful disable` has it take no traffic", one.at()))
    })
}

/// Waits for the end of its way out, and tells people each step.
async fn until_drained(
    api: &Api,
    service: &ServiceKey,
    one: &Listed,
    mut after: u64,
    within: Duration,
) -> Result<(), Failure> {
    const AT_ONCE_MAX: usize = 100; // A way out has about eight steps.
    let end = Instant::now() + within;
    loop {
        let mut news = events_of(api, service, one, after, AT_ONCE_MAX).await?;
        news.reverse(); // The newest come first.
        for Recorded { sequence, event, reason, told_by, .. } in news {
            after = sequence;
            let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
            note(&format!("{}: {event}{reason}", one.at()));
            if told_by.as_deref() == Some("provider") && LAST.contains(&event.as_str()) {
                return Ok(());
            }
        }
        if Instant::now() >= end {
            let (at, seconds) = (one.at(), within.as_secs());
            return Err(Failure::could_not(format!(
                "{at} has taken the order, and has not drained within {seconds} s: `graceful instances {}` tells what it still has in flight",
                service.grouped()
            )));
        }
        sleep(LOOKED_AT_EVERY).await;
    }
}

/// What has happened to one instance.
async fn events_of(
    api: &Api,
    service: &ServiceKey,
    one: &Listed,
    after: u64,
    max: usize,
) -> Result<Vec<Recorded>, Failure> {
    let port = one.port.to_string();
    events(api, service, &[("ip", &one.ip), ("port", &port)], after, max).await
}
