//! All that can happen to the catalog, and what it makes of it.
//!
//! Whatever the wire form, a request becomes a [`Command`] here, after [`Limits::check`] has seen its
//! instances; the catalog answers with [`Event`]s.

use super::bound::Bound;
use super::error::Refusal;
use super::fact::{Overrides, ServiceRecord};
use crate::model::{Address, Instance, InstanceKey, Lease, Reason, ServiceKey};
use std::sync::Arc;

/// Whoever publishes instances, and whose end takes them off. All but connections publish one instance at most
/// in a service, whose address or key is their name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    /// A gRPC connection: its instances go when it ends.
    Connection(ConnectionId),
    /// An instance that is registered over HTTP and kept by heartbeats for its address, whoever sends them.
    Heartbeats(Address),
    /// The storage: a persistent instance, which stays until it is taken off.
    Kept(InstanceKey),
}

/// One gRPC connection in the life of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ConnectionId(pub(crate) u64);

/// A change to be made.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    /// Makes `instances` all that `client` publishes in `service`: what it published before and does not
    /// name now goes.
    Publish { client: Client, service: ServiceKey, instances: Vec<Instance> },
    /// Takes off whatever `client` publishes in `service`.
    Withdraw { client: Client, service: ServiceKey, reason: Reason },
    /// Marks what `client` publishes in `service` as healthy or not.
    SetHealth { client: Client, service: ServiceKey, healthy: bool },
    /// Takes off whatever a connection publishes anywhere: it is gone.
    Forget { connection: ConnectionId },
    /// Says what holds for a service as a whole; nothing does any more without a record.
    Describe { service: ServiceKey, record: Option<Arc<ServiceRecord>> },
    /// Lays what operators have set over an instance, which need not be there.
    Override { service: ServiceKey, key: InstanceKey, overrides: Option<Overrides> },
}

/// A change that readers of a service can see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) service: ServiceKey,
    pub(crate) instance: InstanceKey,
    pub(crate) change: Change,
}

/// What happened to an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Came,
    Changed,
    Went(Reason),
}

/// Instances that one command may carry: a batch fills a 10 MiB message with about this many.
pub(crate) const BATCH_MAX: usize = 10_000;

/// What instances must keep to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Length of an instance's metadata, keys and values together, in characters.
    pub(crate) metadata_chars_max: usize,
    /// Instances in all, one that several clients publish counted for each.
    pub(crate) instances_max: usize,
}

impl Limits {
    /// Whether these instances may be published together by a client that keeps them alive.
    ///
    /// # Errors
    /// With the first rule that one of them breaks.
    pub(crate) fn check(self, instances: &[Instance]) -> Result<(), Refusal> {
        if instances.len() > BATCH_MAX {
            return Err(Refusal::TooMany { bound: Bound::Batch, max: BATCH_MAX });
        }
        if instances.iter().any(|instance| !instance.ephemeral) {
            return Err(Refusal::Persistent);
        }
        instances.iter().try_for_each(|instance| self.check_one(instance))
    }

    /// Whether an instance of either kind keeps to the rules.
    ///
    /// # Errors
    /// With the first rule that it breaks.
    pub(crate) fn check_one(self, instance: &Instance) -> Result<(), Refusal> {
        let (chars, max) = (instance.metadata.chars(), self.metadata_chars_max);
        if chars > max {
            return Err(Refusal::MetadataTooLong { chars, max });
        }
        Lease::from_metadata(&instance.metadata)?;
        Ok(())
    }
}
