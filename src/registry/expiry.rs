//! Leases by deadline: which instances have been silent for too long.
//!
//! Pure: moments come in as arguments. A heartbeat only notes its moment; the agenda is put right when the
//! old deadline comes. So a heartbeat costs one look-up, and nothing ever goes through all leases.

use super::catalog::shrink;
use super::senders::{Sender, Senders};
use crate::model::{Address, Lease, Liveness, ServiceKey, UnixMillis};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What a lease keeps alive: the one instance that is registered over HTTP for an address in a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LeaseKey {
    /// Shared, for each lease has its key twice.
    pub(crate) service: Arc<ServiceKey>,
    pub(crate) address: Address,
}

/// All leases.
#[derive(Debug, Default)]
pub(crate) struct Expiry {
    /// How many leases each service has.
    services: HashMap<Arc<ServiceKey>, usize>,
    leases: HashMap<LeaseKey, Held>,
    agenda: BTreeSet<(Instant, LeaseKey)>,
}

#[derive(Debug)]
struct Held {
    lease: Lease,
    last_beat: Instant,
    healthy: bool,
    /// Who keeps it alive.
    senders: Senders,
    /// Its place in the agenda: never after the moment at which something is to be done.
    looked_at: Option<Instant>,
}

/// What a heartbeat did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Renewal {
    /// Time until the next heartbeat is due.
    pub(crate) interval: Duration,
    /// Whether the instance had been unhealthy.
    pub(crate) recovered: bool,
}

/// A lease by its service and address.
type Named<'a> = (&'a ServiceKey, &'a Address);

impl Expiry {
    /// Starts a lease, or starts it anew.
    pub(crate) fn grant(&mut self, named: Named<'_>, lease: Lease, healthy: bool, now: Instant) {
        let senders = self.held_mut(named).map(|held| std::mem::take(&mut held.senders)).unwrap_or_default();
        self.end(named);
        let (service, address) = named;
        let key = self
            .key(named)
            .unwrap_or_else(|| LeaseKey { service: Arc::new(service.clone()), address: address.clone() });
        *self.services.entry(key.service.clone()).or_default() += 1;
        let held = Held { lease, last_beat: now, healthy, senders, looked_at: None };
        self.leases.insert(key.clone(), held);
        self.schedule(key);
    }

    /// Gives a lease other times, counted from its last heartbeat; that there is none changes nothing.
    pub(crate) fn change(&mut self, named: Named<'_>, lease: Lease) {
        let Some(key) = self.key(named) else { return };
        let Some(held) = self.leases.get_mut(&key) else { return };
        held.lease = lease;
        self.schedule(key);
    }

    /// Notes a heartbeat; nothing when there is no such lease.
    pub(crate) fn renew(&mut self, named: Named<'_>, now: Instant) -> Option<Renewal> {
        let key = self.key(named)?;
        let held = self.leases.get_mut(&key)?;
        held.last_beat = now;
        let renewal = Renewal { interval: held.lease.interval(), recovered: !held.healthy };
        if renewal.recovered {
            held.healthy = true;
            self.schedule(key); // The next deadline may lie before the one it was waiting for.
        }
        Some(renewal)
    }

    /// Notes who keeps a lease alive.
    pub(crate) fn hear(&mut self, named: Named<'_>, sender: Sender, now: UnixMillis) {
        if let Some(held) = self.held_mut(named) {
            held.senders.hear(sender, now);
        }
    }

    /// Who keeps a lease alive; nothing when there is none.
    pub(crate) fn senders(&self, named: Named<'_>) -> Option<&Senders> {
        self.leases.get(&self.key(named)?).map(|held| &held.senders)
    }

    /// Ends a lease without a word.
    pub(crate) fn end(&mut self, named: Named<'_>) {
        if let Some(key) = self.key(named) {
            self.end_by(key);
        }
    }

    /// Up to `max` leases whose liveness has changed by `now`, with what it is now, and who was heard last;
    /// expired ones are gone.
    pub(crate) fn due(&mut self, now: Instant, max: usize) -> Vec<(LeaseKey, Liveness, Option<Sender>)> {
        let mut due = Vec::new();
        while due.len() < max {
            let Some(entry) = self.agenda.first().filter(|(at, _)| *at <= now) else { break };
            let key = entry.1.clone();
            let held = self.leases.get_mut(&key).expect("what is on the agenda has a lease");
            match held.lease.liveness(now - held.last_beat) {
                Liveness::Expired => {
                    let last = held.senders.last().cloned();
                    self.end_by(key.clone());
                    due.push((key, Liveness::Expired, last));
                    continue;
                }
                Liveness::Unhealthy if held.healthy => {
                    held.healthy = false;
                    due.push((key.clone(), Liveness::Unhealthy, held.senders.last().cloned()));
                }
                Liveness::Unhealthy | Liveness::Healthy => {}
            }
            self.schedule(key);
        }
        due
    }

