//! What the API's versions say of a service.

use crate::model::{Cluster, Metadata};
use crate::protocol::entity::WireInstance;
use crate::registry::fact::{Kind, Selector, ServiceRecord};
use crate::registry::health::{ClusterRecord, Probe};
use crate::registry::query::Described;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Port that a cluster is probed at, as Nacos shows it where each instance's own is.
const PORT_SHOWN: u16 = 80;

pub(super) type Words = BTreeMap<String, String>;

/// A service in version 1.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DetailV1 {
    namespace_id: String,
    group_name: String,
    name: String,
    protect_threshold: f64,
    metadata: Words,
    selector: WireSelector,
    clusters: Vec<ClusterV1>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClusterV1 {
    name: String,
    health_checker: Checker,
    metadata: Words,
}

/// A service in version 2.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DetailV2 {
    namespace: String,
    #[serde(flatten)]
    detail: Detail,
}

/// A service in version 3.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DetailV3 {
    namespace_id: String,
    #[serde(flatten)]
    detail: Detail,
}

/// What versions 2 and 3 say alike; alone, an entry of a list of services with their instances.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Detail {
    service_name: String,
    group_name: String,
    ephemeral: bool,
    protect_threshold: f64,
    metadata: Words,
    selector: WireSelector,
    cluster_map: BTreeMap<String, ClusterDetail>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClusterDetail {
    cluster_name: String,
    health_checker: Checker,
    healthy_check_port: u16,
    use_instance_port_for_check: bool,
    metadata: Words,
    /// Empty except in lists of services with their instances.
    hosts: Vec<WireInstance>,
}

