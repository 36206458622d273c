//! Instances and services as JSON, the same over HTTP and gRPC.

use super::lenient::null_as_default;
use super::written::Written;
use crate::model::{
    Address, Cluster, Instance, InstanceKey, InvalidAddress, InvalidName, InvalidWeight, Lease, Metadata,
    Removal, ServiceKey, Snapshot, Sources, UnixMillis, Weight,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// An instance on the wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct WireInstance {
    /// Made by the server: `ip#port#cluster#group@@name`.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub(crate) instance_id: String,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) ip: String,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) port: i64,
    #[serde(deserialize_with = "weight")]
    pub(crate) weight: f64,
    #[serde(deserialize_with = "null_as_true")]
    pub(crate) healthy: bool,
    #[serde(deserialize_with = "null_as_true")]
    pub(crate) enabled: bool,
    #[serde(deserialize_with = "null_as_true")]
    pub(crate) ephemeral: bool,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) cluster_name: String,
    /// `group@@name` in lists. Not to be trusted in requests, where what is around it says which service.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub(crate) service_name: String,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) metadata: BTreeMap<String, Option<String>>,
    /// Output only, as are the next two: milliseconds that follow from the metadata.
    #[serde(skip_deserializing)]
    pub(crate) instance_heart_beat_interval: u64,
    #[serde(skip_deserializing)]
    pub(crate) instance_heart_beat_time_out: u64,
    #[serde(skip_deserializing)]
    pub(crate) ip_delete_timeout: u64,
}

/// A service's list on the wire.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(clippy::struct_excessive_bools, reason = "the protocol has them")]
pub(crate) struct ServiceInfo {
    /// The bare name over gRPC, `group@@name` over HTTP.
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) name: String,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) group_name: String,
    /// What the subscriber asked for, to the letter: clients make their cache key of it.
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) clusters: String,
    /// Time between two polls of clients that poll.
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) cache_millis: u64,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) hosts: Vec<WireInstance>,
    /// Our revision: clients drop what is not newer than what they have.
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) last_ref_time: u64,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) checksum: String,
    /// Two spellings of one flag that clients of different ages require.
    #[serde(rename = "allIPs", deserialize_with = "null_as_default")]
    pub(crate) all_ips_old: bool,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) all_ips: bool,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) reach_protection_threshold: bool,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) valid: bool,
    /// What this crate's registry says besides; other clients take no notice of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) graceful: Option<Explanation>,
    /// The whole list as text: messages carry it in the place of all the other fields.
    #[serde(skip)]
    pub(crate) written: Option<Written>,
}

/// Why instances are on a list no more, which Nacos does not tell:
/// `{"revision":7,"removed":[{"ip":"10.0.0.7","port":80,"epoch":1732060800000,"reason":"deregistered"}]}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Explanation {
    /// Of the list that it explains.
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) revision: u64,
    /// Who has gone in the last while and has not come back.
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) removed: Vec<WireRemoval>,
    /// Whose word counts more than what is registered; absent where nobody's does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) set: Option<WireSources>,
    /// What is said of the service, by keys that begin with `graceful.`: `{"graceful.delay":"30"}`. Who is yet to
    /// register finds it nowhere else. Absent where nothing is said.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) settings: BTreeMap<String, String>,
}

/// Keys of metadata that were said of the service or of an instance, and not by whoever registered:
/// `{"service":["graceful.warmup"],"instances":[{"ip":"10.0.0.7","port":80,"cluster":"DEFAULT","keys":["graceful.notice"]}]}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct WireSources {
    #[serde(deserialize_with = "null_as_default")]
    service: BTreeSet<String>,
    #[serde(deserialize_with = "null_as_default")]
    instances: Vec<WireSet>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct WireSet {
    #[serde(deserialize_with = "null_as_default")]
    ip: String,
    #[serde(deserialize_with = "null_as_default")]
    port: i64,
    #[serde(deserialize_with = "null_as_default")]
    cluster: String,
    #[serde(deserialize_with = "null_as_default")]
    keys: BTreeSet<String>,
}

