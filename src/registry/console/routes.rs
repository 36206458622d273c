//! Which page is where. `http/rules` says who may see it.

use super::assets;
use super::overview::OverviewPage;
use super::page::{Console, View, show};
use super::service::ServicePage;
use crate::registry::access::Access;
use crate::registry::hub::Hub;
use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use std::sync::Arc;

/// The console over `hub`, for those who have `access`.
pub(in crate::registry) fn routes(hub: Arc<Hub>, access: Arc<Access>) -> Router<Arc<Hub>> {
    Router::new()
        .route("/", get(async || Redirect::to("/console")))
        .route("/console/style.css", get(assets::style))
        .route("/console/script.js", get(assets::script))
        .route(OverviewPage::PATH, get(show::<OverviewPage>))
        .route(ServicePage::PATH, get(show::<ServicePage>))
        .with_state(Arc::new(Console::new(hub, access)))
}
