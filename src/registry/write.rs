//! Changes that are durable before they are answered, and the facts that they come to.
//!
//! Pure: a change, the ledger and the catalog go in; facts, or a refusal, come out.

use super::access::{Denied, Edit as UserEdit, User, UserName};
use super::bound::Bound;
use super::catalog::Catalog;
use super::command::Limits;
use super::error::Refusal;
use super::fact::{Fact, Kind, NamespaceRecord, Overrides, Selector, ServiceRecord};
use super::health::ClusterRecord;
use super::ledger::Ledger;
use super::rollout::Rollout;
use crate::model::{Cluster, Instance, InstanceKey, Metadata, Namespace, ServiceKey, Weight};
use std::sync::Arc;

/// A change to be stored.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    /// Registers a persistent instance, or registers it anew.
    Register { service: ServiceKey, instance: Instance },
    /// Takes a persistent instance off; that there is none is a success.
    Deregister { service: ServiceKey, key: InstanceKey },
    /// Sets something on instances over what they register; on all of them, or on none.
    Override { service: ServiceKey, keys: Vec<InstanceKey>, set: Set },
    /// Lays `metadata` over what is set on these instances key by key, or removes its keys from that.
    Metadata { service: ServiceKey, keys: Vec<InstanceKey>, metadata: Metadata, remove: bool },
    /// Drops what is said of services and instances that are gone for good.
    Drop { leftovers: Vec<Fact> },
    /// Creates a service by name: it stays without instances.
    Create { service: ServiceKey, kind: Kind, said: Said },
    /// Takes off a service that has no instances.
    Delete { service: ServiceKey },
    /// Changes what is said of a service, which must be there.
    Describe { service: ServiceKey, edit: Edit },
    /// Names a namespace that has no name.
    CreateNamespace { namespace: Namespace, record: NamespaceRecord },
    /// Gives another name to a namespace, which must be there.
    DescribeNamespace { namespace: Namespace, record: NamespaceRecord },
    /// Takes off the name of a namespace in which there is nothing; that it has none is a success.
    DeleteNamespace { namespace: Namespace },
    /// Changes a user, who has this stamp with a new password, in the name of one as they were when they were let
    /// in: a password takes a while to hash, and whoever is removed meanwhile changes nothing any more.
    User { name: UserName, edit: UserEdit, stamp: u64, by: Option<Arc<User>> },
}

/// What an operator sets on an instance.
#[derive(Clone, Debug)]
pub(crate) enum Set {
    /// This and nothing else, in a service that is there.
    All(Overrides),
    /// What is given, on an instance that is there; the rest stays.
    Given { enabled: Option<bool>, weight: Option<Weight>, metadata: Option<Metadata> },
}

/// A change of what is said of a service.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    /// How a cluster of it is probed.
    Cluster(Cluster, ClusterRecord),
    /// What else is said; what is not given stays as it is.
    Said(Said),
    /// How its instances start and leave; what is not given is left to each of them.
    Rollout(Rollout),
}

/// What may be said of a service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    pub(crate) protect_threshold: Option<f64>,
    pub(crate) metadata: Option<Metadata>,
    pub(crate) selector: Option<Selector>,
}

/// Clusters of one service of which something may be said: more than there are data centres.
const CLUSTERS_MAX: usize = 1000;
/// Namespaces that may have a name: more than there are teams, and one list shows them all.
const NAMESPACES_MAX: usize = 1000;

/// What a change is decided on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Present<'a> {
    pub(crate) ledger: &'a Ledger,
    pub(crate) catalog: &'a Catalog,
    pub(crate) limits: Limits,
    /// Instances that one service may have.
    pub(crate) per_service_max: usize,
}

