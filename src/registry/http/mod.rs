//! Nacos' HTTP API, version 1: for clients without gRPC, for scripts and for curious people.
//!
//! Parameters come in the query or in a form body. A success is `ok` or a JSON body, a failure plain text
//! that says what is wrong and what is accepted.

mod cluster;
mod extract;
mod instance;
mod operator;
mod respond;
mod service;

use super::hub::Hub;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post, put};
use std::sync::Arc;
use tower_http::limit::RequestBodyLimitLayer;

/// Bytes of a request's body: the parameters of one instance with all the metadata it may have.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// The API over `hub`.
pub(super) fn routes(hub: Arc<Hub>) -> Router {
    Router::new()
        .route(
            "/nacos/v1/ns/instance",
            post(instance::register).delete(instance::deregister).get(instance::detail),
        )
        .route("/nacos/v1/ns/instance/list", get(instance::list))
        .route("/nacos/v1/ns/instance/beat", put(instance::beat))
        .route("/nacos/v1/ns/service/list", get(service::list))
        .route("/nacos/v1/ns/cluster", put(cluster::update))
        .route("/nacos/v1/ns/health", put(cluster::set_health))
        .route("/nacos/v1/ns/health/instance", put(cluster::set_health))
        .route("/nacos/v1/ns/operator/metrics", get(operator::metrics))
        .fallback(respond::no_such_path)
        .method_not_allowed_fallback(respond::no_such_method)
        .layer(DefaultBodyLimit::disable()) // The next one holds for every way of reading a body.
        .layer(RequestBodyLimitLayer::new(BODY_BYTES_MAX))
        .with_state(hub)
}
