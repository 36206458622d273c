//! All facts, in memory: what the next change is decided on.
//!
//! Pure. The ledger runs ahead of the catalog by the one group of facts that is being stored. Readers see
//! the catalog, so nobody is told of what may yet fail; a change that comes next is decided on the ledger, so
//! it cannot contradict what is under way.

use super::access::Accounts;
use super::catalog::Subject;
use super::fact::{Fact, NamespaceRecord, Overrides, ServiceRecord};
use crate::model::{Address, Instance, InstanceKey, Namespace, ServiceKey};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// The newest fact about each subject.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    services: HashMap<ServiceKey, Entries>,
    instances: usize,
    namespaces: BTreeMap<Namespace, Arc<NamespaceRecord>>,
    accounts: Accounts,
}

#[derive(Debug, Default)]
struct Entries {
    record: Option<Arc<ServiceRecord>>,
    instances: BTreeMap<InstanceKey, Instance>,
    overrides: BTreeMap<InstanceKey, Overrides>,
}

impl Ledger {
    /// Enters a fact, and returns the one that it replaces: entered in its turn, that undoes it.
    pub(crate) fn enter(&mut self, fact: Fact) -> Fact {
        match fact {
            Fact::Instance { service, key, instance } => {
                let came = usize::from(instance.is_some());
                let entry = |entries: &mut Entries| replace(&mut entries.instances, &key, instance);
                let instance = self.of(&service, entry);
                self.instances = self.instances + came - usize::from(instance.is_some());
                Fact::Instance { service, key, instance }
            }
            Fact::Service { service, record } => {
                let record = self.of(&service, |entries| std::mem::replace(&mut entries.record, record));
                Fact::Service { service, record }
            }
            Fact::Overrides { service, key, overrides } => {
                let entry = |entries: &mut Entries| replace(&mut entries.overrides, &key, overrides);
                let overrides = self.of(&service, entry);
                Fact::Overrides { service, key, overrides }
            }
            Fact::Namespace { namespace, record } => {
                let record = replace(&mut self.namespaces, &namespace, record);
                Fact::Namespace { namespace, record }
            }
            Fact::User { name, user } => {
                let user = self.accounts.enter(&name, user);
                Fact::User { name, user }
            }
            Fact::Key { key } => Fact::Key { key: self.accounts.enter_key(key) },
        }
    }

    /// Changes the entries of a service, of which none are kept where nothing is said.
    fn of<T>(&mut self, service: &ServiceKey, change: impl FnOnce(&mut Entries) -> T) -> T {
        let entries = self.services.entry(service.clone()).or_default();
        let before = change(entries);
        if entries.record.is_none() && entries.instances.is_empty() && entries.overrides.is_empty() {
            self.services.remove(service);
        }
        before
    }

    /// What is said of a namespace.
    pub(crate) fn namespace(&self, namespace: &Namespace) -> Option<&Arc<NamespaceRecord>> {
        self.namespaces.get(namespace)
    }

    /// Number of namespaces of which something is said.
    pub(crate) fn namespaces_len(&self) -> usize {
        self.namespaces.len()
    }

    /// Whether anything is kept of a service in a namespace: persistent instances, what is said of it, or what
    /// operators have set in it, which waits for instances that are gone and would hold for the next ones.
    pub(crate) fn is_used(&self, namespace: &Namespace) -> bool {
        self.services.keys().any(|service| service.namespace == *namespace)
    }

    /// Users and the key of their tokens.
    pub(crate) fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// A persistent instance as it was registered.
    pub(crate) fn instance(&self, service: &ServiceKey, key: &InstanceKey) -> Option<&Instance> {
        self.services.get(service)?.instances.get(key)
    }

    /// What is set on an instance.
    pub(crate) fn overrides(&self, service: &ServiceKey, key: &InstanceKey) -> Option<&Overrides> {
        self.services.get(service)?.overrides.get(key)
    }

    /// Whether this is still the newest fact about its subject.
    pub(crate) fn holds(&self, fact: &Fact) -> bool {
        match fact {
            Fact::Instance { service, key, instance } => self.instance(service, key) == instance.as_ref(),
            Fact::Service { service, record } => self.record(service) == record.as_ref(),
            Fact::Overrides { service, key, overrides } => self.overrides(service, key) == overrides.as_ref(),
            Fact::Namespace { namespace, record } => self.namespace(namespace) == record.as_ref(),
            Fact::User { name, user } => self.accounts.user(name) == user.as_ref(),
            Fact::Key { key } => self.accounts.key() == key.as_ref(),
        }
    }

