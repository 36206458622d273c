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
mod goods;
mod ledger;
mod line;
mod load;
mod orders;
mod plain;
mod process;
mod progress;
mod ramp;
mod record;
mod release;
mod report;
mod serving;
mod storefront;

use clap::{Parser, Subcommand};
use line::{Line, Ready, say};
use process::BoxError;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tower_graceful::naming::Causes;
use tower_graceful::registry::{Registry, Settings};
use tracing_subscriber::EnvFilter;

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
    Orders(serving::Flags),
    /// Serves people, and asks orders: a consumer.
    Storefront(serving::Flags),
    /// Knows where the others are.
    Registry(RegistryFlags),
}

/// Knows where the others are.
#[derive(Debug, clap::Args)]
struct RegistryFlags {
    /// Port of the HTTP API, 1000 below that of the gRPC API; 0 is any free one.
    #[arg(long, default_value_t = 8848)]
    http_port: u16,
    /// Started by `release`: end with the parent.
    #[arg(long, hide = true)]
    child: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Program::parse().part {
        Part::Release(flags) => release::run(&flags).await,
        Part::Orders(flags) if flags.plain => served(flags.child, plain::orders(&flags)).await,
        Part::Orders(flags) => served(flags.child, orders::run(&flags)).await,
        Part::Storefront(flags) if flags.plain => served(flags.child, plain::storefront(&flags)).await,
        Part::Storefront(flags) => served(flags.child, storefront::run(&flags)).await,
        Part::Registry(flags) => served(flags.child, registry(&flags)).await,
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("shop: {}", Causes(&*error));
        ExitCode::FAILURE
    })
}

/// Runs a service; its log goes to standard error, because programs read standard output. A child ends with
/// its parent.
async fn served(
    child: bool,
    service: impl Future<Output = Result<ExitCode, BoxError>>,
) -> Result<ExitCode, BoxError> {
    if child {
        process::leash();
    }
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let ansi = io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(ansi).with_writer(io::stderr).init();
    service.await
}

/// The registry of this crate, without its program: one command builds and runs the whole shop.
async fn registry(flags: &RegistryFlags) -> Result<ExitCode, BoxError> {
    let settings = Settings { http_port: flags.http_port, ..Settings::default() };
    let registry = Registry::bind(settings).await?;
    say(&Line::Ready(Ready { listen: registry.http_addr(), readiness: registry.grpc_addr() })).await?;
    registry.serve(async { interrupted().await.unwrap_or_default() }).await;
    Ok(ExitCode::SUCCESS)
}

/// Resolves when this process is told to go: Ctrl-C or SIGTERM.
async fn interrupted() -> io::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// Writes a result to standard output.
fn print(text: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}
