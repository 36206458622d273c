//! `/operator` and `/health`: how the registry is, and what it is set to.

use super::extract::Parameters;
use super::respond::Json;
use crate::protocol::reply::{MetricCounts, Metrics, Switches};
use crate::registry::error::Refusal;
use crate::registry::hub::{Counts, Hub};
use axum::extract::State;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) async fn metrics(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<Metrics>, Refusal> {
    let counted = form.flag("onlyStatus")? == Some(false);
    Ok(Json(Metrics { status: "UP", counts: counted.then(|| counts(&hub)) }))
}

/// What Nacos lets one switch, as it stands here.
pub(super) async fn switches() -> Json<Switches> {
    Json(Switches::default())
}

/// Nothing of it is switched while the registry runs: what may be chosen is a setting, and checked at the
/// start.
pub(super) async fn switch(Parameters(form): Parameters) -> Result<&'static str, Refusal> {
    form.required("entry")?;
    form.required("value")?;
    Err(Refusal::NoSwitches)
}

/// As [`switch`]: what is logged is a setting of the start too.
pub(super) async fn set_log_level(Parameters(form): Parameters) -> Result<&'static str, Refusal> {
    form.required("logName")?;
    form.required("logLevel")?;
    Err(Refusal::NoSwitches)
}

pub(super) async fn greeting() -> Json<BTreeMap<&'static str, &'static str>> {
    Json([("msg", "Hello! I am Nacos-Naming and healthy!")].into())
}

/// The ways to probe persistent instances, by the name that `healthChecker` gives them.
pub(super) async fn checkers() -> Json<BTreeMap<&'static str, BTreeMap<&'static str, &'static str>>> {
    Json(["HTTP", "NONE", "TCP"].map(|kind| (kind, [("type", kind)].into())).into())
}

fn counts(hub: &Hub) -> MetricCounts {
    let Counts { services, instances, connections, leases, subscriptions } = hub.counts();
    let persistent = hub.persistent_len();
    let clients = connections + leases + persistent;
    MetricCounts {
        services,
        instances,
        subscriptions,
        responsible_instances: instances,
        clients,
        connections,
        leases,
        persistent,
        responsible_clients: clients,
    }
}