impl Write {
    /// The facts that make the change; none when all is as it should be.
    ///
    /// # Errors
    /// When the change contradicts what is there, or a bound is reached.
    pub(crate) fn decide(self, present: Present<'_>) -> Result<Vec<Fact>, Refusal> {
        let Present { ledger, .. } = present;
        match self {
            Self::Register { service, instance } => {
                let known = ledger.instance(&service, &instance.key);
                if known == Some(&instance) {
                    return Ok(Vec::new());
                }
                present.admits(&service, Kind::Persistent)?;
                if known.is_none() {
                    present.has_room(&service)?;
                }
                let key = instance.key.clone();
                Ok(vec![Fact::Instance { service, key, instance: Some(instance) }])
            }
            Self::Deregister { service, key } => {
                let known = ledger.instance(&service, &key).is_some();
                Ok(known.then_some(Fact::Instance { service, key, instance: None }).into_iter().collect())
            }
            Self::Override { service, keys, set } => {
                let fact = |key: InstanceKey| {
                    let overrides = set.clone().of(&service, &key, present)?;
                    present.overriding(service.clone(), key, overrides)
                };
                keys.into_iter().map(fact).collect()
            }
            Self::Metadata { service, keys, metadata, remove } => {
                let fact = |key: InstanceKey| {
                    let mut overrides = ledger.overrides(&service, &key).cloned().unwrap_or_default();
                    let before = overrides.metadata.iter();
                    overrides.metadata = if remove {
                        before.filter(|(key, _)| metadata.get(key).is_none()).collect()
                    } else {
                        before.chain(metadata.iter()).collect()
                    };
                    present.overriding(service.clone(), key, overrides)
                };
                keys.into_iter().map(fact).collect()
            }
            Self::Drop { leftovers } => {
                // Of those that nobody has spoken of since.
                let same = leftovers.into_iter().filter(|fact| ledger.holds(fact));
                Ok(same.map(Fact::gone).collect())
            }
            Self::Create { service, kind, said } => {
                if present.kind(&service).is_some() {
                    return Err(Refusal::ServiceExists(service));
                }
                let record = ServiceRecord { lasting: true, ..ServiceRecord::new(kind) };
                Ok(vec![present.saying(service, Edit::Said(said).of(record)?)?])
            }
            Self::Delete { service } => {
                if ledger.has_instances(&service) || present.catalog.has_instances(&service) {
                    return Err(Refusal::NotEmpty(service));
                }
                let known = present.kind(&service).is_some();
                let gone = Fact::Service { service: service.clone(), record: None };
                known.then_some(vec![gone]).ok_or(Refusal::NoService(service))
            }
            Self::Describe { service, edit } => {
                let kind = present.kind(&service).ok_or_else(|| Refusal::NoService(service.clone()))?;
                let said = ledger.record(&service).map(|said| ServiceRecord { kind, ..(**said).clone() });
                let said = said.unwrap_or_else(|| ServiceRecord::new(kind));
                Ok(vec![present.saying(service, edit.of(said)?)?])
            }
            Self::CreateNamespace { namespace, record } => {
                if namespace == Namespace::default() || ledger.namespace(&namespace).is_some() {
                    return Err(Refusal::NamespaceExists(namespace));
                }
                present.naming(namespace, record)
            }
            Self::DescribeNamespace { namespace, record } => {
                if namespace == Namespace::default() {
                    return Err(Refusal::DefaultNamespace);
                }
                if ledger.namespace(&namespace).is_none() && !present.is_used(&namespace) {
                    return Err(Refusal::NoNamespace(namespace));
                }
                present.naming(namespace, record)
            }
            Self::DeleteNamespace { namespace } => {
                if namespace == Namespace::default() {
                    return Err(Refusal::DefaultNamespace);
                }
                if present.is_used(&namespace) {
                    return Err(Refusal::NamespaceInUse(namespace));
                }
                let known = ledger.namespace(&namespace).is_some();
                Ok(known.then_some(Fact::Namespace { namespace, record: None }).into_iter().collect())
            }
            Self::User { name, edit, stamp, by } => {
                if by.is_some_and(|by| ledger.accounts().user(&by.name) != Some(&by)) {
                    return Err(Denied::BadToken.into());
                }
                let user = ledger.accounts().after(&name, edit, stamp)?;
                Ok(vec![Fact::User { name, user }])
            }
        }
    }
}

impl Set {
    fn of(self, service: &ServiceKey, key: &InstanceKey, present: Present<'_>) -> Result<Overrides, Refusal> {
        match self {
            Self::All(overrides) => {
                let known = present.kind(service).map(|_| overrides);
                known.ok_or_else(|| Refusal::NothingToSet(service.clone()))
            }
            Self::Given { enabled, weight, metadata } => {
                let kept = present.ledger.instance(service, key).is_some();
                if !kept && !present.catalog.has_instance(service, key) {
                    return Err(Refusal::NotFound);
                }
                let before = present.ledger.overrides(service, key).cloned().unwrap_or_default();
                Ok(Overrides {
                    enabled: enabled.or(before.enabled),
                    weight: weight.or(before.weight),
                    metadata: metadata.unwrap_or(before.metadata),
                })
            }
        }
    }
}

impl Edit {
    fn of(self, mut record: ServiceRecord) -> Result<ServiceRecord, Refusal> {
        match self {
            Self::Cluster(name, cluster) => {
                record.clusters.insert(name, cluster);
                if record.clusters.len() > CLUSTERS_MAX {
                    return Err(Refusal::TooMany { bound: Bound::Clusters, max: CLUSTERS_MAX });
                }
            }
            Self::Said(Said { protect_threshold, metadata, selector }) => {
                record.protect_threshold = protect_threshold.unwrap_or(record.protect_threshold);
                record.metadata = metadata.unwrap_or(record.metadata);
                record.selector = selector.unwrap_or(record.selector);
            }
            Self::Rollout(rollout) => record.metadata = rollout.onto(&record.metadata),
        }
        Ok(record)
    }
}

