//! Which namespaces there are: those that have services, and those that somebody has named.

use super::{Hub, State};
use crate::model::Namespace;
use crate::registry::fact::{Fact, NamespaceRecord};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is said of namespaces, as readers see it: all of it is stored.
pub(super) type Named = BTreeMap<Namespace, Arc<NamespaceRecord>>;

impl Hub {
    /// The namespaces that have services or were named, and the default one, sorted.
    pub(crate) fn namespaces(&self) -> Vec<Namespace> {
        let state = self.state();
        let mut namespaces: Vec<_> = state.catalog.namespaces().chain(state.named.keys()).cloned().collect();
        namespaces.push(Namespace::default());
        namespaces.sort();
        namespaces.dedup();
        namespaces
    }

    /// What somebody has said of a namespace.
    pub(crate) fn namespace_record(&self, namespace: &Namespace) -> Option<Arc<NamespaceRecord>> {
        self.state().named.get(namespace).cloned()
    }
}

impl State {
    /// Shows readers what a fact says of a namespace, if it speaks of one.
    pub(super) fn show_namespace(&mut self, fact: &Fact) {
        let Fact::Namespace { namespace, record } = fact else { return };
        match record {
            Some(record) => self.named.insert(namespace.clone(), record.clone()),
            None => self.named.remove(namespace),
        };
    }
}