    /// When to look again; nothing while there is no lease.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.agenda.first().map(|(at, _)| *at)
    }

    /// Number of leases.
    pub(crate) fn len(&self) -> usize {
        self.leases.len()
    }

    /// Gives back the memory of leases that have ended.
    pub(crate) fn tidy(&mut self) {
        shrink(&mut self.leases);
        shrink(&mut self.services);
    }

    /// The key of a lease; nothing in a service without leases.
    fn key(&self, (service, address): Named<'_>) -> Option<LeaseKey> {
        let (service, _) = self.services.get_key_value(service)?;
        Some(LeaseKey { service: service.clone(), address: address.clone() })
    }

    fn held_mut(&mut self, named: Named<'_>) -> Option<&mut Held> {
        let key = self.key(named)?;
        self.leases.get_mut(&key)
    }

    fn end_by(&mut self, key: LeaseKey) {
        let Some(Held { looked_at, .. }) = self.leases.remove(&key) else { return };
        if let Some(leases) = self.services.get_mut(&key.service) {
            *leases -= 1;
            if *leases == 0 {
                self.services.remove(&key.service);
            }
        }
        looked_at.map(|at| self.agenda.remove(&(at, key)));
    }

    fn schedule(&mut self, key: LeaseKey) {
        let Some(held) = self.leases.get_mut(&key) else { return };
        let expires_after = held.lease.expires_after();
        let span = if held.healthy { expires_after.min(held.lease.unhealthy_after()) } else { expires_after };
        // A span beyond the end of time, which metadata can ask for, never comes.
        let next = held.last_beat.checked_add(span);
        if let Some(at) = std::mem::replace(&mut held.looked_at, next) {
            self.agenda.remove(&(at, key.clone()));
        }
        self.agenda.extend(next.map(|at| (at, key)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Metadata;
    use proptest::prelude::*;

    fn key(port: u16) -> LeaseKey {
        let service = Arc::new("orders".parse().unwrap());
        LeaseKey { service, address: Address::new("10.0.0.7", port).unwrap() }
    }

    fn named(key: &LeaseKey) -> Named<'_> {
        (&key.service, &key.address)
    }

    fn seconds(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    fn due(expiry: &mut Expiry, now: Instant, max: usize) -> Vec<(LeaseKey, Liveness)> {
        expiry.due(now, max).into_iter().map(|(key, liveness, _)| (key, liveness)).collect()
    }

    #[test]
    fn a_silent_instance_is_unhealthy_after_15_seconds_and_gone_after_30() {
        let (mut expiry, start) = (Expiry::default(), Instant::now());
        expiry.grant(named(&key(1)), Lease::default(), true, start);
        assert_eq!(expiry.next(), Some(start + seconds(15)));
        assert_eq!(due(&mut expiry, start + Duration::from_millis(14_999), 9), []);
        assert_eq!(due(&mut expiry, start + seconds(15), 9), [(key(1), Liveness::Unhealthy)]);
        assert_eq!(due(&mut expiry, start + Duration::from_millis(29_999), 9), []);
        assert_eq!(due(&mut expiry, start + seconds(30), 9), [(key(1), Liveness::Expired)]);
        assert_eq!((expiry.next(), expiry.len()), (None, 0));
        assert_eq!(expiry.renew(named(&key(1)), start + seconds(31)), None);
    }

    #[test]
    fn a_heartbeat_puts_both_deadlines_off_and_heals() {
        let (mut expiry, start) = (Expiry::default(), Instant::now());
        expiry.grant(named(&key(1)), Lease::default(), true, start);
        let fine = Renewal { interval: seconds(5), recovered: false };
        assert_eq!(expiry.renew(named(&key(1)), start + seconds(10)), Some(fine));
        assert_eq!(due(&mut expiry, start + seconds(20), 9), []);
        assert_eq!(due(&mut expiry, start + seconds(25), 9), [(key(1), Liveness::Unhealthy)]);
        let healed = Renewal { recovered: true, ..fine };
        assert_eq!(expiry.renew(named(&key(1)), start + seconds(39)), Some(healed));
        assert_eq!(due(&mut expiry, start + seconds(53), 9), []);
        assert_eq!(due(&mut expiry, start + seconds(54), 9), [(key(1), Liveness::Unhealthy)]);
    }

    #[test]
    fn after_healing_the_nearer_deadline_counts_again() {
        let (mut expiry, start) = (Expiry::default(), Instant::now());
        let lease = Lease::new(seconds(1), seconds(2), seconds(1000)).unwrap();
        expiry.grant(named(&key(1)), lease, true, start);
        assert_eq!(due(&mut expiry, start + seconds(2), 9).len(), 1);
        expiry.renew(named(&key(1)), start + seconds(3));
        assert_eq!(expiry.next(), Some(start + seconds(5)));
    }

    #[test]
    fn a_lease_beyond_the_end_of_time_is_no_panic() {
        let (mut expiry, start) = (Expiry::default(), Instant::now());
        let forever = u64::MAX.to_string();
        let keys = ["preserved.heart.beat.timeout", "preserved.ip.delete.timeout"];
        let lease = Lease::from_metadata(&keys.map(|key| (key, forever.as_str())).into_iter().collect());
        expiry.grant(named(&key(1)), lease.unwrap(), true, start);
        assert_eq!(due(&mut expiry, start + seconds(1_000_000_000), 9), []);
    }

    #[test]
    fn other_times_count_from_the_last_heartbeat() {
        let (mut expiry, start) = (Expiry::default(), Instant::now());
        expiry.grant(named(&key(1)), Lease::default(), true, start);
        expiry.change(named(&key(2)), Lease::default());
        assert_eq!(expiry.len(), 1);
        expiry.change(named(&key(1)), Lease::new(seconds(1), seconds(2), seconds(3)).unwrap());
        assert_eq!(expiry.next(), Some(start + seconds(2)));
        assert_eq!(expiry.renew(named(&key(1)), start + seconds(1)).unwrap().interval, seconds(1));
        expiry.change(named(&key(1)), Lease::default().without_end());
        assert_eq!((expiry.next(), due(&mut expiry, start + seconds(1_000_000_000), 9)), (None, vec![]));
    }

    #[test]
    fn many_deadlines_come_in_portions() {
        let (mut expiry, start) = (Expiry::default(), Instant::now());
        (0..5).for_each(|port| expiry.grant(named(&key(port)), Lease::default(), true, start));
        let sizes = [0; 3].map(|_| due(&mut expiry, start + seconds(30), 2).len());
        assert_eq!(sizes, [2, 2, 1]);
    }

    proptest! {
        /// Whatever beats and looks come when: a look finds exactly what a search through all would find.
        #[test]
        fn a_look_finds_what_a_search_would_find(
            leases in prop::collection::vec((1u64..20, 1u64..20), 1..4),
            steps in prop::collection::vec((0u64..6, 0usize..8), 0..60),
        ) {
            let (mut expiry, start) = (Expiry::default(), Instant::now());
            let mut model = Vec::new();
            for (port, (unhealthy, expires)) in (0..).zip(leases) {
                let metadata = Metadata::from_iter([
                    ("preserved.heart.beat.interval", 1),
                    ("preserved.heart.beat.timeout", unhealthy),
                    ("preserved.ip.delete.timeout", expires),
                ].map(|(key, s)| (key, (s * 1000).to_string())));
                let lease = Lease::from_metadata(&metadata).unwrap();
                expiry.grant(named(&key(port)), lease, true, start);
                model.push(Some((lease, start, Liveness::Healthy)));
            }
            let mut now = start;
            for (wait, beaten) in steps {
                now += seconds(wait);
                let mut expected = Vec::new();
                for (port, entry) in (0..).zip(&mut model) {
                    let Some((lease, last_beat, was)) = entry else { continue };
                    let is = lease.liveness(now - *last_beat);
                    if is != *was && is != Liveness::Healthy {
                        expected.push((key(port), is));
                    }
                    *was = is;
                    if is == Liveness::Expired {
                        *entry = None;
                    }
                }
                let mut found = due(&mut expiry, now, usize::MAX);
                found.sort_by(|(a, _), (b, _)| a.cmp(b));
                prop_assert_eq!(found, expected);
                if let Some(entry) = model.get_mut(beaten) {
                    let port = u16::try_from(beaten).unwrap();
                    prop_assert_eq!(expiry.renew(named(&key(port)), now).is_some(), entry.is_some());
                    if let Some((_, last_beat, was)) = entry {
                        (*last_beat, *was) = (now, Liveness::Healthy);
                    }
                }
            }
        }
    }
}
