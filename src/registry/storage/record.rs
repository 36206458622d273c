//! Facts as entries of a database: a subject, and what is said of it, both JSON.
//!
//! Their shape is the format of the data directory. A field may be added with a default, and a kind of subject,
//! which an older version refuses by its name; anything else is a new format.

use super::StorageError;
use crate::model::{Address, Cluster, Instance, InstanceKey, Metadata, Namespace, ServiceKey, Weight};
use crate::registry::access::{PasswordHash, TokenKey, User, UserName};
use crate::registry::fact::{Fact, Kind, NamespaceRecord, Overrides, Selector, ServiceRecord};
use crate::registry::health::{ClusterRecord, Probe};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What an entry is about; written without spaces and in this order, it is the entry's key.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Subject {
    Instance(OfInstance),
    Service(OfService),
    Overrides(OfInstance),
    Namespace { namespace: String },
    User(OfUser),
    Key,
}

#[derive(Serialize, Deserialize)]
struct OfUser {
    name: String,
}

#[derive(Serialize, Deserialize)]
struct UserValue {
    password: String,
    grants: Vec<String>,
    stamp: u64,
}

#[derive(Serialize, Deserialize)]
struct KeyValue {
    bytes: [u8; 32],
}

#[derive(Serialize, Deserialize)]
struct OfService {
    namespace: String,
    group: String,
    service: String,
}

#[derive(Serialize, Deserialize)]
struct OfInstance {
    namespace: String,
    group: String,
    service: String,
    ip: String,
    port: u16,
    cluster: String,
}

