//! Which instances to believe in: the registry's list, and for a while some who are missing from it. The
//! rule is the table in the [front page](crate::client) of the client.

use crate::model::{Instance, InstanceKey, Removal, Snapshot};
use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long an instance that may only not be back yet is believed in while others are: three times the
/// longest pause that clients make between two tries to reach a registry.
const AWAITED_FOR: Duration = Duration::from_secs(15);

/// What the registry says of one service: who is listed, and why others are not.
#[derive(Clone, Debug)]
pub(in crate::client) struct Listing {
    pub(in crate::client) snapshot: Snapshot,
    /// Nothing from a registry that does not tell.
    pub(in crate::client) removed: Vec<Removal>,
}

/// The newest believed list of one service.
#[derive(Debug)]
pub(super) struct List {
    last: Arc<Snapshot>,
    origin: Origin,
    /// Newest revision that this connection brought. A registry that restarted may count from anew, so
    /// revisions of two connections are not compared.
    newest: Option<u64>,
    /// Listed instances that this client itself has taken off.
    withdrawn: BTreeSet<InstanceKey>,
    /// Instances of `last` that the registry does not list.
    kept: BTreeMap<InstanceKey, Kept>,
    /// How long they are kept.
    keep: Duration,
}

/// Where the last list comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// Nothing is known.
    None,
    /// A file that an earlier process left; nobody knows how the world has moved since.
    File,
    Registry,
}

/// An instance that is believed in though it is not listed.
#[derive(Clone, Copy, Debug)]
struct Kept {
    until: Instant,
    /// Whether it may only not be back yet: this connection has never listed it.
    awaited: bool,
}

/// What is known of an instance that is missing from a list.
#[derive(Clone, Copy, Debug)]
struct Missing {
    /// Somebody meant it to go.
    ordered_off: bool,
    awaited: bool,
    /// There is anyone else to turn to.
    others_listed: bool,
}

impl Missing {
    /// How much longer it is believed in: nothing beyond `keep` from the first list without it, and no
    /// further list lengthens that.
    fn kept_for(self, keep: Duration) -> Duration {
        match self {
            Self { ordered_off: true, .. } => Duration::ZERO,
            Self { others_listed: false, .. } => keep,
            Self { awaited: true, .. } => AWAITED_FOR,
            Self { awaited: false, .. } => Duration::ZERO,
        }
    }
}

impl List {
    /// Before anything is known. `keep` is how long an instance is believed in that is missing without an
    /// order.
    pub(super) fn new(empty: Snapshot, keep: Duration) -> Self {
        Self {
            last: Arc::new(empty),
            origin: Origin::None,
            newest: None,
            withdrawn: BTreeSet::new(),
            kept: BTreeMap::new(),
            keep,
        }
    }

    /// Whether there is a list.
    pub(super) fn is_known(&self) -> bool {
        self.origin != Origin::None
    }

    /// Starts from the list of an earlier process, unless something is known; whether it is to be published.
    pub(super) fn start_from(&mut self, file: Arc<Snapshot>) -> bool {
        let unknown = !self.is_known();
        if unknown {
            (self.last, self.origin) = (file, Origin::File);
        }
        unknown
    }

    /// Takes a list in, and returns what is to be published.
    pub(super) fn take_in(&mut self, heard: Listing, now: Instant) -> Option<Arc<Snapshot>> {
        let Listing { snapshot, removed } = heard;
        if self.newest.is_some_and(|newest| snapshot.revision() < newest) {
            return None;
        }
        let others_listed = !snapshot.instances().is_empty();
        let awaited = self.newest.is_none() && self.origin == Origin::Registry;
        let anew = Kept { until: now + self.keep, awaited };
        let before = mem::take(&mut self.kept);
        let mut instances = snapshot.instances().to_vec();
        for missing in self.last.instances().iter().filter(|instance| snapshot.get(&instance.key).is_none()) {
            let Kept { until, awaited } = before.get(&missing.key).copied().unwrap_or(anew);
            let ordered_off = self.withdrawn.contains(&missing.key)
                || removed.iter().any(|removal| removal.orders_off(missing));
            let kept_for = Missing { ordered_off, awaited, others_listed }.kept_for(self.keep);
            let until = until.min(now + kept_for);
            if until > now {
                self.kept.insert(missing.key.clone(), Kept { until, awaited });
                instances.push(missing.clone());
            }
        }
        if self.kept.len() > before.len() {
            let (service, kept, listed) = (snapshot.service(), self.kept.len(), snapshot.instances().len());
            tracing::warn!(service.name = %service, kept, listed, "missing without an order: kept for a while");
        }
        self.newest = Some(snapshot.revision());
        self.withdrawn.retain(|key| snapshot.get(key).is_some());
        self.believe(&snapshot, instances)
    }

