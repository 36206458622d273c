//! `graceful metadata`: what operators say of instances, over what their registrations say.

use super::api::{Acted, Listed, Target, These};
use super::shown::{Cell, Row, Shown};
use super::{Failure, log, remote};
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;

/// Shows the metadata of instances, or sets some of them over what was registered.
///
/// What is set counts more than what the instance registers, and stays when it registers anew. A provider of
/// this crate follows `graceful.warmup`, `graceful.warmup.exponent` and `graceful.notice` while it runs.
#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    these: These,

    /// Sets one; may be given several times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,

    /// Takes back one that was set; what was registered counts again. May be given several times.
    #[arg(long, value_name = "KEY")]
    unset: Vec<String>,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    shown: Shown,
}

/// One entry of an instance.
#[derive(Serialize)]
struct Line<'a> {
    instance: &'a str,
    key: &'a str,
    value: &'a str,
}

/// `KEY=VALUE`; the value may be empty, and hold further `=`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("accepted is KEY=VALUE".to_owned()),
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    log::to_stderr(log::Format::Text, "warn");
    let Arguments { these, set, unset, target, shown } = arguments;
    let set: BTreeMap<String, String> = set.iter().cloned().collect();
    if let Some(key) = unset.iter().find(|key| set.contains_key(*key)) {
        return Err(Failure::wrong_usage(format!("{key}: it is set and unset at once")));
    }
    remote::block_on(async {
        let api = target.enter().await?;
        let found = these.find(&api, target).await?;
        if set.is_empty() && unset.is_empty() {
            return show(&found.meant, shown);
        }
        let done: Vec<String> = set.keys().map(|key| format!("set {key}")).collect();
        let done = [done, unset.iter().map(|key| format!("unset {key}")).collect()].concat().join(", ");
        let mut rows = Vec::new();
        for one in &found.meant {
            api.set_metadata(&found.service, one, &set, unset).await?;
            rows.push(Acted::new(one, &done));
        }
        shown.list(&rows, "")
    })?
}

fn show(meant: &[Listed], shown: &Shown) -> Result<(), Failure> {
    let at: Vec<String> = meant.iter().map(Listed::at).collect();
    let lines = meant.iter().zip(&at).flat_map(|(one, instance)| {
        one.metadata.iter().map(move |(key, value)| Line { instance, key, value })
    });
    shown.list(&lines.collect::<Vec<_>>(), "there are no metadata")
}

impl Row for Line<'_> {
    const HEADS: &'static [&'static str] = &["INSTANCE", "KEY", "VALUE"];

    fn cells(&self) -> Vec<Cell> {
        vec![Cell::text(self.instance), Cell::text(self.key), Cell::text(self.value)]
    }
}
