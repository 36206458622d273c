//! `graceful deregister`: takes instances off a list.

use super::api::{Acted, Kind, Listed, Publisher, Target, These, place};
use super::confirm::Sure;
use super::shown::Shown;
use super::transfer::Version;
use super::{Failure, log, remote};
use clap::Args;
use http::Method;

/// Takes instances off that are persistent, or kept there by heartbeats.
///
/// One that still sends heartbeats comes back with the next. One that a connection publishes is taken off by its
/// own client only: `graceful offline` has it leave, `graceful disable` has it take no traffic.
#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    these: These,

    #[command(flatten)]
    sure: Sure,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    shown: Shown,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    log::to_stderr(log::Format::Text, "warn");
    let Arguments { these, sure, target, shown } = arguments;
    remote::block_on(async {
        let api = target.enter().await?;
        let found = these.find(&api, target).await?;
        found.meant.iter().try_for_each(may_be_taken_off)?;
        found.leaves_nobody("been taken off", sure)?;
        let path = match api.kind {
            Kind::Ours | Kind::Nacos(Version::One) => "/nacos/v1/ns/instance",
            Kind::Nacos(Version::Three) => "/nacos/v3/admin/ns/instance",
        };
        let mut rows = Vec::new();
        for one in &found.meant {
            api.change(Method::DELETE, path, &found.service, &place(one)).await?;
            rows.push(Acted::new(one, "deregistered"));
        }
        shown.list(&rows, "")?;
        // The service itself may be gone with its last instance.
        let left = api.instances(&found.service).await.unwrap_or_default();
        match left.iter().find(|one| found.meant.iter().any(|meant| meant.is_at(one))) {
            None => Ok(()),
            Some(still) => Err(Failure::could_not(format!(
                "{} is still there: somebody publishes it; `graceful disable` has it take no traffic",
                still.at()
            ))),
        }
    })?
}

/// Whether taking off changes anything for long.
fn may_be_taken_off(one: &Listed) -> Result<(), Failure> {
    let publishers = one.publishers.iter().flatten();
    for publisher in publishers {
        if let Publisher::Connection { connection, address, .. } = publisher {
            return Err(Failure::could_not(format!(
                "{} is published by connection {connection} from {address}, which alone can take it off: `graceful offline` has it leave, `graceful disable` has it take no traffic",
                one.at()
            )));
        }
    }
    Ok(())
}
