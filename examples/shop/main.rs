//! A shop of three services, and a rolling release of one of them under load.
//!
//! ```console
//! $ cargo run --release --features full --example shop -- release
//! ```
//!
//! starts everything as processes of its own and shows what a release loses: nothing. The parts can be
//! started by hand as well, see `orders.rs` (a provider) and `storefront.rs` (a consumer), which show how
//! the crate is used; `release.rs` tells the release from top to bottom.

#![allow(unreachable_pub, reason = "a program: nothing in it is reached from outside")]

mod chart;
#[path = "../common/mod.rs"]
mod common;
mod load;
mod orders;
mod plain;
mod progress;
mod ramp;
mod record;
mod release;
mod report;
mod secure;
mod storefront;

use clap::{Parser, Subcommand};
use common::BoxError;
use common::serving::{Flags, RegistryFlags, registry, served};
use std::process::ExitCode;
use tower_graceful::naming::Causes;

/// A shop of three services, and a rolling release of one of them under load.
#[derive(Debug, Parser)]
#[command(name = "shop", version)]
struct Program {
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Replaces three instances under load, and counts what is lost.
    Release(release::Flags),
    /// Answers for orders: a provider.
    Orders(ServiceFlags),
    /// Serves people, and asks orders: a consumer.
    Storefront(ServiceFlags),
    /// Knows where the others are.
    Registry(RegistryFlags),
}

#[derive(Debug, clap::Args)]
struct ServiceFlags {
    #[command(flatten)]
    serving: Flags,
    /// Do without the layers of this crate, for comparison.
    #[arg(long)]
    plain: bool,
}

impl ServiceFlags {
    async fn served(
        &self,
        plain: impl AsyncFnOnce(&Flags) -> Result<ExitCode, BoxError>,
        graceful: impl AsyncFnOnce(&Flags) -> Result<ExitCode, BoxError>,
    ) -> Result<ExitCode, BoxError> {
        let flags = &self.serving;
        served(flags.child, async { if self.plain { plain(flags).await } else { graceful(flags).await } })
            .await
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Program::parse().part {
        Part::Release(flags) => release::run(&flags).await,
        Part::Orders(service) => service.served(plain::orders, orders::run).await,
        Part::Storefront(service) => service.served(plain::storefront, storefront::run).await,
        Part::Registry(flags) => served(flags.child, registry(&flags)).await,
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("shop: {}", Causes(&*error));
        ExitCode::FAILURE
    })
}
