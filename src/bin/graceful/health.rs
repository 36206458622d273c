//! `graceful health`: whether a registry is ready, for images in which there is no `curl`.

use super::{Failure, log, remote};
use clap::Args;
use std::error::Error;

/// Asks a registry whether it takes changes: exit code 0 if it does, else 1 and the reason.
#[derive(Args)]
pub(super) struct Arguments {
    /// The registry to ask; `--registry` says the same.
    #[arg(
        long,
        visible_alias = "registry",
        value_name = "ADDRESS",
        env = "GRACEFUL_REGISTRY",
        default_value = remote::DEFAULT
    )]
    address: String,

    #[command(flatten)]
    tls: remote::Tls,
}

pub(super) fn run(Arguments { address, tls }: &Arguments) -> Result<(), Failure> {
    log::to_stderr(log::Format::Text, "warn");
    let address = if address.is_empty() { remote::DEFAULT } else { address }; // An empty variable says nothing.
    let asked = async { Ok::<_, Box<dyn Error>>(tls.server(address)?.check("/readyz").await?) };
    remote::block_on(asked)?.map_err(Failure::could_not)
}