#[derive(Serialize, Deserialize)]
struct InstanceValue {
    weight: f64,
    healthy: bool,
    enabled: bool,
    metadata: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct ServiceValue {
    ephemeral: bool,
    lasting: bool,
    protect_threshold: f64,
    metadata: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    label_expression: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    clusters: BTreeMap<String, ClusterValue>,
}

#[derive(Serialize, Deserialize)]
struct ClusterValue {
    probe: ProbeValue,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    metadata: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ProbeValue {
    None,
    Tcp,
    Http { path: String, headers: Vec<(String, String)>, expected: u16 },
}

#[derive(Serialize, Deserialize)]
struct OverridesValue {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    enabled: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weight: Option<f64>,
    metadata: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct NamespaceValue {
    name: String,
    description: String,
}

/// A fact's key, and its value; no value where there is nothing to be said any more.
///
/// # Errors
/// None that a fact can cause: its text is text and its numbers are finite.
pub(in crate::registry) fn write(fact: &Fact) -> Result<(String, Option<String>), serde_json::Error> {
    let (subject, value) = match fact {
        Fact::Instance { service, key, instance } => {
            let value =
                instance.as_ref().map(|instance| serde_json::to_string(&InstanceValue::new(instance)));
            (Subject::Instance(OfInstance::new(service, key)), value)
        }
        Fact::Service { service, record } => {
            let value = record.as_ref().map(|record| serde_json::to_string(&ServiceValue::new(record)));
            (Subject::Service(OfService::new(service)), value)
        }
        Fact::Overrides { service, key, overrides } => {
            let value = overrides.as_ref().map(|set| serde_json::to_string(&OverridesValue::new(set)));
            (Subject::Overrides(OfInstance::new(service, key)), value)
        }
        Fact::Namespace { namespace, record } => {
            let value = |NamespaceRecord { name, description }: &NamespaceRecord| NamespaceValue {
                name: name.clone(),
                description: description.clone(),
            };
            let value = record.as_deref().map(|record| serde_json::to_string(&value(record)));
            (Subject::Namespace { namespace: namespace.to_string() }, value)
        }
        Fact::User { name, user } => {
            let value = user.as_ref().map(|user| serde_json::to_string(&UserValue::new(user)));
            (Subject::User(OfUser { name: name.to_string() }), value)
        }
        Fact::Key { key } => {
            let value = key.as_ref().map(|key| serde_json::to_string(&KeyValue { bytes: *key.bytes() }));
            (Subject::Key, value)
        }
    };
    Ok((serde_json::to_string(&subject)?, value.transpose()?))
}

/// The fact that an entry holds.
///
/// # Errors
/// When it was not written by [`write`], or by that of a later version.
pub(in crate::registry) fn read(key: &str, value: &str) -> Result<Fact, StorageError> {
    let not_understood = |source| StorageError::Entry { entry: key.to_owned(), source };
    let fact = match serde_json::from_str(key).map_err(not_understood)? {
        Subject::Instance(of) => {
            let value: InstanceValue = serde_json::from_str(value).map_err(not_understood)?;
            of.into_model().and_then(|(service, key)| {
                let instance = Some(value.into_model(&key)?);
                Some(Fact::Instance { service, key, instance })
            })
        }
        Subject::Service(of) => {
            let value: ServiceValue = serde_json::from_str(value).map_err(not_understood)?;
            of.into_model().and_then(|service| {
                let record = Some(Arc::new(value.into_model()?));
                Some(Fact::Service { service, record })
            })
        }
        Subject::Overrides(of) => {
            let value: OverridesValue = serde_json::from_str(value).map_err(not_understood)?;
            of.into_model().and_then(|(service, key)| {
                let overrides = Some(value.into_model()?);
                Some(Fact::Overrides { service, key, overrides })
            })
        }
        Subject::Namespace { namespace } => {
            let NamespaceValue { name, description } = serde_json::from_str(value).map_err(not_understood)?;
            let record = Some(Arc::new(NamespaceRecord { name, description }));
            Namespace::new(&namespace).ok().map(|namespace| Fact::Namespace { namespace, record })
        }
        Subject::User(OfUser { name }) => {
            let value: UserValue = serde_json::from_str(value).map_err(not_understood)?;
            UserName::new(&name).ok().and_then(|name| {
                let user = Some(Arc::new(value.into_model(&name)?));
                Some(Fact::User { name, user })
            })
        }
        Subject::Key => {
            let KeyValue { bytes } = serde_json::from_str(value).map_err(not_understood)?;
            Some(Fact::Key { key: Some(Arc::new(TokenKey::from_bytes(bytes))) })
        }
    };
    fact.ok_or_else(|| StorageError::Rule { entry: key.to_owned() })
}

impl OfService {
    fn new(ServiceKey { namespace, group, name }: &ServiceKey) -> Self {
        Self { namespace: namespace.to_string(), group: group.to_string(), service: name.to_string() }
    }

    fn into_model(self) -> Option<ServiceKey> {
        let Self { namespace, group, service } = self;
        Some(ServiceKey {
            namespace: namespace.parse().ok()?,
            group: group.parse().ok()?,
            name: service.parse().ok()?,
        })
    }
}

impl OfInstance {
    fn new(service: &ServiceKey, InstanceKey { address, cluster }: &InstanceKey) -> Self {
        let OfService { namespace, group, service } = OfService::new(service);
        let (ip, port, cluster) = (address.host().to_owned(), address.port(), cluster.to_string());
        Self { namespace, group, service, ip, port, cluster }
    }

    fn into_model(self) -> Option<(ServiceKey, InstanceKey)> {
        let Self { namespace, group, service, ip, port, cluster } = self;
        let service = OfService { namespace, group, service }.into_model()?;
        let (address, cluster) = (Address::new(&ip, port).ok()?, Cluster::new(&cluster).ok()?);
        Some((service, InstanceKey { address, cluster }))
    }
}

impl InstanceValue {
    fn new(instance: &Instance) -> Self {
        let Instance { weight, healthy, enabled, metadata, .. } = instance;
        Self { weight: weight.as_f64(), healthy: *healthy, enabled: *enabled, metadata: words(metadata) }
    }

