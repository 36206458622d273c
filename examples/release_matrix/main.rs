//! Releases of every kind, over every protocol, and what each of them loses: nothing.
//!
//! ```console
//! $ cargo run --release --features full --example release_matrix -- --short
//! ```
//!
//! Each of the 27 cells starts a registry and three providers as processes of their own, sends them an
//! open-loop load that never tries again, replaces the providers meanwhile in the way that its scenario
//! says, with real signals, and prints one line. Every answer is checked to its last byte, and executions
//! are counted where they happen, by the requests' ids. `scenario.rs` says what is done to whom, `cell.rs`
//! tells one cell from top to bottom. Exit code 0: all whole; 1: something was lost or done twice, or a cell
//! came to no end; 2: the load itself was too late to prove anything, twice. With `--compare` the stale-list
//! cells stand beside the same load on providers that sleep blindly before they go.

#![allow(unreachable_pub, reason = "a program: nothing in it is reached from outside")]

mod caller;
mod cell;
#[path = "../common/mod.rs"]
mod common;
mod consumer;
mod fleet;
#[path = "../greeter/mod.rs"]
mod greeter;
mod provider;
mod report;
mod scenario;
mod tally;

use clap::{Parser, Subcommand};
use common::serving::{RegistryFlags, registry, served};
use common::{BoxError, INTERRUPTED, print, unless_interrupted};
use report::{Cell, Matrix, Verdict};
use scenario::{Case, Length, cells};
use std::process::ExitCode;
use tower_graceful::naming::Causes;

/// Releases of every kind, over every protocol, and what each of them loses.
#[derive(Debug, Parser)]
#[command(name = "release_matrix", version, args_conflicts_with_subcommands = true)]
struct Program {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    child: Option<Child>,
}

#[derive(Debug, clap::Args)]
struct Flags {
    /// A few seconds and 2 000 requests for each cell instead of a minute and 30 000.
    #[arg(long)]
    short: bool,
    /// Only the cells whose `PROTOCOL SCENARIO` contains this, in any case: `grpc`, `stale`, `HTTP/2 churn`.
    #[arg(long, value_name = "PATTERN", default_value = "", hide_default_value = true)]
    only: String,
    /// Only the stale-list cells, each beside the same load on providers that do what many do today, on plain
    /// axum: deregister, sleep for 2 s, shut down gracefully. In JSON, those are under `compare`.
    #[arg(long)]
    compare: bool,
    /// What is printed: a line for each cell as it ends, or one line of JSON in the end.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    Table,
    Json,
}

/// The processes that a cell consists of.
#[derive(Debug, Subcommand)]
#[command(hide = true)]
enum Child {
    Registry(RegistryFlags),
    Provider(provider::ProviderFlags),
    Caller(caller::CallerFlags),
}

#[tokio::main]
async fn main() -> ExitCode {
    let Program { flags, child } = Program::parse();
    let outcome = match child {
        None => run(&flags).await,
        Some(Child::Registry(flags)) => served(flags.child, registry(&flags)).await,
        Some(Child::Provider(flags)) => served(flags.serving.child, provider::run(&flags)).await,
        Some(Child::Caller(flags)) => served(flags.child, caller::run(&flags)).await,
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("release_matrix: {}", Causes(&*error));
        ExitCode::FAILURE
    })
}

/// Runs the cells one after another; interrupting it stops every process that it started.
async fn run(flags: &Flags) -> Result<ExitCode, BoxError> {
    Ok(unless_interrupted(all(flags)).await?.unwrap_or_else(|| ExitCode::from(INTERRUPTED)))
}

/// Runs a cell; one whose load was too late proves nothing, and is run once more.
async fn conclusive(case: Case, length: Length) -> Result<Cell, BoxError> {
    let plan = case.scenario.plan(length);
    let cell = cell::run(case, &plan).await?;
    if cell.verdict() != Verdict::Inconclusive {
        return Ok(cell);
    }
    eprintln!("{}\n    once more, therefore", cell.to_lines());
    cell::run(case, &plan).await
}

/// The cell, and its line if that is wanted; nothing when it came to no end.
async fn concluded(case: Case, length: Length, table: bool) -> Result<Option<Cell>, BoxError> {
    match conclusive(case, length).await {
        Ok(cell) if table => {
            print(&cell.to_lines())?;
            Ok(Some(cell))
        }
        Ok(cell) => Ok(Some(cell)),
        Err(error) => {
            eprintln!("{case}: {}", Causes(&*error));
            Ok(None)
        }
    }
}

async fn all(flags: &Flags) -> Result<ExitCode, BoxError> {
    let length = if flags.short { Length::Short } else { Length::Full };
    let cells = |pattern: &str| {
        let is_asked_for = |case: &Case| !flags.compare || case.compared().is_some();
        cells(pattern).into_iter().filter(is_asked_for).collect::<Vec<_>>()
    };
    let chosen = cells(&flags.only);
    if chosen.is_empty() {
        let all: Vec<_> = cells("").iter().map(ToString::to_string).collect();
        return Err(format!("--only {:?} names no cell; there are: {}", flags.only, all.join(", ")).into());
    }
    let mut matrix = Matrix::default();
    let table = flags.output == Output::Table;
    if table {
        print(&Cell::heading())?;
    }
    for case in chosen {
        let ours = concluded(case, length, table).await?;
        let compared = case.compared().filter(|_| flags.compare);
        let theirs = match compared {
            Some(case) => Some(concluded(case, length, table).await?),
            None => None,
        };
        matrix.failed += usize::from(ours.is_none()) + usize::from(matches!(theirs, Some(None)));
        let theirs = theirs.flatten();
        if let (true, Some(ours), Some(theirs)) = (table, &ours, &theirs) {
            print(&ours.beside(theirs))?;
        }
        matrix.cells.extend(ours);
        matrix.compare.extend(theirs);
    }
    if !table {
        print(&serde_json::to_string(&matrix)?)?;
    }
    Ok(matrix.verdict().exit_code())
}