/// A service in the catalog of version 1.
#[derive(Serialize)]
pub(super) struct CatalogService {
    service: CatalogSaid,
    clusters: Vec<CatalogCluster>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CatalogSaid {
    namespace_id: String,
    group_name: String,
    name: String,
    protect_threshold: f64,
    metadata: Words,
    selector: WireSelector,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CatalogCluster {
    service_name: String,
    name: String,
    health_checker: Checker,
    default_check_port: u16,
    #[serde(rename = "useIPPort4Check")]
    use_instance_port: bool,
    metadata: Words,
}

/// One line of the list of version 3.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary {
    namespace_id: String,
    name: String,
    group_name: String,
    cluster_count: usize,
    ip_count: usize,
    healthy_instance_count: usize,
    /// `true` in words while protection is reached.
    trigger_flag: String,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum WireSelector {
    #[serde(rename_all = "camelCase")]
    None { context_type: &'static str },
    #[serde(rename_all = "camelCase")]
    Label { context_type: &'static str, expression: String },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "UPPERCASE", rename_all_fields = "camelCase")]
pub(super) enum Checker {
    None,
    Tcp,
    Http { path: String, headers: String, expected_response_code: u16 },
}

impl DetailV1 {
    pub(super) fn new(described: &Described) -> Self {
        let (service, record) = (described.snapshot.service(), &described.record);
        let cluster = |(name, cluster): (Cluster, ClusterRecord)| ClusterV1 {
            name: name.to_string(),
            health_checker: Checker::new(&cluster.probe),
            metadata: words(&cluster.metadata),
        };
        Self {
            namespace_id: service.namespace.to_string(),
            group_name: service.group.to_string(),
            name: service.name.to_string(),
            protect_threshold: record.protect_threshold,
            metadata: words(&record.metadata),
            selector: WireSelector::new(&record.selector),
            clusters: clusters(described).into_iter().map(cluster).collect(),
        }
    }
}

impl DetailV2 {
    pub(super) fn new(described: &Described) -> Self {
        let namespace = described.snapshot.service().namespace.to_string();
        Self { namespace, detail: Detail::new(described) }
    }
}

impl DetailV3 {
    pub(super) fn new(described: &Described) -> Self {
        let namespace_id = described.snapshot.service().namespace.to_string();
        Self { namespace_id, detail: Detail::new(described) }
    }
}

impl Detail {
    fn new(described: &Described) -> Self {
        let service = described.snapshot.service();
        let ServiceRecord { protect_threshold, metadata, selector, .. } = &*described.record;
        let cluster = |(name, ClusterRecord { probe, port, metadata }): (Cluster, ClusterRecord)| {
            let detail = ClusterDetail {
                cluster_name: name.to_string(),
                health_checker: Checker::new(&probe),
                healthy_check_port: port.unwrap_or(PORT_SHOWN),
                use_instance_port_for_check: port.is_none(),
                metadata: words(&metadata),
                hosts: Vec::new(),
            };
            (name.to_string(), detail)
        };
        Self {
            service_name: service.name.to_string(),
            group_name: service.group.to_string(),
            ephemeral: described.kind == Kind::Ephemeral,
            protect_threshold: *protect_threshold,
            metadata: words(metadata),
            selector: WireSelector::new(selector),
            cluster_map: clusters(described).into_iter().map(cluster).collect(),
        }
    }
}

impl Detail {
    pub(super) fn with_instances(described: &Described) -> Self {
        let (mut detail, service) = (Self::new(described), described.snapshot.service());
        for instance in described.snapshot.instances() {
            if let Some(cluster) = detail.cluster_map.get_mut(instance.key.cluster.as_str()) {
                cluster.hosts.push(WireInstance::new(service, instance));
            }
        }
        detail
    }
}

impl CatalogService {
    pub(super) fn new(described: &Described) -> Self {
        let DetailV1 { namespace_id, group_name, name, protect_threshold, metadata, selector, .. } =
            DetailV1::new(described);
        let service_name = described.snapshot.service().grouped();
        let cluster = |(name, ClusterRecord { probe, port, metadata }): (Cluster, ClusterRecord)| {
            let service_name = service_name.clone();
            let (health_checker, metadata) = (Checker::new(&probe), words(&metadata));
            let (default_check_port, use_instance_port) = (port.unwrap_or(PORT_SHOWN), port.is_none());
            CatalogCluster {
                service_name,
                name: name.to_string(),
                health_checker,
                default_check_port,
                use_instance_port,
                metadata,
            }
        };
        Self {
            clusters: clusters(described).into_iter().map(cluster).collect(),
            service: CatalogSaid { namespace_id, group_name, name, protect_threshold, metadata, selector },
        }
    }
}

impl Summary {
    pub(super) fn new(described: &Described) -> Self {
        let (service, instances) = (described.snapshot.service(), described.snapshot.instances());
        let clusters: BTreeSet<_> = instances.iter().map(|instance| &instance.key.cluster).collect();
        let healthy = instances.iter().filter(|instance| instance.healthy).count();
        let share = healthy as f64 / instances.len() as f64;
        let protected = !instances.is_empty() && share <= described.record.protect_threshold;
        Self {
            namespace_id: service.namespace.to_string(),
            name: service.name.to_string(),
            group_name: service.group.to_string(),
            cluster_count: clusters.len(),
            ip_count: instances.len(),
            healthy_instance_count: healthy,
            trigger_flag: protected.to_string(),
        }
    }
}

impl WireSelector {
    pub(super) fn new(selector: &Selector) -> Self {
        match selector {
            Selector::None => Self::None { context_type: "NONE" },
            Selector::Label { expression } => {
                Self::Label { context_type: "CMDB", expression: expression.clone() }
            }
        }
    }
}

impl Checker {
    pub(super) fn new(probe: &Probe) -> Self {
        match probe {
            Probe::None => Self::None,
            Probe::Tcp => Self::Tcp,
            Probe::Http { path, headers, expected } => {
                let headers: Vec<_> = headers.iter().map(|(name, value)| format!("{name}:{value}")).collect();
                Self::Http {
                    path: path.clone(),
                    headers: headers.join("|"),
                    expected_response_code: *expected,
                }
            }
        }
    }
}

/// The clusters that are described or have instances.
fn clusters(described: &Described) -> BTreeMap<Cluster, ClusterRecord> {
    let of_instances = described.snapshot.instances().iter();
    let of_instances = of_instances.map(|instance| (instance.key.cluster.clone(), ClusterRecord::default()));
    let said = described.record.clusters.iter().map(|(name, record)| (name.clone(), record.clone()));
    of_instances.chain(said).collect()
}

pub(super) fn words(metadata: &Metadata) -> Words {
    metadata.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Instance, Snapshot};
    use std::sync::Arc;

    #[test]
    fn bodies_are_those_of_the_protocol() {
        let instance = Instance { healthy: false, ..Instance::new("10.0.0.7:80".parse().unwrap()) };
        let snapshot = Arc::new(Snapshot::new("billing".parse().unwrap(), 1, vec![instance]));
        let (kind, record) = (Kind::Ephemeral, Arc::new(ServiceRecord::new(Kind::Ephemeral)));
        let described = Described { snapshot, kind, record };
        assert_eq!(
            serde_json::to_string(&DetailV1::new(&described)).unwrap(),
            r#"{"namespaceId":"public","groupName":"DEFAULT_GROUP","name":"billing","protectThreshold":0.0,"metadata":{},"selector":{"type":"none","contextType":"NONE"},"clusters":[{"name":"DEFAULT","healthChecker":{"type":"TCP"},"metadata":{}}]}"#
        );
        assert_eq!(
            serde_json::to_string(&DetailV3::new(&described)).unwrap(),
            r#"{"namespaceId":"public","serviceName":"billing","groupName":"DEFAULT_GROUP","ephemeral":true,"protectThreshold":0.0,"metadata":{},"selector":{"type":"none","contextType":"NONE"},"clusterMap":{"DEFAULT":{"clusterName":"DEFAULT","healthChecker":{"type":"TCP"},"healthyCheckPort":80,"useInstancePortForCheck":true,"metadata":{},"hosts":[]}}}"#
        );
        assert_eq!(
            serde_json::to_string(&Summary::new(&described)).unwrap(),
            r#"{"namespaceId":"public","name":"billing","groupName":"DEFAULT_GROUP","clusterCount":1,"ipCount":1,"healthyInstanceCount":0,"triggerFlag":"true"}"#
        );
    }
}
