//! What a change makes of leases: whoever is registered over HTTP lives on heartbeats, by the times that its
//! metadata say, or an operator's.

use super::State;
use crate::model::{Address, ServiceKey};
use crate::registry::command::{Client, Command};
use tokio::time::Instant;

/// Whose lease a command begins, ends, or gives other times.
pub(super) enum Leased {
    /// That of a registration over HTTP, with the health that it says it has.
    Begins(ServiceKey, Address, bool),
    Ends(ServiceKey, Address),
    /// Those of one address in a service, or of all in it.
    Change(ServiceKey, Option<Address>),
    Nobody,
}

impl Leased {
    pub(super) fn by(command: &Command) -> Self {
        match command {
            Command::Publish { client: Client::Heartbeats(address), service, instances } => {
                let (service, address) = (service.clone(), address.clone());
                match instances.last() {
                    Some(instance) => Self::Begins(service, address, instance.healthy),
                    None => Self::Ends(service, address),
                }
            }
            Command::Withdraw { client: Client::Heartbeats(address), service, .. } => {
                Self::Ends(service.clone(), address.clone())
            }
            Command::Override { service, key, .. } => {
                Self::Change(service.clone(), Some(key.address.clone()))
            }
            Command::Describe { service, .. } => Self::Change(service.clone(), None),
            Command::Publish { .. }
            | Command::Withdraw { .. }
            | Command::SetHealth { .. }
            | Command::Forget { .. } => Self::Nobody,
        }
    }
}

impl State {
    /// Puts leases right after the catalog has made the change.
    pub(super) fn lease(&mut self, leased: Leased, at: Instant) {
        match leased {
            Leased::Begins(service, address, healthy) => {
                let client = Client::Heartbeats(address.clone());
                let lease = self.catalog.lease(&client, &service).unwrap_or_default();
                self.expiry.grant((&service, &address), lease, healthy, at);
            }
            Leased::Ends(service, address) => self.expiry.end((&service, &address)),
            Leased::Change(service, Some(address)) => self.change(&service, &address),
            Leased::Change(service, None) => {
                let addresses: Vec<_> = self.catalog.keys(&service).map(|key| key.address.clone()).collect();
                for address in addresses {
                    self.change(&service, &address);
                }
            }
            Leased::Nobody => {}
        }
    }

    fn change(&mut self, service: &ServiceKey, address: &Address) {
        let client = Client::Heartbeats(address.clone());
        if let Some(lease) = self.catalog.lease(&client, service) {
            self.expiry.change((service, address), lease);
        }
    }
}