    fn into_model(self, key: &InstanceKey) -> Option<Instance> {
        let Self { weight, healthy, enabled, metadata } = self;
        let (weight, metadata) = (Weight::new(weight).ok()?, metadata.into_iter().collect());
        Some(Instance { key: key.clone(), weight, healthy, enabled, ephemeral: false, metadata })
    }
}

impl ServiceValue {
    fn new(record: &ServiceRecord) -> Self {
        let ServiceRecord { kind, lasting, protect_threshold, metadata, selector, clusters } = record;
        let label_expression = match selector {
            Selector::None => None,
            Selector::Label { expression } => Some(expression.clone()),
        };
        Self {
            ephemeral: *kind == Kind::Ephemeral,
            lasting: *lasting,
            protect_threshold: *protect_threshold,
            metadata: words(metadata),
            label_expression,
            clusters: clusters.iter().map(|(name, record)| (name.to_string(), record.into())).collect(),
        }
    }

    fn into_model(self) -> Option<ServiceRecord> {
        let cluster = |(name, value): (String, ClusterValue)| Some((name.parse().ok()?, value.into()));
        let label = self.label_expression.map(|expression| Selector::Label { expression });
        Some(ServiceRecord {
            kind: if self.ephemeral { Kind::Ephemeral } else { Kind::Persistent },
            lasting: self.lasting,
            protect_threshold: self.protect_threshold,
            metadata: self.metadata.into_iter().collect(),
            selector: label.unwrap_or_default(),
            clusters: self.clusters.into_iter().map(cluster).collect::<Option<_>>()?,
        })
    }
}

impl From<&ClusterRecord> for ClusterValue {
    fn from(ClusterRecord { probe, port, metadata }: &ClusterRecord) -> Self {
        let probe = match probe.clone() {
            Probe::None => ProbeValue::None,
            Probe::Tcp => ProbeValue::Tcp,
            Probe::Http { path, headers, expected } => ProbeValue::Http { path, headers, expected },
        };
        Self { probe, port: *port, metadata: words(metadata) }
    }
}

impl From<ClusterValue> for ClusterRecord {
    fn from(ClusterValue { probe, port, metadata }: ClusterValue) -> Self {
        let probe = match probe {
            ProbeValue::None => Probe::None,
            ProbeValue::Tcp => Probe::Tcp,
            ProbeValue::Http { path, headers, expected } => Probe::Http { path, headers, expected },
        };
        Self { probe, port, metadata: metadata.into_iter().collect() }
    }
}

impl OverridesValue {
    fn new(Overrides { enabled, weight, metadata }: &Overrides) -> Self {
        Self { enabled: *enabled, weight: weight.map(Weight::as_f64), metadata: words(metadata) }
    }

    fn into_model(self) -> Option<Overrides> {
        let Self { enabled, weight, metadata } = self;
        let weight = weight.map(Weight::new).transpose().ok()?;
        Some(Overrides { enabled, weight, metadata: metadata.into_iter().collect() })
    }
}

impl UserValue {
    fn new(User { password, grants, stamp, .. }: &User) -> Self {
        let grants = grants.iter().map(ToString::to_string).collect();
        Self { password: password.kept().to_owned(), grants, stamp: *stamp }
    }

