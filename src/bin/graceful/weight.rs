//! `graceful weight`: what share of the requests instances take.

use super::api::{Acted, Listed, Target, These};
use super::confirm::Sure;
use super::shown::Shown;
use super::{Failure, log, remote};
use clap::Args;
use tower_graceful::model::Weight;

/// Sets the weight of instances: twice the weight is twice the requests.
///
/// A warm-up goes on below it: the weight is what the instance has once it is warm. 0 takes no traffic.
#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    these: These,

    /// The weight: 0 to 10000; 1 is what instances have that say nothing.
    #[arg(long = "to", value_name = "WEIGHT", value_parser = weight)]
    weight: Weight,

    #[command(flatten)]
    sure: Sure,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    shown: Shown,
}

/// More is no registry's.
const WEIGHT_MAX: f64 = 10_000.0;

/// A weight in its bounds.
pub(super) fn weight(text: &str) -> Result<Weight, String> {
    let accepted = || format!("accepted is a number from 0 to {WEIGHT_MAX}");
    let number: f64 = text.parse().map_err(|_| accepted())?;
    Weight::new(number).ok().filter(|_| number <= WEIGHT_MAX).ok_or_else(accepted)
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    log::to_stderr(log::Format::Text, "warn");
    let Arguments { these, weight, sure, target, shown } = arguments;
    remote::block_on(async {
        let api = target.enter().await?;
        let found = these.find(&api, target).await?;
        if *weight == Weight::NONE {
            found.leaves_nobody("weight 0", sure)?;
        }
        let to = weight.as_f64();
        api.set_all(&found.service, &found.meant, &[("weight", to.to_string())]).await?;
        let done = |one: &Listed| Acted::new(one, format!("weight {to}, was {}", one.weight));
        let rows: Vec<Acted> = found.meant.iter().map(done).collect();
        shown.list(&rows, "")
    })?
}
