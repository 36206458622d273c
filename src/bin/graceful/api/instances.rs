//! The instances of a service, as whichever registry tells them.

use super::{Api, Kind, failed};
use crate::Failure;
use crate::transfer::{Key, Shown, Trouble};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use tower_graceful::model::{Address, Instance, ServiceKey, UnixMillis, Weight};

/// An instance as a registry lists it. What the registry does not tell is not there.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Listed {
    pub(crate) ip: String,
    pub(crate) port: u16,
    pub(crate) cluster: String,
    pub(crate) weight: f64,
    pub(crate) enabled: bool,
    pub(crate) healthy: bool,
    pub(crate) ephemeral: bool,
    /// Start of its process, in milliseconds since 1970.
    pub(crate) epoch: Option<u64>,
    pub(crate) metadata: BTreeMap<String, String>,
    /// Who keeps it there; readers see what the last one says.
    pub(crate) publishers: Option<Vec<Publisher>>,
    /// What looks wrong about them.
    pub(crate) flags: Option<Vec<String>>,
}

/// Who keeps an instance on the list.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Publisher {
    Connection {
        since: u64,
        connection: u64,
        address: String,
        app: String,
        version: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        caller: Option<String>,
        connected_at: u64,
    },
    Heartbeats {
        since: u64,
        senders: Vec<Sender>,
    },
    Storage {
        since: u64,
    },
    /// Of a registry that is newer than this program.
    #[serde(other)]
    Other,
}

/// Who sends heartbeats for an instance.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Sender {
    pub(crate) ip: String,
    pub(crate) agent: String,
    pub(crate) since: u64,
    pub(crate) last: u64,
}

/// Where an instance is in its life, as far as its registration says.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "phase", rename_all = "lowercase")]
pub(crate) enum Phase {
    /// Its share is `warm` of what it will have.
    Warming {
        warm: f64,
    },
    Serving,
    Leaving,
}

impl Listed {
    /// Its address, IPv6 in brackets.
    pub(crate) fn at(&self) -> String {
        Address::new(&self.ip, self.port)
            .map_or_else(|_| format!("{}:{}", self.ip, self.port), |address| address.to_string())
    }

    /// Whether it is the same as `other`, whatever is said of either.
    pub(crate) fn is_at(&self, other: &Self) -> bool {
        (&self.ip, self.port, &self.cluster) == (&other.ip, other.port, &other.cluster)
    }

    /// Whether it takes traffic.
    pub(crate) fn serves(&self) -> bool {
        self.enabled && self.healthy && self.weight > 0.0
    }

    /// Where it is in its life at `now`; nothing when it does not wear this crate's layers, nor says that it
    /// warms up.
    pub(crate) fn phase(&self, now: UnixMillis) -> Option<Phase> {
        let instance = Instance {
            weight: Weight::new(self.weight).unwrap_or(Weight::FULL),
            ..Instance::new(Address::new(&self.ip, self.port).ok()?)
        };
        let instance = instance.with_metadata(self.metadata.iter().collect());
        if instance.leaving().is_some() {
            return Some(Phase::Leaving);
        }
        let warm = instance.warm_up(now).map(|(curve, age)| curve.factor(age));
        match warm {
            Some(warm) if warm < 1.0 => Some(Phase::Warming { warm }),
            Some(_) => Some(Phase::Serving),
            None => instance.is_governed().then_some(Phase::Serving),
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Warming { warm } => write!(f, "warming {:.0} %", (warm * 100.0).floor()),
            Self::Serving => f.write_str("serving"),
            Self::Leaving => f.write_str("leaving"),
        }
    }
}

impl Api {
    /// The instances of a service, disabled ones too where the registry tells of them.
    pub(crate) async fn instances(&self, service: &ServiceKey) -> Result<Vec<Listed>, Failure> {
        #[derive(Deserialize)]
        struct Answer {
            instances: Vec<Listed>,
        }
        let listed = match self.kind {
            Kind::Ours => {
                let answer =
                    self.server.get::<Answer>("/graceful/v1/instances", &named(service).each()).await;
                answer.map(|Answer { instances }| instances)
            }
            Kind::Nacos(version) => {
                let told = version.service(&self.server, &key(service)).await;
                told.map(|(_, shown)| shown.into_iter().map(Listed::from).collect())
            }
        };
        listed.map_err(|trouble| missing(trouble, service))
    }
}

