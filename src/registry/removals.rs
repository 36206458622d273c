//! Who has gone off the lists lately, and why: so that consumers can tell an order from an accident.
//!
//! Pure: moments come in as arguments. Bounded in number and in time, and independent of the services
//! themselves, so that the reason for the last instance's going outlives it.

use super::catalog::shrink;
use crate::model::{Removal, ServiceKey, Snapshot, UnixMillis};
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

/// How long a removal is told. A consumer is told at once; this is for one that has been away, and as long
/// as it keeps an instance that is missing without a reason.
const TOLD_FOR: Duration = Duration::from_secs(60);
/// Removals of one service: those between two pushes of a fleet that is being scaled down at once; about
/// 20 KB on the wire.
const OF_SERVICE_MAX: usize = 256;
/// Removals in all: about ten megabytes.
const MAX: usize = 100_000;

/// The removals of all services.
#[derive(Debug, Default)]
pub(super) struct Removals {
    /// All of them, to be forgotten in this order: one piece of memory, which goes back to the system whole.
    all: VecDeque<(UnixMillis, ServiceKey, Removal)>,
    /// How many were forgotten before the first of them.
    forgotten: usize,
    /// Those of each service by their number, the newest last; never empty.
    services: HashMap<ServiceKey, VecDeque<usize>>,
}

impl Removals {
    /// Writes down that an instance of `service` has gone.
    pub(super) fn record(&mut self, service: &ServiceKey, removal: Removal, now: UnixMillis) {
        let number = self.forgotten + self.all.len();
        self.all.push_back((now, service.clone(), removal));
        let of_service = self.services.entry(service.clone()).or_default();
        if of_service.len() == OF_SERVICE_MAX {
            of_service.pop_front();
        }
        of_service.push_back(number);
        self.forget(now);
    }

    /// The removals from `list`, for as long as they are told: the newest of each instance, and none of one
    /// that is listed again.
    pub(super) fn from(&self, list: &Snapshot, now: UnixMillis) -> Vec<Removal> {
        let mut seen = HashSet::new();
        let told = self
            .of(list.service())
            .rev()
            .take_while(|(at, _)| now.since(*at) < TOLD_FOR)
            .map(|(_, removal)| removal)
            .filter(|removal| seen.insert((&removal.address, removal.epoch)) && !lists(list, removal));
        told.cloned().collect()
    }

    /// When the first of the removals from a service that are told at `now` is told no more.
    pub(super) fn until(&self, service: &ServiceKey, now: UnixMillis) -> Option<UnixMillis> {
        self.of(service).map(|(at, _)| at + TOLD_FOR).find(|until| *until > now)
    }

    /// Gives back the memory of what is told no more.
    pub(super) fn tidy(&mut self, now: UnixMillis) {
        self.forget(now);
        shrink(&mut self.services);
        if self.all.len() < self.all.capacity() / 4 {
            self.all.shrink_to(self.all.len() * 2);
        }
    }

    /// The removals from a service, the newest last.
    fn of(&self, service: &ServiceKey) -> impl DoubleEndedIterator<Item = (UnixMillis, &Removal)> {
        let numbers = self.services.get(service).into_iter().flatten();
        let removals = numbers.filter_map(|number| self.all.get(number - self.forgotten));
        removals.map(|(at, _, removal)| (*at, removal))
    }

    /// Forgets what is told no more, and the oldest where there are too many.
    fn forget(&mut self, now: UnixMillis) {
        while let Some((at, ..)) = self.all.front()
            && (now.since(*at) >= TOLD_FOR || self.all.len() > MAX)
            && let Some((_, service, _)) = self.all.pop_front()
        {
            if let Some(of_service) = self.services.get_mut(&service) {
                if of_service.front() == Some(&self.forgotten) {
                    of_service.pop_front();
                }
                if of_service.is_empty() {
                    self.services.remove(&service);
                }
            }
            self.forgotten += 1;
        }
    }
}

