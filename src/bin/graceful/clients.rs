//! `graceful clients`: who is connected.

use super::api::{Api, Kind, Target, failed};
use super::shown::{Cell, Row, Shown, age};
use super::transfer::{Data, Server, Trouble};
use super::{Failure, log, remote};
use clap::Args;
use serde::{Deserialize, Serialize};
use tower_graceful::Clock;
use tower_graceful::model::UnixMillis;

/// Clients in one answer.
const PAGE_SIZE: usize = 1000;
/// Pages that are read: as many clients as a registry serves connections at its bound.
const PAGES_MAX: usize = 1000;
/// Where a Nacos tells its clients: version 3, and version 2.
const FOREIGN: [&str; 2] = ["/nacos/v3/admin/ns/client/list", "/nacos/v2/ns/client/list"];

/// Lists who is connected to the registry over gRPC, in how many services each publishes, and how many it follows.
///
/// Those are the clients of all namespaces. A Nacos tells only their names; an r-nacos tells nothing of them.
#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    shown: Shown,
}

/// A client in one line; what the registry does not tell is not there.
#[derive(Debug, Serialize)]
struct Line {
    client: String,
    #[serde(flatten)]
    told: Option<Told>,
}

/// As this crate's registry tells it.
#[derive(Debug, Deserialize, Serialize)]
struct Told {
    connection: u64,
    address: String,
    app: String,
    version: String,
    caller: Option<String>,
    connected_at: u64,
    publishes: usize,
    follows: usize,
}

pub(super) fn run(Arguments { target, shown }: &Arguments) -> Result<(), Failure> {
    log::to_stderr(log::Format::Text, "warn");
    remote::block_on(async {
        let api = target.enter().await?;
        let lines = read(&api).await?;
        shown.list(&lines, "nobody is connected over gRPC; who only asks over HTTP is no client")
    })?
}

async fn read(api: &Api) -> Result<Vec<Line>, Failure> {
    if matches!(api.kind, Kind::Ours) {
        return ours(&api.server).await.map_err(failed);
    }
    for path in FOREIGN {
        let told = api.server.read::<Data<Vec<String>>>(path, &[]).await.map_err(failed)?;
        if let Some(Data { data }) = told {
            return Ok(data.into_iter().map(|client| Line { client, told: None }).collect());
        }
    }
    Err(api.cannot_tell(
        "who is connected",
        "ask for the subscribers of a service, `graceful subscribers SERVICE`",
    ))
}

async fn ours(server: &Server) -> Result<Vec<Line>, Trouble> {
    #[derive(Deserialize)]
    struct Page {
        count: usize,
        clients: Vec<Told>,
    }
    let (mut lines, size) = (Vec::new(), PAGE_SIZE.to_string());
    for page in 1..=PAGES_MAX {
        let parameters = [("pageNo", page.to_string()), ("pageSize", size.clone())];
        let parameters = parameters.each_ref().map(|(name, value)| (*name, value.as_str()));
        let Page { count, clients } = server.get("/graceful/v1/clients", &parameters).await?;
        let is_last = clients.len() < PAGE_SIZE;
        lines.extend(
            clients.into_iter().map(|told| Line { client: told.connection.to_string(), told: Some(told) }),
        );
        if is_last || lines.len() >= count {
            break;
        }
    }
    Ok(lines)
}

impl Row for Line {
    const HEADS: &'static [&'static str] =
        &["CLIENT", "ADDRESS", "APP", "VERSION", "CALLER", "PUBLISHES", "FOLLOWS", "CONNECTED"];

    fn cells(&self) -> Vec<Cell> {
        let (now, told) = (Clock::system().now(), self.told.as_ref());
        let text = |of: fn(&Told) -> &str| Cell::text(told.map(of).unwrap_or_default());
        vec![
            Cell::text(&self.client),
            text(|told| &told.address),
            text(|told| &told.app),
            text(|told| &told.version),
            text(|told| told.caller.as_deref().unwrap_or_default()),
            Cell::number(told.map(|told| told.publishes)),
            Cell::number(told.map(|told| told.follows)),
            Cell::number(told.map(|told| age(UnixMillis::new(told.connected_at), now))),
        ]
    }
}
