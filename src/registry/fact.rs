//! What outlives the process: persistent instances, what is said of services, and what operators have set.
//!
//! A fact speaks of one subject and is whole: a newer one takes the place of the older, so that writing a
//! fact twice changes nothing, and the facts in the order of their making are the present state.

use super::command::{Client, Command};
use super::health::ClusterRecord;
use crate::model::{Cluster, Instance, InstanceKey, Metadata, Reason, ServiceKey, Weight};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The newest word about one subject; `None` means that there is nothing to be said any more.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fact {
    /// A persistent instance as it was registered.
    Instance { service: ServiceKey, key: InstanceKey, instance: Option<Instance> },
    /// A service as it was described.
    Service { service: ServiceKey, record: Option<Arc<ServiceRecord>> },
    /// What operators have set on an instance, of either kind, whether it is there or not.
    Overrides { service: ServiceKey, key: InstanceKey, overrides: Option<Overrides> },
}

/// Whether the instances of a service end with their connection or heartbeats, or are kept until they are
/// taken off. A service has one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ephemeral,
    Persistent,
}

/// What somebody has said of a service itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ServiceRecord {
    pub(crate) kind: Kind,
    /// Whether the service was created by name, and so stays when it has no instances.
    pub(crate) lasting: bool,
    /// When no greater a share of the instances than this, from 0 to 1, is healthy, all are given as healthy.
    pub(crate) protect_threshold: f64,
    pub(crate) metadata: Metadata,
    pub(crate) selector: Selector,
    /// Those of which something is said.
    pub(crate) clusters: BTreeMap<Cluster, ClusterRecord>,
}

/// Which instances a consumer is given. Nacos needs a plug-in for anything but `None`, and without it gives
/// all of them; so do we.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Selector {
    #[default]
    None,
    Label {
        expression: String,
    },
}

/// What operators have set on an instance: it counts more than what the instance registers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Overrides {
    pub(crate) enabled: Option<bool>,
    pub(crate) weight: Option<Weight>,
    /// Laid over the registered metadata key by key.
    pub(crate) metadata: Metadata,
}

impl ServiceRecord {
    /// A record that says nothing but the kind.
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            lasting: false,
            protect_threshold: 0.0,
            metadata: Metadata::new(),
            selector: Selector::None,
            clusters: BTreeMap::new(),
        }
    }
}

impl Kind {
    pub(crate) const fn of(instance: &Instance) -> Self {
        if instance.ephemeral { Self::Ephemeral } else { Self::Persistent }
    }

    /// The one that it is not.
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Ephemeral => Self::Persistent,
            Self::Persistent => Self::Ephemeral,
        }
    }

    /// Its word in the protocol and in logs.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ephemeral => "ephemeral",
            Self::Persistent => "persistent",
        }
    }
}

impl Fact {
    /// That there is nothing to be said of its subject any more.
    pub(crate) fn gone(self) -> Self {
        match self {
            Self::Instance { service, key, .. } => Self::Instance { service, key, instance: None },
            Self::Service { service, .. } => Self::Service { service, record: None },
            Self::Overrides { service, key, .. } => Self::Overrides { service, key, overrides: None },
        }
    }

    pub(crate) fn service(&self) -> &ServiceKey {
        match self {
            Self::Instance { service, .. }
            | Self::Service { service, .. }
            | Self::Overrides { service, .. } => service,
        }
    }
}

impl From<Fact> for Command {
    fn from(fact: Fact) -> Self {
        match fact {
            Fact::Instance { service, key, instance } => {
                let client = Client::Kept(key);
                match instance {
                    Some(instance) => Self::Publish { client, service, instances: vec![instance] },
                    None => Self::Withdraw { client, service, reason: Reason::Deregistered },
                }
            }
            Fact::Service { service, record } => Self::Describe { service, record },
            Fact::Overrides { service, key, overrides } => Self::Override { service, key, overrides },
        }
    }
}
