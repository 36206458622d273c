//! What is asked outside of naming: whether the server lives and is ready, and what it is and does.

use super::respond::Json;
use crate::protocol::reply::ServerState;
use crate::registry::hub::{Hub, Unready};
use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use std::sync::Arc;

/// Which program answers.
#[derive(Serialize)]
pub(super) struct Version {
    name: &'static str,
    version: &'static str,
}

/// Why a registry is not ready, as an answer.
type NotReady = (StatusCode, String);

pub(super) async fn alive() -> &'static str {
    "alive\n"
}

/// A listener that answers has read all that is on disk: it is not bound before. What remains to be asked is
/// whether changes are taken.
pub(super) async fn ready(State(hub): State<Arc<Hub>>) -> Result<&'static str, NotReady> {
    hub.readiness().map(|()| "ready\n").map_err(not_ready)
}

pub(super) async fn version() -> Json<Version> {
    Json(Version { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") })
}

pub(super) async fn metrics(State(hub): State<Arc<Hub>>) -> impl IntoResponse {
    let standing = hub.standing().await;
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], hub.metrics().text(&standing))
}

/// Liveness as Nacos' console of version 1 answers it.
pub(super) async fn console_health() -> &'static str {
    "OK"
}

pub(super) async fn console_readiness(State(hub): State<Arc<Hub>>) -> Result<&'static str, NotReady> {
    hub.readiness().map(|()| "OK").map_err(not_ready)
}

/// Liveness in version 3.
pub(super) async fn health() -> &'static str {
    "ok"
}

pub(super) async fn readiness(State(hub): State<Arc<Hub>>) -> Result<&'static str, NotReady> {
    hub.readiness().map(|()| "ok").map_err(not_ready)
}

fn not_ready(why: Unready) -> NotReady {
    (StatusCode::SERVICE_UNAVAILABLE, why.to_string())
}

pub(super) async fn server() -> Json<ServerState> {
    Json(ServerState::new(env!("CARGO_PKG_VERSION")))
}
