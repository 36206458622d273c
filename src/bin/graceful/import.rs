//! `graceful import`: brings about in a registry what a file says.

use super::file::read_within;
use super::transfer::{Document, Plan, Report, carry_out, present, read_namespaces};
use super::{Failure, log, remote};
use clap::{Args, ValueEnum};
use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;

/// Bytes of a file: many times what a registry keeps at its bounds.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// Has a registry keep what a file of `graceful export` says.
///
/// What is there already stays as it is, and nothing is taken away: the same import a second time changes
/// nothing. Exit code 1 when a part could not be done; the rest is.
#[derive(Args)]
pub(super) struct Arguments {
    /// The file; `-` reads stdin.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The registry to change.
    #[arg(long, value_name = "ADDRESS", default_value = remote::DEFAULT)]
    into: String,

    #[command(flatten)]
    tls: remote::Tls,

    #[command(flatten)]
    login: remote::Login,

    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,

    /// How the report is written to stdout.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Text,
    Json,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    log::to_stderr(log::Format::Text, "warn");
    let document = read(arguments)?;
    let report = remote::block_on(import(arguments, &document))?.map_err(Failure::could_not)?;
    let text = match arguments.output {
        Output::Text => report.to_string(),
        Output::Json => serde_json::to_string(&report).map_err(Failure::could_not)? + "\n",
    };
    io::stdout().write_all(text.as_bytes()).map_err(Failure::could_not)?;
    match report.failed() {
        0 => Ok(()),
        failed => Err(Failure::could_not(format!("{failed} of the steps failed: the report says why"))),
    }
}

async fn import(arguments: &Arguments, document: &Document) -> Result<Report, Box<dyn Error>> {
    let mut server = arguments.tls.server(&arguments.into)?;
    arguments.login.enter(&mut server).await?;
    let present = present(&server, document).await?;
    let namespaces = read_namespaces(&server).await?;
    Ok(carry_out(&Plan::new(document, &namespaces, &present), &server, arguments.dry_run).await)
}

fn read(Arguments { file, .. }: &Arguments) -> Result<Document, Failure> {
    let read = if file.as_os_str() == "-" {
        read_within(io::stdin(), FILE_BYTES_MAX)
    } else {
        std::fs::File::open(file).and_then(|open| read_within(open, FILE_BYTES_MAX))
    };
    let name = file.display();
    let text = read.map_err(|error| Failure::wrong_usage(format!("cannot read {name}: {error}")))?;
    let wrong = |error| {
        let error: Box<dyn Error> = Box::new(error);
        Failure::wrong_usage(format!("{name}: {}", tower_graceful::naming::Causes(&*error)))
    };
    Document::read(&text).map_err(wrong)
}
