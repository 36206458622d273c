//! The instances of a service at one moment.

use super::{Instance, InstanceKey, ServiceKey, Source, source::Sources};
use std::cmp::Ordering;

/// The instances of one service at one revision: immutable, sorted, each key once.
///
/// ```
/// use tower_graceful::model::{Instance, Snapshot};
/// let instance = Instance::new("10.0.0.7:8080".parse()?);
/// let snapshot = Snapshot::new("orders".parse()?, 1, vec![instance.clone()]);
/// assert_eq!(snapshot.get(&instance.key), Some(&instance));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    service: ServiceKey,
    revision: u64,
    instances: Box<[Instance]>,
    /// Absent from most lists: then every instance says what it registered.
    sources: Option<Box<Sources>>,
}

/// What lies between two snapshots of a service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diff<'a> {
    /// In the later snapshot only.
    pub added: Vec<&'a Instance>,
    /// In both, with other weight, state or metadata; as the later one has them.
    pub changed: Vec<&'a Instance>,
    /// In the earlier snapshot only.
    pub removed: Vec<&'a Instance>,
}

impl Snapshot {
    /// A snapshot of `instances` in any order; of several with one key the last one counts.
    pub fn new(service: ServiceKey, revision: u64, mut instances: Vec<Instance>) -> Self {
        instances.reverse();
        instances.sort_by(|a, b| a.key.cmp(&b.key)); // Stable: the last given comes first, and stays.
        instances.dedup_by(|later, kept| later.key == kept.key);
        Self { service, revision, instances: instances.into(), sources: None }
    }

    /// The same list with whose word counts more than the registrations'.
    #[cfg(feature = "protocol")]
    pub(crate) fn with_sources(self, sources: Sources) -> Self {
        Self { sources: (!sources.is_empty()).then(|| sources.into()), ..self }
    }

    /// As [`Snapshot::with_sources`], with those of another list.
    #[cfg(feature = "client")]
    pub(crate) fn with_sources_of(self, other: &Self) -> Self {
        Self { sources: other.sources.clone(), ..self }
    }

    /// The snapshot before anything is known: revision 0, no instances.
    pub fn empty(service: ServiceKey) -> Self {
        Self::new(service, 0, Vec::new())
    }

    /// Whose instances these are.
    pub fn service(&self) -> &ServiceKey {
        &self.service
    }

    /// Counts up with every change at its source; 0 before anything is known.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// All instances, sorted by key.
    pub fn instances(&self) -> &[Instance] {
        &self.instances
    }

    /// The instance with this key.
    pub fn get(&self, key: &InstanceKey) -> Option<&Instance> {
        let at = self.instances.binary_search_by(|instance| instance.key.cmp(key)).ok()?;
        Some(&self.instances[at])
    }

    /// Who has said the word at `key` in the metadata of an instance: nothing where it is what the instance
    /// registered, where there is no such word, and where the registry does not tell, as a real Nacos.
    pub fn source(&self, instance: &InstanceKey, key: &str) -> Option<Source> {
        self.sources.as_ref()?.of(instance, key)
    }

    /// What is said of the service as a whole at `key`, one that begins with `graceful.`: it holds for instances
    /// that are yet to start as well, so a list without instances has it too. Nothing where nothing is said, and
    /// where the registry does not tell, as a real Nacos.
    pub fn setting(&self, key: &str) -> Option<&str> {
        self.sources.as_ref()?.settings.get(key)
    }

    /// What changed from `earlier` to this snapshot.
    pub fn diff<'a>(&'a self, earlier: &'a Self) -> Diff<'a> {
        let mut diff = Diff::default();
        let (mut old, mut new) = (earlier.instances.iter().peekable(), self.instances.iter().peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (Some(was), Some(is)) => was.key.cmp(&is.key),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return diff,
            };
            match order {
                Ordering::Less => diff.removed.extend(old.next()),
                Ordering::Greater => diff.added.extend(new.next()),
                Ordering::Equal => {
                    let (was, is) = (old.next(), new.next());
                    diff.changed.extend(is.filter(|_| was != is));
                }
            }
        }
    }
}

impl Diff<'_> {
    /// Whether the two snapshots list the same.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Weight;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn instance(port: u16, weight: u8) -> Instance {
        let address = crate::model::Address::new("10.0.0.1", port).unwrap();
        Instance { weight: Weight::new(weight.into()).unwrap(), ..Instance::new(address) }
    }

    fn snapshot(list: &[(u16, u8)]) -> Snapshot {
        let instances = list.iter().map(|&(port, weight)| instance(port, weight)).collect();
        Snapshot::new("orders".parse().unwrap(), 1, instances)
    }

    proptest! {
        #[test]
        fn a_diff_leads_from_one_snapshot_to_the_other(
            old in prop::collection::vec((0u16..8, 0u8..3), 0..8),
            new in prop::collection::vec((0u16..8, 0u8..3), 0..8),
        ) {
            let (old, new) = (snapshot(&old), snapshot(&new));
            let diff = new.diff(&old);
            let by_key = |list: &[Instance]| -> BTreeMap<_, _> {
                list.iter().map(|i| (i.key.clone(), i.clone())).collect()
            };
            let mut reached = by_key(old.instances());
            for gone in &diff.removed {
                prop_assert!(reached.remove(&gone.key).is_some());
            }
            for came in &diff.added {
                prop_assert!(reached.insert(came.key.clone(), (*came).clone()).is_none());
            }
            for changed in &diff.changed {
                prop_assert!(reached.insert(changed.key.clone(), (*changed).clone()).is_some());
            }
            prop_assert_eq!(reached, by_key(new.instances()));
            prop_assert_eq!(diff.is_empty(), old.instances() == new.instances());
        }
    }

    #[test]
    fn of_two_instances_with_one_key_the_last_counts() {
        assert_eq!(snapshot(&[(1, 1), (1, 2)]).instances(), [instance(1, 2)]);
    }
}
