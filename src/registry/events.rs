//! What has happened to instances lately, by whom and why: also to those that are gone.
//!
//! Pure: moments come in as arguments. A ring for each instance, all under one bound, so that neither an
//! instance that is never quiet nor a great many of them take more than a little room. Nothing is decided by
//! these records.

use super::access::Operator;
use super::command::ConnectionId;
use super::peer::Peer;
use super::senders::Sender;
use crate::model::{Address, InstanceKey, Reason, ServiceKey, UnixMillis};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Events of one instance: its life, and what a hundred consumers have to say of its end.
const OF_INSTANCE_MAX: usize = 200;
/// Events in all: about fifteen megabytes.
pub(crate) const EVENTS_MAX: usize = 50_000;
/// How long an event is kept: whoever is called in the morning asks for the night.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// One thing that happened to an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recorded {
    pub(crate) at: UnixMillis,
    pub(crate) instance: InstanceKey,
    pub(crate) what: What,
    pub(crate) by: By,
    /// Of a coming, a going and what operators set: the revision of the list that shows it; whoever has that one or
    /// a later one knows. 0 of all else.
    pub(crate) list: u64,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Came,
    Went(Reason),
    BecameHealthy,
    BecameUnhealthy,
    /// An operator set this on it, or took it back.
    Set(Arc<str>),
    /// An operator has it take no traffic.
    Disabled,
    /// A process says so of itself, or a consumer of an instance that it calls; or the registry has been told to
    /// say so to the instance.
    Told(Arc<Told>),
}

/// What is said to have happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// In one word.
    pub(crate) event: String,
    /// Why, or by what; may be empty.
    pub(crate) detail: String,
    /// The side that a process says it from; nothing where no process does.
    pub(crate) role: Option<Role>,
}

/// A side of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// An instance of it.
    Provider,
    /// Whoever calls it.
    Consumer,
}

impl Role {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Consumer => "consumer",
        }
    }
}

/// Letters of the word for what happened, and of what is said about it.
const EVENT_CHARS_MAX: usize = 32;
pub(crate) const DETAIL_CHARS_MAX: usize = 200;

impl Told {
    /// Nothing where `event` is no word of small letters and hyphens.
    pub(crate) fn new(role: Option<Role>, event: String, detail: &str) -> Option<Self> {
        let is_word = (1..=EVENT_CHARS_MAX).contains(&event.len())
            && event.bytes().all(|letter| letter.is_ascii_lowercase() || letter == b'-');
        is_word.then(|| Self { event, detail: detail.chars().take(DETAIL_CHARS_MAX).collect(), role })
    }
}

/// Who brought it about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Connection(ConnectionId, Arc<Peer>),
    /// A request over HTTP, or that none came any more; with the last sender that was heard.
    Http(Option<Sender>),
    /// Whoever may set what counts more than what instances register, if it is known who.
    Operator(Option<Operator>),
    /// What is on disk: registered by whoever may, and probed.
    Storage,
}

/// The events of all services, numbered in the order in which they were written down.
#[derive(Debug, Default)]
pub(crate) struct Events {
    /// Those of each instance with their numbers, the newest last; neither map nor ring is ever empty.
    services: HashMap<ServiceKey, HashMap<InstanceKey, VecDeque<(u64, Recorded)>>>,
    /// Whose an instance's oldest event is, by its number: the oldest of all is that of the first.
    oldest: BTreeMap<u64, (ServiceKey, InstanceKey)>,
    len: usize,
    last: u64,
}

impl Events {
    /// Writes down what happened.
    pub(crate) fn record(&mut self, service: &ServiceKey, event: Recorded) {
        if self.len == EVENTS_MAX
            && let Some((_, (service, instance))) = self.oldest.first_key_value()
        {
            self.forget_oldest(&service.clone(), &instance.clone());
        }
        if self.of_instance(service, &event.instance).len() == OF_INSTANCE_MAX {
            self.forget_oldest(service, &event.instance);
        }
        self.last += 1;
        self.len += 1;
        let of_service = self.services.entry(service.clone()).or_default();
        let of_instance = of_service.entry(event.instance.clone()).or_default();
        if of_instance.len() == of_instance.capacity() {
            // Most instances come and go, and no more: the usual room for four would be half empty.
            of_instance.reserve_exact(of_instance.len().max(1));
        }
        if of_instance.is_empty() {
            self.oldest.insert(self.last, (service.clone(), event.instance.clone()));
        }
        of_instance.push_back((self.last, event));
    }

    /// The events of a service that came after the one with the number `after` and are of an instance that is
    /// `wanted`: the newest `max` of them with their numbers, the newest first.
    pub(crate) fn of(
        &self,
        service: &ServiceKey,
        wanted: impl Fn(&InstanceKey) -> bool,
        after: u64,
        max: usize,
    ) -> Vec<(u64, &Recorded)> {
        let instances = self.services.get(service).into_iter().flatten();
        let newest = |events: &VecDeque<_>| events.len().saturating_sub(max);
        let mut found: Vec<_> = instances
            .filter(|(instance, _)| wanted(instance))
            .flat_map(|(_, events)| events.range(newest(events)..))
            .filter(|(number, _)| *number > after)
            .map(|(number, event)| (*number, event))
            .collect();
        found.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
        found.truncate(max);
        found
    }

