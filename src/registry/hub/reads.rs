//! What operators read: services by what they look for, whoever may see them.

use super::Hub;
use crate::model::{Namespace, ServiceKey};
use crate::registry::query::{Described, Page, Search};

/// Names in one answer that has no pages: some hundred kilobytes.
const NAMES_MAX: usize = 10_000;

impl Hub {
    /// How many services of a namespace are looked for, and one page of them.
    pub(crate) fn find(&self, namespace: &Namespace, search: &Search, page: Page) -> (usize, Vec<Described>) {
        let mut state = self.state();
        let found = state.catalog.of_namespace(namespace);
        let found = found.filter(|key| search.finds(key, state.catalog.keys(key)));
        let found: Vec<ServiceKey> = found.collect();
        let shown = page.of(found.iter());
        (found.len(), shown.into_iter().filter_map(|key| state.described(key)).collect())
    }

    /// How many services of all namespaces are `wanted`, and the first of them, sorted by namespace.
    pub(crate) fn all_names(&self, wanted: impl Fn(&ServiceKey) -> bool) -> (usize, Vec<ServiceKey>) {
        let namespaces = self.namespaces();
        let state = self.state();
        let all = namespaces.iter().flat_map(|namespace| state.catalog.of_namespace(namespace));
        let (mut count, mut names) = (0, Vec::new());
        for key in all.filter(wanted) {
            count += 1;
            if names.len() < NAMES_MAX {
                names.push(key);
            }
        }
        (count, names)
    }

    /// A page of a list, as large as whoever started the registry allows.
    pub(crate) fn page(&self, number: usize, size: usize) -> Page {
        Page::new(number, size, self.allowance().page_size)
    }

    /// Number of persistent instances.
    pub(crate) fn persistent_len(&self) -> usize {
        self.state().ledger.instances_len()
    }
}
