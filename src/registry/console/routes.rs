//! Which page is where. `http/rules` says who may see it.

use super::clients::ClientsPage;
use super::diagnosis::DiagnosisPage;
use super::door::{door, same_site};
use super::instance::InstancePage;
use super::overview::OverviewPage;
use super::page::{Console, View, show};
use super::service::ServicePage;
use super::settings::SettingsPage;
use super::{act, assets, login};
use crate::registry::access::Access;
use crate::registry::hub::Hub;
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::response::Redirect;
use axum::routing::{get, post};
use std::sync::Arc;

/// The console over `hub`, for those who have `access`.
pub(in crate::registry) fn routes(hub: Arc<Hub>, access: Arc<Access>) -> Router<Arc<Hub>> {
    let console = Arc::new(Console::new(hub, access));
    Router::new()
        .route("/", get(async || Redirect::to("/console")))
        .route("/console/", get(async || Redirect::to("/console")))
        .route("/console/style.css", get(assets::style))
        .route("/console/script.js", get(assets::script))
        .route(OverviewPage::PATH, get(show::<OverviewPage>))
        .route(ServicePage::PATH, get(show::<ServicePage>))
        .route(InstancePage::PATH, get(show::<InstancePage>))
        .route(DiagnosisPage::PATH, get(show::<DiagnosisPage>))
        .route(ClientsPage::PATH, get(show::<ClientsPage>))
        .route(SettingsPage::PATH, get(show::<SettingsPage>))
        .route("/console/login", get(login::page).post(login::log_in))
        .route("/console/logout", post(login::log_out))
        .merge(act::routes())
        .layer(same_site())
        .layer(from_fn_with_state(console.clone(), door))
        .with_state(console)
}
