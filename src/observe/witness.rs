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
    pub(crate) fn and(self, observer: impl Observer) -> Self {
        self.and_maybe(Some(Arc::new(observer)))
    }

    /// These and one more, if there is one.
    #[must_use]
    pub(crate) fn and_maybe(mut self, observer: Option<Arc<dyn Observer>>) -> Self {
        self.0.extend(observer);
        self
    }
}

/// Traces what happens on one side of one service, and tells who observes it.
#[derive(Clone, Debug)]
pub(crate) struct Witness {
    service: ServiceKey,
    observer: Option<Arc<dyn Observer>>,
    /// Those who want to be told of every request.
    of_requests: Option<Arc<dyn Observer>>,
}

impl Witness {
    pub(crate) fn new(role: Role, service: &ServiceKey, observers: &Observers) -> Self {
        let of = |one: &Arc<dyn Observer>| one.of(role, service).unwrap_or_else(|| one.clone());
        let all: Vec<_> = observers.0.iter().map(of).collect();
        let of_requests = all.iter().filter(|one| one.hears_requests()).cloned().collect();
        Self { service: service.clone(), observer: as_one(all), of_requests: as_one(of_requests) }
    }

    /// Tells of a pick; `state` is asked for only when somebody observes.
    #[inline]
    pub(crate) fn picked(&self, state: impl FnOnce() -> State) {
        if let Some(observer) = &self.of_requests {
            observer.picked(state());
        }
    }

    /// Tells of a request; `outcome` is asked for only when somebody observes, and is nothing for a probe.
    #[inline]
    pub(crate) fn answered(&self, outcome: impl FnOnce() -> Option<Outcome>) {
        if let Some(observer) = &self.of_requests
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

fn as_one(mut observers: Vec<Arc<dyn Observer>>) -> Option<Arc<dyn Observer>> {
    match observers.len() {
        0 | 1 => observers.pop(),
        _ => Some(Arc::new(observers)),
    }
}