/// One incarnation of an instance that has gone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct WireRemoval {
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) ip: String,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) port: i64,
    /// Milliseconds since 1970; absent where the registration told none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) epoch: Option<u64>,
    /// `deregistered`, `disabled`, `expired` or `connection-lost`.
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) reason: String,
}

/// Removals of one list that are read: many more than this crate's registry tells, and a bound for the work
/// that a list can make.
const REMOVALS_MAX: usize = 4096;
/// Instances of one list of which is read what was set on them: as many as a list can have.
const SETS_MAX: usize = 10_000;

/// Time between two polls that lists propose, in milliseconds.
pub(crate) const CACHE_MILLIS: u64 = 10_000;

/// Whose service a request means. Its name may carry the group, as `group@@name`, and then that group counts.
pub(crate) fn service_key(namespace: &str, group: &str, name: &str) -> Result<ServiceKey, InvalidName> {
    let (group, name) = match name.trim().split_once("@@") {
        Some((group, name)) if !group.is_empty() => (group, name),
        Some(_) => ("", "@"), // A group that is spelled out and blank is no default: refused with the rule.
        None => (group, name),
    };
    Ok(ServiceKey { namespace: namespace.parse()?, group: group.parse()?, name: name.parse()? })
}

/// An instance that breaks a rule.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidInstance {
    #[error("port {0} is not valid: accepted is 0 to 65535")]
    Port(i64),
    #[error(transparent)]
    Address(#[from] InvalidAddress),
    #[error(transparent)]
    Cluster(#[from] InvalidName),
    #[error(transparent)]
    Weight(#[from] InvalidWeight),
}

impl WireInstance {
    /// Writes an instance of `service`, as it stands in a list.
    pub(crate) fn new(service: &ServiceKey, instance: &Instance) -> Self {
        let (grouped, cluster, address) = (service.grouped(), &instance.key.cluster, instance.address());
        let instance_id = format!("{}#{}#{cluster}#{grouped}", address.host(), address.port());
        Self { instance_id, service_name: grouped, ..Self::asked_for(instance) }
    }

    /// Writes an instance as it stands in a request: whose it is, the request says around it, and r-nacos would
    /// take a name in here for that of another service.
    pub(crate) fn asked_for(instance: &Instance) -> Self {
        let lease = Lease::from_metadata(&instance.metadata).unwrap_or_default();
        let millis = |span: std::time::Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let (address, cluster) = (instance.address(), instance.key.cluster.as_str());
        Self {
            instance_id: String::new(),
            ip: address.host().to_owned(),
            port: address.port().into(),
            weight: instance.weight.as_f64(),
            healthy: instance.healthy,
            enabled: instance.enabled,
            ephemeral: instance.ephemeral,
            cluster_name: cluster.to_owned(),
            service_name: String::new(),
            metadata: instance.metadata.iter().map(|(k, v)| (k.to_owned(), Some(v.to_owned()))).collect(),
            instance_heart_beat_interval: millis(lease.interval()),
            instance_heart_beat_time_out: millis(lease.unhealthy_after()),
            ip_delete_timeout: millis(lease.expires_after()),
        }
    }

    /// Reads it; keys of metadata whose value is `null` are left out.
    pub(crate) fn into_model(self) -> Result<Instance, InvalidInstance> {
        let port = u16::try_from(self.port).map_err(|_| InvalidInstance::Port(self.port))?;
        Ok(Instance {
            key: InstanceKey {
                address: Address::new(&self.ip, port)?,
                cluster: Cluster::new(&self.cluster_name)?,
            },
            weight: Weight::new(self.weight)?,
            healthy: self.healthy,
            enabled: self.enabled,
            ephemeral: self.ephemeral,
            metadata: self.metadata.into_iter().filter_map(|(k, v)| Some((k, v?))).collect::<Metadata>(),
        })
    }
}

impl Default for WireInstance {
    fn default() -> Self {
        Self {
            instance_id: String::new(),
            ip: String::new(),
            port: 0,
            weight: 1.0,
            healthy: true,
            enabled: true,
            ephemeral: true,
            cluster_name: String::new(),
            service_name: String::new(),
            metadata: BTreeMap::new(),
            instance_heart_beat_interval: 0,
            instance_heart_beat_time_out: 0,
            ip_delete_timeout: 0,
        }
    }
}

impl WireRemoval {
    fn new(removal: &Removal) -> Self {
        let Removal { address, epoch, reason } = removal;
        Self {
            ip: address.host().to_owned(),
            port: address.port().into(),
            epoch: epoch.map(UnixMillis::as_u64),
            reason: reason.as_str().to_owned(),
        }
    }

    fn to_model(&self) -> Option<Removal> {
        let port = u16::try_from(self.port).ok()?;
        Some(Removal {
            address: Address::new(&self.ip, port).ok()?,
            epoch: self.epoch.map(UnixMillis::new),
            reason: self.reason.parse().ok()?,
        })
    }
}

impl WireSources {
    fn new(sources: &Sources) -> Self {
        let set = |(InstanceKey { address, cluster }, keys): (&InstanceKey, &BTreeSet<String>)| WireSet {
            ip: address.host().to_owned(),
            port: address.port().into(),
            cluster: cluster.to_string(),
            keys: keys.clone(),
        };
        Self { service: sources.service.clone(), instances: sources.instances.iter().map(set).collect() }
    }

    /// Reads it, with what is said of the service; what is said of nobody that can be is left out.
    fn into_model(self, settings: BTreeMap<String, String>) -> Sources {
        let set = |WireSet { ip, port, cluster, keys }: WireSet| {
            let address = Address::new(&ip, u16::try_from(port).ok()?).ok()?;
            Some((InstanceKey { address, cluster: Cluster::new(&cluster).ok()? }, keys))
        };
        let instances = self.instances.into_iter().take(SETS_MAX).filter_map(set).collect();
        Sources { service: self.service, instances, settings: settings.into_iter().collect() }
    }
}

impl ServiceInfo {
    /// Writes the list of `service` with its bare name, in answer to a question for `clusters`.
    pub(crate) fn new<'a>(
        service: &ServiceKey,
        revision: u64,
        clusters: &str,
        instances: impl Iterator<Item = &'a Instance>,
    ) -> Self {
        Self {
            name: service.name.to_string(),
            group_name: service.group.to_string(),
            clusters: clusters.to_owned(),
            cache_millis: CACHE_MILLIS,
            hosts: instances.map(|instance| WireInstance::new(service, instance)).collect(),
            last_ref_time: revision,
            valid: true,
            ..Self::default()
        }
    }

    /// A list that was written before.
    pub(crate) fn from_written(written: Written) -> Self {
        Self { written: Some(written), ..Self::default() }
    }

    /// The same list with the reasons why others are not on it.
    pub(crate) fn explained(self, removed: &[Removal]) -> Self {
        let removed = removed.iter().map(WireRemoval::new).collect();
        let explanation = Explanation { revision: self.last_ref_time, removed, ..Explanation::default() };
        Self { graceful: Some(explanation), ..self }
    }

    /// The same explained list with whose word counts more than what is registered, and what is said of the
    /// service.
    pub(crate) fn set_by(mut self, sources: &Sources) -> Self {
        if let Some(explanation) = &mut self.graceful {
            let is_set = !(sources.service.is_empty() && sources.instances.is_empty());
            explanation.set = is_set.then(|| WireSources::new(sources));
            let settings = sources.settings.iter();
            explanation.settings = settings.map(|(key, word)| (key.to_owned(), word.to_owned())).collect();
        }
        self
    }

    /// The same list under its grouped name, as HTTP has it, for clients that poll every `cache_millis`.
    pub(crate) fn grouped(self, service: &ServiceKey, cache_millis: u64) -> Self {
        Self { name: service.grouped(), cache_millis, ..self }
    }

    /// Who has gone, as far as the registry says; what cannot be read explains nothing.
    pub(crate) fn removed(&self) -> Vec<Removal> {
        let removed = self.graceful.iter().flat_map(|explanation| &explanation.removed);
        removed.take(REMOVALS_MAX).filter_map(WireRemoval::to_model).collect()
    }

    /// Reads the list of `service`; instances that break a rule are left out and told to `on_invalid`.
    pub(crate) fn into_model(
        self,
        service: ServiceKey,
        mut on_invalid: impl FnMut(InvalidInstance),
    ) -> Snapshot {
        let read = |host: WireInstance| host.into_model().map_err(&mut on_invalid).ok();
        let instances = self.hosts.into_iter().filter_map(read).collect();
        let Explanation { set, settings, .. } = self.graceful.unwrap_or_default();
        let sources = set.unwrap_or_default().into_model(settings);
        Snapshot::new(service, self.last_ref_time, instances).with_sources(sources)
    }
}

fn null_as_true<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(true))
}

