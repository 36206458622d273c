//! What outlives the process: persistent instances, what is said of services and of namespaces, what operators
//! have set, and users.
//!
//! A fact speaks of one subject and is whole: a newer one takes the place of the older, so that writing a
//! fact twice changes nothing, and the facts in the order of their making are the present state.

use super::access::{TokenKey, User, UserName};
use super::command::{Client, Command};
use super::health::ClusterRecord;
use crate::model::{Cluster, Instance, InstanceKey, Metadata, Namespace, Reason, ServiceKey, Weight};
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
    /// A namespace as somebody has named it.
    Namespace { namespace: Namespace, record: Option<Arc<NamespaceRecord>> },
    /// Somebody who may do something.
    User { name: UserName, user: Option<Arc<User>> },
    /// What the tokens of users are signed with.
    Key { key: Option<Arc<TokenKey>> },
}

/// What people call a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamespaceRecord {
    pub(crate) name: String,
    pub(crate) description: String,
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
            Self::Namespace { namespace, .. } => Self::Namespace { namespace, record: None },
            Self::User { name, .. } => Self::User { name, user: None },
            Self::Key { .. } => Self::Key { key: None },
        }
    }

    /// What makes readers of the catalog see it; those of namespaces, users and keys do not look there.
    pub(crate) fn into_command(self) -> Option<Command> {
        match self {
            Self::Instance { service, key, instance } => {
                let client = Client::Kept(key);
                Some(match instance {
                    Some(instance) => Command::Publish { client, service, instances: vec![instance] },
                    None => Command::Withdraw { client, service, reason: Reason::Deregistered },
                })
            }
            Self::Service { service, record } => Some(Command::Describe { service, record }),
            Self::Overrides { service, key, overrides } => {
                Some(Command::Override { service, key, overrides })
            }
            Self::Namespace { .. } | Self::User { .. } | Self::Key { .. } => None,
        }
    }
}
