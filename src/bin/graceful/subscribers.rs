//! `graceful subscribers`: who follows a service, and who has its present list.

use super::api::{Api, Kind, Of, Target, failed, key, named};
use super::shown::{Cell, Row, Shown, Tone, note};
use super::transfer::{Follower, Trouble};
use super::{Failure, log, remote};
use clap::Args;
use serde::{Deserialize, Serialize};
use tower_graceful::model::ServiceKey;

/// Lists who follows a service, and whether each has its present list.
///
/// LIST says `current` of those that have acknowledged the present list, and since when the others have theirs;
/// so whether an instance is gone for its consumers is a fact and no guess. A Nacos does not tell that.
#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    of: Of,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    shown: Shown,
}

/// A subscriber in one line; what the registry does not tell is not there.
#[derive(Debug, Serialize)]
struct Line {
    address: String,
    app: String,
    /// Name and version of its client.
    client: String,
    protocol: Option<&'static str>,
    /// The id that it sends in its calls; only this crate's client has one.
    caller: Option<String>,
    #[serde(flatten)]
    known: Option<Known>,
}

/// The newest list that somebody is known to have.
#[derive(Debug, Deserialize, Serialize)]
struct Known {
    acknowledged: u64,
    acknowledged_ms_ago: u64,
    current: bool,
}

/// As this crate's registry tells it.
#[derive(Deserialize)]
struct Told {
    address: String,
    app: String,
    #[serde(alias = "agent")]
    version: String,
    caller: Option<String>,
    #[serde(flatten)]
    known: Known,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    log::to_stderr(log::Format::Text, "warn");
    let Arguments { of, target, shown } = arguments;
    let service = of.key(&target.namespace)?;
    remote::block_on(async {
        let api = target.enter().await?;
        let lines = read(&api, &service).await.map_err(failed)?;
        let nothing = format!("nobody follows {} in namespace {}", service.grouped(), service.namespace);
        shown.list(&lines, &nothing)?;
        let known: Vec<bool> =
            lines.iter().filter_map(|line| line.known.as_ref()).map(|known| known.current).collect();
        if shown.is_for_people() && !known.is_empty() {
            let current = known.iter().filter(|current| **current).count();
            note(&format!("{current} of {} have the present list", known.len()));
        }
        Ok(())
    })?
}

async fn read(api: &Api, service: &ServiceKey) -> Result<Vec<Line>, Trouble> {
    #[derive(Deserialize)]
    struct Answer {
        subscribers: Vec<Told>,
        listeners: Vec<Told>,
    }
    match api.kind {
        Kind::Ours => {
            let named = named(service);
            let Answer { subscribers, listeners } =
                api.server.get("/graceful/v1/subscribers", &named.each()).await?;
            let lines = subscribers.into_iter().map(|told| Line::of(told, "grpc"));
            Ok(lines.chain(listeners.into_iter().map(|told| Line::of(told, "http"))).collect())
        }
        Kind::Nacos(version) => {
            let followers = version.followers(&api.server, &key(service)).await?;
            Ok(followers.into_iter().map(Line::foreign).collect())
        }
    }
}

impl Line {
    fn of(told: Told, protocol: &'static str) -> Self {
        let Told { address, app, version: client, caller, known } = told;
        Self { address, app, client, protocol: Some(protocol), caller, known: Some(known) }
    }

    fn foreign(follower: Follower) -> Self {
        let address = follower.at();
        let Follower { app, agent, .. } = follower;
        Self { address, app, client: agent, protocol: None, caller: None, known: None }
    }
}

impl Row for Line {
    const HEADS: &'static [&'static str] = &["SUBSCRIBER", "APP", "CLIENT", "PROTOCOL", "CALLER", "LIST"];

    fn cells(&self) -> Vec<Cell> {
        let (list, tone) = match &self.known {
            Some(Known { current: true, .. }) => ("current".to_owned(), Tone::Good),
            Some(known) => (format!("old, since {} ms", known.acknowledged_ms_ago), Tone::Passing),
            None => (String::new(), Tone::Plain),
        };
        vec![
            Cell::text(&self.address),
            Cell::text(&self.app),
            Cell::text(&self.client),
            Cell::text(self.protocol.unwrap_or_default()),
            Cell::text(self.caller.as_deref().unwrap_or_default()),
            Cell::text(list).with_tone(tone),
        ]
    }
}