    /// The events of one instance with their numbers, the oldest first.
    pub(crate) fn of_instance(
        &self,
        service: &ServiceKey,
        instance: &InstanceKey,
    ) -> impl ExactSizeIterator<Item = &(u64, Recorded)> + DoubleEndedIterator {
        let events = self.services.get(service).and_then(|of_service| of_service.get(instance));
        events.map_or_else(Default::default, VecDeque::iter)
    }

    /// The last time that each instance of a service went, of those that have gone.
    #[cfg(feature = "console")]
    pub(crate) fn ends(&self, service: &ServiceKey) -> impl Iterator<Item = (&InstanceKey, &Recorded)> {
        let instances = self.services.get(service).into_iter().flatten();
        instances.filter_map(|(instance, events)| {
            let mut ends = events.iter().rev().map(|(_, event)| event);
            Some((instance, ends.find(|event| matches!(event.what, What::Went(_)))?))
        })
    }

    /// The instance of a service that events are known of and that is at `address`.
    pub(crate) fn at(&self, service: &ServiceKey, address: &Address) -> Option<&InstanceKey> {
        self.services.get(service)?.keys().find(|instance| instance.address == *address)
    }

    /// Events held in all, of at most [`EVENTS_MAX`].
    pub(crate) fn held(&self) -> usize {
        self.len
    }

    /// Forgets what was written down too long before `now`.
    pub(crate) fn tidy(&mut self, now: UnixMillis) {
        let old = |events: &Self, service: &ServiceKey, instance: &InstanceKey| {
            events
                .of_instance(service, instance)
                .next()
                .is_some_and(|(_, oldest)| now.since(oldest.at) > KEPT)
        };
        while let Some((_, (service, instance))) = self.oldest.first_key_value()
            && old(self, service, instance)
        {
            self.forget_oldest(&service.clone(), &instance.clone());
        }
    }

    fn forget_oldest(&mut self, service: &ServiceKey, instance: &InstanceKey) {
        let Some(of_service) = self.services.get_mut(service) else { return };
        let Some(of_instance) = of_service.get_mut(instance) else { return };
        let forgotten = of_instance.pop_front().and_then(|(number, _)| self.oldest.remove(&number));
        self.len -= 1;
        if let Some((oldest, _)) = of_instance.front() {
            self.oldest.extend(forgotten.map(|whose| (*oldest, whose)));
            return;
        }
        of_service.remove(instance);
        if of_service.is_empty() {
            self.services.remove(service);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Address, Instance};

    fn came(port: u16, at: u64) -> Recorded {
        let instance = Instance::new(Address::new("10.0.0.7", port).unwrap()).key;
        Recorded { at: UnixMillis::new(at), instance, what: What::Came, by: By::Storage, list: 0 }
    }

    fn moments(events: &Events, service: &str) -> Vec<u64> {
        let found = events.of(&service.parse().unwrap(), |_| true, 0, usize::MAX);
        found.into_iter().map(|(_, event)| event.at.as_u64()).collect()
    }

    #[test]
    fn an_instance_that_is_never_quiet_drives_out_its_own_events_only() {
        let (mut events, orders) = (Events::default(), "orders".parse().unwrap());
        events.record(&orders, came(81, 1));
        for at in 0..3 * EVENTS_MAX as u64 {
            events.record(&orders, came(80, at));
        }
        let newest = (0..3 * EVENTS_MAX as u64).rev().take(OF_INSTANCE_MAX);
        assert_eq!(moments(&events, "orders"), newest.chain([1]).collect::<Vec<_>>());
        assert_eq!((events.held(), events.oldest.len()), (OF_INSTANCE_MAX + 1, 2));
    }

    #[test]
    fn many_instances_keep_the_newest_of_all() {
        let mut events = Events::default();
        for n in 0..EVENTS_MAX as u64 + 10 {
            events.record(&format!("s{n}").parse().unwrap(), came(80, n));
        }
        assert_eq!(
            (events.len, events.services.len(), events.oldest.len()),
            (EVENTS_MAX, EVENTS_MAX, EVENTS_MAX)
        );
        assert_eq!((moments(&events, "s9"), moments(&events, "s10")), (vec![], vec![10]));
    }

    #[test]
    fn one_asks_for_what_is_new_and_for_no_more_than_one_reads() {
        let (mut events, orders) = (Events::default(), "orders".parse().unwrap());
        for at in 1..=10 {
            events.record(&orders, came(80 + u16::try_from(at % 2).unwrap(), at));
        }
        let numbers = |found: Vec<(u64, &Recorded)>| found.iter().map(|(n, _)| *n).collect::<Vec<_>>();
        assert_eq!(numbers(events.of(&orders, |_| true, 7, 100)), [10, 9, 8]);
        assert_eq!(numbers(events.of(&orders, |_| true, 0, 2)), [10, 9]);
        assert_eq!(numbers(events.of(&orders, |key| key.address.port() == 80, 0, 2)), [10, 8]);
    }

    #[test]
    fn a_day_later_an_event_is_forgotten() {
        let (mut events, day) = (Events::default(), 24 * 60 * 60 * 1000);
        for (service, at) in [("mail", 1), ("orders", 2), ("mail", 3)] {
            events.record(&service.parse().unwrap(), came(80, at));
        }
        events.tidy(UnixMillis::new(day + 2));
        assert_eq!((moments(&events, "mail"), moments(&events, "orders")), (vec![3], vec![2]));
        events.tidy(UnixMillis::new(day + 4));
        assert_eq!((events.held(), events.services.len(), events.oldest.len()), (0, 0, 0));
    }
}
