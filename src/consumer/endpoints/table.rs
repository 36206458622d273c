//! What a pick looks at: immutable, replaced as a whole.

use super::endpoint::{Endpoint, Fleet};
use super::renewed::Age;
use super::seat::{Guard, Seats};
use crate::consumer::pick::{Policy, Weights};
use crate::model::Address;
use crate::observe::State;
use std::sync::Arc;
use tokio::time::Instant;

/// The instances in use with their weights at one moment.
pub(super) struct Table<S> {
    /// First those of `weights`, then the reserve.
    pub(super) slots: Arc<[Slot<S>]>,
    pub(super) weights: Weights,
    /// The [`Fleet::revision`] that it was made from.
    pub(super) revision: u64,
    /// From then on the weights are others. Nothing while nobody ramps: then no pick reads a clock.
    pub(super) next_change: Option<Instant>,
    pub(super) trials: Trials,
    /// How those in the slots stand; empty where nobody observes the picks.
    pub(super) states: Box<[State]>,
    /// How many times its load before a warm instance gets.
    pub(super) amplification: f64,
}

/// Those in the reserve who would be in use if connections to them had not failed, by their slots.
#[derive(Debug, Default)]
pub(super) struct Trials {
    pub(super) failing: Vec<usize>,
    /// The one whose wait is over.
    pub(super) due: Option<usize>,
}

pub(super) struct Slot<S> {
    pub(super) seats: Arc<Seats>,
    pub(super) service: S,
}

/// The instances that a request has been sent to in vain: on retries, in its extensions.
#[derive(Clone, Debug, Default)]
pub(in crate::consumer) struct Tried(pub(in crate::consumer) Vec<Arc<Endpoint>>);

impl Tried {
    pub(in crate::consumer) fn addresses(&self) -> Vec<Address> {
        self.0.iter().map(|tried| tried.instance().address().clone()).collect()
    }

    fn has(&self, endpoint: &Arc<Endpoint>) -> bool {
        self.0.iter().any(|tried| Arc::ptr_eq(tried, endpoint))
    }
}

impl<S> Table<S> {
    #[inline]
    pub(super) fn age(&self, fleet: &Fleet) -> Age {
        if self.revision != fleet.revision() {
            Age::Outdated
        } else if self.next_change.is_some_and(|change| Instant::now() >= change) {
            Age::Due
        } else {
            Age::Fresh
        }
    }

    /// Chooses one of the slots; nothing when there is nobody.
    #[inline]
    pub(super) fn choose(&self, policy: Policy, tried: Option<&Tried>) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let retried = tried.and_then(|tried| self.choose_other(tried));
        Some(retried.unwrap_or_else(|| {
            let in_flight = |index: usize| self.slots[index].seats.taken();
            self.weights.choose(policy, || fastrand::u64(..), in_flight)
        }))
    }

    /// Someone who has not been tried, be it from the reserve; nothing when all have.
    fn choose_other(&self, tried: &Tried) -> Option<usize> {
        let fresh = |index: usize| !tried.has(self.slots[index].endpoint());
        let live = self.weights.choose_among(fastrand::u64(..), fresh);
        live.or_else(|| (self.weights.len()..self.slots.len()).find(|&index| fresh(index)))
    }

    /// Whom this request is to try, because no connection could be made there before; nearly always nobody.
    #[inline]
    pub(super) fn claim_trial(&self) -> Option<usize> {
        let index = self.trials.due?;
        self.slots[index].endpoint().claim_trial().then_some(index)
    }

    /// How the one in a slot stands. Asked where somebody observes.
    pub(super) fn state(&self, index: usize) -> State {
        self.states.get(index).copied().unwrap_or(State::Warm)
    }

    /// Whether a request that was to try `endpoint` may still do so.
    pub(super) fn tries(&self, endpoint: &Arc<Endpoint>) -> bool {
        self.trials.failing.iter().any(|&index| Arc::ptr_eq(self.slots[index].endpoint(), endpoint))
    }

    /// Who takes traffic, with the parts of it that fall to them.
    pub(super) fn shares(&self) -> impl Iterator<Item = (&Arc<Endpoint>, f64)> {
        let live = self.weights.len();
        let total: f64 = (0..live).map(|index| self.weights.of(index)).sum();
        let share = move |index| if total > 0.0 { self.weights.of(index) / total } else { 1.0 / live as f64 };
        self.slots[..live].iter().enumerate().map(move |(index, slot)| (slot.endpoint(), share(index)))
    }

    /// Whether `endpoint` takes traffic.
    pub(super) fn uses(&self, endpoint: &Arc<Endpoint>) -> bool {
        self.slots[..self.weights.len()].iter().any(|slot| Arc::ptr_eq(slot.endpoint(), endpoint))
    }
}

impl<S> Slot<S> {
    #[inline]
    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        self.seats.endpoint()
    }
}

impl<S: Clone> Slot<S> {
    #[inline]
    pub(super) fn take(&self) -> (Guard, S) {
        (self.seats.take(), self.service.clone())
    }
}
