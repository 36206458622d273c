//! `graceful close`: ends connections of clients for good.

use super::api::{Kind, Target, failed};
use super::confirm::Sure;
use super::shown::{Cell, Row, Shown};
use super::{Failure, log, remote};
use clap::Args;
use http::Method;
use serde::{Deserialize, Serialize};

/// Closes connections of clients over gRPC; what they published goes off the lists.
///
/// For a client that has not noticed its own end. One that is alive connects again, and registers what it had:
/// `graceful offline` has an instance leave for good.
#[derive(Args)]
pub(super) struct Arguments {
    /// The clients, as `graceful clients` numbers them.
    #[arg(value_name = "CLIENT", required = true)]
    clients: Vec<u64>,

    #[command(flatten)]
    sure: Sure,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    shown: Shown,
}

/// One that was closed.
#[derive(Serialize)]
struct Line {
    client: u64,
    closed: bool,
    /// How many instances it published.
    instances: usize,
}

/// As the registry answers.
#[derive(Deserialize)]
struct Closed {
    closed: bool,
    instances: usize,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    log::to_stderr(log::Format::Text, "warn");
    let Arguments { clients, sure, target, shown } = arguments;
    remote::block_on(async {
        let api = target.enter().await?;
        if let Kind::Nacos(_) = api.kind {
            return Err(api.cannot_tell("how to close one connection", "end the client's process"));
        }
        sure.ask("what they publish goes off the lists until they connect again")?;
        let mut lines = Vec::new();
        for client in clients {
            let number = client.to_string();
            let which = [("connection", number.as_str())];
            let asked = api.server.ask_for(Method::POST, "/graceful/v1/clients/close", &which);
            let Closed { closed, instances } = asked.await.map_err(failed)?;
            lines.push(Line { client: *client, closed, instances });
        }
        shown.list(&lines, "")
    })?
}

impl Row for Line {
    const HEADS: &'static [&'static str] = &["CLIENT", "DONE", "PUBLISHED"];

    fn cells(&self) -> Vec<Cell> {
        let done = if self.closed { "closed" } else { "" };
        vec![Cell::text(self.client.to_string()), Cell::text(done), Cell::number(Some(self.instances))]
    }
}
