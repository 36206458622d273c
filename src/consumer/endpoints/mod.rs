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
mod renewed;
mod roster;
mod rules;
mod seat;
#[cfg(test)]
mod simulation;
mod since;
mod sync;
mod table;
#[cfg(test)]
mod tests;

pub use bound::InvalidAmplification;
pub(super) use bound::MaxAmplification;
pub(super) use endpoint::{Endpoint, Fleet};
pub(super) use rules::Rules;
pub(super) use seat::Guard;
pub(super) use table::Tried;

use super::Policy;
use crate::model::Instance;
use crate::naming::Snapshots;
use renewed::Renewed;
use roster::{Make, Roster};
use std::fmt;
use std::sync::Arc;
use table::Table;

/// See the [module docs](self).
pub(super) struct Endpoints<S> {
    fleet: Arc<Fleet>,
    policy: Policy,
    table: Renewed<Table<S>, Roster<S>>,
}

/// One choice.
pub(super) struct Choice<S> {
    pub(super) guard: Guard,
    pub(super) service: S,
    revision: u64,
}

impl<S: Clone> Endpoints<S> {
    pub(super) fn new(snapshots: Snapshots, rules: Rules, make: Make<S>) -> Self {
        let (fleet, policy) = (Fleet::new(snapshots), rules.policy);
        let mut roster = Roster::new(rules, make);
        let first = roster.renew(&fleet);
        Self { fleet, policy, table: Renewed::new(first, roster) }
    }

    pub(super) fn fleet(&self) -> &Arc<Fleet> {
        &self.fleet
    }

    /// Chooses an instance, other than those tried if there is one; nothing when there is none.
    #[inline]
    pub(super) fn choose(&self, tried: Option<&Tried>) -> Option<Choice<S>> {
        let table = self.table();
        let (guard, service) = table.choose(self.policy, tried)?.take();
        Some(Choice { guard, service, revision: table.revision })
    }

    /// Shows whom it would choose.
    #[inline]
    pub(super) fn sample<R>(&self, look: impl FnOnce(&Instance) -> R) -> Option<R> {
        let table = self.table();
        table.choose(self.policy, None).map(|slot| look(slot.endpoint().instance()))
    }

    /// Whether what was chosen may still be dispatched to: time may have passed since.
    pub(super) fn stands(&self, choice: &Choice<S>) -> bool {
        choice.revision == self.fleet.revision() || self.table().uses(choice.guard.endpoint())
    }

    /// The table of this moment.
    #[inline]
    fn table(&self) -> sync::Loaded<Arc<Table<S>>> {
        self.table.load(|table| table.age(&self.fleet), |roster| roster.renew(&self.fleet))
    }
}

impl<S> fmt::Debug for Endpoints<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.table.peek().slots.iter().map(|slot| &slot.seats)).finish()
    }
}