    /// What may be dropped when its subject has been gone for long: what operators have set, and what is said
    /// of a service that nobody created by name.
    pub(crate) fn leftover(&self, subject: &Subject) -> Option<Fact> {
        match subject {
            Subject::Service(service) => {
                let record = self.record(service).filter(|record| !record.lasting)?;
                Some(Fact::Service { service: service.clone(), record: Some(record.clone()) })
            }
            Subject::Instance(service, key) => {
                let overrides = Some(self.overrides(service, key)?.clone());
                Some(Fact::Overrides { service: service.clone(), key: key.clone(), overrides })
            }
        }
    }

    /// The persistent instances at an address, in whatever cluster of whatever service.
    pub(crate) fn kept_at(&self, address: &Address) -> impl Iterator<Item = &InstanceKey> {
        let all = self.services.values().flat_map(|entries| entries.instances.keys());
        all.filter(move |key| key.address == *address)
    }

    /// The services of which something is kept, sorted: as many as `most` after one.
    pub(crate) fn services_after(&self, after: Option<&ServiceKey>, most: usize) -> Vec<ServiceKey> {
        let mut next = BTreeSet::new();
        for service in self.services.keys().filter(|service| after.is_none_or(|after| *service > after)) {
            next.insert(service);
            if next.len() > most {
                next.pop_last();
            }
        }
        next.into_iter().cloned().collect()
    }

    /// The persistent instances of a service as they were registered, and what operators have set in it.
    pub(crate) fn kept_in(&self, service: &ServiceKey) -> (Vec<Instance>, Vec<(InstanceKey, Overrides)>) {
        let Some(Entries { instances, overrides, .. }) = self.services.get(service) else {
            return Default::default();
        };
        let overrides = overrides.iter().map(|(key, set)| (key.clone(), set.clone()));
        (instances.values().cloned().collect(), overrides.collect())
    }

    /// Number of persistent instances of a service.
    pub(crate) fn instances_in(&self, service: &ServiceKey) -> usize {
        self.services.get(service).map_or(0, |entries| entries.instances.len())
    }

    /// Whether a service has persistent instances.
    pub(crate) fn has_instances(&self, service: &ServiceKey) -> bool {
        self.instances_in(service) > 0
    }

    /// What is said of a service.
    pub(crate) fn record(&self, service: &ServiceKey) -> Option<&Arc<ServiceRecord>> {
        self.services.get(service)?.record.as_ref()
    }

    /// Number of persistent instances.
    pub(crate) fn instances_len(&self) -> usize {
        self.instances
    }
}

fn replace<K: Clone + Ord, V>(of_one: &mut BTreeMap<K, V>, key: &K, value: Option<V>) -> Option<V> {
    match value {
        Some(value) => of_one.insert(key.clone(), value),
        None => of_one.remove(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::fact::Kind;
    use proptest::prelude::*;

    fn fact() -> impl Strategy<Value = Fact> {
        let subject = (0u16..2, 0u8..4, prop::option::of(any::<bool>()));
        subject.prop_map(|(port, kind, value)| {
            let service: ServiceKey = "orders".parse().unwrap();
            let address = crate::model::Address::new("10.0.0.7", port).unwrap();
            let instance = Instance { ephemeral: false, ..Instance::new(address) };
            let key = instance.key.clone();
            match kind {
                0 => {
                    let instance = value.map(|enabled| Instance { enabled, ..instance });
                    Fact::Instance { service, key, instance }
                }
                1 => {
                    let overrides =
                        value.map(|enabled| Overrides { enabled: Some(enabled), ..Overrides::default() });
                    Fact::Overrides { service, key, overrides }
                }
                2 => {
                    let name =
                        |name: bool| NamespaceRecord { name: name.to_string(), description: String::new() };
                    let record = value.map(name).map(Arc::new);
                    Fact::Namespace { namespace: service.namespace, record }
                }
                _ => {
                    let of_kind = ServiceRecord::new(Kind::Persistent);
                    let record = value.map(|lasting| ServiceRecord { lasting, ..of_kind });
                    Fact::Service { service, record: record.map(Arc::new) }
                }
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_undone_backwards_leaves_no_trace(
            before in prop::collection::vec(fact(), 0..12),
            group in prop::collection::vec(fact(), 0..12),
        ) {
            let mut ledger = Ledger::default();
            for fact in before {
                ledger.enter(fact);
            }
            let as_it_was = format!("{ledger:?}");
            let undo: Vec<Fact> = group.into_iter().map(|fact| ledger.enter(fact)).collect();
            for fact in undo.into_iter().rev() {
                ledger.enter(fact);
            }
            prop_assert_eq!(format!("{ledger:?}"), as_it_was);
        }
    }
}
