//! `graceful enable` and `graceful disable`: whether instances take traffic.

use super::api::{Acted, Target, These};
use super::confirm::Sure;
use super::shown::{Shown, note};
use super::{Failure, log, remote};
use clap::Args;

/// Has instances take traffic again that were disabled.
#[derive(Args)]
pub(super) struct Enable {
    #[command(flatten)]
    these: These,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    shown: Shown,
}

/// Has instances take no traffic, although they run and stay registered.
///
/// Consumers turn away as soon as they have the list, `graceful subscribers` tells who has. The instance itself is
/// not told: `graceful offline` has it leave in order. Where nobody would be left that serves, it is asked first.
#[derive(Args)]
pub(super) struct Disable {
    #[command(flatten)]
    these: These,

    #[command(flatten)]
    sure: Sure,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    shown: Shown,
}

pub(super) fn enable(Enable { these, target, shown }: &Enable) -> Result<(), Failure> {
    set(these, None, target, shown)
}

pub(super) fn disable(Disable { these, sure, target, shown }: &Disable) -> Result<(), Failure> {
    set(these, Some(sure), target, shown)
}

/// Disables where somebody has to be sure of it.
fn set(these: &These, disable: Option<&Sure>, target: &Target, shown: &Shown) -> Result<(), Failure> {
    log::to_stderr(log::Format::Text, "warn");
    remote::block_on(async {
        let api = target.enter().await?;
        let found = these.find(&api, target).await?;
        if let Some(sure) = disable {
            found.leaves_nobody("been disabled", sure)?;
        }
        let (done, enabled) = if disable.is_some() { ("disabled", "false") } else { ("enabled", "true") };
        api.set_all(&found.service, &found.meant, &[("enabled", enabled.to_owned())]).await?;
        let rows: Vec<Acted> = found.meant.iter().map(|one| Acted::new(one, done)).collect();
        shown.list(&rows, "")?;
        if shown.is_for_people() {
            note(&found.others());
        }
        Ok(())
    })?
}
