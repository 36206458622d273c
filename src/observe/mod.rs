//! What happens in the layers, as it happens: an [`Observer`] is told.
//!
//! Three kinds of things are told.
//!
//! - **What happens with every request**: a consumer's pick, with how the chosen instance stands
//!   ([`Observer::picked`]), and what a provider's layers made of a request ([`Observer::answered`]). One call
//!   each, of what is known anyway; without an observer, one branch.
//! - **What happens now and then**: [`ConsumerEvent`] and [`ProviderEvent`]. Each is also a line of `tracing`.
//! - **What changes without an event**: the age of a list, the warmth of an instance, the requests under way.
//!   An observer is given a [`Gauge`] of them, to be read when somebody asks.
#![cfg_attr(
    feature = "metrics",
    doc = "\n[`Metrics`] is an observer that makes numbers of all this, and Prometheus' text of the numbers."
)]
//!
//! An observer is called in the middle of things, sometimes under a lock: it takes note, and does no work.
//!
#![cfg_attr(feature = "consumer", doc = "```")]
#![cfg_attr(not(feature = "consumer"), doc = "```ignore")]
//! use std::sync::atomic::{AtomicU64, Ordering};
//! use tower_graceful::consumer::BalanceLayer;
//! use tower_graceful::observe::{Observer, State};
//!
//! /// Counts the requests that go to instances which are warming up.
//! #[derive(Debug, Default)]
//! struct Cold(AtomicU64);
//!
//! impl Observer for Cold {
//!     fn picked(&self, state: State) {
//!         if state == State::Warming {
//!             self.0.fetch_add(1, Ordering::Relaxed);
//!         }
//!     }
//! }
//! # let snapshots = tower_graceful::naming::Snapshots::fixed("orders".parse()?, Vec::new());
//! let layer = BalanceLayer::new(snapshots).with_observer(Cold::default());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod event;
mod gauge;
#[cfg(feature = "metrics")]
pub mod metrics;
mod witness;
mod words;

pub use event::{ConsumerEvent, LateCaller, LongRequest, ProviderEvent};
pub use gauge::{ConsumerReading, Gauge, ProviderReading, Reading, RequestCounts};
#[cfg(feature = "metrics")]
pub use metrics::Metrics;
pub(crate) use witness::{Observers, Witness};
pub use words::{AsideCause, Cause, LeaveCause, NoticeResult, Outcome, Role, State};

use crate::model::{ServiceKey, UnixMillis};
use std::fmt;
use std::sync::{Arc, Weak};

/// Is told what happens. See the [module docs](self); each method does nothing unless it is written.
///
/// Several observers are one: a `Vec<Arc<dyn Observer>>`, or what takes an observer called again.
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    /// An observer that is told of nothing but `service`, asked for once by each balancer or provider that is
    /// built; from then on that one is told in the place of this. For those who keep something for each
    /// service, and would look it up with every request. Default none.
    fn of(&self, role: Role, service: &ServiceKey) -> Option<Arc<dyn Observer>> {
        let _ = (role, service);
        None
    }

    /// Whether it wants to be told of every pick and request, asked for once by each balancer or provider that is
    /// built: where nobody does, they pay for a branch. Default true.
    fn hears_requests(&self) -> bool {
        true
    }

    /// A consumer has chosen an instance that stands like this. With every try of every request.
    fn picked(&self, state: State) {
        let _ = state;
    }

    /// A provider's layers have decided what becomes of a request. With every request.
    fn answered(&self, outcome: Outcome) {
        let _ = outcome;
    }

    /// Something happened to a consumer of `service`.
    fn consumer(&self, service: &ServiceKey, event: &ConsumerEvent<'_>) {
        let _ = (service, event);
    }

    /// Something happened at `at` to this instance of `service`.
    fn provider(&self, service: &ServiceKey, at: UnixMillis, event: &ProviderEvent<'_>) {
        let _ = (service, at, event);
    }

    /// Here is what changes without an event, for as long as it lives.
    fn follow(&self, gauge: Weak<dyn Gauge>) {
        let _ = gauge;
    }
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn of(&self, role: Role, service: &ServiceKey) -> Option<Arc<dyn Observer>> {
        (**self).of(role, service)
    }

    fn hears_requests(&self) -> bool {
        (**self).hears_requests()
    }

    fn picked(&self, state: State) {
        (**self).picked(state);
    }

    fn answered(&self, outcome: Outcome) {
        (**self).answered(outcome);
    }

    fn consumer(&self, service: &ServiceKey, event: &ConsumerEvent<'_>) {
        (**self).consumer(service, event);
    }

    fn provider(&self, service: &ServiceKey, at: UnixMillis, event: &ProviderEvent<'_>) {
        (**self).provider(service, at, event);
    }

    fn follow(&self, gauge: Weak<dyn Gauge>) {
        (**self).follow(gauge);
    }
}

