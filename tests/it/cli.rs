//! The subcommands that look at a registry and steer it, as processes: what they print, and how they end.

mod actions;
mod errors;
mod foreign;
mod lists;
mod papers;
mod services;
mod stay;

use super::registry::SOON;
use serde_json::Value;
use std::net::SocketAddr;
use std::process::Output;
use tokio::process::Command;
use tokio::time::timeout;

/// What a process of the program has left behind.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ended {
    /// Stdout of one that has done what it should.
    fn told(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self.stdout
    }

    fn json(self) -> Value {
        let stdout = self.told();
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"))
    }
}

/// The program with nothing of this process' own surroundings that it would heed.
fn program(arguments: &[&str]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_graceful"));
    program.args(arguments).kill_on_drop(true);
    for variable in ["", "_USER", "_PASSWORD", "_PASSWORD_FILE", "_TLS_CA"] {
        program.env_remove(format!("GRACEFUL_REGISTRY{variable}"));
    }
    program
}

async fn ended(mut program: Command) -> Ended {
    let Output { status, stdout, stderr } = timeout(SOON, program.output()).await.unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// Runs the program to its end against the registry at `http`.
async fn graceful(http: SocketAddr, arguments: &str) -> Ended {
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let mut program = program(&arguments);
    program.env("GRACEFUL_REGISTRY", http.to_string());
    ended(program).await
}

/// What a table says: its cells, line by line. Cells are two blanks apart.
fn cells(table: &str) -> Vec<Vec<&str>> {
    table
        .lines()
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect()
}
