//! `/operator`: how the registry is.

use super::extract::Parameters;
use super::respond::Json;
use crate::protocol::reply::{MetricCounts, Metrics};
use crate::registry::error::Refusal;
use crate::registry::hub::{Counts, Hub};
use axum::extract::State;
use std::sync::Arc;

pub(super) async fn metrics(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<Metrics>, Refusal> {
    let counted = form.flag("onlyStatus")? == Some(false);
    Ok(Json(Metrics { status: "UP", counts: counted.then(|| counts(&hub)) }))
}

fn counts(hub: &Hub) -> MetricCounts {
    let Counts { services, instances, connections, leases, subscriptions } = hub.counts();
    MetricCounts { services, instances, subscriptions, clients: connections + leases, connections, leases }
}
