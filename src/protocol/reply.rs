//! The JSON bodies of the HTTP API, from the model.

use super::entity::{CACHE_MILLIS, WireInstance};
use crate::model::{Instance, Lease, Namespace, ServiceKey, ServiceName, UnixMillis};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// The whole body of every success without an answer of its own; clients compare it to the letter.
pub(crate) const OK: &str = "ok";

/// One instance.
#[derive(Debug, Serialize)]
pub(crate) struct InstanceDetail {
    /// `group@@name`.
    service: String,
    #[serde(flatten)]
    rest: InstanceRest,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct InstanceRest {
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
        Self { service: service.grouped(), rest: InstanceRest::new(service, instance) }
    }
}

impl InstanceDetailV2 {
    pub(crate) fn new(service: &ServiceKey, instance: &Instance) -> Self {
        Self { service_name: service.grouped(), rest: InstanceRest::new(service, instance) }
    }
}

impl InstanceRest {
    fn new(service: &ServiceKey, instance: &Instance) -> Self {
        let wire = WireInstance::new(service, instance);
        Self {
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

/// One instance, in version 2.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InstanceDetailV2 {
    /// `group@@name`.
    service_name: String,
    #[serde(flatten)]
    rest: InstanceRest,
}

/// Addresses with their health: `10.1.2.3:8080_true`.
#[derive(Debug, Serialize)]
pub(crate) struct Statuses {
    ips: Vec<String>,
}

impl Statuses {
    pub(crate) fn new(instances: &[Instance]) -> Self {
        let status = |instance: &Instance| format!("{}_{}", instance.address(), instance.healthy);
        Self { ips: instances.iter().map(status).collect() }
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

/// Names of services by namespace, as `group@@name`.
#[derive(Debug, Serialize)]
pub(crate) struct AllNames {
    services: BTreeMap<String, Vec<String>>,
    /// How many there are in all.
    count: usize,
}

impl AllNames {
    pub(crate) fn new(count: usize, names: &[ServiceKey]) -> Self {
        let mut services = BTreeMap::<String, Vec<String>>::new();
        for key in names {
            services.entry(key.namespace.to_string()).or_default().push(key.grouped());
        }
        Self { services, count }
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
    #[serde(rename = "responsibleInstanceCount")]
    pub(crate) responsible_instances: usize,
    /// Connections, leases and persistent instances together.
    #[serde(rename = "clientCount")]
    pub(crate) clients: usize,
    #[serde(rename = "connectionBasedClientCount")]
    pub(crate) connections: usize,
    #[serde(rename = "ephemeralIpPortClientCount")]
    pub(crate) leases: usize,
    #[serde(rename = "persistentIpPortClientCount")]
    pub(crate) persistent: usize,
    #[serde(rename = "responsibleClientCount")]
    pub(crate) responsible_clients: usize,
}

/// What Nacos' switches stand at: the defaults, which instances change by their metadata.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Switches {
    client_beat_interval: u64,
    default_cache_millis: u64,
    health_check_enabled: bool,
    push_enabled: bool,
    light_beat_enabled: bool,
    check_times: u8,
}

impl Default for Switches {
    fn default() -> Self {
        let interval = Lease::default().interval().as_millis();
        Self {
            client_beat_interval: u64::try_from(interval).unwrap_or(u64::MAX),
            default_cache_millis: CACHE_MILLIS,
            health_check_enabled: true,
            push_enabled: true,
            light_beat_enabled: true,
            check_times: 3,
        }
    }
}

/// Answer to a login.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LoginAnswer {
    access_token: String,
    /// Seconds after which clients ask for a new one; they take this to be true.
    #[serde(rename = "tokenTtl")]
    ttl_s: u64,
    global_admin: bool,
    username: String,
}

impl LoginAnswer {
    /// A token that counts for `ttl`.
    pub(crate) fn new(access_token: String, ttl: Duration, global_admin: bool, username: String) -> Self {
        Self { access_token, ttl_s: ttl.as_secs(), global_admin, username }
    }
}

/// Success of a change of users, in the console's envelope of version 1.
#[derive(Debug, Serialize)]
pub(crate) struct Done {
    code: u16,
    message: String,
    data: Option<()>,
}

impl Done {
    pub(crate) fn new(message: String) -> Self {
        Self { code: 200, message, data: None }
    }
}

/// A refusal as Spring writes it, which is what clients of version 1 read.
#[derive(Debug, Serialize)]
pub(crate) struct Forbidden {
    timestamp: String,
    status: u16,
    error: &'static str,
    message: String,
    path: String,
}

impl Forbidden {
    pub(crate) fn new(now: UnixMillis, message: String, path: String) -> Self {
        Self { timestamp: iso_8601(now), status: 403, error: "Forbidden", message, path }
    }
}

/// A moment as `2025-11-21T07:43:00.000+00:00`.
fn iso_8601(moment: UnixMillis) -> String {
    let (days, of_day) = (moment.as_u64() / 86_400_000, moment.as_u64() % 86_400_000);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1000 % 60);
    let ms = of_day % 1000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}+00:00")
}

/// The date `days` after 1970 began. Years are counted from March on, so that leap days come last; 400 of them
/// have 146 097 days.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // From March of year 0 on.
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153; // From March on.
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month, day)
}

/// What the server is.
#[derive(Debug, Serialize)]
pub(crate) struct ServerState {
    version: &'static str,
    standalone_mode: &'static str,
    function_mode: &'static str,
}

impl ServerState {
    pub(crate) fn new(version: &'static str) -> Self {
        Self { version, standalone_mode: "standalone", function_mode: "naming" }
    }
}

/// The namespaces, in the console's envelope of version 1.
#[derive(Debug, Serialize)]
pub(crate) struct Namespaces {
    code: u16,
    message: Option<String>,
    data: Vec<NamespaceEntry>,
}

/// One namespace.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NamespaceEntry {
    /// Empty for `public`.
    namespace: String,
    namespace_show_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace_desc: Option<String>,
    quota: u32,
    config_count: u32,
    /// 0 is the one that is always there, 2 one of somebody's own.
    r#type: u8,
}

impl Namespaces {
    pub(crate) fn new(data: Vec<NamespaceEntry>) -> Self {
        Self { code: 200, message: None, data }
    }
}

impl NamespaceEntry {
    /// A namespace, with the name and the description that somebody has given it.
    pub(crate) fn new(namespace: &Namespace, said: Option<(&str, &str)>) -> Self {
        let (id, always) = (namespace.to_string(), *namespace == Namespace::default());
        Self {
            namespace: if always { String::new() } else { id.clone() },
            namespace_show_name: said.map_or(id, |(name, _)| name.to_owned()),
            namespace_desc: said.map(|(_, description)| description.to_owned()),
            quota: 200,
            config_count: 0,
            r#type: if always { 0 } else { 2 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(body: impl Serialize) -> String {
        serde_json::to_string(&body).unwrap()
    }

    #[test]
    fn a_moment_is_written_as_a_date() {
        let written = |s: u64| iso_8601(UnixMillis::new(s * 1000 + 7));
        assert_eq!(written(0), "1970-01-01T00:00:00.007+00:00");
        assert_eq!(written(951_782_399), "2000-02-28T23:59:59.007+00:00");
        assert_eq!(written(951_782_400), "2000-02-29T00:00:00.007+00:00");
        assert_eq!(written(1_735_689_599), "2024-12-31T23:59:59.007+00:00");
        assert_eq!(written(1_763_711_000), "2025-11-21T07:43:20.007+00:00");
        assert_eq!(written(4_107_542_400), "2100-03-01T00:00:00.007+00:00");
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
