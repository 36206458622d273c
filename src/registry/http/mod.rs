//! Nacos' HTTP API: for clients without gRPC, for scripts and for curious people. Versions 2 and 3 have the
//! handlers of version 1 where they can, and put the answers into an envelope.
//!
//! Parameters come in the query or in a form body. A success is `ok` or a JSON body, a failure plain text
//! that says what is wrong and what is accepted.

mod cluster;
mod described;
mod extract;
mod graceful;
mod instance;
mod operator;
mod overrides;
mod respond;
mod service;
mod wrap;

pub(super) use extract::Origin;

use super::hub::Hub;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::map_response;
use axum::routing::{get, patch, post, put};
use std::sync::Arc;
use tower_http::limit::RequestBodyLimitLayer;

/// Bytes of a request's body: the parameters of one instance with all the metadata it may have.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// The API over `hub`.
pub(super) fn routes(hub: Arc<Hub>) -> Router {
    Router::new()
        .nest("/nacos/v1/ns", v1())
        .nest("/nacos/v2/ns", v2().layer(map_response(wrap::wrap)).merge(v2_bare()))
        .nest("/nacos/v3/admin/ns", v3_admin().layer(map_response(wrap::wrap)))
        .nest("/graceful/v1", graceful::routes())
        .fallback(respond::no_such_path)
        .method_not_allowed_fallback(respond::no_such_method)
        .layer(DefaultBodyLimit::disable()) // The next one holds for every way of reading a body.
        .layer(RequestBodyLimitLayer::new(BODY_BYTES_MAX))
        .with_state(hub)
}

fn v1() -> Router<Arc<Hub>> {
    let instance = post(instance::register).delete(instance::deregister).get(instance::detail);
    Router::new()
        .route("/instance", instance.put(overrides::replace).patch(overrides::change))
        .route("/instance/metadata/batch", put(overrides::merge_metadata).delete(overrides::remove_metadata))
        .route("/catalog/instances", get(overrides::list_v1))
        .route("/instance/list", get(instance::list))
        .route("/instance/beat", put(instance::beat))
        .route(
            "/service",
            post(service::create).delete(service::delete).put(service::update).get(service::detail_v1),
        )
        .route("/service/list", get(service::list_v1))
        .route("/service/selector/types", get(service::selector_types))
        .route("/cluster", put(cluster::update))
        .route("/health", put(cluster::set_health))
        .route("/health/instance", put(cluster::set_health))
        .route("/operator/metrics", get(operator::metrics))
}

fn v2() -> Router<Arc<Hub>> {
    Router::new()
        .route("/instance", post(instance::register).delete(instance::deregister).put(overrides::replace))
        .route("/instance/metadata/batch", put(overrides::merge_metadata).delete(overrides::remove_metadata))
        .route("/catalog/instances", get(overrides::list_v2))
        .route(
            "/service",
            post(service::create).delete(service::delete).put(service::update).get(service::detail_v2),
        )
        .route("/service/list", get(service::list_v2))
        .route("/health", put(cluster::set_health))
        .route("/health/instance", put(cluster::set_health))
}

/// What version 2 answers without an envelope.
fn v2_bare() -> Router<Arc<Hub>> {
    Router::new().route("/instance", patch(overrides::change))
}

fn v3_admin() -> Router<Arc<Hub>> {
    Router::new()
        .route("/instance", post(instance::register).delete(instance::deregister).put(overrides::replace))
        .route("/instance/partial", put(overrides::change))
        .route("/instance/list", get(overrides::list_v3))
        .route("/instance/metadata/batch", put(overrides::merge_metadata).delete(overrides::remove_metadata))
        .route(
            "/service",
            post(service::create).delete(service::delete).put(service::update).get(service::detail_v3),
        )
        .route("/service/list", get(service::list_v3))
        .route("/service/selector/types", get(service::selector_types))
        .route("/cluster", put(cluster::update))
        .route("/health/instance", put(cluster::set_health))
}
