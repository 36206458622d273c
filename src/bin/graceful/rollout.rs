//! `graceful rollout`: how all instances of a service start and leave.

use super::api::{Api, Kind, Of, Target, failed, key, missing, named};
use super::shown::{Cell, Row, Shown};
use super::transfer::Version;
use super::{Failure, log, remote};
use clap::Args;
use http::Method;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tower_graceful::model::{ServiceKey, key as metadata};

/// What can be set: how the registry's API calls it, and under which key of the service's metadata it stands.
const SETTINGS: [(&str, &str); 4] = [
    ("warmup", metadata::WARM_UP),
    ("exponent", metadata::WARM_UP_EXPONENT),
    ("floor", metadata::WARM_UP_FLOOR),
    ("notices", metadata::NOTICE),
];

/// Shows or sets how all instances of a service start and leave, over what each of them registers.
///
/// Providers of this crate follow it while they run, and consumers go by it at once. What is not given stays as it
/// is; without any of them all is shown. Only this crate's registry knows it.
#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    of: Of,

    /// How long the warm-up takes, up to a day; 0 is none.
    #[arg(long, value_name = "SECONDS")]
    warmup: Option<String>,

    /// How the warm-up rises: 0.1 to 10; 1 is a line.
    #[arg(long, value_name = "NUMBER")]
    exponent: Option<String>,

    /// The least part of its weight that an instance takes: above 0 and up to 1.
    #[arg(long, value_name = "PART")]
    floor: Option<String>,

    /// Whether instances tell their consumers when they leave.
    #[arg(long, value_name = "BOOL", value_parser = ["true", "false"])]
    notices: Option<String>,

    /// Leave to each instance all that is not given here.
    #[arg(long)]
    reset: bool,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    shown: Shown,
}

/// One setting that holds.
#[derive(Serialize)]
struct Line {
    key: String,
    value: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    log::to_stderr(log::Format::Text, "warn");
    let Arguments { of, target, shown, .. } = arguments;
    let service = of.key(&target.namespace)?;
    remote::block_on(async {
        let api = target.enter().await?;
        if let Kind::Nacos(_) = api.kind {
            let instead = "`graceful metadata` sets the same words on each instance";
            return Err(api.cannot_tell("what holds for all instances of a service", instead));
        }
        let before = read(&api, &service).await?;
        let holds = match arguments.onto(&before) {
            None => before,
            Some(settings) => set(&api, &service, &settings).await?,
        };
        let lines = holds.into_iter().map(|(key, value)| Line { key, value });
        shown.list(&lines.collect::<Vec<_>>(), "each instance starts and leaves as it registers")
    })?
}

impl Arguments {
    /// What is to hold, where that is to be changed.
    fn onto(&self, before: &BTreeMap<String, String>) -> Option<Vec<(&'static str, String)>> {
        let given = [&self.warmup, &self.exponent, &self.floor, &self.notices];
        if !self.reset && given.iter().all(|given| given.is_none()) {
            return None;
        }
        let settings = SETTINGS.into_iter().zip(given).filter_map(|((name, key), given)| {
            let stays = || before.get(key).filter(|_| !self.reset).cloned();
            Some((name, given.clone().or_else(stays)?))
        });
        Some(settings.collect())
    }
}

/// What holds now.
async fn read(api: &Api, service: &ServiceKey) -> Result<BTreeMap<String, String>, Failure> {
    let told = Version::Three.service(&api.server, &key(service)).await;
    let (said, _) = told.map_err(|trouble| missing(trouble, service))?;
    let is_one = |key: &str| SETTINGS.iter().any(|(_, known)| *known == key);
    Ok(said.metadata.into_iter().filter(|(key, _)| is_one(key)).collect())
}

async fn set(
    api: &Api,
    service: &ServiceKey,
    settings: &[(&'static str, String)],
) -> Result<BTreeMap<String, String>, Failure> {
    #[derive(Deserialize)]
    struct Holds {
        holds: BTreeMap<String, String>,
    }
    let named = named(service);
    let mut parameters = named.each().to_vec();
    parameters.extend(settings.iter().map(|(name, value)| (*name, value.as_str())));
    let asked = api.server.ask_for(Method::POST, "/graceful/v1/services/rollout", &parameters);
    let Holds { holds } = asked.await.map_err(failed)?;
    Ok(holds)
}

impl Row for Line {
    const HEADS: &'static [&'static str] = &["KEY", "VALUE"];

    fn cells(&self) -> Vec<Cell> {
        vec![Cell::text(&self.key), Cell::text(&self.value)]
    }
}
