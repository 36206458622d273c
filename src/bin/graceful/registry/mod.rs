//! `graceful registry`: the registry, in the foreground.

#[cfg(test)]
mod fuzz;
mod nearest;
mod options;
mod place;
mod sources;

use super::file::read_within;
use super::signals::Signals;
use super::{Failure, allocator, log, password, user};
use clap::builder::ArgAction;
use clap::error::Error as ClapError;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, Subcommand};
use options::{ALL, Chosen, Setting};
use sources::{Effective, Mistake, Said};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;
use tokio::runtime;
use tokio::sync::oneshot;
use tower_graceful::registry::{Admin, Error, Registry, Settings};

/// Variable with the password of the first administrator; no flag, for everyone on the machine can read those.
const ADMIN_PASSWORD: &str = "GRACEFUL_REGISTRY_ADMIN_PASSWORD";

/// Bytes of a file of settings: a thousand times what all of them take.
const CONFIG_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// How long threads that read or write files may take once the registry has stopped: what had to be stored is.
const THREADS_END_WITHIN: Duration = Duration::from_millis(500);

/// Runs the registry in the foreground until SIGTERM or SIGINT.
///
/// It speaks Nacos' protocols: clients of Nacos register, discover and subscribe with it unchanged. Once it
/// is ready it prints one line with its addresses to stdout.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    aside: Option<Aside>,

    #[command(flatten)]
    run: Run,
}

/// What is done instead of running it.
#[derive(Subcommand)]
enum Aside {
    User(user::Arguments),
}

#[derive(Args)]
struct Run {
    /// TOML file of settings, whose keys are the flags below without their dashes; a variable of the
    /// environment counts more, and a flag most.
    #[arg(long, value_name = "FILE", env = "GRACEFUL_REGISTRY_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,

    /// Print what all settings come to, and who says so, as a file of settings, and start nothing.
    #[arg(long)]
    check_config: bool,

    #[command(flatten)]
    flags: Flags,
}

/// What flags say, by the names of the settings.
struct Flags(Vec<(&'static str, String)>);

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        command.args(ALL.iter().map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, ClapError> {
        let given = |setting: &Setting| {
            let text: &String = matches.get_one(setting.name)?;
            Some((setting.name, text.clone()))
        };
        Ok(Self(ALL.iter().filter_map(given).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), ClapError> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn flag(setting: &Setting) -> Arg {
    let Setting { name, about, .. } = setting;
    let default = setting.shown(&mut Chosen::default());
    let default = default.map(|default| format!(" [default: {default}]")).unwrap_or_default();
    let help = format!("{about}{default} [env: {}]", setting.variable());
    let arg = Arg::new(*name).long(*name).help(help).action(ArgAction::Set);
    match setting.place.value_name() {
        Some(value) => arg.value_name(value),
        // A switch may still be turned off, where a file turns it on.
        None => {
            arg.num_args(0..=1).require_equals(true).default_missing_value("true").value_name("true|false")
        }
    }
}

/// Everything that is wrong with the settings.
#[derive(Debug)]
struct Mistakes(Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, rest) = self.0.split_first().map_or((None, &[][..]), |(first, rest)| (Some(first), rest));
        first.map_or(Ok(()), |first| write!(f, "{first}"))?;
        rest.iter().try_for_each(|mistake| write!(f, "\ngraceful: {mistake}"))
    }
}

impl std::error::Error for Mistakes {}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.aside {
        Some(Aside::User(arguments)) => user::run(arguments),
        None => start(arguments.run),
    }
}

fn start(arguments: Run) -> Result<(), Failure> {
    let check_only = arguments.check_config;
    let effective = effective(arguments)?;
    let settings = effective.chosen.settings().map_err(Failure::wrong_usage)?;
    let settings = Settings { admin: first_admin(&effective.chosen)?, ..settings };
    if check_only {
        settings.check().map_err(refused)?;
        settings.check_files().map_err(refused)?;
        return io::stdout().write_all(effective.shown(ALL).as_bytes()).map_err(Failure::could_not);
    }
    log::to_stderr(effective.chosen.log_format, "info");
    let mut runtime = runtime::Builder::new_multi_thread();
    runtime.enable_all().thread_keep_alive(allocator::THREAD_KEPT_FOR);
    let runtime = runtime.build().map_err(Failure::could_not)?;
    let done = runtime.block_on(async {
        tokio::select! {
            done = serve(settings) => done,
            never = allocator::give_back() => match never {},
        }
    });
    // A file that never comes to its end, on a network that is gone, must not hold up the end.
    runtime.shutdown_timeout(THREADS_END_WITHIN);
    done
}

fn first_admin(chosen: &Chosen) -> Result<Option<Admin>, Failure> {
    let Some(name) = chosen.admin_user.clone() else { return Ok(None) };
    let password = match &chosen.admin_password_file {
        Some(file) => password::from_file(file)?,
        None => password::from_environment(ADMIN_PASSWORD)?.ok_or_else(|| {
            let needed = "`admin-password-file`, or the variable GRACEFUL_REGISTRY_ADMIN_PASSWORD";
            Failure::wrong_usage(Mistake::Incomplete { by: "`admin-user`", needed })
        })?,
    };
    Ok(Some(Admin { name, password }))
}

fn effective(arguments: Run) -> Result<Effective, Failure> {
    // One that is not UTF-8 is none of ours.
    let environment = std::env::vars_os();
    let environment =
        environment.filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)));
    let environment: BTreeMap<String, String> = environment.collect();
    let file = arguments.config.map(read).transpose()?;
    let flags = arguments.flags.0.into_iter().map(|(name, text)| (name.to_owned(), text)).collect();
    let effective = Effective::new(ALL, &Said { file, environment, flags });
    effective.map_err(|mistakes| Failure::wrong_usage(Mistakes(mistakes)))
}

