//! What has happened to instances lately, by whom and why: also to those that are gone.
//!
//! Pure: moments come in as arguments. A ring for each service, all under one bound, so that neither a service
//! that is never quiet nor a great many of them take more than a little room. Nothing is decided by these
//! records.

use super::access::UserName;
use super::command::ConnectionId;
use super::peer::Peer;
use super::senders::Sender;
use crate::model::{InstanceKey, Reason, ServiceKey, UnixMillis};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// Events of one service: several releases of a large one.
const OF_SERVICE_MAX: usize = 200;
/// Events in all: about two megabytes.
const MAX: usize = 10_000;

/// One thing that happened to an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recorded {
    pub(crate) at: UnixMillis,
    pub(crate) instance: InstanceKey,
    pub(crate) what: What,
    pub(crate) by: By,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Came,
    Went(Reason),
    BecameHealthy,
    BecameUnhealthy,
    /// An operator set something on it, or took it back.
    Set,
    /// An operator has it take no traffic.
    Disabled,
}

/// Who brought it about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Connection(ConnectionId, Arc<Peer>),
    /// A request over HTTP, or that none came any more; with the last sender that was heard.
    Http(Option<Sender>),
    /// Whoever may set what counts more than what instances register, by name where users are asked for it.
    Operator(Option<UserName>),
    /// What is on disk: registered by whoever may, and probed.
    Storage,
}

/// The events of all services, numbered in the order in which they happened.
#[derive(Debug, Default)]
pub(crate) struct Events {
    /// Those of each service with their numbers, the newest last; never empty.
    services: HashMap<Arc<ServiceKey>, VecDeque<(u64, Recorded)>>,
    /// The services by the number of their oldest event, so that the oldest of all is that of the first.
    oldest: BTreeMap<u64, Arc<ServiceKey>>,
    len: usize,
    last: u64,
}

impl Events {
    /// Writes down what happened.
    pub(crate) fn record(&mut self, service: &ServiceKey, event: Recorded) {
        if self.len == MAX
            && let Some((_, service)) = self.oldest.first_key_value()
        {
            self.forget_oldest(&service.clone());
        }
        if self.services.get(service).is_some_and(|of_service| of_service.len() == OF_SERVICE_MAX) {
            self.forget_oldest(service);
        }
        self.last += 1;
        self.len += 1;
        if let Some(of_service) = self.services.get_mut(service) {
            of_service.push_back((self.last, event));
            return;
        }
        let service = Arc::new(service.clone());
        self.oldest.insert(self.last, service.clone());
        self.services.insert(service, [(self.last, event)].into());
    }

    /// The events of a service with their numbers, the newest first.
    pub(crate) fn of(&self, service: &ServiceKey) -> impl Iterator<Item = (u64, &Recorded)> {
        let events = self.services.get(service).into_iter().flatten().rev();
        events.map(|(number, event)| (*number, event))
    }

    fn forget_oldest(&mut self, service: &ServiceKey) {
        let Some(of_service) = self.services.get_mut(service) else { return };
        let forgotten = of_service.pop_front().and_then(|(number, _)| self.oldest.remove(&number));
        self.len -= 1;
        match of_service.front() {
            Some((oldest, _)) => self.oldest.extend(forgotten.map(|service| (*oldest, service))),
            None => _ = self.services.remove(service),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Address, Instance};

    fn came(at: u64) -> Recorded {
        let instance = Instance::new(Address::new("10.0.0.7", 80).unwrap()).key;
        Recorded { at: UnixMillis::new(at), instance, what: What::Came, by: By::Storage }
    }

    fn moments(events: &Events, service: &str) -> Vec<u64> {
        events.of(&service.parse().unwrap()).map(|(_, event)| event.at.as_u64()).collect()
    }

    #[test]
    fn a_service_that_is_never_quiet_drives_out_its_own_events_only() {
        let mut events = Events::default();
        events.record(&"mail".parse().unwrap(), came(1));
        for at in 0..3 * MAX as u64 {
            events.record(&"orders".parse().unwrap(), came(at));
        }
        assert_eq!(moments(&events, "mail"), [1]);
        let newest: Vec<u64> = (0..3 * MAX as u64).rev().take(OF_SERVICE_MAX).collect();
        assert_eq!(moments(&events, "orders"), newest);
        assert_eq!((events.len, events.oldest.len()), (OF_SERVICE_MAX + 1, 2));
    }

    #[test]
    fn many_services_keep_the_newest_of_all() {
        let mut events = Events::default();
        for n in 0..MAX as u64 + 10 {
            events.record(&format!("s{n}").parse().unwrap(), came(n));
        }
        assert_eq!((events.len, events.services.len(), events.oldest.len()), (MAX, MAX, MAX));
        assert_eq!((moments(&events, "s9"), moments(&events, "s10")), (vec![], vec![10]));
    }
}
