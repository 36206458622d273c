//! What is asked outside of naming: whether the server lives, what it is, and which namespaces there are.

use super::respond::Json;
use crate::protocol::reply::{NamespaceEntry, Namespaces, ServerState};
use crate::registry::hub::Hub;
use axum::extract::State;
use std::sync::Arc;

/// A listener that answers is ready: it is not bound before all that is on disk has been read.
pub(super) async fn console_health() -> &'static str {
    "OK"
}

/// The same in version 3.
pub(super) async fn health() -> &'static str {
    "ok"
}

pub(super) async fn server() -> Json<ServerState> {
    Json(ServerState::new(env!("CARGO_PKG_VERSION")))
}

pub(super) async fn namespaces_v1(State(hub): State<Arc<Hub>>) -> Json<Namespaces> {
    Json(Namespaces::new(entries(&hub)))
}

pub(super) async fn namespaces_v3(State(hub): State<Arc<Hub>>) -> Json<Vec<NamespaceEntry>> {
    Json(entries(&hub))
}

fn entries(hub: &Hub) -> Vec<NamespaceEntry> {
    hub.namespaces().iter().map(NamespaceEntry::new).collect()
}
