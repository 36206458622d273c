//! Numbers of what happens, over the facade of the `metrics` crate, and Prometheus' text of them.
//!
//! Base units, and labels that are bounded: the name of the service, and words from closed lists; never an
//! address. A service that is only called has the series of a consumer, one that is provided those of a
//! provider. `docs/metrics.md` is their table.
//!
#![cfg_attr(feature = "consumer", doc = "```")]
#![cfg_attr(not(feature = "consumer"), doc = "```ignore")]
//! use tower_graceful::{consumer::BalanceLayer, model::Instance, naming::Snapshots, observe::Metrics};
//! let instances = vec![Instance::new("10.0.0.7:8080".parse()?)];
//! let metrics = Metrics::alone();
//! let orders = BalanceLayer::new(Snapshots::fixed("orders".parse()?, instances))
//!     .with_observer(metrics.clone())
//!     .over(|_| ());
//! orders.pick()?;
//! let text = metrics.text().expect("they have an exporter of their own");
//! assert!(text.contains(r#"graceful_picks_total{service="public##DEFAULT_GROUP@@orders",state="warm"} 1"#));
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! ```
//!
//! A provider serves the text itself (`ProviderBuilder::metrics`). A process without one mounts [`Metrics`],
//! which is a service, in a server of its own: `router.route_service("/metrics", metrics)`.

mod consumer;
mod family;
mod provider;
mod scrape;
mod sink;

use super::{Gauge, Observer, Role};
use crate::model::ServiceKey;
use consumer::ConsumerSeries;
use provider::ProviderSeries;
use sink::Sink;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Counts and measures what happens. See the [module docs](self). A clone is the same.
#[derive(Clone)]
pub struct Metrics(Arc<Shared>);

struct Shared {
    sink: Sink,
    services: Mutex<Services>,
}

/// The series of each service.
#[derive(Default)]
struct Services {
    consumed: HashMap<ServiceKey, Arc<ConsumerSeries>>,
    provided: HashMap<ServiceKey, Arc<ProviderSeries>>,
}

/// Services on each side that have series of their own; those beyond share [`OTHERS`]. More than one process
/// calls, unless something makes up names.
const SERVICES_MAX: usize = 256;
/// The label `service` of those beyond the bound.
const OTHERS: &str = "(others)";

impl Metrics {
    /// Metrics in the recorder of this process, beside those of the application.
    ///
    /// When the application has installed a recorder (`metrics::set_global_recorder`) before this is called
    /// for the first time, they go there; its exporter shows them, and [`text`](Self::text) has nothing. It
    /// should call [`refresh`](Self::refresh) before it reads, for what changes without an event. Otherwise
    /// this installs a recorder for Prometheus, and `text` has the application's own metrics as well.
    pub fn global() -> Self {
        Self::new(Sink::global())
    }

    /// Metrics in a recorder of their own, which nobody else writes to.
    pub fn alone() -> Self {
        Self::new(Sink::alone())
    }

    fn new(sink: Sink) -> Self {
        sink.with(|recorder| family::ALL.iter().for_each(|family| family.describe(recorder)));
        Self(Arc::new(Shared { sink, services: Mutex::default() }))
    }

    /// The present values in Prometheus' text format; nothing when the application has a recorder of its own.
    pub fn text(&self) -> Option<String> {
        self.refresh();
        self.0.sink.render()
    }

    /// Brings up to date what changes without an event: ages, ratios, requests under way.
    pub fn refresh(&self) {
        // Reading takes the locks of those who are read, and they may be telling us something: ours goes first.
        let (consumed, provided) = {
            let services = self.services();
            let consumed: Vec<_> = services.consumed.values().cloned().collect();
            (consumed, services.provided.values().cloned().collect::<Vec<_>>())
        };
        for series in consumed {
            series.refresh();
        }
        for series in provided {
            series.refresh();
        }
    }

    fn services(&self) -> MutexGuard<'_, Services> {
        self.0.services.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Metrics {
    fn of(&self, role: Role, service: &ServiceKey) -> Option<Arc<dyn Observer>> {
        let Services { consumed, provided } = &mut *self.services();
        Some(match role {
            Role::Consumer => series_of(consumed, service, |name| ConsumerSeries::new(&self.0.sink.of(name))),
            Role::Provider => series_of(provided, service, |name| ProviderSeries::new(&self.0.sink.of(name))),
        })
    }
}

/// The series of `service`: two balancers of one service count together.
fn series_of<S: Observer>(
    known: &mut HashMap<ServiceKey, Arc<S>>,
    service: &ServiceKey,
    make: impl FnOnce(String) -> S,
) -> Arc<dyn Observer> {
    if let Some(series) = known.get(service) {
        return series.clone();
    }
    if known.len() >= SERVICES_MAX {
        return Arc::new(make(OTHERS.to_owned()));
    }
    let series = Arc::new(make(service.to_string()));
    known.insert(service.clone(), series.clone());
    series
}

/// The gauge that was given last, as long as it lives: of two balancers of one service the younger speaks.
#[derive(Default)]
struct Youngest(Mutex<Option<Weak<dyn Gauge>>>);

impl Youngest {
    fn follow(&self, gauge: Weak<dyn Gauge>) {
        *self.lock() = Some(gauge);
    }

    fn get(&self) -> Option<Arc<dyn Gauge>> {
        self.lock().as_ref().and_then(Weak::upgrade)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Weak<dyn Gauge>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services = self.services();
        f.debug_struct("Metrics")
            .field("sink", &self.0.sink)
            .field("consumed", &services.consumed.len())
            .field("provided", &services.provided.len())
            .finish()
    }
}

#[cfg(test)]
mod tests;