    fn into_model(self, name: &UserName) -> Option<User> {
        let Self { password, grants, stamp } = self;
        let grants = grants.iter().map(|grant| grant.parse().ok()).collect::<Option<_>>()?;
        Some(User { name: name.clone(), password: PasswordHash::from_kept(&password)?, grants, stamp })
    }
}

fn words(metadata: &Metadata) -> BTreeMap<String, String> {
    metadata.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> ServiceKey {
        "shop@@orders".parse().unwrap()
    }

    fn instance() -> Instance {
        let instance = Instance { ephemeral: false, ..Instance::new("[::1]:80".parse().unwrap()) };
        instance.with_metadata(Metadata::from_iter([("zone", "a\"b")]))
    }

    fn facts() -> [Fact; 6] {
        let metadata = Metadata::from_iter([("graceful.warmup", "60")]);
        let selector = Selector::Label { expression: "CONSUMER.label.A = PROVIDER.label.A".to_owned() };
        let probe = Probe::Http { path: "/ping".to_owned(), headers: Vec::new(), expected: 200 };
        let cluster = ClusterRecord { probe, port: Some(81), metadata: metadata.clone() };
        let record = ServiceRecord {
            kind: Kind::Persistent,
            lasting: true,
            protect_threshold: 0.8,
            metadata,
            selector,
            clusters: [(instance().key.cluster, cluster)].into(),
        };
        let overrides =
            Overrides { enabled: Some(false), weight: Some(Weight::NONE), ..Overrides::default() };
        let key = instance().key;
        [
            Fact::Instance { service: service(), key: key.clone(), instance: Some(instance()) },
            Fact::Service { service: service(), record: Some(Arc::new(record)) },
            Fact::Overrides { service: service(), key, overrides: Some(overrides) },
            Fact::User { name: "ann".parse().unwrap(), user: Some(Arc::new(ann())) },
            Fact::Key { key: Some(Arc::new(TokenKey::from_bytes([7; 32]))) },
            Fact::Namespace {
                namespace: "team-a".parse().unwrap(),
                record: Some(Arc::new(NamespaceRecord {
                    name: "Team A".to_owned(),
                    description: "\"A\"".to_owned(),
                })),
            },
        ]
    }

    fn ann() -> User {
        User::with_grants("ann", &["admin", "write@dev"])
    }

    #[test]
    fn a_fact_survives_the_disk() {
        for fact in facts() {
            let (key, value) = write(&fact).unwrap();
            assert_eq!(read(&key, &value.unwrap()).unwrap(), fact);
        }
    }

    #[test]
    fn the_format_is_what_data_directories_hold() {
        let (key, value) = write(&facts()[0]).unwrap();
        assert_eq!(
            key,
            r#"{"kind":"instance","namespace":"public","group":"shop","service":"orders","ip":"::1","port":80,"cluster":"DEFAULT"}"#
        );
        assert_eq!(
            value.unwrap(),
            r#"{"weight":1.0,"healthy":true,"enabled":true,"metadata":{"zone":"a\"b"}}"#
        );
        let (key, value) = write(&facts()[3]).unwrap();
        assert_eq!(key, r#"{"kind":"user","name":"ann"}"#);
        let (hash, rest) = (PasswordHash::nobodys(), r#""grants":["write@dev","admin"],"stamp":1}"#);
        assert_eq!(value.unwrap(), format!(r#"{{"password":"{}",{rest}"#, hash.kept()));
        assert_eq!(write(&facts()[4]).unwrap().0, r#"{"kind":"key"}"#);
        let (key, value) = write(&facts()[5]).unwrap();
        assert_eq!(key, r#"{"kind":"namespace","namespace":"team-a"}"#);
        assert_eq!(value.unwrap(), r#"{"name":"Team A","description":"\"A\""}"#);
        let gone = Fact::Service { service: service(), record: None };
        let (key, value) = write(&gone).unwrap();
        assert_eq!(key, r#"{"kind":"service","namespace":"public","group":"shop","service":"orders"}"#);
        assert_eq!(value, None);
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        let (key, value) = write(&facts()[0]).unwrap();
        let value = value.unwrap();
        let said = |key: &str, value: &str| read(key, value).unwrap_err().to_string();
        assert!(said(r#"{"kind":"queue"}"#, "{}").ends_with(r#"does not understand: {"kind":"queue"}"#));
        assert!(said(&key, "{").contains("does not understand"));
        assert!(said(&key.replace("orders", "@"), &value).contains("breaks a rule"));
        assert!(said(&key, &value.replace("1.0", "-1.0")).contains("breaks a rule"));
    }
}
