//! Numbers of what the registry does, and Prometheus' text of them and of how much there is.
//!
//! What happens is counted with atomics, where it happens; what there is, is counted when somebody asks.
//! Every label is one of a closed list of words. `docs/metrics.md` is their table.

mod histogram;
mod phase;
mod text;

pub(crate) use phase::{Phase, Phases};
pub(crate) use text::Standing;

use super::bound::Bound;
use super::command::{Change, Event};
use super::grpc::KINDS;
use super::http::apis;
use crate::model::{Reason, UnixMillis};
use crate::provider::serve::server::Refusals;
use histogram::Histogram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// Everything that is counted as it happens.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// By their places in [`apis`]; the last one is for requests that no API is there for.
    http: Box<[Meter]>,
    /// By their places in [`KINDS`]; the last one is for the others.
    grpc: Box<[Meter]>,
    under_way: AtomicUsize,
    /// From sending a list to its acknowledgement.
    pub(crate) pushes: Histogram,
    expired: AtomicU64,
    connections_lost: AtomicU64,
    /// Moment of the newest change, in milliseconds since 1970.
    revision: AtomicU64,
    store_fails: AtomicBool,
    /// By the places of [`Bound::ALL`].
    refused: [AtomicU64; Bound::ALL.len()],
    /// What the ports refuse before anybody sees a request.
    pub(crate) at_the_door: Arc<Refusals>,
}

/// What is counted of one API.
#[derive(Debug, Default)]
struct Meter {
    durations: Histogram,
    failures: AtomicU64,
}

/// A request until it is answered or given up.
#[derive(Debug)]
pub(crate) struct UnderWay(Arc<Metrics>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Relaxed);
    }
}

impl UnderWay {
    /// Notes that it was refused because a bound was reached.
    pub(crate) fn refuse(&self, bound: Bound) {
        self.0.refuse(bound);
    }

    /// Notes that it was answered.
    pub(crate) fn answered(&self, api: Api, took: Duration, failed: bool) {
        let meter = match api {
            Api::Http(place) => self.0.http.get(place),
            Api::Grpc(place) => self.0.grpc.get(place),
        };
        if let Some(meter) = meter {
            meter.durations.record(took);
            meter.failures.fetch_add(u64::from(failed), Relaxed);
        }
    }
}

/// Which API a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    /// A place in [`apis`], or its end.
    Http(usize),
    /// A place in [`KINDS`], or its end.
    Grpc(usize),
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let meters = |count: usize| (0..=count).map(|_| Meter::default()).collect();
        Self {
            http: meters(apis().count()),
            grpc: meters(KINDS.len()),
            under_way: AtomicUsize::new(0),
            pushes: Histogram::default(),
            expired: AtomicU64::new(0),
            connections_lost: AtomicU64::new(0),
            revision: AtomicU64::new(0),
            store_fails: AtomicBool::new(false),
            refused: [const { AtomicU64::new(0) }; Bound::ALL.len()],
            at_the_door: Arc::default(),
        }
    }

    /// Notes that a request begins, which is under way until what this returns is dropped; nothing when `max`
    /// are under way already.
    pub(crate) fn begin(self: &Arc<Self>, max: usize) -> Option<UnderWay> {
        let before = self.under_way.fetch_add(1, Relaxed);
        let begun = UnderWay(self.clone());
        if before < max {
            return Some(begun);
        }
        self.refuse(Bound::Requests);
        None
    }

    /// Notes that somebody was refused because a bound was reached.
    pub(crate) fn refuse(&self, bound: Bound) {
        self.refused[bound as usize].fetch_add(1, Relaxed);
    }

    /// How often a bound was reached.
    pub(crate) fn refused(&self, bound: Bound) -> u64 {
        let door = &self.at_the_door;
        match bound {
            Bound::Connections => door.connections.load(Relaxed),
            Bound::ConnectionsPerAddress => door.connections_per_address.load(Relaxed),
            Bound::Head => door.heads.load(Relaxed),
            Bound::Body
            | Bound::Message
            | Bound::LargeMessages
            | Bound::Requests
            | Bound::Metadata
            | Bound::Name
            | Bound::Batch
            | Bound::ClusterList
            | Bound::Clusters
            | Bound::Instances
            | Bound::InstancesPerService
            | Bound::InstancesPerClient
            | Bound::ServicesPerClient
            | Bound::Subscriptions
            | Bound::Reported
            | Bound::Namespaces
            | Bound::Waiting => self.refused[bound as usize].load(Relaxed),
        }
    }

    /// Notes a change that readers can see.
    pub(crate) fn happened(&self, event: &Event, now: UnixMillis) {
        self.revision.fetch_max(now.as_u64(), Relaxed);
        match event.change {
            Change::Went(Reason::Expired) => _ = self.expired.fetch_add(1, Relaxed),
            Change::Went(Reason::ConnectionLost) => _ = self.connections_lost.fetch_add(1, Relaxed),
            Change::Went(Reason::Deregistered | Reason::Disabled) | Change::Came | Change::Changed => {}
        }
    }

    /// Notes whether changes can be stored.
    pub(crate) fn stored(&self, success: bool) {
        self.store_fails.store(!success, Relaxed);
    }

    /// Whether the last change that was to be stored was.
    pub(crate) fn store_is_available(&self) -> bool {
        !self.store_fails.load(Relaxed)
    }
}
