//! `graceful service`: what is said of one service, and what has happened in it lately.

use super::api::{Api, Kind, Listed, Of, Recorded, Target, events, failed, key, missing, named};
use super::shown::{Cell, Row, Shown, Tone, age, counted, printable};
use super::transfer::{Said, Version};
use super::{Failure, log, remote};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tower_graceful::Clock;
use tower_graceful::model::{ServiceKey, UnixMillis};

/// Tells what is said of a service, how many serve and follow it, and what has happened in it lately.
///
/// What has happened is known to this crate's registry only, for a day, also of instances that are gone.
#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    of: Of,

    /// How many of the last events are told.
    #[arg(long, value_name = "N", default_value = "10", value_parser = clap::value_parser!(u16).range(0..=10_000))]
    events: u16,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    shown: Shown,
}

/// All of it; what the registry does not tell is not there.
#[derive(Serialize)]
struct Service {
    namespace: String,
    group: String,
    name: String,
    ephemeral: Option<bool>,
    protect_threshold: f64,
    metadata: BTreeMap<String, String>,
    clusters: Vec<String>,
    instances: usize,
    serving: usize,
    subscribers: Option<Subscribers>,
    /// The newest first.
    events: Option<Vec<Recorded>>,
}

/// Who follows.
#[derive(Serialize)]
struct Subscribers {
    all: usize,
    /// Those that have the present list.
    current: usize,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    log::to_stderr(log::Format::Text, "warn");
    let Arguments { of, events, target, shown } = arguments;
    let key = of.key(&target.namespace)?;
    remote::block_on(async {
        let api = target.enter().await?;
        let service = read(&api, &key, usize::from(*events)).await?;
        shown.one(&service, |coloured| service.text(coloured))
    })?
}

async fn read(api: &Api, service: &ServiceKey, max: usize) -> Result<Service, Failure> {
    let (version, is_ours) = match api.kind {
        Kind::Ours => (Version::Three, true),
        Kind::Nacos(version) => (version, false),
    };
    let told = version.service(&api.server, &key(service)).await;
    let (said, listed) = told.map_err(|trouble| missing(trouble, service))?;
    let listed: Vec<Listed> = listed.into_iter().map(Listed::from).collect();
    let clusters = said.clusters();
    let Said { ephemeral, protect_threshold, metadata, .. } = said;
    Ok(Service {
        namespace: service.namespace.to_string(),
        group: service.group.to_string(),
        name: service.name.to_string(),
        ephemeral,
        protect_threshold,
        metadata,
        clusters,
        instances: listed.len(),
        serving: listed.iter().filter(|one| one.serves()).count(),
        subscribers: if is_ours { Some(subscribers(api, service).await?) } else { None },
        events: if is_ours && max > 0 { Some(events(api, service, &[], 0, max).await?) } else { None },
    })
}

async fn subscribers(api: &Api, service: &ServiceKey) -> Result<Subscribers, Failure> {
    #[derive(Deserialize)]
    struct One {
        current: bool,
    }
    #[derive(Deserialize)]
    struct Answer {
        subscribers: Vec<One>,
        listeners: Vec<One>,
    }
    let answer = api.server.get("/graceful/v1/subscribers", &named(service).each()).await;
    let Answer { subscribers, listeners } = answer.map_err(failed)?;
    let all: Vec<One> = subscribers.into_iter().chain(listeners).collect();
    Ok(Subscribers { all: all.len(), current: all.iter().filter(|one| one.current).count() })
}

impl Service {
    fn text(&self, coloured: bool) -> String {
        let kind = match self.ephemeral {
            Some(true) => "ephemeral: instances are there while somebody keeps them there",
            Some(false) => "persistent: instances are there until somebody takes them off",
            None => "",
        };
        let serving = format!("{}, {} of them serving", self.instances, self.serving);
        let following = self.subscribers.as_ref().map(|Subscribers { all, current }| {
            format!("{}, {current} with the present list", counted(*all, "subscriber"))
        });
        let metadata: Vec<String> =
            self.metadata.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let facts = [
            ("Service", format!("{}@@{} in namespace {}", self.group, self.name, self.namespace)),
            ("Kind", kind.to_owned()),
            ("Instances", serving),
            ("Followed by", following.unwrap_or_default()),
            ("Threshold", self.protect_threshold.to_string()),
            ("Clusters", self.clusters.join(", ")),
            ("Metadata", metadata.join(", ")),
        ];
        let told = facts.iter().filter(|(_, fact)| !fact.is_empty());
        let lines: Vec<String> =
            told.map(|(name, fact)| format!("{name:<12} {}\n", printable(fact))).collect();
        let mut text = lines.concat();
        let events = self.events.as_deref().unwrap_or_default();
        if !events.is_empty() {
            text.push('\n');
            text.push_str(&super::shown::rows(events, coloured));
        }
        text
    }
}

impl Row for Recorded {
    const HEADS: &'static [&'static str] = &["AGO", "INSTANCE", "CLUSTER", "EVENT", "REASON"];

    fn cells(&self) -> Vec<Cell> {
        let ago = age(UnixMillis::new(self.at), Clock::system().now());
        let tone = match self.event.as_str() {
            "went" | "became-unhealthy" => Tone::Bad,
            "disabled" | "leaving" | "offline-ordered" => Tone::Passing,
            "came" | "became-healthy" | "ready" => Tone::Good,
            _ => Tone::Plain,
        };
        vec![
            Cell::number(Some(ago)),
            Cell::text(self.address()),
            Cell::text(&self.cluster),
            Cell::text(&self.event).with_tone(tone),
            Cell::text(self.words()),
        ]
    }
}
