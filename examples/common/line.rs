//! The lines by which these processes speak to whoever started them: one JSON value each.

use serde::{Deserialize, Serialize};
use std::io;
use std::net::SocketAddr;
use tokio::io::AsyncWriteExt;

/// One line of standard output.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// The sockets are bound: `{"ready":{"listen":"127.0.0.1:8081"}}`.
    Ready(Ready),
    /// What was executed since the last such line.
    Executed(Executed),
    /// What became of a request that this process has sent.
    Asked(Outcome),
}

/// What became of a request, as its sender saw it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The request's own name.
    pub id: String,
    /// How much later than planned it was sent, in milliseconds: its sender's own fault.
    pub lag_ms: f64,
    /// Nothing when the right and whole answer came in time.
    pub lost: Option<Lost>,
}

/// Why a request counts as lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// How, in a word: `connect`, `broken`, `status_503`, `wrong`, `timeout`, `grpc_unavailable`.
    pub kind: String,
    /// The causes, in words for people.
    pub reason: String,
}

/// Where a process is reached. Any port may have been chosen by the system.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Ready {
    /// Its own port.
    pub listen: SocketAddr,
    /// Where to ask `GET /readiness`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<SocketAddr>,
    /// Where to ask `POST /offline`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offline: Option<SocketAddr>,
    /// The gRPC port of a registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<SocketAddr>,
}

impl Ready {
    /// A process that is reached at `listen` only.
    pub const fn at(listen: SocketAddr) -> Self {
        Self { listen, readiness: None, offline: None, grpc: None }
    }
}

/// What a process has executed.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Executed {
    /// Requests since the process began: whoever has heard fewer has missed some.
    pub total: u64,
    /// Requests that are being answered.
    pub in_flight: u64,
    /// Ids and moments (milliseconds since 1970) of the new ones.
    pub requests: Vec<(String, u64)>,
}

/// Writes `line`.
///
/// # Errors
/// When nobody reads it any more.
pub async fn say(line: &Line) -> io::Result<()> {
    let mut text = serde_json::to_string(line)?;
    text.push('\n');
    let mut stdout = tokio::io::stdout();
    stdout.write_all(text.as_bytes()).await?;
    stdout.flush().await
}