fn read(file: PathBuf) -> Result<(PathBuf, String), Failure> {
    let read = File::open(&file).and_then(|open| read_within(open, CONFIG_BYTES_MAX));
    let text = read.and_then(|read| String::from_utf8(read).map_err(io::Error::other));
    match text {
        Ok(text) => Ok((file, text)),
        Err(error) => Err(Failure::wrong_usage(format!("config: cannot read {}: {error}", file.display()))),
    }
}

async fn serve(settings: Settings) -> Result<(), Failure> {
    // Before anything slow: a signal during the start counts too.
    let mut signals = Signals::install().map_err(Failure::could_not)?;
    let over = if settings.tls.is_some() { ", over TLS" } else { "" };
    let registry = Registry::bind(Settings { tell_systemd: true, ..settings }).await.map_err(refused)?;
    let (http, grpc) = (registry.http_addr(), registry.grpc_addr());
    // Nobody need listen to it: a closed stdout is no reason to stop.
    let _ = writeln!(io::stdout(), "registry ready: http {http}, grpc {grpc}{over}");
    let (end, ended) = oneshot::channel();
    let mut served = pin!(registry.serve(async { ended.await.unwrap_or_default() }));
    tokio::select! {
        () = &mut served => return Ok(()),
        signal = signals.next() => tracing::info!(signal, "the registry stops"),
    }
    let _ = end.send(());
    tokio::select! {
        () = &mut served => tracing::info!("registry stopped"),
        signal = signals.next() => {
            let error = format!("{signal} came again: connections were cut");
            return Err(Failure { code: Failure::CUT, error: error.into() });
        }
    }
    Ok(())
}

/// A setting that can never work is wrong usage; one that the machine does not allow may work tomorrow.
pub(super) fn refused(error: Error) -> Failure {
    let wrong = matches!(
        error,
        Error::Open { .. } | Error::NoGrpcPort { .. } | Error::TokenTtl { .. } | Error::User(_)
    );
    let code = if wrong { Failure::WRONG_USAGE } else { Failure::COULD_NOT };
    Failure { code, error: error.into() }
}
