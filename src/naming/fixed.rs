//! Services whose addresses are known beforehand.

use super::{BoxFuture, Error, Snapshots, Subscribe};
use crate::model::{Instance, ServiceKey};
use std::collections::HashMap;

/// A list written down once: for tests, for services behind fixed addresses, for a start without a
/// registry.
///
/// ```
/// use tower_graceful::{model::Instance, naming::FixedList};
/// let orders = "orders".parse()?;
/// let list = FixedList::new().with(orders, vec![Instance::new("10.0.0.7:8080".parse()?)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct FixedList(HashMap<ServiceKey, Snapshots>);

impl FixedList {
    /// A list without any service.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same list with `instances` for `service`.
    #[must_use]
    pub fn with(mut self, service: ServiceKey, instances: Vec<Instance>) -> Self {
        self.0.insert(service.clone(), Snapshots::fixed(service, instances));
        self
    }
}

impl Subscribe for FixedList {
    fn subscribe<'a>(&'a self, service: &'a ServiceKey) -> BoxFuture<'a, Result<Snapshots, Error>> {
        let known = self.0.get(service).cloned();
        Box::pin(async move { Ok(known.unwrap_or_else(|| Snapshots::fixed(service.clone(), Vec::new()))) })
    }
}
