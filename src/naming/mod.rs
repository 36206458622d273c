//! The seam between the layers and whatever knows where services run.
//!
//! A provider needs something that can [`Register`], a consumer something that can [`Subscribe`]; neither
//! sees a wire form. Behind the seam stand the client of a registry, the [`InProcess`] registry for one
//! process and for tests, or a [`FixedList`]. A subscription is a [`Snapshots`]: a cell that always holds the newest
//! [`Snapshot`](crate::model::Snapshot), so that a late reader misses nothing.
//!
//! The [`header`] module holds the few words that providers and consumers say to each other directly; with the
//! feature `notice`, the `notice` module what a leaving instance sends to those who call rarely.

#[cfg(any(feature = "client", feature = "consumer", feature = "serve"))]
pub(crate) mod backoff;
mod cell;
mod error;
mod fixed;
#[cfg(all(feature = "full", any(test, fuzzing)))]
pub(crate) mod fuzz;
pub mod header;
mod in_process;
#[cfg(feature = "notice")]
pub mod notice;
mod structured;
mod told;

pub use cell::{Publisher, Snapshots};
pub use error::{BoxError, Causes, Error};
pub use fixed::FixedList;
pub use in_process::InProcess;
pub use told::{Told, Untold};

use crate::model::{Address, Instance, InstanceKey, ServiceKey};
use crate::observe::Observer;
use std::fmt::Debug;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;

/// A boxed future, so that the traits can be used as `dyn`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Puts instances on a registry's list and takes them off.
pub trait Register: Debug + Send + Sync + 'static {
    /// Registers `instance` and keeps it registered; resolves when the registry has acknowledged it.
    ///
    /// Registering an instance again replaces what was registered under its key: this is how metadata
    /// change.
    ///
    /// # Errors
    /// When the registry refuses it, or is away for longer than the implementation waits.
    fn register<'a>(
        &'a self,
        service: &'a ServiceKey,
        instance: &'a Instance,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Takes the instance off; resolves when the registry has acknowledged it. From the call on nothing
    /// behind this trait registers the instance again. One that is not registered is a success.
    ///
    /// # Errors
    /// When the registry is away for longer than the implementation waits.
    fn deregister<'a>(
        &'a self,
        service: &'a ServiceKey,
        instance: &'a InstanceKey,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Takes the instance off, as [`deregister`](Self::deregister) does, and waits a bounded time until
    /// consumers say that they know. Default: deregisters, and has heard of nobody.
    ///
    /// # Errors
    /// Those of [`deregister`](Self::deregister).
    fn leave<'a>(
        &'a self,
        service: &'a ServiceKey,
        instance: &'a InstanceKey,
    ) -> BoxFuture<'a, Result<Told, Error>> {
        let deregistered = self.deregister(service, instance);
        Box::pin(async { deregistered.await.map(|()| Told::default()) })
    }

    /// Whether [`leave`](Self::leave), as things stand, hears of consumers. Default: no.
    fn hears_of_consumers(&self) -> bool {
        false
    }

    /// Waits until the registry hands this instance an order. Default: for ever.
    ///
    /// # Cancel safety
    /// An order that comes while nobody waits is not kept: who gives it learns that nobody took it.
    fn ordered<'a>(&'a self, service: &'a ServiceKey, instance: &'a Instance) -> BoxFuture<'a, Order> {
        let _ = (service, instance);
        Box::pin(pending())
    }

    /// Who wants to be told what happens to instances that are registered here. Default: nobody.
    fn observer(&self) -> Option<Arc<dyn Observer>> {
        None
    }

    /// Where the registry is, if it is anywhere but in this process. A provider that listens on all
    /// addresses advertises the one from which a route leads there. Default: nowhere.
    fn address(&self) -> Option<Address> {
        None
    }

    /// What stands between this handle and the registry at the moment, for people who wait. Default:
    /// nothing that it knows of.
    fn trouble(&self) -> Option<Error> {
        None
    }
}

/// What a registry can order an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Order {
    /// Leave, as by a call of `/offline`.
    #[non_exhaustive]
    Offline {
        /// Who wants it, in the registry's words.
        actor: String,
    },
}

impl Order {
    /// To leave, by the wish of `actor`.
    pub fn offline(actor: impl Into<String>) -> Self {
        Self::Offline { actor: actor.into() }
    }
}

/// Follows the instances of services.
pub trait Subscribe: Debug + Send + Sync + 'static {
    /// The instances of `service`, now and from now on; resolves when the first list has come.
    ///
    /// A service that nobody has registered is no error: its list is empty.
    ///
    /// # Errors
    /// When the registry refuses it, or is away for longer than the implementation waits.
    fn subscribe<'a>(&'a self, service: &'a ServiceKey) -> BoxFuture<'a, Result<Snapshots, Error>>;
}

/// Both sides of a registry, as a provider needs them: it registers, and waits until it sees itself listed.
pub trait Naming: Register + Subscribe {}

impl<N: Register + Subscribe + ?Sized> Naming for N {}
