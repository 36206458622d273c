//! Nacos' HTTP API: for clients without gRPC, for scripts and for curious people. Versions 2 and 3 have the
//! handlers of version 1 where they can, and put the answers into an envelope.
//!
//! Parameters come in the query or in a form body. A success is `ok` or a JSON body, a failure plain text
//! that says what is wrong and what is accepted.

mod catalog;
mod client;
mod cluster;
mod described;
mod door;
mod extract;
mod graceful;
mod guard;
mod instance;
mod kept;
mod loader;
mod login;
mod lookup;
mod measured;
mod namespaces;
mod openapi;
mod operate;
mod operator;
mod overrides;
mod question;
mod renewal;
mod respond;
mod rules;
mod service;
mod state;
mod subscribers;
mod users;
mod weighed;
mod wrap;

#[cfg(feature = "console")]
pub(in crate::registry) use door::{SITE, host, is_ours, misdirected};
pub(in crate::registry) use extract::Origin;
#[cfg(feature = "console")]
pub(in crate::registry) use extract::Parameters;
#[cfg(feature = "console")]
pub(in crate::registry) use guard::allowed;
pub(super) use measured::Measured;
pub(super) use openapi::apis;
#[cfg(feature = "console")]
pub(in crate::registry) use respond::Json;
#[cfg(feature = "console")]
pub(in crate::registry) use rules::{Need, need};

use super::access::Access;
use super::hub::Hub;
use axum::middleware::{AddExtension, from_fn_with_state, map_response};
use axum::routing::{get, patch, post, put};
use axum::{Extension, Router};
use door::Door;
use std::net::IpAddr;
use std::sync::Arc;
use tower_http::limit::{RequestBodyLimit, RequestBodyLimitLayer};
use tower_layer::Layer as _;

/// The API as one connection has it.
pub(super) type Api = RequestBodyLimit<AddExtension<Door<Router>, Origin>>;

/// The API for requests from `ip` with bodies of up to `body_bytes_max`; `access` is that of its routes.
///
/// Layers of every request stand outside of the router: inside, each of them puts requests and answers into
/// boxes of its own.
pub(super) fn api(routes: Router, access: Arc<Access>, ip: IpAddr, body_bytes_max: usize) -> Api {
    let door = Door::new(routes, access, Origin(ip));
    RequestBodyLimitLayer::new(body_bytes_max).layer(Extension(Origin(ip)).layer(door))
}

/// The API over `hub`, for those who have `access`.
pub(super) fn routes(hub: Arc<Hub>, access: Arc<Access>) -> Router {
    let wrapped = |routes: Router<Arc<Hub>>| routes.layer(map_response(wrap::wrap));
    let routes = Router::new()
        .merge(beaten())
        .nest("/nacos/v1/ns", v1())
        .nest("/nacos/v2/ns", wrapped(v2()).merge(v2_bare()))
        .nest("/nacos/v3/client/ns", wrapped(v3_client()))
        .nest("/nacos/v3/admin/ns", wrapped(v3_admin()))
        .nest("/nacos/v3/admin/core", wrapped(core().merge(loader::routes())))
        .nest("/nacos/v2/core", wrapped(loader::routes()))
        .nest("/nacos/v1/console", console())
        .nest("/nacos/v2/console", wrapped(namespaces::later_versions()))
        .merge(logins().with_state(access.clone()))
        .nest("/nacos/v1/auth", users_v1().with_state(access.clone()))
        .nest("/nacos/v3/auth", users_v3().with_state(access.clone()))
        .nest("/graceful/v1", graceful::routes())
        .merge(probes());
    #[cfg(feature = "console")]
    let routes = routes.merge(crate::registry::console::routes(hub.clone(), access.clone()));
    let routes = routes.fallback(respond::no_such_path).method_not_allowed_fallback(respond::no_such_method);
    // The one place over HTTP; where nobody will ever be asked, it does not cost even that.
    let routes =
        if access.never_asks() { routes } else { routes.layer(from_fn_with_state(access, guard::guard)) };
    routes.with_state(hub)
}

/// What every instance and every consumer asks again and again, in version 1. Under whole paths: a nested
/// router writes the URI of each request anew, without the path of the nest.
fn beaten() -> Router<Arc<Hub>> {
    let instance = post(instance::register).delete(instance::deregister).get(instance::detail);
    Router::new()
        .route("/nacos/v1/ns/instance", instance.put(overrides::replace).patch(overrides::change))
        .route("/nacos/v1/ns/instance/list", get(instance::list))
        .route("/nacos/v1/ns/instance/beat", put(instance::beat))
}

fn v1() -> Router<Arc<Hub>> {
    let service = post(service::create).delete(service::delete).put(service::update);
    every_version()
        .merge(operator())
        .route("/instance/statuses", get(lookup::statuses))
        .route("/service", service.get(service::detail_v1))
        .route("/service/list", get(service::list_v1))
        .route("/service/names", get(service::names))
        .route("/service/subscribers", get(subscribers::v1))
        .route("/service/selector/types", get(service::selector_types))
        .route("/cluster", put(cluster::update))
        .route("/catalog/service", get(catalog::service_v1))
        .route("/catalog/services", get(catalog::services_v1))
        .route("/catalog/instances", get(catalog::instances_v1))
        .route("/health", put(cluster::set_health))
        .route("/health/server", get(operator::greeting))
        .route("/health/checkers", get(operator::checkers))
}