    /// The last list without those who have been kept for long enough.
    pub(super) fn take_overdue(&mut self, now: Instant) -> Option<Arc<Snapshot>> {
        let overdue = self.kept.iter().filter(|(_, kept)| kept.until <= now);
        let overdue: BTreeSet<InstanceKey> = overdue.map(|(key, _)| key.clone()).collect();
        if overdue.is_empty() {
            return None;
        }
        self.kept.retain(|key, _| !overdue.contains(key));
        let last = self.last.clone();
        let staying = last.instances().iter().filter(|instance| !overdue.contains(&instance.key));
        self.believe(&last, staying.cloned().collect())
    }

    /// Whether the last list is the registry's own word, with nobody kept.
    pub(super) fn is_whole(&self) -> bool {
        self.origin == Origin::Registry && self.kept.is_empty()
    }

    /// When the first of those who are kept has been kept for long enough.
    pub(super) fn due(&self) -> Option<Instant> {
        self.kept.values().map(|kept| kept.until).min()
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
        self.kept.clear();
    }

    /// Believes in `instances` at the revision of `heard`; returns the list if it is news.
    fn believe(&mut self, heard: &Snapshot, instances: Vec<Instance>) -> Option<Arc<Snapshot>> {
        let list = Snapshot::new(heard.service().clone(), heard.revision(), instances).with_sources_of(heard);
        let before = self.origin;
        if before != Origin::File || self.kept.is_empty() {
            self.origin = Origin::Registry;
        }
        if (before, self.origin) == (Origin::File, Origin::Registry) {
            tracing::info!(service.name = %list.service(), "the registry's list replaces that of the file");
        }
        if before == self.origin && *self.last == list {
            return None;
        }
        self.last = Arc::new(list);
        Some(self.last.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Address, Reason};
    use proptest::prelude::*;

    const KEEP: Duration = Duration::from_secs(60);
    /// The reasons that are no orders, and none.
    const ACCIDENTS: [Option<Reason>; 3] = [None, Some(Reason::Expired), Some(Reason::ConnectionLost)];

    fn instance(port: u16) -> Instance {
        Instance::new(Address::new("10.0.0.7", port).unwrap())
    }

    fn snapshot(revision: u64, ports: &[u16]) -> Snapshot {
        let instances = ports.iter().copied().map(instance).collect();
        Snapshot::new("orders".parse().unwrap(), revision, instances)
    }

    /// A list without a word about anyone who is missing.
    fn silent(revision: u64, ports: &[u16]) -> Listing {
        Listing { snapshot: snapshot(revision, ports), removed: Vec::new() }
    }

    /// A list that says of each of `gone` that it went for `reason`.
    fn telling(revision: u64, ports: &[u16], gone: &[u16], reason: Option<Reason>) -> Listing {
        let removed = gone.iter().filter_map(|port| Some(Removal::new(&instance(*port), reason?)));
        Listing { removed: removed.collect(), ..silent(revision, ports) }
    }

    fn key(port: u16) -> InstanceKey {
        instance(port).key
    }

    fn known(revision: u64, ports: &[u16]) -> List {
        let mut list = List::new(snapshot(0, &[]), KEEP);
        assert!(list.take_in(silent(revision, ports), Instant::now()).is_some());
        list
    }

    /// The same on a connection that has said nothing yet.
    fn reconnected(ports: &[u16]) -> List {
        let mut list = known(7, ports);
        list.disconnected();
        list
    }

    fn believed(list: &List) -> Vec<u16> {
        list.last.instances().iter().map(|instance| instance.address().port()).collect()
    }

    fn just_before(moment: Instant) -> Instant {
        moment.checked_sub(Duration::from_millis(1)).unwrap()
    }

    #[test]
    fn the_first_list_counts_even_when_it_is_empty() {
        let list = known(0, &[]);
        assert!(list.is_known() && list.is_whole() && list.due().is_none());
    }

    #[test]
    fn an_older_list_is_not_believed_within_a_connection_but_after_it() {
        let (mut list, now) = (known(7, &[1]), Instant::now());
        assert_eq!(list.take_in(silent(6, &[1, 2]), now), None);
        assert_eq!(list.take_in(silent(7, &[1]), now), None, "nothing new");
        list.disconnected();
        assert_eq!(*list.take_in(silent(1, &[1, 2]), now).unwrap(), snapshot(1, &[1, 2]));
    }

    #[test]
    fn an_order_counts_at_once_even_for_the_last_instance() {
        for reason in [Reason::Deregistered, Reason::Disabled].map(Some) {
            for mut list in [known(7, &[1, 2]), reconnected(&[1, 2])] {
                list.take_in(telling(8, &[2], &[1], reason), Instant::now());
                assert_eq!(believed(&list), [2]);
                list.take_in(telling(9, &[], &[1, 2], reason), Instant::now());
                assert_eq!((believed(&list), list.due()), (vec![], None));
            }
        }
    }

    #[test]
    fn who_went_by_accident_goes_at_once_while_others_are_listed() {
        for reason in ACCIDENTS {
            let mut list = known(7, &[1, 2]);
            list.take_in(telling(8, &[2], &[1], reason), Instant::now());
            assert_eq!((believed(&list), list.due()), (vec![2], None), "{reason:?}");
        }
    }

    #[test]
    fn a_list_that_lost_everyone_by_accident_is_believed_after_a_while() {
        for reason in ACCIDENTS {
            let (mut list, now) = (known(7, &[1, 2]), Instant::now());
            let until = now + KEEP;
            list.take_in(telling(8, &[], &[1, 2], reason), now);
            list.take_in(telling(9, &[], &[1, 2], reason), now + KEEP / 2);
            assert_eq!((believed(&list), list.is_whole()), (vec![1, 2], false), "{reason:?}");
            assert_eq!(list.due(), Some(until), "the first empty list set the term");
            assert_eq!(list.take_overdue(just_before(until)), None);
            assert_eq!(list.take_overdue(until), Some(Arc::new(snapshot(9, &[]))));
            assert!(list.is_whole());
            assert_eq!(list.take_overdue(until), None);
        }
    }

    #[test]
    fn of_an_empty_list_only_those_are_kept_who_were_not_ordered_off() {
        let (mut list, now) = (known(7, &[1, 2]), Instant::now());
        list.take_in(telling(8, &[], &[1], Some(Reason::Deregistered)), now);
        assert_eq!(believed(&list), [2]);
        list.take_in(telling(9, &[], &[2], Some(Reason::Disabled)), now);
        assert_eq!((believed(&list), list.due()), (vec![], None));
    }

    #[test]
    fn a_list_with_instances_lifts_an_empty_one() {
        let (mut list, now) = (known(7, &[1, 2]), Instant::now());
        list.take_in(silent(8, &[]), now);
        assert!(list.take_in(silent(9, &[2]), now).is_some());
        assert_eq!((believed(&list), list.due()), (vec![2], None));
    }

    #[test]
    fn after_a_reconnect_those_who_are_not_back_yet_are_kept_for_a_while() {
        for reason in ACCIDENTS {
            let (mut list, now) = (reconnected(&[1, 2, 3]), Instant::now());
            list.take_in(telling(1, &[2], &[1, 3], reason), now);
            assert_eq!(believed(&list), [1, 2, 3], "{reason:?}");
            let (later, until) = (now + AWAITED_FOR / 2, now + AWAITED_FOR);
            list.take_in(silent(2, &[2, 3]), later);
            assert_eq!(believed(&list), [1, 2, 3]);
            list.take_in(silent(3, &[2]), later);
            assert_eq!(believed(&list), [1, 2], "the third was back and went");
            list.take_in(silent(4, &[]), later);
            assert_eq!((believed(&list), list.due()), (vec![1, 2], Some(until)), "no list lengthens a term");
            assert_eq!(list.take_overdue(just_before(until)), None);
            assert_eq!(list.take_overdue(until), Some(Arc::new(snapshot(4, &[2]))));
        }
    }

    #[test]
    fn the_others_have_some_time_once_the_first_is_back() {
        let (mut list, now) = (reconnected(&[1, 2]), Instant::now());
        list.take_in(silent(1, &[]), now);
        assert_eq!(list.due(), Some(now + KEEP));
        list.take_in(silent(2, &[2]), now + KEEP / 2);
        assert_eq!((believed(&list), list.due()), (vec![1, 2], Some(now + KEEP / 2 + AWAITED_FOR)));
    }

    #[test]
    fn another_incarnation_at_the_address_takes_the_place_of_one_that_is_kept() {
        let (mut list, now) = (reconnected(&[1, 2]), Instant::now());
        list.take_in(silent(1, &[2]), now);
        let heavier = Instance { weight: crate::model::Weight::new(2.0).unwrap(), ..instance(1) };
        let both = Snapshot::new("orders".parse().unwrap(), 2, vec![heavier.clone(), instance(2)]);
        list.take_in(Listing { snapshot: both, removed: Vec::new() }, now);
        assert_eq!((list.last.get(&key(1)), list.due()), (Some(&heavier), None));
    }

    #[test]
    fn a_lost_connection_takes_its_terms_with_it() {
        let (mut list, now) = (known(7, &[1]), Instant::now());
        list.take_in(silent(8, &[]), now);
        list.disconnected();
        assert_eq!((list.take_overdue(now + KEEP), believed(&list)), (None, vec![1]));
    }

    #[test]
    fn nobody_is_kept_for_no_time() {
        let mut list = List::new(snapshot(0, &[]), Duration::ZERO);
        list.take_in(silent(7, &[1, 2]), Instant::now());
        list.disconnected();
        list.take_in(silent(8, &[2]), Instant::now());
        assert_eq!(believed(&list), [2]);
        list.take_in(silent(9, &[]), Instant::now());
        assert_eq!((believed(&list), list.due()), (vec![], None));
    }

    #[test]
    fn an_empty_list_is_believed_at_once_when_we_took_off_all_that_was_listed() {
        let (mut list, now) = (known(7, &[1, 2]), Instant::now());
        list.withdraw(&key(1));
        list.take_in(silent(8, &[]), now);
        assert_eq!(believed(&list), [2], "the other one may still run");
        list.withdraw(&key(2));
        list.take_in(silent(9, &[]), now);
        assert_eq!(believed(&list), [] as [u16; 0]);

        let (mut list, now) = (known(7, &[1]), Instant::now());
        list.withdraw(&key(1));
        list.restore(&key(1));
        list.take_in(silent(8, &[]), now);
        assert_eq!(believed(&list), [1], "registered again meanwhile");
    }

    #[test]
    fn what_was_withdrawn_is_forgotten_once_a_list_comes_without_it() {
        let (mut list, now) = (known(7, &[1, 2]), Instant::now());
        list.withdraw(&key(1));
        list.take_in(silent(8, &[2]), now);
        list.take_in(silent(9, &[1]), now);
        list.take_in(silent(10, &[]), now);
        assert_eq!(believed(&list), [1]);
    }

    fn from_file(ports: &[u16]) -> List {
        let mut list = List::new(snapshot(0, &[]), KEEP);
        assert!(list.start_from(Arc::new(snapshot(70, ports))));
        list
    }

    #[test]
    fn a_list_from_a_file_gives_way_to_the_first_that_lists_anyone() {
        let (mut list, now) = (from_file(&[1, 2]), Instant::now());
        assert!(list.is_known() && !list.is_whole());
        assert!(!list.start_from(Arc::new(snapshot(70, &[9]))), "something is known");
        list.disconnected();
        list.take_in(silent(3, &[]), now);
        assert_eq!((believed(&list), list.due()), (vec![1, 2], Some(now + KEEP)));
        list.disconnected();
        list.take_in(silent(4, &[2, 3]), now);
        assert_eq!((believed(&list), list.is_whole()), (vec![2, 3], true));

        let mut list = from_file(&[1]);
        assert!(list.take_in(silent(70, &[1]), now).is_some(), "it is the registry's word now");
        let mut list = from_file(&[1]);
        list.take_in(silent(3, &[]), now);
        assert!(list.take_overdue(now + KEEP).is_some());
        assert_eq!((believed(&list), list.is_whole()), (vec![], true));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Hear { listed: Vec<u16>, gone: Vec<u16>, reason: Option<Reason> },
        Reconnect,
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let ports = || prop::collection::vec(0u16..5, 0..4);
        let reason = prop::sample::select(vec![
            None,
            Some(Reason::Deregistered),
            Some(Reason::Disabled),
            Some(Reason::Expired),
            Some(Reason::ConnectionLost),
        ]);
        prop_oneof![
            4 => (ports(), ports(), reason).prop_map(|(listed, gone, reason)| Step::Hear { listed, gone, reason }),
            1 => Just(Step::Reconnect),
            2 => (1u64..90).prop_map(Step::Wait),
        ]
    }

    proptest! {
        /// Whatever comes in whatever order: what is promised of a list holds after every step.
        #[test]
        fn what_is_promised_of_a_list_holds(
            file in prop::collection::vec(0u16..5, 0..3),
            steps in prop::collection::vec(step(), 1..40),
        ) {
            let (mut list, mut now) = (List::new(snapshot(0, &[]), KEEP), Instant::now());
            if !file.is_empty() {
                list.start_from(Arc::new(snapshot(70, &file)));
            }
            // Who was heard of on this connection, and until when each is kept that is missing on it.
            let (mut heard, mut missing) = (BTreeSet::new(), BTreeMap::new());
            let (mut connected, mut from_file) = (false, file);
            for (revision, step) in (1..).zip(steps) {
                let before = believed(&list);
                match step {
                    Step::Reconnect => {
                        list.disconnected();
                        (heard, missing, connected) = (BTreeSet::new(), BTreeMap::new(), false);
                        prop_assert_eq!(believed(&list), before, "a lost connection takes nobody off");
                    }
                    Step::Wait(s) => {
                        now += Duration::from_secs(s);
                        list.take_overdue(now);
                        let is = believed(&list);
                        let overdue = |port: &u16| missing.get(port).is_some_and(|until| *until <= now);
                        let staying: Vec<_> = before.into_iter().filter(|port| !overdue(port)).collect();
                        prop_assert_eq!(&is, &staying);
                        missing.retain(|port, _| is.contains(port));
                    }
                    Step::Hear { listed, gone, reason } => {
                        list.take_in(telling(revision, &listed, &gone, reason), now);
                        let is = believed(&list);
                        connected = true;
                        for port in &listed {
                            prop_assert!(is.contains(port), "{port} is listed");
                            heard.insert(*port);
                            missing.remove(port);
                        }
                        if !listed.is_empty() {
                            heard.extend(from_file.drain(..)); // As if it had been listed here.
                        }
                        prop_assert!(is.iter().all(|port| listed.contains(port) || before.contains(port)));
                        for port in before.into_iter().filter(|port| !listed.contains(port)) {
                            let until = missing.entry(port).or_insert(now + KEEP);
                            let ordered = gone.contains(&port) && reason.is_some_and(Reason::is_order);
                            if ordered || heard.contains(&port) && !listed.is_empty() {
                                *until = now;
                            } else if !listed.is_empty() {
                                *until = (*until).min(now + AWAITED_FOR);
                            }
                            prop_assert_eq!(is.contains(&port), *until > now, "{} is missing", port);
                        }
                        missing.retain(|port, _| is.contains(port));
                    }
                }
                prop_assert_eq!(list.due().is_some(), connected && !missing.is_empty());
            }
        }
    }
}
