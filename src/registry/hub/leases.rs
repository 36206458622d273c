//! What a change makes of leases: whoever is registered over HTTP lives on heartbeats, by the times that its
//! metadata say, or an operator's.

use super::State;
use crate::model::{Address, ServiceKey};
use crate::registry::command::{Client, Command};
use crate::registry::expiry::LeaseKey;
use tokio::time::Instant;

/// Whose lease a command begins, ends, or gives other times.
pub(super) enum Leased {
    /// That of a registration over HTTP, with the health that it says it has.
    Begins(LeaseKey, bool),
    Ends(LeaseKey),
    /// Those of one address in a service, or of all in it.
    Change(ServiceKey, Option<Address>),
    Nobody,
}

impl Leased {
    pub(super) fn by(command: &Command) -> Self {
        let key = |service: &ServiceKey, address: &Address| LeaseKey {
            service: service.clone(),
            address: address.clone(),
        };
        match command {
            Command::Publish { client: Client::Heartbeats(address), service, instances } => {
                let key = key(service, address);
                match instances.last() {
                    Some(instance) => Self::Begins(key, instance.healthy),
                    None => Self::Ends(key),
                }
            }
            Command::Withdraw { client: Client::Heartbeats(address), service, .. } => {
                Self::Ends(key(service, address))
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
            Leased::Begins(key, healthy) => {
                let client = Client::Heartbeats(key.address.clone());
                let lease = self.catalog.lease(&client, &key.service).unwrap_or_default();
                self.expiry.grant(&key, lease, healthy, at);
            }
            Leased::Ends(key) => self.expiry.end(&key),
            Leased::Change(service, Some(address)) => self.change(service, address),
            Leased::Change(service, None) => {
                let addresses: Vec<_> = self.catalog.keys(&service).map(|key| key.address.clone()).collect();
                for address in addresses {
                    self.change(service.clone(), address);
                }
            }
            Leased::Nobody => {}
        }
    }

    fn change(&mut self, service: ServiceKey, address: Address) {
        let client = Client::Heartbeats(address.clone());
        if let Some(lease) = self.catalog.lease(&client, &service) {
            self.expiry.change(&LeaseKey { service, address }, lease);
        }
    }
}
