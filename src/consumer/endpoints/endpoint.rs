//! One instance as a balancer knows it, and what all instances of a service have in common.

use super::aside::Aside;
use crate::model::{Instance, UnixMillis};
use crate::naming::Snapshots;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// One incarnation of an instance. It outlives tables and flaps of the list.
pub(in crate::consumer) struct Endpoint {
    instance: Instance,
    epoch: Option<UnixMillis>,
    governed: bool,
    fleet: Arc<Fleet>,
}

impl Endpoint {
    pub(super) fn new(instance: Instance, fleet: Arc<Fleet>) -> Arc<Self> {
        let (epoch, governed) = (instance.epoch(), instance.is_governed());
        Arc::new(Self { instance, epoch, governed, fleet })
    }

    /// The instance as it was registered when it was first seen.
    pub(in crate::consumer) fn instance(&self) -> &Instance {
        &self.instance
    }

    pub(in crate::consumer) fn epoch(&self) -> Option<UnixMillis> {
        self.epoch
    }

    /// Whether it wears our layers: read once, for it is asked on every call.
    #[inline]
    pub(in crate::consumer) fn is_governed(&self) -> bool {
        self.governed
    }

    pub(in crate::consumer) fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Takes the incarnation `epoch` of this instance out over `fade`: with none, out of every pick that
    /// begins after this returns. Asks the registry for its list when that is news.
    pub(in crate::consumer) fn put_aside(&self, epoch: UnixMillis, fade: Duration) {
        let news = self.fleet.aside().put(self.instance.address(), epoch, fade, Instant::now());
        if news {
            self.fleet.judgements.fetch_add(1, Ordering::Release);
            self.fleet.snapshots.refresh();
            tracing::info!(instance = %self.instance.address(), %epoch, ?fade, "instance leaves: put aside");
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, epoch) = (self.instance.address(), self.epoch);
        write!(f, "{address} (epoch {epoch:?})")
    }
}

/// What the instances of one service share: the registry's list, and this consumer's own judgement of it.
pub(in crate::consumer) struct Fleet {
    snapshots: Snapshots,
    aside: Mutex<Aside>,
    /// Counts changes of `aside`.
    judgements: AtomicU64,
}

impl Fleet {
    pub(super) fn new(snapshots: Snapshots) -> Arc<Self> {
        Arc::new(Self { snapshots, aside: Mutex::default(), judgements: AtomicU64::new(0) })
    }

    pub(in crate::consumer) fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }

    /// Moves with every publication and every judgement: both counters only grow, so their sum stands still
    /// only when both do. Read it before what it counts, and that is at least as new.
    #[inline]
    pub(super) fn revision(&self) -> u64 {
        self.snapshots.version().wrapping_add(self.judgements.load(Ordering::Acquire))
    }

    pub(super) fn aside(&self) -> MutexGuard<'_, Aside> {
        // A panic elsewhere cannot leave a tombstone half written.
        self.aside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
