//! One instance as a balancer knows it, and what all instances of a service have in common.

use super::aside::Aside;
#[cfg(feature = "notice")]
use super::fade::Fade;
use super::health::{Health, Verdict};
#[cfg(feature = "notice")]
use super::since::Since;
use crate::model::{Address, Instance, UnixMillis};
use crate::naming::Snapshots;
use crate::observe::{AsideCause, ConsumerEvent, Observers, Role, Witness};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// One incarnation of an instance. It outlives tables and flaps of the list.
pub(in crate::consumer) struct Endpoint {
    instance: Instance,
    epoch: Option<UnixMillis>,
    health: Health,
    fleet: Arc<Fleet>,
}

impl Endpoint {
    pub(super) fn new(instance: Instance, fleet: Arc<Fleet>) -> Arc<Self> {
        let (epoch, health) = (instance.epoch(), Health::default());
        Arc::new(Self { instance, epoch, health, fleet })
    }

    /// The instance as it was registered when it was first seen.
    pub(in crate::consumer) fn instance(&self) -> &Instance {
        &self.instance
    }

    pub(in crate::consumer) fn epoch(&self) -> Option<UnixMillis> {
        self.epoch
    }

    pub(in crate::consumer) fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Takes the incarnation `epoch` of this instance out, because its answer says that it leaves; see
    /// [`Fleet::put_aside`].
    pub(in crate::consumer) fn put_aside(&self, epoch: UnixMillis, fade: Duration) {
        self.fleet.put_aside(self.instance.address(), epoch, fade, AsideCause::Tag);
    }

    pub(super) fn health(&self) -> &Health {
        &self.health
    }

    /// What a call that is sent now speaks of when it ends.
    #[inline]
    pub(in crate::consumer) fn verdict(&self) -> Verdict {
        self.health.verdict()
    }

    /// A call that was sent under `verdict` was answered: headers came, whatever they say.
    #[inline]
    pub(in crate::consumer) fn answered(&self, verdict: Verdict) {
        if verdict.is_failing() {
            self.recovered(verdict);
        }
    }

    #[cold]
    #[inline(never)]
    fn recovered(&self, verdict: Verdict) {
        if self.health.answered(verdict) {
            self.fleet.judged();
            self.fleet.tell(&ConsumerEvent::Returned { instance: self.instance.address() });
        }
    }

    /// A call that was sent under `verdict` got no connection. Asks the registry for its list when that is
    /// news: whoever cannot be reached has most likely gone.
    pub(in crate::consumer) fn unreachable(&self, verdict: Verdict) {
        let now = Instant::now();
        let Some(failing) = self.health.failed(verdict, now, fastrand::f64()) else {
            return;
        };
        self.fleet.judged();
        let instance = self.instance.address();
        if failing.failures() == 1 {
            self.fleet.snapshots.refresh();
            let (epoch, fade, cause) = (self.epoch, Duration::ZERO, AsideCause::Connect);
            self.fleet.tell(&ConsumerEvent::PutAside { instance, epoch, fade, cause });
        } else {
            let wait = failing.trial_at() - now;
            tracing::debug!(%instance, failures = failing.failures(), ?wait, "still no connection to instance");
        }
    }

    /// Whether the caller's request is to try this failing instance; then it must be sent there.
    pub(super) fn claim_trial(&self) -> bool {
        let claimed = self.health.claim_trial(Instant::now());
        if claimed {
            self.fleet.judged();
        }
        claimed
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
    /// Counts changes of `aside`, and of the instances' health.
    judgements: AtomicU64,
    /// Offline tags that did not speak of whoever sent them.
    ignored_tags: AtomicU64,
    witness: Witness,
}

impl Fleet {
    pub(super) fn new(snapshots: Snapshots, observers: &Observers) -> Arc<Self> {
        let (judgements, ignored_tags) = (AtomicU64::new(0), AtomicU64::new(0));
        let observers = observers.clone().and_maybe(snapshots.observer().cloned());
        let witness = Witness::new(Role::Consumer, snapshots.latest().service(), &observers);
        Arc::new(Self { snapshots, aside: Mutex::default(), judgements, ignored_tags, witness })
    }

    #[inline]
    pub(in crate::consumer) fn witness(&self) -> &Witness {
        &self.witness
    }

    /// Traces what has happened, and tells who observes.
    pub(in crate::consumer) fn tell(&self, event: &ConsumerEvent<'_>) {
        self.witness.consumer(event);
    }

    pub(in crate::consumer) fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }

    /// Takes the incarnation `epoch` of the instance at `address` out over `fade`: with none, out of every
    /// pick that begins after this returns. When that is news, it asks the registry for its list and says
    /// `true`.
    pub(in crate::consumer) fn put_aside(
        &self,
        address: &Address,
        epoch: UnixMillis,
        fade: Duration,
        cause: AsideCause,
    ) -> bool {
        let news = self.aside().put(address, epoch, fade, Instant::now());
        if news {
            self.judged();
            self.snapshots.refresh();
            let epoch = Some(epoch);
            self.tell(&ConsumerEvent::PutAside { instance: address, epoch, fade, cause });
        }
        news
    }

    /// Whether putting that incarnation aside over `fade` would say nothing new.
    #[cfg(feature = "notice")]
    pub(in crate::consumer) fn knows(&self, address: &Address, epoch: UnixMillis, fade: Duration) -> bool {
        let now = Instant::now();
        let (held, said) =
            (self.aside().against(address, Some(epoch), now), Fade::new(Since::now(now), fade));
        held.is_some_and(|held| held.fade.end() <= said.end())
    }

    /// Moves with every publication and every judgement: both counters only grow, so their sum stands still
    /// only when both do. Read it before what it counts, and that is at least as new.
    #[inline]
    pub(super) fn revision(&self) -> u64 {
        self.snapshots.version().wrapping_add(self.judgements.load(Ordering::Acquire))
    }

    /// Takes note of a tag from `instance` that does not count.
    pub(in crate::consumer) fn ignore_tag(&self, instance: &Address, tag: fmt::Arguments<'_>) {
        self.ignored_tags.fetch_add(1, Ordering::Relaxed);
        self.tell(&ConsumerEvent::TagIgnored { instance, tag });
    }

    pub(in crate::consumer) fn ignored_tags(&self) -> u64 {
        self.ignored_tags.load(Ordering::Relaxed)
    }

    /// From now on every pick finds its table outdated.
    fn judged(&self) {
        self.judgements.fetch_add(1, Ordering::Release);
    }

    pub(super) fn aside(&self) -> MutexGuard<'_, Aside> {
        // A panic elsewhere cannot leave a tombstone half written.
        self.aside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
