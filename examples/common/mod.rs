//! What the examples that run processes have in common: a service that can be checked, the load that checks
//! it, and processes that speak to whoever started them.
#![allow(unreachable_pub, dead_code, reason = "each example uses its part")]

pub mod goods;
pub mod ledger;
pub mod line;
pub mod plain;
pub mod plan;
pub mod process;
pub mod routes;
pub mod serving;
pub mod wish;

use std::error::Error;
use std::io::{self, Write};
use tokio::signal::unix::{SignalKind, signal};

/// Any error of these programs: it is shown to a person, nobody decides by it.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Resolves when this process is told to go: Ctrl-C or SIGTERM.
///
/// # Errors
/// When signals cannot be heard.
pub async fn interrupted() -> io::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// What a program that was interrupted exits with.
pub const INTERRUPTED: u8 = 130;

/// The output of `work`; nothing when it was interrupted, with which the processes that it held are stopped.
///
/// # Errors
/// As `work`, or when signals cannot be heard.
pub async fn unless_interrupted<T>(
    work: impl Future<Output = Result<T, BoxError>>,
) -> Result<Option<T>, BoxError> {
    tokio::select! {
        outcome = work => outcome.map(Some),
        told = interrupted() => {
            told?;
            eprintln!("interrupted; all processes have been stopped");
            Ok(None)
        }
    }
}

/// Writes a result to standard output.
///
/// # Errors
/// When nobody reads it.
pub fn print(text: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}