/// The parameters that name a service in every version.
pub(crate) struct Named {
    namespace: String,
    service: String,
}

pub(crate) fn named(service: &ServiceKey) -> Named {
    Named { namespace: service.namespace.to_string(), service: service.grouped() }
}

impl Named {
    pub(crate) fn each(&self) -> [(&'static str, &str); 2] {
        [("namespaceId", &self.namespace), ("serviceName", &self.service)]
    }
}

/// The same for a Nacos of any version.
pub(crate) fn key(service: &ServiceKey) -> Key {
    let ServiceKey { namespace, group, name } = service;
    Key { namespace: namespace.to_string(), group: group.to_string(), name: name.to_string() }
}

/// A failure that says where services are found, if there is no such one.
pub(crate) fn missing(trouble: Trouble, service: &ServiceKey) -> Failure {
    let is_missing = matches!(&trouble, Trouble::Refused { words, .. }
        if words.contains("service not found") || words.contains("service not exist") || words.contains("is not found"));
    if !is_missing {
        return failed(trouble);
    }
    let (name, namespace) = (service.grouped(), &service.namespace);
    Failure::could_not(format!(
        "there is no service {name} in namespace {namespace}: `graceful services --namespace {namespace}` lists those that are there"
    ))
}

impl From<Shown> for Listed {
    fn from(shown: Shown) -> Self {
        let Shown { ip, port, weight, healthy, enabled, ephemeral, cluster_name, metadata } = shown;
        let epoch = metadata.get(tower_graceful::model::key::EPOCH).and_then(|epoch| epoch.parse().ok());
        let (publishers, flags) = (None, None);
        Self {
            ip,
            port,
            cluster: cluster_name,
            weight,
            enabled,
            healthy,
            ephemeral,
            epoch,
            metadata,
            publishers,
            flags,
        }
    }
}

/// One that is to be registered.
impl From<&Instance> for Listed {
    fn from(instance: &Instance) -> Self {
        let words = instance.metadata.iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
        Self {
            ip: instance.address().host().to_owned(),
            port: instance.address().port(),
            cluster: instance.key.cluster.to_string(),
            weight: instance.weight.as_f64(),
            enabled: instance.enabled,
            healthy: instance.healthy,
            ephemeral: instance.ephemeral,
            epoch: instance.epoch().map(UnixMillis::as_u64),
            metadata: words.collect(),
            publishers: None,
            flags: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(metadata: &[(&str, &str)], now: u64) -> Option<String> {
        let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let listed = Listed {
            ip: "10.0.0.7".to_owned(),
            port: 80,
            cluster: "DEFAULT".to_owned(),
            weight: 1.0,
            enabled: true,
            healthy: true,
            ephemeral: true,
            epoch: None,
            metadata,
            publishers: None,
            flags: None,
        };
        listed.phase(UnixMillis::new(now)).map(|phase| phase.to_string())
    }

    #[test]
    fn the_phase_is_what_the_registration_says_and_unknown_where_it_says_nothing() {
        let curve =
            [("graceful.version", "0.1.0"), ("graceful.warmup", "100"), ("graceful.warmup.exponent", "1")];
        assert_eq!(phase(&curve, 1_000_000).unwrap(), "warming 1 %", "before the first request");
        let begun = [&curve[..], &[("graceful.warmup.start", "1000000")]].concat();
        assert_eq!(phase(&begun, 1_050_000).unwrap(), "warming 50 %");
        assert_eq!(phase(&begun, 1_100_000).unwrap(), "serving");
        let leaving = [&begun[..], &[("graceful.leaving", "1060000;0")]].concat();
        assert_eq!(phase(&leaving, 1_100_000).unwrap(), "leaving");
        assert_eq!(phase(&[("zone", "a")], 0), None);
    }
}
