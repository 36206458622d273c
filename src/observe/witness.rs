//! What tells: one for each balancer and provider.

use super::{ConsumerEvent, Gauge, Observer, Outcome, ProviderEvent, Role, State};
use crate::model::{ServiceKey, UnixMillis};
use std::sync::{Arc, Weak};

/// Those who want to be told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observers(Vec<Arc<dyn Observer>>);

impl<O: Observer> From<O> for Observers {
    fn from(observer: O) -> Self {
        Self(vec![Arc::new(observer)])
    }
}

impl Observers {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These and one more.
    #[must_use]
    pub(crate) fn and(mut self, observer: impl Observer) -> Self {
        self.0.push(Arc::new(observer));
        self
    }
}

/// Traces what happens on one side of one service, and tells who observes it.
#[derive(Clone, Debug)]
pub(crate) struct Witness {
    service: ServiceKey,
    observer: Option<Arc<dyn Observer>>,
}

impl Witness {
    pub(crate) fn new(role: Role, service: &ServiceKey, observers: &Observers) -> Self {
        let observer = match &observers.0[..] {
            [] => None,
            [one] => Some(one.of(role, service).unwrap_or_else(|| one.clone())),
            _ => observers.0.of(role, service),
        };
        Self { service: service.clone(), observer }
    }

    /// Tells of a pick; `state` is asked for only when somebody observes.
    #[inline]
    pub(crate) fn picked(&self, state: impl FnOnce() -> State) {
        if let Some(observer) = &self.observer {
            observer.picked(state());
        }
    }

    /// Tells of a request; `outcome` is asked for only when somebody observes, and is nothing for a probe.
    #[inline]
    pub(crate) fn answered(&self, outcome: impl FnOnce() -> Option<Outcome>) {
        if let Some(observer) = &self.observer
            && let Some(outcome) = outcome()
        {
            observer.answered(outcome);
        }
    }

    pub(crate) fn consumer(&self, event: &ConsumerEvent<'_>) {
        event.trace(&self.service);
        if let Some(observer) = &self.observer {
            observer.consumer(&self.service, event);
        }
    }

    pub(crate) fn provider(&self, at: UnixMillis, event: &ProviderEvent<'_>) {
        event.trace(&self.service);
        if let Some(observer) = &self.observer {
            observer.provider(&self.service, at, event);
        }
    }

    pub(crate) fn follow(&self, gauge: Weak<dyn Gauge>) {
        if let Some(observer) = &self.observer {
            observer.follow(gauge);
        }
    }
}
