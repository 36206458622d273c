//! Orders to instances, and what became of them.

use super::{Client, Hub};
use crate::model::{Address, InstanceKey, ServiceKey, UnixMillis};
use crate::registry::access::Operator;
use crate::registry::error::Refusal;
use crate::registry::events::{By, Recorded, Told, What};
use crate::registry::order::Order;
use crate::registry::push::Subscriber;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long a client may take to answer an order: it has nothing to do for it but to pass it on.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);

/// Who wants an instance to do something: whom the instance is told, and how events show it.
#[derive(Clone, Debug)]
pub(crate) struct Actor {
    pub(crate) name: String,
    pub(crate) by: By,
}

impl From<Operator> for Actor {
    fn from(operator: Operator) -> Self {
        Self { name: operator.to_string(), by: By::Operator(Some(operator)) }
    }
}

impl Hub {
    /// Has the instance at an address leave, as a call of its `/offline` would, over the connection that
    /// publishes it. Returns when it has taken the order; what becomes of it, its events tell.
    ///
    /// # Errors
    /// When there is no such instance, nobody is connected who publishes it, or its client takes no orders.
    ///
    /// # Cancel safety
    /// The order is given with the first poll; what is dropped is the waiting, and the note of the outcome.
    pub(crate) async fn take_offline(
        &self,
        service: &ServiceKey,
        address: &Address,
        actor: Actor,
    ) -> Result<(), Refusal> {
        let (key, epoch, publisher) = self.publisher_of(service, address)?;
        let taken = match publisher {
            None => Err("no client that takes orders is connected and publishes it".to_owned()),
            Some(subscriber) => {
                let (order, outcome) = Order::offline(service, &key, epoch, &actor.name);
                subscriber.order(order);
                match timeout(ANSWERED_WITHIN, outcome).await {
                    Ok(Ok(taken)) => taken,
                    Ok(Err(_)) => Err("its connection ended before it answered".to_owned()),
                    Err(_) => Err(format!("its client has not answered within {ANSWERED_WITHIN:?}")),
                }
            }
        };
        let outcome = taken.as_ref().map_or_else(String::as_str, |()| "taken");
        let (detail, actor_name) = (format!("by {}: {outcome}", actor.name), &actor.name);
        tracing::info!(service.name = %service, instance = %address, actor = actor_name, outcome, "offline ordered");
        if let Some(told) = Told::new(None, "offline-ordered".to_owned(), &detail) {
            let what = What::Told(Arc::new(told));
            let event = Recorded { at: self.now(), instance: key, what, by: actor.by, list: 0 };
            self.state().events.record(service, event);
        }
        taken.map_err(Refusal::NotTaken)
    }

    fn publisher_of(&self, service: &ServiceKey, address: &Address) -> Result<Publisher, Refusal> {
        let mut state = self.state();
        let list = state.described(service).ok_or_else(|| Refusal::NoService(service.clone()))?.snapshot;
        let mut instances = list.instances().iter();
        let instance = instances.find(|listed| listed.address() == address).ok_or(Refusal::NotFound)?;
        let connected =
            state.catalog.publishers(service, &instance.key).filter_map(|(client, since)| match client {
                Client::Connection(id) => Some((since, id)),
                Client::Heartbeats(_) | Client::Kept(_) => None,
            });
        // Other clients do not know what to make of an order.
        let connected = connected.filter(|_| instance.is_governed());
        // Of several the one that published last: readers see what it says.
        let subscriber = connected.max_by_key(|(since, id)| (*since, id.0)).map(|(_, id)| id);
        let subscriber = subscriber.and_then(|id| state.connections.get(&id).cloned());
        Ok((instance.key.clone(), instance.epoch(), subscriber))
    }
}

/// An instance, its epoch, and the connection that publishes it.
type Publisher = (InstanceKey, Option<UnixMillis>, Option<Arc<Subscriber>>);
