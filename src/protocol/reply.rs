//! The JSON bodies of the HTTP API, from the model.

use super::entity::WireInstance;
use crate::model::{Instance, ServiceKey, ServiceName};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// The whole body of every success without an answer of its own; clients compare it to the letter.
pub(crate) const OK: &str = "ok";

/// One instance.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InstanceDetail {
    /// `group@@name`.
    service: String,
    ip: String,
    port: i64,
    cluster_name: String,
    weight: f64,
    healthy: bool,
    instance_id: String,
    metadata: BTreeMap<String, Option<String>>,
}

impl InstanceDetail {
    pub(crate) fn new(service: &ServiceKey, instance: &Instance) -> Self {
        let wire = WireInstance::new(service, instance);
        Self {
            service: wire.service_name,
            ip: wire.ip,
            port: wire.port,
            cluster_name: wire.cluster_name,
            weight: wire.weight,
            healthy: wire.healthy,
            instance_id: wire.instance_id,
            metadata: wire.metadata,
        }
    }
}

/// One page of the names of a group's services.
#[derive(Debug, Serialize)]
pub(crate) struct ServiceNames {
    /// How many there are in all.
    pub(crate) count: usize,
    pub(crate) doms: Vec<String>,
}

impl ServiceNames {
    pub(crate) fn new(count: usize, names: &[ServiceName]) -> Self {
        Self { count, doms: names.iter().map(ToString::to_string).collect() }
    }
}

/// One page of the names of a group's services, in version 2.
#[derive(Debug, Serialize)]
pub(crate) struct ServiceNamesV2 {
    /// How many there are in all.
    count: usize,
    services: Vec<String>,
}

impl ServiceNamesV2 {
    pub(crate) fn new(count: usize, names: &[ServiceName]) -> Self {
        Self { count, services: names.iter().map(ToString::to_string).collect() }
    }
}

/// A page of version 3.
#[derive(Debug, Serialize)]
pub(crate) struct Page<T> {
    #[serde(rename = "totalCount")]
    total: usize,
    /// From 1 on.
    #[serde(rename = "pageNumber")]
    number: usize,
    #[serde(rename = "pagesAvailable")]
    available: usize,
    #[serde(rename = "pageItems")]
    items: Vec<T>,
}

impl<T> Page<T> {
    /// The page `number` of pages with `size` items.
    pub(crate) fn new(total: usize, (number, size): (usize, usize), items: Vec<T>) -> Self {
        Self { total, number, available: total.div_ceil(size.max(1)), items }
    }
}

/// Answer to a heartbeat: always an object with these three, or some clients fail.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BeatAnswer {
    /// Milliseconds until the next one is due.
    client_beat_interval: u64,
    code: u16,
    light_beat_enabled: bool,
}

impl BeatAnswer {
    /// The heartbeat counts.
    pub(crate) fn renewed(interval: Duration) -> Self {
        Self::new(interval, 10_200)
    }

    /// There is no such instance: register it.
    pub(crate) fn unknown(interval: Duration) -> Self {
        Self::new(interval, 20_404)
    }

    fn new(interval: Duration, code: u16) -> Self {
        let client_beat_interval = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        Self { client_beat_interval, code, light_beat_enabled: true }
    }
}

/// State of the server, with numbers if they were asked for.
#[derive(Debug, Serialize)]
pub(crate) struct Metrics {
    pub(crate) status: &'static str,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(crate) counts: Option<MetricCounts>,
}

/// Numbers of everything, under Nacos' names.
#[derive(Debug, Serialize)]
pub(crate) struct MetricCounts {
    #[serde(rename = "serviceCount")]
    pub(crate) services: usize,
    #[serde(rename = "instanceCount")]
    pub(crate) instances: usize,
    #[serde(rename = "subscribeCount")]
    pub(crate) subscriptions: usize,
    /// The next two together.
    #[serde(rename = "clientCount")]
    pub(crate) clients: usize,
    #[serde(rename = "connectionBasedClientCount")]
    pub(crate) connections: usize,
    #[serde(rename = "ephemeralIpPortClientCount")]
    pub(crate) leases: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(body: impl Serialize) -> String {
        serde_json::to_string(&body).unwrap()
    }

    #[test]
    fn bodies_are_those_of_the_protocol() {
        let instance = Instance::new("10.0.0.7:80".parse().unwrap());
        assert_eq!(
            json(InstanceDetail::new(&"orders".parse().unwrap(), &instance)),
            r#"{"service":"DEFAULT_GROUP@@orders","ip":"10.0.0.7","port":80,"clusterName":"DEFAULT","weight":1.0,"healthy":true,"instanceId":"10.0.0.7#80#DEFAULT#DEFAULT_GROUP@@orders","metadata":{}}"#
        );
        assert_eq!(
            json(BeatAnswer::unknown(Duration::from_secs(5))),
            r#"{"clientBeatInterval":5000,"code":20404,"lightBeatEnabled":true}"#
        );
        assert_eq!(json(Metrics { status: "UP", counts: None }), r#"{"status":"UP"}"#);
        let names = ServiceNames::new(3, &["orders".parse().unwrap()]);
        assert_eq!(json(names), r#"{"count":3,"doms":["orders"]}"#);
    }
}