/// Whether readers of `list` see the incarnation that `removal` speaks of.
fn lists(list: &Snapshot, removal: &Removal) -> bool {
    let instances = list.instances();
    let from = instances.partition_point(|instance| *instance.address() < removal.address);
    let mut here = instances[from..].iter().take_while(|instance| *instance.address() == removal.address);
    here.any(|instance| instance.enabled && instance.epoch() == removal.epoch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Address, Instance, Metadata, Reason, key};

    const START: UnixMillis = UnixMillis::new(1_000_000);

    fn orders() -> ServiceKey {
        "orders".parse().unwrap()
    }

    fn instance(port: u16, epoch: u64) -> Instance {
        let metadata = Metadata::from_iter([(key::EPOCH, epoch.to_string())]);
        Instance::new(Address::new("10.0.0.7", port).unwrap()).with_metadata(metadata)
    }

    fn list(instances: &[Instance]) -> Snapshot {
        Snapshot::new(orders(), 1, instances.to_vec())
    }

    fn removal(port: u16, reason: Reason) -> Removal {
        Removal::new(&instance(port, 1), reason)
    }

    #[test]
    fn the_newest_reason_of_each_instance_is_told_for_a_while() {
        let mut removals = Removals::default();
        let later = START + TOLD_FOR / 2;
        removals.record(&orders(), removal(1, Reason::Deregistered), START);
        removals.record(&orders(), removal(2, Reason::Disabled), START);
        removals.record(&orders(), removal(1, Reason::ConnectionLost), later);
        removals.record(&"mail".parse().unwrap(), removal(3, Reason::Expired), later);
        let expected = [removal(1, Reason::ConnectionLost), removal(2, Reason::Disabled)];
        assert_eq!(removals.from(&list(&[]), later), expected);
        assert_eq!(removals.from(&list(&[]), START + TOLD_FOR), expected[..1]);
        assert_eq!(removals.from(&list(&[]), later + TOLD_FOR), []);
    }

    #[test]
    fn what_is_told_no_more_takes_no_memory() {
        let mut removals = Removals::default();
        for service in 0..1000 {
            let service = format!("service-{service}").parse().unwrap();
            removals.record(&service, removal(1, Reason::Expired), START);
        }
        removals.tidy(START + TOLD_FOR);
        assert_eq!((removals.services.capacity(), removals.all.capacity()), (0, 0));
    }

    #[test]
    fn who_is_listed_again_has_not_gone() {
        let mut removals = Removals::default();
        removals.record(&orders(), removal(1, Reason::Disabled), START);
        assert_eq!(removals.from(&list(&[instance(1, 1)]), START), []);
        let hidden = Instance { enabled: false, ..instance(1, 1) };
        for other in [hidden, instance(1, 2), instance(2, 1)] {
            assert_eq!(removals.from(&list(&[other]), START), [removal(1, Reason::Disabled)]);
        }
    }

    #[test]
    fn removals_are_bounded_in_a_service_and_in_all() {
        let mut removals = Removals::default();
        for port in 0..2 * OF_SERVICE_MAX {
            removals.record(&orders(), removal(u16::try_from(port).unwrap(), Reason::Expired), START);
        }
        let told = removals.from(&list(&[]), START);
        assert_eq!(told.len(), OF_SERVICE_MAX);
        assert_eq!(usize::from(told[0].address.port()), 2 * OF_SERVICE_MAX - 1, "the newest stay");

        for n in 0..MAX + 10 {
            let service = format!("s{n}").parse().unwrap();
            removals.record(&service, removal(1, Reason::Expired), START + Duration::from_millis(1));
        }
        assert_eq!((removals.all.len(), removals.services.len()), (MAX, MAX));
        removals.record(&orders(), removal(1, Reason::Expired), START + TOLD_FOR * 2);
        assert_eq!((removals.all.len(), removals.services.len()), (1, 1), "what is old takes no room");
    }

    #[test]
    fn a_clock_that_is_set_back_loses_and_keeps_nothing_for_ever() {
        let mut removals = Removals::default();
        removals.record(&orders(), removal(1, Reason::Disabled), START);
        let before = UnixMillis::new(1);
        removals.record(&orders(), removal(2, Reason::Disabled), before);
        assert_eq!(removals.from(&list(&[]), before).len(), 2);
        removals.record(&"mail".parse().unwrap(), removal(3, Reason::Expired), START + TOLD_FOR);
        assert_eq!(removals.services.len(), 1);
    }
}