fn v2() -> Router<Arc<Hub>> {
    let instance = post(instance::register).delete(instance::deregister).put(overrides::replace);
    let service = post(service::create).delete(service::delete).put(service::update);
    every_version()
        .merge(client::v2())
        .merge(operator())
        .route("/instance", instance.get(lookup::detail_v2))
        .route("/instance/list", get(lookup::list_v2))
        .route("/service", service.get(service::detail_v2))
        .route("/service/list", get(service::list_v2))
        .route("/service/subscribers", get(subscribers::v1))
        .route("/catalog/instances", get(catalog::instances_v2))
        .route("/health", put(cluster::set_health))
}

/// What version 2 answers without an envelope.
fn v2_bare() -> Router<Arc<Hub>> {
    Router::new().route("/instance", patch(overrides::change)).route("/instance/beat", put(instance::beat))
}

/// Version 3 for applications that have HTTP and no SDK.
fn v3_client() -> Router<Arc<Hub>> {
    Router::new()
        .route("/instance", post(renewal::register_or_renew).delete(instance::deregister))
        .route("/instance/list", get(lookup::list_client_v3))
}

fn v3_admin() -> Router<Arc<Hub>> {
    let instance = post(instance::register).delete(instance::deregister).put(overrides::replace);
    let service = post(service::create).delete(service::delete).put(service::update);
    every_version()
        .merge(client::v3())
        .route("/instance", instance.get(lookup::detail_v3))
        .route("/instance/partial", put(overrides::change))
        .route("/instance/list", get(catalog::instances_v3))
        .route("/service", service.get(service::detail_v3))
        .route("/service/list", get(catalog::services_v3))
        .route("/service/subscribers", get(subscribers::v3))
        .route("/service/selector/types", get(service::selector_types))
        .route("/cluster", put(cluster::update))
        .route("/health/checkers", get(operator::checkers))
        .route("/ops/metrics", get(operator::metrics))
        .route("/ops/switches", get(operator::switches).put(operator::switch))
        .route("/ops/log", put(operator::set_log_level))
}

fn every_version() -> Router<Arc<Hub>> {
    Router::new()
        .route("/instance/metadata/batch", put(overrides::merge_metadata).delete(overrides::remove_metadata))
        .route("/health/instance", put(cluster::set_health))
}

/// Under two names, as in Nacos.
fn operator() -> Router<Arc<Hub>> {
    let routes = || {
        Router::new()
            .route("/metrics", get(operator::metrics))
            .route("/switches", get(operator::switches).put(operator::switch))
            .route("/log", put(operator::set_log_level))
    };
    Router::new().nest("/operator", routes()).nest("/ops", routes())
}

fn core() -> Router<Arc<Hub>> {
    Router::new()
        .route("/state", get(state::server))
        .route("/state/liveness", get(state::health))
        .route("/state/readiness", get(state::readiness))
        .merge(namespaces::later_versions())
}

fn console() -> Router<Arc<Hub>> {
    Router::new()
        .route("/health/liveness", get(state::console_health))
        .route("/health/readiness", get(state::console_readiness))
        .route("/server/state", get(state::server))
        .merge(namespaces::v1())
}

/// What whoever runs the registry asks it.
fn probes() -> Router<Arc<Hub>> {
    Router::new()
        .route("/livez", get(state::alive))
        .route("/readyz", get(state::ready))
        .route("/version", get(state::version))
        .route("/metrics", get(state::metrics))
}

/// Every path and method by which some client logs in.
fn logins() -> Router<Arc<Access>> {
    let paths = ["/nacos/v1/auth/login", "/nacos/v1/auth/users/login", "/nacos/v3/auth/user/login"];
    let log_in = || post(login::log_in).get(login::log_in);
    paths.into_iter().fold(Router::new(), |routes, path| routes.route(path, log_in()))
}

/// Users, roles and permissions, as the consoles and scripts of Nacos change them.
fn users_v1() -> Router<Arc<Access>> {
    let user = post(users::create).delete(users::remove).put(users::set_password);
    let role = post(users::grant).delete(users::revoke);
    let permission = post(users::permit).delete(users::permit);
    Router::new()
        .route("/users", user.get(users::list))
        .route("/users/search", get(users::search))
        .route("/roles", role.get(users::roles))
        .route("/roles/search", get(users::search_roles))
        .route("/permissions", permission.get(users::permissions))
        .layer(map_response(users::done_v1))
}

fn users_v3() -> Router<Arc<Access>> {
    let user = post(users::create).delete(users::remove).put(users::set_password);
    let role = post(users::grant).delete(users::revoke);
    Router::new()
        .route("/user", user)
        .route("/user/list", get(users::list))
        .route("/user/search", get(users::search))
        .route("/role", role)
        .route("/role/list", get(users::roles))
        .route("/role/search", get(users::search_roles))
        .route("/permission", post(users::permit).delete(users::permit))
        .route("/permission/list", get(users::permissions))
        .layer(map_response(wrap::wrap))
}
