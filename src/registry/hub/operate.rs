//! What operators do, other than by changes that are stored, and what is known of what they have done.

use super::explain::Source;
use super::{Actor, ConnectionId, Hub, State};
use crate::model::UnixMillis;
use crate::model::{InstanceKey, ServiceKey};
use crate::registry::access::Operator;
use crate::registry::deeds::{Deed, meaning};
use crate::registry::error::Refusal;
use crate::registry::events::{By, Recorded, Told, What};
use crate::registry::fact::Fact;
#[cfg(feature = "console")]
use crate::{
    model::Instance,
    registry::{fact::Overrides, peer::Peer},
};
use serde::Serialize;
use std::sync::Arc;

/// What happens to an instance when an operator closes the connection that publishes it.
const CLOSED: &str = "connection-closed";

/// One change of what holds for a service.
#[derive(Debug, Serialize)]
pub(crate) struct DeedLine {
    pub(crate) at: u64,
    pub(crate) event: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) reason: String,
    pub(crate) by: Source,
}

impl Hub {
    /// Ends the connection of a client, and with it what it publishes and follows; returns how many instances it
    /// published. It may connect again, and most clients do. The events of its instances say who wanted it.
    ///
    /// # Errors
    /// When there is no such connection, or the registry ends.
    pub(crate) fn close_connection(&self, connection: u64, actor: &Actor) -> Result<usize, Refusal> {
        let id = ConnectionId(connection);
        let (subscriber, instances) = {
            let mut state = self.state();
            if state.frozen {
                return Err(Refusal::Closing);
            }
            let unknown = || Refusal::NoClient(connection.to_string());
            let subscriber = state.connections.get(&id).cloned().ok_or_else(unknown)?;
            let published: Vec<(ServiceKey, InstanceKey)> = state.published_by(id);
            let (at, by) = (self.now(), &actor.by);
            let told = Told::new(None, CLOSED.to_owned(), &format!("by {}", actor.name)).map(Arc::new);
            for (service, instance) in &published {
                let Some(told) = told.clone() else { break };
                let event = Recorded {
                    at,
                    instance: instance.clone(),
                    what: What::Told(told),
                    by: by.clone(),
                    list: 0,
                };
                state.events.record(service, event);
            }
            (subscriber, published.len())
        };
        let peer = subscriber.peer();
        tracing::info!(connection, peer = %peer.address, app = peer.app, actor = actor.name, "connection closed");
        self.disconnect(id); // What it publishes goes now, however long its transport takes to end.
        subscriber.close();
        Ok(instances)
    }

    /// Who is at the other end of a connection.
    ///
    /// # Errors
    /// When there is no such connection.
    #[cfg(feature = "console")]
    pub(crate) fn connected_as(&self, connection: u64) -> Result<Arc<Peer>, Refusal> {
        let unknown = || Refusal::NoClient(connection.to_string());
        let state = self.state();
        let subscriber = state.connections.get(&ConnectionId(connection)).ok_or_else(unknown)?;
        Ok(subscriber.peer().clone())
    }

    /// What a connection publishes, in no order.
    #[cfg(feature = "console")]
    pub(crate) fn published_over(&self, connection: u64) -> Vec<(ServiceKey, InstanceKey)> {
        self.state().published_by(ConnectionId(connection))
    }

    /// What operators have set on an instance, whether it is there or not.
    #[cfg(feature = "console")]
    pub(crate) fn overrides(&self, service: &ServiceKey, key: &InstanceKey) -> Option<Overrides> {
        self.state().ledger.overrides(service, key).cloned()
    }

    /// A persistent instance as it was registered.
    #[cfg(feature = "console")]
    pub(crate) fn kept_instance(&self, service: &ServiceKey, key: &InstanceKey) -> Option<Instance> {
        self.state().ledger.instance(service, key).cloned()
    }

    /// What operators have done to a service as a whole, the newest first.
    pub(crate) fn deed_lines(&self, service: &ServiceKey, max: usize) -> Vec<DeedLine> {
        let state = self.state();
        state.deeds.of(service).take(max).map(DeedLine::new).collect()
    }
}

impl State {
    fn published_by(&self, id: ConnectionId) -> Vec<(ServiceKey, InstanceKey)> {
        let published = self.catalog.published_by_connection(id);
        published.flat_map(|(service, keys)| keys.iter().map(|key| (service.clone(), key.clone()))).collect()
    }

    /// Writes down what a fact, before it is made to hold, will have changed of a service.
    pub(super) fn note_deed(&mut self, fact: &Fact, by: Option<&Operator>, at: UnixMillis) {
        let Fact::Service { service, record } = fact else { return };
        let before = self.catalog.said_of(service);
        let Some((what, detail)) = meaning(before.map(|before| &**before), record.as_deref()) else { return };
        self.deeds.record(Deed { at, service: service.clone(), what, detail, by: by.cloned() });
    }
}

impl DeedLine {
    fn new(deed: &Deed) -> Self {
        let by = Source::new(&By::Operator(deed.by.clone()));
        Self { at: deed.at.as_u64(), event: deed.what, reason: deed.detail.clone(), by }
    }
}
