//! Which lists of a service's instances to believe.

use crate::model::{InstanceKey, Snapshot};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The newest believed list of one service.
#[derive(Debug)]
pub(super) struct List {
    last: Arc<Snapshot>,
    known: bool,
    /// Newest revision that this connection brought. A registry that restarted may count from anew, so
    /// revisions of two connections are not compared.
    newest: Option<u64>,
    /// Listed instances that this client itself has taken off.
    withdrawn: BTreeSet<InstanceKey>,
    /// An empty list that is not believed yet, and when it will be.
    withheld: Option<(Snapshot, Instant)>,
    /// How long an empty list is not believed.
    keep: Duration,
}

/// Whether a list replaces the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judgement {
    Apply,
    /// Only if it is still the registry's word after a while.
    Withhold,
}

/// An empty list is no order to forget everyone: a registry that has just restarted sends one before its
/// providers are back. It counts at once when nothing was known, or when this client itself took off all
/// that was.
fn judge(last: &Snapshot, incoming: &Snapshot, withdrawn: &BTreeSet<InstanceKey>) -> Judgement {
    let explained = last.instances().iter().all(|instance| withdrawn.contains(&instance.key));
    if incoming.instances().is_empty() && !explained { Judgement::Withhold } else { Judgement::Apply }
}

impl List {
    /// Before anything is known. `keep` is how long an empty list is not believed.
    pub(super) fn new(empty: Snapshot, keep: Duration) -> Self {
        let (withdrawn, last) = (BTreeSet::new(), Arc::new(empty));
        Self { last, known: false, newest: None, withdrawn, withheld: None, keep }
    }

    /// Whether a list has come.
    pub(super) fn is_known(&self) -> bool {
        self.known
    }

    /// Takes a list in, and returns it if it is to be published.
    pub(super) fn take_in(&mut self, incoming: Snapshot, now: Instant) -> Option<Arc<Snapshot>> {
        if self.newest.is_some_and(|newest| incoming.revision() < newest) {
            return None;
        }
        self.newest = Some(incoming.revision());
        match judge(&self.last, &incoming, &self.withdrawn) {
            Judgement::Apply => self.apply(incoming),
            Judgement::Withhold => {
                let until = self.withheld.as_ref().map_or(now + self.keep, |(_, until)| *until);
                self.withheld = Some((incoming, until));
                None
            }
        }
    }

    /// The withheld list, once it has been the registry's word for long enough.
    pub(super) fn take_overdue(&mut self, now: Instant) -> Option<Arc<Snapshot>> {
        let (overdue, _) = self.withheld.take_if(|(_, until)| *until <= now)?;
        self.apply(overdue)
    }

    /// When a withheld list becomes overdue.
    pub(super) fn due(&self) -> Option<Instant> {
        self.withheld.as_ref().map(|(_, until)| *until)
    }

    /// This client takes the instance off: a list without it is expected.
    pub(super) fn withdraw(&mut self, key: &InstanceKey) {
        if self.last.get(key).is_some() {
            self.withdrawn.insert(key.clone());
        }
    }

    /// This client registers the instance again.
    pub(super) fn restore(&mut self, key: &InstanceKey) {
        self.withdrawn.remove(key);
    }

    /// The connection is gone: what it said last is kept, and nothing it left open is believed.
    pub(super) fn disconnected(&mut self) {
        self.newest = None;
        self.withheld = None;
    }

    fn apply(&mut self, list: Snapshot) -> Option<Arc<Snapshot>> {
        self.withheld = None;
        self.withdrawn.retain(|key| list.get(key).is_some());
        if self.known && *self.last == list {
            return None;
        }
        self.known = true;
        self.last = Arc::new(list);
        Some(self.last.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Instance;

    const KEEP: Duration = Duration::from_secs(60);

    fn snapshot(revision: u64, ports: &[u16]) -> Snapshot {
        let instance = |port: &u16| Instance::new(format!("10.0.0.7:{port}").parse().unwrap());
        Snapshot::new("orders".parse().unwrap(), revision, ports.iter().map(instance).collect())
    }

    fn key(port: u16) -> InstanceKey {
        snapshot(0, &[port]).instances()[0].key.clone()
    }

    fn known(revision: u64, ports: &[u16]) -> List {
        let mut list = List::new(snapshot(0, &[]), KEEP);
        assert!(list.take_in(snapshot(revision, ports), Instant::now()).is_some());
        list
    }

    #[test]
    fn the_first_list_counts_even_when_it_is_empty() {
        let list = known(0, &[]);
        assert!(list.is_known() && list.due().is_none());
    }

    #[test]
    fn an_older_list_is_not_believed_within_a_connection_but_after_it() {
        let (mut list, now) = (known(7, &[1]), Instant::now());
        assert_eq!(list.take_in(snapshot(6, &[1, 2]), now), None);
        assert_eq!(list.take_in(snapshot(7, &[1]), now), None, "nothing new");
        list.disconnected();
        assert_eq!(*list.take_in(snapshot(1, &[1, 2]), now).unwrap(), snapshot(1, &[1, 2]));
    }

    #[test]
    fn an_empty_list_is_believed_after_a_while() {
        let (mut list, now) = (known(7, &[1, 2]), Instant::now());
        let until = now + KEEP;
        assert_eq!(list.take_in(snapshot(8, &[]), now), None);
        assert_eq!(list.take_in(snapshot(9, &[]), now + KEEP / 2), None);
        assert_eq!(list.due(), Some(until), "the first empty list set the term");
        assert_eq!(list.take_overdue(until.checked_sub(Duration::from_millis(1)).unwrap()), None);
        assert_eq!(list.take_overdue(until), Some(Arc::new(snapshot(9, &[]))));
        assert_eq!(list.take_overdue(until), None);
    }

    #[test]
    fn a_list_with_instances_lifts_an_empty_one() {
        let (mut list, now) = (known(7, &[1, 2]), Instant::now());
        list.take_in(snapshot(8, &[]), now);
        assert!(list.take_in(snapshot(9, &[2]), now).is_some());
        assert_eq!((list.due(), list.take_overdue(now + KEEP)), (None, None));
    }

    #[test]
    fn a_lost_connection_takes_its_unbelieved_list_with_it() {
        let (mut list, now) = (known(7, &[1]), Instant::now());
        list.take_in(snapshot(8, &[]), now);
        list.disconnected();
        assert_eq!(list.take_overdue(now + KEEP), None);
    }

    #[test]
    fn an_empty_list_is_believed_at_once_when_we_took_off_all_that_was_listed() {
        let (mut list, now) = (known(7, &[1, 2]), Instant::now());
        list.withdraw(&key(1));
        assert_eq!(list.take_in(snapshot(8, &[]), now), None, "the other one may still run");
        list.withdraw(&key(2));
        assert!(list.take_in(snapshot(9, &[]), now).is_some());

        let (mut list, now) = (known(7, &[1]), Instant::now());
        list.withdraw(&key(1));
        list.restore(&key(1));
        assert_eq!(list.take_in(snapshot(8, &[]), now), None, "registered again meanwhile");
    }

    #[test]
    fn what_was_withdrawn_is_forgotten_once_a_list_comes_without_it() {
        let (mut list, now) = (known(7, &[1, 2]), Instant::now());
        list.withdraw(&key(1));
        list.take_in(snapshot(8, &[2]), now);
        list.take_in(snapshot(9, &[1]), now);
        assert_eq!(list.take_in(snapshot(10, &[]), now), None);
    }
}
