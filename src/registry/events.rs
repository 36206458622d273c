//! What has happened to instances lately, by whom and why: also to those that are gone.
//!
//! Pure: moments come in as arguments. A ring for each service, all under one bound, so that neither a service
//! that is never quiet nor a great many of them take more than a little room. Nothing is decided by these
//! records.

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
    /// Whoever may set what counts more than what instances register.
    Operator,
    /// What is on disk: registered by whoever may, and probed.
    Storage,
}

/// The events of all services, numbered in the order in which they happened.
#[derive(Debug, Default)]
pub(crate) struct Events {
    /// By number, so that the oldest of all is the first.
    records: BTreeMap<u64, (ServiceKey, Recorded)>,
    /// The numbers of each service's events, the newest last.
    services: HashMap<ServiceKey, VecDeque<u64>>,
    last: u64,
}

impl Events {
    /// Writes down what happened.
    pub(crate) fn record(&mut self, service: &ServiceKey, event: Recorded) {
        if self.records.len() == MAX {
            self.forget_oldest();
        }
        self.last += 1;
        self.records.insert(self.last, (service.clone(), event));
        let of_service = self.services.entry(service.clone()).or_default();
        if of_service.len() == OF_SERVICE_MAX {
            of_service.pop_front().map(|oldest| self.records.remove(&oldest));
        }
        of_service.push_back(self.last);
    }

    /// The events of a service with their numbers, the newest first.
    pub(crate) fn of(&self, service: &ServiceKey) -> impl Iterator<Item = (u64, &Recorded)> {
        let numbers = self.services.get(service).into_iter().flatten().rev();
        numbers.filter_map(|number| Some((*number, &self.records.get(number)?.1)))
    }

    fn forget_oldest(&mut self) {
        let Some((_, (service, _))) = self.records.pop_first() else { return };
        let Some(of_service) = self.services.get_mut(&service) else { return };
        of_service.pop_front();
        if of_service.is_empty() {
            self.services.remove(&service);
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
        assert_eq!(events.records.len(), OF_SERVICE_MAX + 1);
    }

    #[test]
    fn many_services_keep_the_newest_of_all() {
        let mut events = Events::default();
        for n in 0..MAX as u64 + 10 {
            events.record(&format!("s{n}").parse().unwrap(), came(n));
        }
        assert_eq!((events.records.len(), events.services.len()), (MAX, MAX));
        assert_eq!((moments(&events, "s9"), moments(&events, "s10")), (vec![], vec![10]));
    }
}
