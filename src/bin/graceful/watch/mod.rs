//! `graceful watch`: what becomes of the instances of services, as it happens.

mod change;
mod reason;

use super::api::{Api, Connected, Recorded, Target, key_of};
use super::shown::{Cell, Row, Shown, Streamed, Tone, clock_time, note};
use super::signals::Signals;
use super::{Failure, log, remote};
use change::{Change, What, changes, there};
use clap::Args;
use reason::Reasons;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tower_graceful::Clock;
use tower_graceful::model::{Group, ServiceKey, Snapshot, UnixMillis};
use tower_graceful::naming::Snapshots;

/// Lists that wait to be shown; a service whose turn does not come keeps its newest.
const WAITING_MAX: usize = 16;

/// Follows services as a consumer does, over gRPC, and prints each change with its reason until it is stopped.
///
/// It begins with the instances that are there. The reason, and who it was, are told by this crate's registry; a
/// Nacos tells none. A disabled instance is on no list for consumers: it goes, and comes when it is enabled.
#[derive(Args)]
pub(super) struct Arguments {
    /// Names of the services, or GROUP@@NAME.
    #[arg(value_name = "SERVICE", required = true)]
    services: Vec<ServiceKey>,

    /// The group of those that name none [default: `DEFAULT_GROUP`].
    #[arg(long, value_name = "GROUP")]
    group: Option<Group>,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    connected: Connected,

    #[command(flatten)]
    shown: Shown,
}

/// A change in one line.
#[derive(Serialize)]
struct Line<'a> {
    /// Milliseconds since 1970.
    at: u64,
    namespace: &'a str,
    group: &'a str,
    service: &'a str,
    ip: String,
    port: u16,
    cluster: &'a str,
    change: &'static str,
    detail: &'a str,
    reason: Option<&'a str>,
    by: Option<&'a Value>,
    #[serde(skip)]
    instance: String,
    #[serde(skip)]
    words: String,
    #[serde(skip)]
    tone: Tone,
}

/// Two lists of a service, one after the other.
struct News {
    service: usize,
    before: Arc<Snapshot>,
    after: Arc<Snapshot>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    log::to_stderr(log::Format::Text, "warn");
    let Arguments { services, group, target, connected, shown } = arguments;
    shown.goes_on()?;
    let named = services.iter().map(|service| key_of(service, group.as_ref(), &target.namespace));
    let services = named.collect::<Result<Vec<_>, _>>()?;
    remote::block_on(async {
        let mut signals = Signals::install().map_err(Failure::could_not)?;
        tokio::select! {
            done = watch(&services, target, connected, shown) => done,
            _ = signals.next() => Ok(()),
        }
    })?
}

async fn watch(
    services: &[ServiceKey],
    target: &Target,
    connected: &Connected,
    shown: &Shown,
) -> Result<(), Failure> {
    let api = target.enter().await?;
    let nacos = connected.client(target, &api)?;
    connected.look(&api).await;
    let (send, mut news) = mpsc::channel(WAITING_MAX);
    let (mut following, mut reasons) = (JoinSet::new(), Vec::new());
    shown.heads::<Line<'_>>()?;
    for (service, key) in services.iter().enumerate() {
        reasons.push(Reasons::begin(&api, key).await?);
        let snapshots = nacos.subscribe(&key.grouped()).await.map_err(|error| connected.failed(&error))?;
        let first = snapshots.latest();
        if first.instances().is_empty() && shown.is_for_people() {
            note(&format!("{} has no instances at the moment", key.grouped()));
        }
        if !print(key, &there(&first), None, shown)? {
            return Ok(());
        }
        following.spawn(follow(service, first, snapshots, send.clone()));
    }
    drop(send);
    while let Some(News { service, before, after }) = news.recv().await {
        let changes = changes(&before, &after);
        let (key, reasons) = (&services[service], &mut reasons[service]);
        look(reasons, &api, key).await;
        if !print(key, &changes, reasons.as_ref(), shown)? {
            return Ok(());
        }
    }
    Ok(())
}

/// Hands on every list that differs from the one before.
async fn follow(service: usize, first: Arc<Snapshot>, mut lists: Snapshots, send: mpsc::Sender<News>) {
    let mut before = first;
    loop {
        let after = lists.latest();
        if after.instances() != before.instances() {
            if send.send(News { service, before, after: after.clone() }).await.is_err() {
                return; // Nobody reads any more.
            }
            before = after;
        }
        lists.changed().await;
    }
}

/// Without its reason a change is told all the same.
async fn look(reasons: &mut Option<Reasons>, api: &Api, service: &ServiceKey) {
    if let Some(reasons) = reasons
        && let Err(Failure { error, .. }) = reasons.look(api, service).await
    {
        note(&format!("reasons cannot be told: {error}"));
    }
}

/// Prints changes; says whether somebody still reads.
fn print(
    service: &ServiceKey,
    changes: &[Change],
    reasons: Option<&Reasons>,
    shown: &Shown,
) -> Result<bool, Failure> {
    let at = Clock::system().now();
    for change in changes {
        let event = reasons.and_then(|reasons| reasons.of(change));
        let Change { key, what, detail } = change;
        let parts = [detail.clone(), event.map(Recorded::words).unwrap_or_default()];
        let line = Line {
            at: at.as_u64(),
            namespace: service.namespace.as_str(),
            group: service.group.as_str(),
            service: service.name.as_str(),
            ip: key.address.host().to_owned(),
            port: key.address.port(),
            cluster: key.cluster.as_str(),
            change: what.as_str(),
            detail,
            reason: event.map(|event| event.reason.as_deref().unwrap_or(&event.event)),
            by: event.map(|event| &event.by),
            instance: key.address.to_string(),
            words: parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; "),
            tone: tone(*what),
        };
        if !shown.next(&line)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn tone(what: What) -> Tone {
    match what {
        What::Came | What::Enabled | What::Healthy => Tone::Good,
        What::Went | What::Unhealthy => Tone::Bad,
        What::Disabled | What::Leaving | What::Restarted => Tone::Passing,
        What::There | What::Weight | What::WarmUpStarted | What::Metadata => Tone::Plain,
    }
}

impl Row for Line<'_> {
    const HEADS: &'static [&'static str] = &["TIME", "SERVICE", "INSTANCE", "CHANGE", "REASON"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(clock_time(UnixMillis::new(self.at))),
            Cell::text(format!("{}@@{}", self.group, self.service)),
            Cell::text(&self.instance),
            Cell::text(self.change).with_tone(self.tone),
            Cell::text(&self.words),
        ]
    }
}

impl Streamed for Line<'_> {
    const WIDTHS: &'static [usize] = &[13, 24, 21, 15, 0];
}
