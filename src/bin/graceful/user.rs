//! `graceful registry user`: users of a registry that does not run.

use super::registry::refused;
use super::{Failure, password};
use clap::{Args, Subcommand};
use std::io::{self, Write};
use std::path::PathBuf;
use tokio::runtime;
use tower_graceful::registry::{Error, Grant, Password, UserName, Users};

/// Variable with the password of the user that is added or changed.
const PASSWORD: &str = "GRACEFUL_USER_PASSWORD";

/// Makes and changes users in the data directory of a registry that does not run.
///
/// So the first administrator is made; those of a registry that runs are changed over its HTTP API. A password
/// is typed in, or comes from --password-file, the environment (`GRACEFUL_USER_PASSWORD`) or the first line of stdin.
/// Roles are read, write and admin, in all namespaces, or in one: write@NAMESPACE.
#[derive(Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes a user.
    Add {
        /// 1 to 64 of A-Z a-z 0-9 _ - . @
        name: UserName,
        /// What the user may do; once for each role.
        #[arg(long = "role", value_name = "ROLE", required = true)]
        roles: Vec<Grant>,
        #[command(flatten)]
        password: PasswordFrom,
        #[command(flatten)]
        place: Place,
    },
    /// Gives a user another password; the tokens of the old one count no more.
    Password {
        name: UserName,
        #[command(flatten)]
        password: PasswordFrom,
        #[command(flatten)]
        place: Place,
    },
    /// Gives a user a role.
    Grant {
        name: UserName,
        role: Grant,
        #[command(flatten)]
        place: Place,
    },
    /// Takes a role from a user.
    Revoke {
        name: UserName,
        role: Grant,
        #[command(flatten)]
        place: Place,
    },
    /// Removes a user.
    Remove {
        name: UserName,
        #[command(flatten)]
        place: Place,
    },
    /// Lists users and their roles.
    List {
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Args)]
struct Place {
    /// Data directory of the registry.
    #[arg(long, value_name = "DIR", env = "GRACEFUL_REGISTRY_DATA_DIR")]
    data_dir: PathBuf,
}

#[derive(Args)]
struct PasswordFrom {
    /// File with the password in its first line.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl PasswordFrom {
    fn read(&self) -> Result<Password, Failure> {
        if let Some(file) = &self.password_file {
            return password::from_file(file);
        }
        password::from_environment(PASSWORD)?.map_or_else(password::from_stdin, Ok)
    }
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let runtime = runtime::Builder::new_current_thread().build().map_err(Failure::could_not)?;
    runtime.block_on(change(arguments.command))
}

async fn change(command: Command) -> Result<(), Failure> {
    let open = |place: Place| Users::open(&place.data_dir).map_err(unopened);
    let done = match command {
        Command::Add { name, roles, password, place } => {
            let password = password.read()?; // First: a person may take their time.
            open(place)?.add(&name, password, roles).await
        }
        Command::Password { name, password, place } => {
            let password = password.read()?;
            open(place)?.set_password(&name, password).await
        }
        Command::Grant { name, role, place } => open(place)?.grant(&name, role).await,
        Command::Revoke { name, role, place } => open(place)?.revoke(&name, role).await,
        Command::Remove { name, place } => open(place)?.remove(&name).await,
        Command::List { place } => return list(&open(place)?).map_err(Failure::could_not),
    };
    done.map_err(refused)
}

/// Whoever meets a registry that runs is told where its users are changed.
fn unopened(error: Error) -> Failure {
    let busy = matches!(error, Error::DataDirInUse { .. });
    let mut failure = refused(error);
    if busy {
        failure.error =
            format!("{}: its users are changed over its HTTP API (/nacos/v3/auth/user)", failure.error)
                .into();
    }
    failure
}

fn list(users: &Users) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for (name, grants) in users.list() {
        let grants: Vec<String> = grants.map(ToString::to_string).collect();
        writeln!(out, "{name}\t{}", grants.join(","))?;
    }
    Ok(())
}
