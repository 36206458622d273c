//! A registry for the services of one process.

use super::{BoxFuture, Error, Publisher, Register, Snapshots, Subscribe};
use crate::model::{Instance, InstanceKey, ServiceKey, Snapshot};
use std::collections::HashMap;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Registers and subscribes without a network; a clone shares the same services.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use tower_graceful::{model::Instance, naming::{InProcess, Register, Subscribe}};
/// let (naming, orders) = (InProcess::new(), "orders".parse()?);
/// naming.register(&orders, &Instance::new("10.0.0.7:8080".parse()?)).await?;
/// assert_eq!(naming.subscribe(&orders).await?.latest().instances().len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
pub struct InProcess {
    services: Arc<Mutex<HashMap<ServiceKey, (Publisher, Snapshots)>>>,
}

impl InProcess {
    /// A registry without any service.
    pub fn new() -> Self {
        Self::default()
    }

    fn services(&self) -> MutexGuard<'_, HashMap<ServiceKey, (Publisher, Snapshots)>> {
        // A panic elsewhere cannot leave the map half changed: each change is one publication.
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn snapshots(&self, service: &ServiceKey) -> Snapshots {
        let mut services = self.services();
        let (_, snapshots) =
            services.entry(service.clone()).or_insert_with_key(|key| Publisher::new(key.clone()));
        snapshots.clone()
    }

    fn change(&self, service: &ServiceKey, change: impl FnOnce(&mut Vec<Instance>)) {
        let mut services = self.services();
        let (publisher, snapshots) =
            services.entry(service.clone()).or_insert_with_key(|key| Publisher::new(key.clone()));
        let latest = snapshots.latest();
        let mut instances = latest.instances().to_vec();
        change(&mut instances);
        publisher.publish(Snapshot::new(service.clone(), latest.revision() + 1, instances));
    }
}

impl Register for InProcess {
    fn register<'a>(
        &'a self,
        service: &'a ServiceKey,
        instance: &'a Instance,
    ) -> BoxFuture<'a, Result<(), Error>> {
        self.change(service, |instances| instances.push(instance.clone())); // The last of a key counts.
        Box::pin(ready(Ok(())))
    }

    fn deregister<'a>(
        &'a self,
        service: &'a ServiceKey,
        instance: &'a InstanceKey,
    ) -> BoxFuture<'a, Result<(), Error>> {
        self.change(service, |instances| instances.retain(|listed| listed.key != *instance));
        Box::pin(ready(Ok(())))
    }
}

impl Subscribe for InProcess {
    fn subscribe<'a>(&'a self, service: &'a ServiceKey) -> BoxFuture<'a, Result<Snapshots, Error>> {
        Box::pin(ready(Ok(self.snapshots(service))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn subscribers_follow_what_is_registered() {
        let (naming, orders) = (InProcess::new(), ServiceKey::new("orders").unwrap());
        let mut snapshots = naming.subscribe(&orders).await.unwrap();
        assert!(snapshots.latest().instances().is_empty());

        let instance = Instance::new("10.0.0.7:8080".parse().unwrap());
        naming.register(&orders, &instance).await.unwrap();
        assert_eq!(snapshots.changed().await.instances(), std::slice::from_ref(&instance));

        let warmer = instance.clone().with_metadata([("graceful.warmup.start", "1")].into_iter().collect());
        naming.register(&orders, &warmer).await.unwrap();
        assert_eq!(snapshots.changed().await.instances(), [warmer]);

        naming.deregister(&orders, &instance.key).await.unwrap();
        assert!(snapshots.changed().await.instances().is_empty());
        assert_eq!(snapshots.latest().revision(), 3);
    }
}
