//! `/loader`: the connections of this server, and asking clients to connect to another one.

use super::extract::Parameters;
use super::respond::Json;
use crate::protocol::form::{Form, InvalidForm};
use crate::registry::error::Refusal;
use crate::registry::hub::Hub;
use crate::registry::peer::{Destination, Peer};
use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use http::HeaderMap;
use http::header::HOST;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Nacos' word for having asked.
const ASKED: &str = "success";
/// Share of the mean above which a server of a cluster is loaded too much; Nacos' value.
const THRESHOLD: f64 = 1.1;

/// A connection as Nacos writes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Connection {
    connected: bool,
    meta_info: MetaInfo,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MetaInfo {
    connect_type: &'static str,
    connection_id: String,
    client_ip: String,
    remote_ip: String,
    remote_port: u16,
    app_name: String,
    version: String,
    create_time: u64,
}

/// The load of a cluster, which is this server.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Load {
    completed: bool,
    total: usize,
    min: usize,
    max: usize,
    avg: usize,
    threshold: f64,
    member_count: usize,
    metrics_count: usize,
    detail: [OfServer; 1],
}

#[derive(Serialize)]
struct OfServer {
    address: String,
    metric: Metric,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metric {
    con_count: usize,
    sdk_con_count: usize,
}

pub(super) fn routes() -> Router<Arc<Hub>> {
    Router::new()
        .route("/loader/current", get(current))
        .route("/loader/reloadCurrent", post(reload_current))
        .route("/loader/reloadClient", post(reload_client))
        .route("/loader/smartReloadCluster", post(reload_cluster))
        .route("/loader/cluster", get(cluster))
}

async fn current(State(hub): State<Arc<Hub>>) -> Json<BTreeMap<String, Connection>> {
    let connected = hub.connected().into_iter();
    Json(connected.map(|peer| (peer.transport.clone(), Connection::new(&peer))).collect())
}

/// Keeps `count` clients, those who have been here for longest, and asks the others to go.
async fn reload_current(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<&'static str, Refusal> {
    let (staying, to) = (form.required_count("count")?, destination(&form)?);
    let asked = hub.ask_others_to_move(staying, &to);
    tracing::info!(staying, asked, "clients were asked to connect anew");
    Ok(ASKED)
}

async fn reload_client(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<&'static str, Refusal> {
    let (client, to) = (form.required("connectionId")?, destination(&form)?);
    hub.ask_to_move(client, &to)?;
    tracing::info!(client, "a client was asked to connect anew");
    Ok(ASKED)
}

/// One server has nobody to share its load with.
async fn reload_cluster() -> &'static str {
    "Ok"
}

async fn cluster(State(hub): State<Arc<Hub>>, headers: HeaderMap) -> Json<Load> {
    let connections = hub.counts().connections;
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let metric = Metric { con_count: connections, sdk_con_count: connections };
    Json(Load {
        completed: true,
        total: connections,
        min: connections,
        max: connections,
        avg: connections,
        threshold: connections as f64 * THRESHOLD,
        member_count: 1,
        metrics_count: 1,
        detail: [OfServer { address: host.to_owned(), metric }],
    })
}

/// `redirectAddress`, or wherever the client thinks best.
fn destination(form: &Form) -> Result<Destination, InvalidForm> {
    let name = "redirectAddress";
    let Some(text) = form.text(name) else { return Ok(Destination::default()) };
    let address = text.parse().map_err(|_| InvalidForm::value(name, text, "HOST:PORT"))?;
    Ok(Destination(Some(address)))
}

impl Connection {
    fn new(peer: &Peer) -> Self {
        let ip = peer.address.ip().to_canonical().to_string();
        Self {
            connected: true,
            meta_info: MetaInfo {
                connect_type: "GRPC",
                connection_id: peer.transport.clone(),
                client_ip: ip.clone(),
                remote_ip: ip,
                remote_port: peer.address.port(),
                app_name: peer.app.clone(),
                version: peer.version.clone(),
                create_time: peer.since.as_u64(),
            },
        }
    }
}