impl Present<'_> {
    /// The kind of a service; nothing where nobody knows it, or no more: what was said of a service that is
    /// forgotten says nothing of the next one of its name.
    pub(crate) fn kind(self, service: &ServiceKey) -> Option<Kind> {
        if let Some(record) = self.ledger.record(service).filter(|record| record.lasting) {
            return Some(record.kind);
        }
        if self.ledger.has_instances(service) {
            return Some(Kind::Persistent);
        }
        self.catalog.kind(service)
    }

    /// Whether a service takes instances of this kind.
    pub(crate) fn admits(self, service: &ServiceKey, kind: Kind) -> Result<(), Refusal> {
        match self.kind(service) {
            Some(other) if other != kind => {
                let (service, action) = (service.clone(), "register");
                Err(Refusal::OtherKind { service, kind: other, action })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The fact that this is set on an instance, or nothing any more.
    fn overriding(
        self,
        service: ServiceKey,
        key: InstanceKey,
        overrides: Overrides,
    ) -> Result<Fact, Refusal> {
        self.takes(&overrides.metadata)?;
        let overrides = Some(overrides).filter(|overrides| *overrides != Overrides::default());
        Ok(Fact::Overrides { service, key, overrides })
    }

    /// The fact that this is said of a service.
    fn saying(self, service: ServiceKey, record: ServiceRecord) -> Result<Fact, Refusal> {
        self.takes(&record.metadata)?;
        Ok(Fact::Service { service, record: Some(Arc::new(record)) })
    }

    /// Whether there is anything in a namespace.
    fn is_used(self, namespace: &Namespace) -> bool {
        self.ledger.is_used(namespace) || self.catalog.of_namespace(namespace).next().is_some()
    }

    /// The fact that this is what a namespace is called.
    fn naming(self, namespace: Namespace, record: NamespaceRecord) -> Result<Vec<Fact>, Refusal> {
        if self.ledger.namespace(&namespace).is_none() && self.ledger.namespaces_len() >= NAMESPACES_MAX {
            return Err(Refusal::TooMany { bound: Bound::Namespaces, max: NAMESPACES_MAX });
        }
        Ok(vec![Fact::Namespace { namespace, record: Some(Arc::new(record)) }])
    }

    fn takes(self, metadata: &Metadata) -> Result<(), Refusal> {
        let (chars, max) = (metadata.chars(), self.limits.metadata_chars_max);
        if chars > max {
            return Err(Refusal::MetadataTooLong { chars, max });
        }
        Ok(())
    }

    /// Number of instances in all, one that several clients publish counted for each. Those that are being stored
    /// are in the ledger and not in the catalog yet, and those that are being taken off the other way round.
    pub(crate) fn held(self) -> usize {
        let kept = self.catalog.kept_len();
        self.catalog.published_len() - kept + kept.max(self.ledger.instances_len())
    }

    /// Whether there may be one more persistent instance, and in this service.
    fn has_room(self, service: &ServiceKey) -> Result<(), Refusal> {
        if self.held() >= self.limits.instances_max {
            return Err(Refusal::Full { max: self.limits.instances_max });
        }
        let (bound, max) = (Bound::InstancesPerService, self.per_service_max);
        if self.catalog.instances_in(service).max(self.ledger.instances_in(service)) >= max {
            return Err(Refusal::TooMany { bound, max });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UnixMillis;

    #[test]
    fn a_namespace_is_not_given_up_while_operators_have_set_something_in_it() {
        let namespace: Namespace = "a".parse().unwrap();
        let service = ServiceKey { namespace: namespace.clone(), ..ServiceKey::new("orders").unwrap() };
        let key = Instance::new("10.0.0.7:80".parse().unwrap()).key;
        let mut ledger = Ledger::default();
        let record = NamespaceRecord { name: "A".to_owned(), description: String::new() };
        ledger.enter(Fact::Namespace { namespace: namespace.clone(), record: Some(Arc::new(record)) });
        let set = Overrides { enabled: Some(false), ..Overrides::default() };
        let set = Fact::Overrides { service, key, overrides: Some(set) };
        ledger.enter(set.clone());
        let delete = |ledger: &Ledger| {
            let limits = Limits { metadata_chars_max: 100, instances_max: 100 };
            let catalog = &Catalog::new(UnixMillis::new(0));
            let present = Present { ledger, catalog, limits, per_service_max: 100 };
            Write::DeleteNamespace { namespace: namespace.clone() }.decide(present)
        };
        let refused = delete(&ledger);
        assert!(matches!(refused, Err(Refusal::NamespaceInUse(_))), "{refused:?}");
        ledger.enter(set.gone());
        assert_eq!(delete(&ledger).unwrap().len(), 1);
    }
}
