//! `/graceful/v1/kept`: what outlives the registry, to be carried elsewhere.
//!
//! A service is told as it is changed over Nacos' API: its checkers, selector and metadata are what that takes.

use super::described::{Checker, WireSelector, Words, words};
use super::extract::Parameters;
use super::respond::Json;
use crate::model::{Instance, InstanceKey, ServiceKey, Weight};
use crate::protocol::form::InvalidForm;
use crate::registry::error::Refusal;
use crate::registry::fact::{Kind, Overrides};
use crate::registry::health::ClusterRecord;
use crate::registry::hub::{Hub, KeptService};
use axum::extract::State;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Services in one answer when nobody says how many, and at most: each may have thousands of instances.
const SERVICES_MAX: usize = 100;

/// A portion of what is kept.
#[derive(Serialize)]
pub(super) struct Kept {
    services: Vec<Service>,
    /// With which to ask for the services after these; absent when there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Service {
    namespace: String,
    group: String,
    name: String,
    ephemeral: bool,
    /// Whether it was created by name.
    created: bool,
    protect_threshold: f64,
    metadata: Words,
    selector: WireSelector,
    clusters: BTreeMap<String, Cluster>,
    instances: Vec<PersistentInstance>,
    overrides: Vec<Override>,
}

#[derive(Serialize)]
struct Cluster {
    checker: Checker,
    /// The port to probe; absent where it is each instance's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    metadata: Words,
}

/// As it was registered, whatever operators have set on it.
#[derive(Serialize)]
struct PersistentInstance {
    #[serde(flatten)]
    place: Place,
    weight: f64,
    enabled: bool,
    healthy: bool,
    metadata: Words,
}

/// What operators have set.
#[derive(Serialize)]
struct Override {
    #[serde(flatten)]
    place: Place,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enabled: Option<bool>,
    metadata: Words,
}

#[derive(Serialize)]
struct Place {
    ip: String,
    port: u16,
    cluster: String,
}

pub(super) async fn kept(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<Kept>, Refusal> {
    let after: Option<ServiceKey> =
        form.text("after").map(str::parse).transpose().map_err(InvalidForm::from)?;
    let most = form.count("pageSize")?.unwrap_or(SERVICES_MAX).clamp(1, SERVICES_MAX);
    let kept = hub.kept(after.as_ref(), most);
    let next = kept.last().filter(|_| kept.len() == most).map(|last| last.service.to_string());
    Ok(Json(Kept { services: kept.iter().map(Service::new).collect(), next }))
}

impl Service {
    fn new(KeptService { service, kind, record, instances, overrides }: &KeptService) -> Self {
        let clusters =
            record.clusters.iter().map(|(name, cluster)| (name.to_string(), Cluster::new(cluster)));
        Self {
            namespace: service.namespace.to_string(),
            group: service.group.to_string(),
            name: service.name.to_string(),
            ephemeral: *kind == Kind::Ephemeral,
            created: record.lasting,
            protect_threshold: record.protect_threshold,
            metadata: words(&record.metadata),
            selector: WireSelector::new(&record.selector),
            clusters: clusters.collect(),
            instances: instances.iter().map(PersistentInstance::new).collect(),
            overrides: overrides.iter().map(|(key, set)| Override::new(key, set)).collect(),
        }
    }
}

impl Cluster {
    fn new(ClusterRecord { probe, port, metadata }: &ClusterRecord) -> Self {
        Self { checker: Checker::new(probe), port: *port, metadata: words(metadata) }
    }
}

impl PersistentInstance {
    fn new(instance: &Instance) -> Self {
        let Instance { key, weight, enabled, healthy, metadata, .. } = instance;
        let (place, weight, metadata) = (Place::new(key), weight.as_f64(), words(metadata));
        Self { place, weight, enabled: *enabled, healthy: *healthy, metadata }
    }
}

impl Override {
    fn new(key: &InstanceKey, Overrides { enabled, weight, metadata }: &Overrides) -> Self {
        let (place, weight) = (Place::new(key), weight.map(Weight::as_f64));
        Self { place, weight, enabled: *enabled, metadata: words(metadata) }
    }
}

impl Place {
    fn new(InstanceKey { address, cluster }: &InstanceKey) -> Self {
        Self { ip: address.host().to_owned(), port: address.port(), cluster: cluster.to_string() }
    }
}
