//! `graceful`: runs the registry, looks at one and steers it, and carries what one keeps to another.
//!
//! Each subcommand is a file of its own: arguments in, library out. Exit codes: 0 when done or after a signal, 1 when
//! something could not be done, 2 for wrong usage, 3 when a second signal cut what was under way; `doctor` has its own.

mod allocator;
mod api;
mod clients;
mod close;
mod completions;
mod confirm;
mod deregister;
mod doctor;
mod enable;
mod export;
mod file;
mod health;
mod import;
mod instances;
mod log;
mod man;
mod metadata;
mod offline;
mod password;
mod reference;
mod register;
mod registry;
mod remote;
mod rollout;
mod service;
mod services;
mod shown;
mod signals;
mod subscribers;
mod transfer;
mod user;
mod watch;
mod weight;

use clap::{Parser, Subcommand};
use shown::printable_lines;
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use tower_graceful::naming::Causes;

/// Graceful start and shutdown for microservices: the registry, and its tools.
#[derive(Parser)]
#[command(name = "graceful", version, arg_required_else_help = true, after_help = AFTER_HELP)]
struct Graceful {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Registry(registry::Arguments),
    Services(services::Arguments),
    Service(service::Arguments),
    Instances(instances::Arguments),
    Subscribers(subscribers::Arguments),
    Clients(clients::Arguments),
    Close(close::Arguments),
    Watch(watch::Arguments),
    Register(register::Arguments),
    Deregister(deregister::Arguments),
    Enable(enable::Enable),
    Disable(enable::Disable),
    Weight(weight::Arguments),
    Metadata(metadata::Arguments),
    Rollout(rollout::Arguments),
    Offline(offline::Arguments),
    Doctor(doctor::Arguments),
    Export(export::Arguments),
    Import(import::Arguments),
    Health(health::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
}

const AFTER_HELP: &str = "Logs go to stderr; RUST_LOG=debug shows more of them.
Exit codes: 0 done, or stopped by SIGTERM or SIGINT; 1 could not be done; 2 wrong usage; 3 cut by a second signal.\nThose of doctor: 0 all checks passed; 1 something was found; 2 something could not be checked.";

/// Why a subcommand failed, and with which exit code.
struct Failure {
    code: u8,
    error: Box<dyn Error>,
}

impl Failure {
    const COULD_NOT: u8 = 1;
    const WRONG_USAGE: u8 = 2;
    /// What was under way was cut.
    const CUT: u8 = 3;

    fn could_not(error: impl Into<Box<dyn Error>>) -> Self {
        Self { code: Self::COULD_NOT, error: error.into() }
    }

    fn wrong_usage(error: impl Into<Box<dyn Error>>) -> Self {
        Self { code: Self::WRONG_USAGE, error: error.into() }
    }
}

fn main() -> ExitCode {
    let Graceful { command } = Graceful::parse();
    let done = match command {
        Command::Registry(arguments) => registry::run(arguments),
        Command::Services(arguments) => services::run(&arguments),
        Command::Service(arguments) => service::run(&arguments),
        Command::Instances(arguments) => instances::run(&arguments),
        Command::Subscribers(arguments) => subscribers::run(&arguments),
        Command::Clients(arguments) => clients::run(&arguments),
        Command::Close(arguments) => close::run(&arguments),
        Command::Watch(arguments) => watch::run(&arguments),
        Command::Register(arguments) => register::run(&arguments),
        Command::Deregister(arguments) => deregister::run(&arguments),
        Command::Enable(arguments) => enable::enable(&arguments),
        Command::Disable(arguments) => enable::disable(&arguments),
        Command::Weight(arguments) => weight::run(&arguments),
        Command::Metadata(arguments) => metadata::run(&arguments),
        Command::Rollout(arguments) => rollout::run(&arguments),
        Command::Offline(arguments) => offline::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Export(arguments) => export::run(&arguments),
        Command::Import(arguments) => import::run(&arguments),
        Command::Health(arguments) => health::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Man(arguments) => man::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, error }) => {
            // Servers are repeated, and may say what they like.
            let words = Causes(&*error).to_string();
            // A closed stderr changes nothing about the failure.
            let _ = writeln!(io::stderr(), "graceful: {}", printable_lines(&words));
            ExitCode::from(code)
        }
    }
}
