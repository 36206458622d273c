//! The instances that a balancer chooses among: newest snapshot, minus those put aside for a while, with
//! their weights at this moment: the registered one, times what warm-up and way out leave of it, under the
//! elastic bound.
//!
//! A pick loads one immutable [`table`](Table), looks whether the world has moved since it was made, and
//! draws. Nobody renews the table in the background: the pick that finds it old does.
//!
//! - The list or a judgement has changed: whoever finds that renews the table, and the others wait for it on
//!   a short lock. A publication or a judgement that has returned therefore counts in every later pick.
//! - Only weights have changed, because someone warms up or leaves: one renews, the others draw from the old
//!   table.
//!
//! Whom no connection can be made to is not in the table's live part; when its wait is over, one pick takes the
//! trial, see [`health`].

mod aside;
mod bound;
mod endpoint;
mod fade;
mod gone;
mod health;
mod known;
mod member;
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
pub(super) use health::Verdict;
pub(super) use known::Known;
pub(super) use rules::Rules;
pub(super) use seat::Guard;
pub(super) use table::Tried;

use super::Policy;
use crate::model::Instance;
use crate::naming::Snapshots;
use renewed::Renewed;
use roster::{Make, Roster};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use table::Table;
use tokio::time::Instant;

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
    pub(super) basis: Basis,
}

/// What a choice was made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Basis {
    revision: u64,
    trial: bool,
}

impl<S: Clone> Endpoints<S> {
    pub(super) fn new(snapshots: Snapshots, rules: Rules, make: Make<S>) -> Self {
        let (fleet, policy) = (Fleet::new(snapshots, &rules.observers), rules.policy);
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
        // A request that has failed before is not to be risked once more.
        if table.trials.due.is_some()
            && tried.is_none()
            && let Some(trial) = self.trial(&table)
        {
            return Some(trial);
        }
        let index = table.choose(self.policy, tried)?;
        Some(self.take(&table, index, false))
    }

    /// Sends this request to whom no connection could be made before, if it is the one to try.
    #[cold]
    #[inline(never)]
    fn trial(&self, table: &Table<S>) -> Option<Choice<S>> {
        table.claim_trial().map(|index| self.take(table, index, true))
    }

    #[inline]
    fn take(&self, table: &Table<S>, index: usize, trial: bool) -> Choice<S> {
        self.fleet.witness().picked(|| table.state(index));
        let (guard, service) = table.slots[index].take();
        Choice { guard, service, basis: Basis { revision: table.revision, trial } }
    }

    /// Shows whom it would choose.
    #[inline]
    pub(super) fn sample<R>(&self, look: impl FnOnce(&Instance) -> R) -> Option<R> {
        let table = self.table();
        table.choose(self.policy, None).map(|index| look(table.slots[index].endpoint().instance()))
    }

    /// Whether what was chosen may still be dispatched to: time may have passed since.
    pub(super) fn stands(&self, endpoint: &Arc<Endpoint>, basis: Basis) -> bool {
        if basis.revision == self.fleet.revision() {
            return true;
        }
        let table = self.table();
        table.uses(endpoint) || (basis.trial && table.tries(endpoint))
    }

    /// What is known of each listed instance, in the order of the list.
    pub(super) fn known(&self) -> Vec<Known> {
        let table = self.table();
        let shares: HashMap<_, _> =
            table.shares().map(|(endpoint, share)| (Arc::as_ptr(endpoint), share)).collect();
        let share =
            |endpoint: &Arc<Endpoint>| shares.get(&Arc::as_ptr(endpoint)).copied().unwrap_or_default();
        let mut known: Vec<Known> = {
            let roster = self.table.lock();
            let snapshot = self.fleet.snapshots().latest();
            let outside = snapshot.instances().iter().filter(|instance| !roster.has(instance));
            let (aside, now) = (self.fleet.aside(), Instant::now());
            roster.known(&aside, now, share).chain(outside.map(Known::outside)).collect()
        };
        known.sort_by(|one, other| one.listed.key.cmp(&other.listed.key));
        known
    }

    /// How many times its load before a warm instance gets.
    pub(super) fn amplification(&self) -> f64 {
        self.table().amplification
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