fn weight<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Reason, Source};

    #[test]
    fn an_instance_survives_the_wire() {
        let service = ServiceKey::new("orders").unwrap();
        let instance = Instance::new("[::1]:8080".parse().unwrap());
        let instance = instance.with_metadata(Metadata::from_iter([("zone", "a")]));
        let json = serde_json::to_string(&WireInstance::new(&service, &instance)).unwrap();
        assert!(json.contains(r#""instanceId":"::1#8080#DEFAULT#DEFAULT_GROUP@@orders""#), "{json}");
        assert!(json.contains(r#""instanceHeartBeatTimeOut":15000"#), "{json}");
        let read: WireInstance = serde_json::from_str(&json).unwrap();
        assert_eq!(read.into_model().unwrap(), instance);
    }

    #[test]
    fn an_instance_in_a_request_names_no_service() {
        let json = serde_json::to_string(&WireInstance::asked_for(&Instance::new("a:1".parse().unwrap())));
        let json = json.unwrap();
        assert!(!json.contains("instanceId") && !json.contains("serviceName"), "{json}");
    }

    #[test]
    fn absent_and_null_fields_have_their_defaults() {
        let json =
            r#"{"ip":"10.0.0.7","port":80,"weight":null,"metadata":{"a":null,"b":"c"},"enabled":null}"#;
        let instance = serde_json::from_str::<WireInstance>(json).unwrap().into_model().unwrap();
        let expected = Instance::new("10.0.0.7:80".parse().unwrap());
        assert_eq!(instance, expected.with_metadata(Metadata::from_iter([("b", "c")])));
    }

    #[test]
    fn what_breaks_a_rule_is_refused_with_the_rule() {
        let read = |json: &str| serde_json::from_str::<WireInstance>(json).unwrap().into_model();
        for (json, rule) in [
            (r#"{"ip":"10.0.0.7","port":70000}"#, "0 to 65535"),
            (r#"{"ip":"","port":80}"#, "an IP address"),
            (r#"{"ip":"10.0.0.7","port":80,"weight":-1}"#, "from 0 on"),
            (r#"{"ip":"10.0.0.7","port":80,"clusterName":"a/b"}"#, "A-Z"),
        ] {
            let error = read(json).unwrap_err().to_string();
            assert!(error.contains(rule), "{error}");
        }
    }

    #[test]
    fn a_list_has_every_field_that_some_client_requires() {
        let service = ServiceKey::new("orders").unwrap();
        let info = ServiceInfo::new(&service, 7, "gz", std::iter::empty());
        assert_eq!(
            serde_json::to_string(&info).unwrap(),
            r#"{"name":"orders","groupName":"DEFAULT_GROUP","clusters":"gz","cacheMillis":10000,"hosts":[],"lastRefTime":7,"checksum":"","allIPs":false,"allIps":false,"reachProtectionThreshold":false,"valid":true}"#
        );
    }

    #[test]
    fn a_list_tells_who_has_gone_and_why() {
        let service = ServiceKey::new("orders").unwrap();
        let instance = Instance::new("[::1]:80".parse().unwrap());
        let removed = [
            Removal::new(&instance, Reason::ConnectionLost),
            Removal::new(
                &instance.with_metadata(Metadata::from_iter([("graceful.epoch", "5")])),
                Reason::Deregistered,
            ),
        ];
        let info = ServiceInfo::new(&service, 7, "", std::iter::empty()).explained(&removed);
        let json = serde_json::to_string(&info).unwrap();
        let (_, told) = json.split_once(r#""valid":true,"#).unwrap();
        assert_eq!(
            told,
            r#""graceful":{"revision":7,"removed":[{"ip":"::1","port":80,"reason":"connection-lost"},{"ip":"::1","port":80,"epoch":5,"reason":"deregistered"}]}}"#
        );
        assert_eq!(serde_json::from_str::<ServiceInfo>(&json).unwrap().removed(), removed);
    }

    #[test]
    fn a_list_tells_whose_word_counts_more_than_a_registration() {
        let service = ServiceKey::new("orders").unwrap();
        let [one, other] = [1, 2].map(|port| Instance::new(Address::new("10.0.0.7", port).unwrap()));
        let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<BTreeSet<_>>();
        let instances = [(one.key.clone(), keys(&["graceful.warmup"]))].into();
        let settings = [("graceful.delay", "30"), ("graceful.notice", "true")].into_iter().collect();
        let sources = Sources { service: keys(&["graceful.notice", "graceful.warmup"]), instances, settings };
        let list = || ServiceInfo::new(&service, 7, "", [&one, &other].into_iter()).explained(&[]);
        let json = serde_json::to_string(&list().set_by(&sources)).unwrap();
        let told = r#""set":{"service":["graceful.notice","graceful.warmup"],"instances":[{"ip":"10.0.0.7","port":1,"cluster":"DEFAULT","keys":["graceful.warmup"]}]},"settings":{"graceful.delay":"30","graceful.notice":"true"}}"#;
        assert!(json.contains(told), "{json}");
        let read = |json: &str| {
            let info: ServiceInfo = serde_json::from_str(json).unwrap();
            info.into_model(service.clone(), |_| unreachable!())
        };
        let snapshot = read(&json);
        let source = |instance: &Instance, key| snapshot.source(&instance.key, key);
        assert_eq!(source(&one, "graceful.warmup"), Some(Source::Instance));
        assert_eq!(source(&other, "graceful.warmup"), Some(Source::Service));
        assert_eq!(source(&one, "graceful.notice"), Some(Source::Service));
        assert_eq!(source(&one, "graceful.epoch"), None);
        assert_eq!(
            (snapshot.setting("graceful.delay"), snapshot.setting("graceful.warmup")),
            (Some("30"), None)
        );
        assert_eq!(list().set_by(&Sources::default()), list(), "mostly there is nothing to be told");
        for strange in [
            r#"{"set":null}"#,
            r#"{"set":{}}"#,
            r#"{"settings":null}"#,
            r#"{"set":{"service":null,"instances":[{},{"ip":"h","port":-1,"keys":["a"]}]}}"#,
        ] {
            let json = format!(r#"{{"lastRefTime":7,"graceful":{strange}}}"#);
            assert_eq!(read(&json), Snapshot::new(service.clone(), 7, Vec::new()), "{strange}");
        }
    }

    #[test]
    fn an_explanation_that_is_not_understood_explains_nothing() {
        let removed = |graceful: &str| {
            let json = format!(r#"{{"hosts":[],"graceful":{graceful}}}"#);
            serde_json::from_str::<ServiceInfo>(&json).unwrap().removed().len()
        };
        assert_eq!([removed("null"), removed("{}"), removed(r#"{"removed":null,"x":1}"#)], [0; 3]);
        let known = r#"{"ip":"10.0.0.7","port":80,"epoch":null,"reason":"disabled"}"#;
        let unknown = r#"{"ip":"10.0.0.7","port":80,"reason":"retired"}"#;
        assert_eq!(removed(&format!(r#"{{"removed":[{known},{unknown},{{"port":-1}}]}}"#)), 1);
    }
}
