//! What operators do from the pages: each an [`Act`] of its own, with a page that works without a script.
//!
//! Three steps, of which an act without fields has the last two: what shall be is typed in; what will happen is
//! said, with who remains to serve; it is done, and the page that it began on says so. What was wrong is said
//! beside its field, and the rest stays as it was typed. `http/rules` says who may, here as for the API.

mod client;
mod handle;
mod instances;
mod kept;
mod read;
mod rollout;
mod service;
mod sheet;

use super::page::Console;
use axum::Router;
use axum::routing::get;
use handle::Act;
use std::sync::Arc;

/// Every act; `http/rules` has a line for each.
pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .merge(of::<instances::Enable>("/console/act/enable"))
        .merge(of::<instances::Disable>("/console/act/disable"))
        .merge(of::<instances::Weigh>("/console/act/weight"))
        .merge(of::<instances::Describe>("/console/act/metadata"))
        .merge(of::<instances::TakeBack>("/console/act/take-back"))
        .merge(of::<instances::Offline>("/console/act/offline"))
        .merge(of::<kept::Keep>("/console/act/keep"))
        .merge(of::<kept::Remove>("/console/act/remove"))
        .merge(of::<service::Create>("/console/act/create-service"))
        .merge(of::<service::Update>("/console/act/update-service"))
        .merge(of::<service::Delete>("/console/act/delete-service"))
        .merge(of::<rollout::RollOut>("/console/act/rollout"))
        .merge(of::<client::Close>("/console/act/close"))
}

/// The page of an act, and the act.
fn of<A: Act>(path: &'static str) -> Router<Arc<Console>> {
    debug_assert_eq!(path, A::PATH, "written out for the test that looks for routes without a rule");
    Router::new().route(path, get(handle::ask::<A>).post(handle::act::<A>))
}
