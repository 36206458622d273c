//! `graceful instances`: who is in a service, and what keeps each of them there.

use super::api::{Api, Kind, Listed, Of, Phase, Publisher, Target, named};
use super::shown::{Cell, Row, Shown, Tone, age, counted, note};
use super::{Failure, log, remote};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use tower_graceful::Clock;
use tower_graceful::model::{ServiceKey, UnixMillis};

/// Over how many seconds the rate of requests is told.
const RATE_SECONDS: &str = "10";

/// Lists the instances of a service: what keeps each there, whether it is healthy, what is intended with it,
/// where it is in its life, and the requests that it takes.
///
/// These are four different things, which one word would hide: KEPT BY and HEALTH, INTENT and WEIGHT, PHASE,
/// and QPS (over 10 s) with IN FLIGHT. FLAGS name what looks wrong: several-publishers, where a process was
/// thought to be stopped and is not, and foreign-publisher, where one comes from another machine.
/// A Nacos tells neither who keeps an instance nor its requests; an r-nacos shows no disabled instances over its
/// lists for clients.
#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    of: Of,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    shown: Shown,
}

/// An instance in one line.
#[derive(Serialize)]
struct Line {
    #[serde(flatten)]
    listed: Listed,
    #[serde(flatten)]
    phase: Option<Phase>,
    /// Nothing where the instance does not report its requests.
    traffic: Option<Traffic>,
    #[serde(skip)]
    now: UnixMillis,
}

/// The requests that an instance takes.
#[derive(Clone, Copy, Deserialize, Serialize)]
struct Traffic {
    /// A second.
    rate: f64,
    in_flight: u64,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    log::to_stderr(log::Format::Text, "warn");
    let Arguments { of, target, shown } = arguments;
    let service = of.key(&target.namespace)?;
    remote::block_on(async {
        let api = target.enter().await?;
        let lines = read(&api, &service).await?;
        let nothing = format!("{} has no instances at the moment", service.grouped());
        shown.list(&lines, &nothing)?;
        let serving = lines.iter().filter(|line| line.listed.serves()).count();
        if shown.is_for_people() && serving == 0 && !lines.is_empty() {
            note(&format!("none of {} takes traffic", counted(lines.len(), "instance")));
        }
        Ok(())
    })?
}

async fn read(api: &Api, service: &ServiceKey) -> Result<Vec<Line>, Failure> {
    let listed = api.instances(service).await?;
    let traffic = match api.kind {
        Kind::Ours => traffic(api, service).await?,
        Kind::Nacos(_) => HashMap::new(),
    };
    let now = Clock::system().now();
    let line = |listed: Listed| Line {
        phase: listed.phase(now),
        traffic: traffic.get(&(listed.ip.clone(), listed.port, listed.cluster.clone())).copied(),
        listed,
        now,
    };
    Ok(listed.into_iter().map(line).collect())
}

async fn traffic(
    api: &Api,
    service: &ServiceKey,
) -> Result<HashMap<(String, u16, String), Traffic>, Failure> {
    #[derive(Deserialize)]
    struct Reported {
        ip: String,
        port: u16,
        cluster: String,
        #[serde(flatten)]
        traffic: Traffic,
    }
    #[derive(Deserialize)]
    struct Answer {
        instances: Vec<Reported>,
    }
    let named = named(service);
    let parameters = [&named.each()[..], &[("seconds", RATE_SECONDS)]].concat();
    let Answer { instances } =
        api.server.get("/graceful/v1/traffic", &parameters).await.map_err(super::api::failed)?;
    Ok(instances.into_iter().map(|of| ((of.ip, of.port, of.cluster), of.traffic)).collect())
}

impl Row for Line {
    const HEADS: &'static [&'static str] = &[
        "INSTANCE",
        "CLUSTER",
        "KEPT BY",
        "HEALTH",
        "INTENT",
        "WEIGHT",
        "PHASE",
        "QPS",
        "IN FLIGHT",
        "FLAGS",
    ];

    fn cells(&self) -> Vec<Cell> {
        let Self { listed, phase, traffic, now } = self;
        let (health, healthy) =
            if listed.healthy { ("healthy", Tone::Good) } else { ("unhealthy", Tone::Bad) };
        let (intent, enabled) =
            if listed.enabled { ("enabled", Tone::Good) } else { ("disabled", Tone::Passing) };
        let phase_tone = match phase {
            Some(Phase::Warming { .. } | Phase::Leaving) => Tone::Passing,
            Some(Phase::Serving) => Tone::Good,
            None => Tone::Plain,
        };
        vec![
            Cell::text(listed.at()),
            Cell::text(&listed.cluster),
            Cell::text(kept_by(listed, *now)),
            Cell::text(health).with_tone(healthy),
            Cell::text(intent).with_tone(enabled),
            Cell::number(Some(listed.weight)),
            Cell::text(phase.map(|phase| phase.to_string()).unwrap_or_default()).with_tone(phase_tone),
            Cell::number(traffic.map(|traffic| format!("{:.1}", traffic.rate))),
            Cell::number(traffic.map(|traffic| traffic.in_flight)),
            Cell::text(listed.flags.as_deref().unwrap_or_default().join(", ")).with_tone(Tone::Bad),
        ]
    }
}

/// What keeps an instance on the list, in the words of the publisher that readers see.
fn kept_by(listed: &Listed, now: UnixMillis) -> String {
    let moment = |ms: u64| age(UnixMillis::new(ms), now);
    match listed.publishers.as_deref().and_then(<[Publisher]>::last) {
        Some(Publisher::Connection { connection, since, .. }) => {
            format!("connection {connection} since {}", moment(*since))
        }
        Some(Publisher::Heartbeats { senders, since }) => {
            let last = senders.iter().map(|sender| sender.last).max().unwrap_or(*since);
            format!("heartbeat {} ago", moment(last))
        }
        Some(Publisher::Storage { .. }) => "storage".to_owned(),
        Some(Publisher::Other) => "something newer".to_owned(),
        None if listed.ephemeral => "its client".to_owned(),
        None => "storage".to_owned(),
    }
}
