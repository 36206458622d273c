//! The instances that a balancer chooses among: newest snapshot, minus those put aside for a while, with
//! their weights at this moment: the registered one, times what warm-up and way out leave of it, under the
//! elastic bound.
//!
//! A pick loads one immutable [`table`](Table), looks whether the world has moved since it was made, and
//! draws. Nobody renews the table in the background: the pick that finds it old does.
//!
//! - The list or a judgement has changed: whoever finds that renews the table, and the others wait for it on
//!   a short lock. A publication or a judgement that has returned therefore counts in every later pick.
//! - Only weights have changed, because someone warms up or leaves: one renews, the others draw from the old table.

mod aside;
mod bound;
mod endpoint;
mod fade;
mod roster;
mod rules;
#[cfg(test)]
mod simulation;
mod since;
mod table;
#[cfg(test)]
mod tests;

pub use bound::InvalidAmplification;
pub(super) use bound::MaxAmplification;
pub(super) use endpoint::{Endpoint, Fleet, Guard};
pub(super) use rules::Rules;
pub(super) use table::Tried;

use super::Policy;
use crate::Clock;
use crate::model::Instance;
use crate::naming::Snapshots;
use arc_swap::ArcSwap;
use bound::Bound;
use roster::{Heard, Roster};
use rules::Subset;
use since::News;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;
use table::Table;
use tokio::time::Instant;

/// See the [module docs](self).
pub(super) struct Endpoints<S> {
    fleet: Arc<Fleet>,
    policy: Policy,
    current: ArcSwap<Dated<S>>,
    roster: Mutex<Followed<S>>,
}

/// A table, and the [`Fleet::revision`] it was made from.
struct Dated<S> {
    table: Table<S>,
    revision: u64,
}

/// A roster, the version of the list that it has followed, and what it takes to follow the next.
struct Followed<S> {
    roster: Roster<S>,
    version: Option<u64>,
    subset: Subset,
    clock: Clock,
    make: Make<S>,
}

/// Makes the service of an instance.
type Make<S> = Box<dyn Fn(&Instance) -> S + Send + Sync>;

/// One choice.
pub(super) struct Choice<S> {
    pub(super) guard: Guard,
    pub(super) service: S,
    revision: u64,
}

impl<S: Clone> Endpoints<S> {
    /// The weight of the steepest usual ramp moves by less than 2 % within this time.
    const TICK_MIN: Duration = Duration::from_millis(100);

    /// Renewing the table may cost a thousandth of the time.
    const TICK_PER_COST: u32 = 1000;

    pub(super) fn new(snapshots: Snapshots, rules: Rules, make: Make<S>) -> Self {
        let Rules { policy, max_amplification, subset, clock } = rules;
        let (fleet, roster) = (Fleet::new(snapshots), Roster::new(Bound::new(max_amplification)));
        let mut followed = Followed { roster, version: None, subset, clock, make };
        let first = followed.renew(&fleet);
        let (current, roster) = (ArcSwap::from_pointee(first), Mutex::new(followed));
        Self { fleet, policy, current, roster }
    }

    pub(super) fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Chooses an instance, other than those tried if there is one; nothing when there is none.
    #[inline]
    pub(super) fn choose(&self, tried: Option<&Tried>) -> Option<Choice<S>> {
        let current = self.current();
        let (guard, service) = current.table.choose(self.policy, tried)?.take();
        Some(Choice { guard, service, revision: current.revision })
    }

    /// Whether what was chosen may still be dispatched to: time may have passed since.
    pub(super) fn stands(&self, choice: &Choice<S>) -> bool {
        choice.revision == self.fleet.revision() || self.current().table.uses(choice.guard.endpoint())
    }

    #[inline]
    fn current(&self) -> arc_swap::Guard<Arc<Dated<S>>> {
        let current = self.current.load();
        if current.is_outdated(&self.fleet) {
            drop(current);
            self.renew(self.lock());
            self.current.load()
        } else if current.is_due() {
            if let Some(elected) = self.try_lock() {
                drop(current);
                self.renew(elected);
                return self.current.load();
            }
            current
        } else {
            current
        }
    }

    /// Whoever comes here second finds the work done.
    fn renew(&self, mut followed: MutexGuard<'_, Followed<S>>) {
        let current = self.current.load();
        if current.is_outdated(&self.fleet) || current.is_due() {
            self.current.store(Arc::new(followed.renew(&self.fleet)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Followed<S>> {
        // A panic can only have come from `make`; the next list is followed from what is left.
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, Followed<S>>> {
        match self.roster.try_lock() {
            Ok(elected) => Some(elected),
            Err(TryLockError::Poisoned(elected)) => Some(elected.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl<S> fmt::Debug for Endpoints<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let current = self.current.load();
        f.debug_list().entries(current.table.slots.iter().map(|slot| &slot.endpoint)).finish()
    }
}

impl<S> Dated<S> {
    #[inline]
    fn is_outdated(&self, fleet: &Fleet) -> bool {
        self.revision != fleet.revision()
    }

    #[inline]
    fn is_due(&self) -> bool {
        self.table.next_change.is_some_and(|change| Instant::now() >= change)
    }
}

impl<S: Clone> Followed<S> {
    /// The table of this moment.
    fn renew(&mut self, fleet: &Arc<Fleet>) -> Dated<S> {
        let (revision, version, now) = (fleet.revision(), fleet.snapshots().version(), Instant::now());
        if version > 0 && self.version != Some(version) {
            let (snapshot, published) = fleet.snapshots().latest_at();
            let news = News { first: self.version.is_none(), published, now };
            let list = snapshot.instances().iter();
            let ours = list.clone().filter(|instance| self.subset.has(instance));
            self.roster.follow(ours, Heard { news, wall: self.clock.now(), fleet }, &*self.make);
            fleet.aside().keep_listed(list.map(|instance| (instance.address(), instance.epoch())));
            self.version = Some(version);
        }
        let tick = || Endpoints::<S>::TICK_MIN.max(now.elapsed() * Endpoints::<S>::TICK_PER_COST);
        Dated { table: self.roster.table(&fleet.aside(), now, tick), revision }
    }
}