/// All of them are told, in their order.
impl Observer for Vec<Arc<dyn Observer>> {
    fn of(&self, role: Role, service: &ServiceKey) -> Option<Arc<dyn Observer>> {
        let of = |one: &Arc<dyn Observer>| one.of(role, service).unwrap_or_else(|| one.clone());
        Some(Arc::new(self.iter().map(of).collect::<Self>()))
    }

    fn hears_requests(&self) -> bool {
        self.iter().any(Observer::hears_requests)
    }

    fn picked(&self, state: State) {
        for one in self {
            one.picked(state);
        }
    }

    fn answered(&self, outcome: Outcome) {
        for one in self {
            one.answered(outcome);
        }
    }

    fn consumer(&self, service: &ServiceKey, event: &ConsumerEvent<'_>) {
        for one in self {
            one.consumer(service, event);
        }
    }

    fn provider(&self, service: &ServiceKey, at: UnixMillis, event: &ProviderEvent<'_>) {
        for one in self {
            one.provider(service, at, event);
        }
    }

    fn follow(&self, gauge: Weak<dyn Gauge>) {
        for one in self {
            one.follow(gauge.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Takes note of who was asked what.
    #[derive(Clone, Debug)]
    struct Notes(&'static str, Arc<Mutex<Vec<String>>>);

    impl Notes {
        fn add(&self, what: &str) {
            self.1.lock().unwrap().push(format!("{}: {what}", self.0));
        }
    }

    impl Observer for Notes {
        fn of(&self, role: Role, service: &ServiceKey) -> Option<Arc<dyn Observer>> {
            self.add(&format!("{role} of {}", service.name));
            (self.0 == "narrow").then(|| Arc::new(Self("narrowed", self.1.clone())) as _)
        }

        fn picked(&self, state: State) {
            self.add(&format!("picked {state}"));
        }

        fn answered(&self, outcome: Outcome) {
            self.add(outcome.as_str());
        }
    }

    #[test]
    fn of_several_each_is_told_and_each_is_asked_once_for_whom_it_keeps_something() {
        let notes = Arc::<Mutex<Vec<String>>>::default();
        let (wide, narrow) = (Notes("wide", notes.clone()), Notes("narrow", notes.clone()));
        let both: Vec<Arc<dyn Observer>> = vec![Arc::new(wide), Arc::new(narrow)];
        let observers = Observers::from(both);
        let witness = Witness::new(Role::Consumer, &"orders".parse().unwrap(), &observers);
        witness.picked(|| State::Warm);
        witness.picked(|| State::Aside);
        let expected = [
            "wide: consumer of orders",
            "narrow: consumer of orders",
            "wide: picked warm",
            "narrowed: picked warm",
            "wide: picked aside",
            "narrowed: picked aside",
        ];
        assert_eq!(notes.lock().unwrap()[..], expected);
    }

    /// Hears what happens now and then.
    #[derive(Debug)]
    struct HardOfHearing;

    impl Observer for HardOfHearing {
        fn hears_requests(&self) -> bool {
            false
        }

        fn picked(&self, _: State) {
            unreachable!("it does not hear that");
        }
    }

    #[test]
    fn who_hears_no_requests_costs_none() {
        let notes = Arc::<Mutex<Vec<String>>>::default();
        let orders = "orders".parse().unwrap();
        let deaf = Witness::new(Role::Consumer, &orders, &Observers::from(HardOfHearing));
        deaf.picked(|| unreachable!("nobody asked"));
        let both = Observers::from(HardOfHearing).and(Notes("wide", notes.clone()));
        Witness::new(Role::Consumer, &orders, &both).picked(|| State::Warm);
        assert_eq!(notes.lock().unwrap()[..], ["wide: consumer of orders", "wide: picked warm"]);
    }

    #[test]
    fn where_nobody_observes_nothing_is_looked_up() {
        let witness = Witness::new(Role::Consumer, &"orders".parse().unwrap(), &Observers::default());
        witness.picked(|| unreachable!("nobody asked"));
    }
}
