//! How the registry stands: whether it is ready, and how much of everything there is.

use super::Hub;
use crate::model::ServiceKey;
use crate::registry::metrics::{Metrics, Phase, Phases, Standing};
use std::sync::Arc;
use tokio::task::yield_now;

/// Services that are counted before others have their turn.
const COUNTED_AT_ONCE: usize = 256;

/// Why a registry does not take changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unready {
    #[error("the registry is shutting down")]
    Closing,
    #[error("changes cannot be stored: see the log for the reason")]
    Storage,
}

impl Hub {
    /// What is counted as it happens.
    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Whether the registry takes changes.
    ///
    /// # Errors
    /// With the reason why it does not.
    pub(crate) fn readiness(&self) -> Result<(), Unready> {
        if self.state().frozen {
            return Err(Unready::Closing);
        }
        if self.metrics.store_is_available() { Ok(()) } else { Err(Unready::Storage) }
    }

    /// How much of everything there is, counted piece by piece, so that nobody waits for it.
    pub(crate) async fn standing(&self) -> Standing {
        let subscribers: Vec<_> = self.state().connections.values().map(Arc::clone).collect();
        let unacknowledged = subscribers.iter().map(|subscriber| subscriber.pushes().under_way()).sum();
        let (counts, recordings) = (self.counts(), self.recordings());
        Standing { counts, phases: self.phases().await, unacknowledged, recordings }
    }

    async fn phases(&self) -> Phases {
        let (mut phases, mut after, now) = (Phases::default(), None::<ServiceKey>, self.now());
        loop {
            let portion = self.state().catalog.services_after(after.as_ref(), COUNTED_AT_ONCE);
            for service in &portion {
                self.state()
                    .catalog
                    .shown(service)
                    .for_each(|instance| phases.count(Phase::of(&instance, now)));
            }
            let Some(last) = portion.into_iter().next_back() else { return phases };
            after = Some(last);
            yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Clock;
    use crate::model::{Address, Instance, UnixMillis};
    use crate::registry::command::{Client, Limits};
    use crate::registry::peer::Peer;
    use crate::registry::query::Clusters;
    use std::collections::BTreeSet;
    use tokio::time::Instant;

    fn hub() -> Hub {
        let limits = Limits { metadata_chars_max: 100, instances_max: 10_000 };
        Hub::new(Clock::manual(UnixMillis::new(1_000)).0, limits)
    }

    fn service(n: usize) -> ServiceKey {
        format!("group-{}@@orders-{n:04}", n % 3).parse().unwrap()
    }

    #[tokio::test]
    async fn every_instance_of_every_service_is_counted_once() {
        let hub = hub();
        let (id, _) = hub.connect(Peer::default());
        let instance = |port| Instance::new(Address::new("10.0.0.7", port).unwrap());
        for n in 0..=COUNTED_AT_ONCE * 2 {
            let instances = vec![instance(1), Instance { enabled: false, ..instance(2) }];
            hub.publish(Client::Connection(id), service(n), instances).unwrap();
        }
        let Standing { phases, counts, .. } = hub.standing().await;
        let each = COUNTED_AT_ONCE * 2 + 1;
        assert_eq!((phases.of(Phase::Serving), phases.of(Phase::Disabled)), (each, each));
        assert_eq!((counts.services, counts.instances), (each, 2 * each));
        let pages = |most| {
            let mut found = Vec::new();
            while let page @ [_, ..] = &hub.state().catalog.services_after(found.last(), most)[..] {
                found.extend_from_slice(page);
            }
            found
        };
        assert_eq!(pages(1), pages(100));
        assert_eq!(pages(7).into_iter().collect::<BTreeSet<_>>().len(), each);
    }

    #[tokio::test]
    async fn what_happens_is_counted_and_shown() {
        let hub = hub();
        let ((provider, _), (consumer, subscriber)) =
            (hub.connect(Peer::default()), hub.connect(Peer::default()));
        let instances = || vec![Instance::new(Address::new("10.0.0.7", 1).unwrap())];
        hub.publish(Client::Connection(provider), service(1), instances()).unwrap();
        hub.subscribe(consumer, &service(1), Clusters::default()).unwrap();
        hub.disconnect(provider);
        let list = hub.snapshot(&service(1));
        subscriber.pushes().send(&service(1), (list.revision(), 0), Instant::now()).unwrap();
        let text = hub.metrics().text(&hub.standing().await);
        for line in [
            r#"registry_expired_total{reason="connection-lost"} 1"#,
            r#"registry_expired_total{reason="expired"} 0"#,
            r#"registry_instances{phase="serving"} 0"#,
            "registry_connections 1",
            "registry_subscribers 1",
            "registry_push_unacknowledged 1",
            "registry_revision 1000",
            "registry_store_available 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        let documented = include_str!("../../../docs/metrics.md").split_once("## Registry").unwrap().1;
        let heads = text.lines().filter_map(|line| line.strip_prefix("# HELP "));
        let rows = heads.map(|head| {
            let (name, about) = head.split_once(' ').unwrap();
            let kind = text.split(&format!("# TYPE {name} ")).nth(1).unwrap().lines().next().unwrap();
            (format!("| `{name}` | {kind} | "), format!(" | {about} |"))
        });
        let mut table = documented.lines().filter(|line| line.starts_with("| `registry_"));
        for (begins, ends) in rows {
            let row = table.next().unwrap_or_default();
            assert!(row.starts_with(&begins) && row.ends_with(&ends), "{begins}{ends}: {row}");
        }
        assert_eq!(table.next(), None);
    }

    #[tokio::test]
    async fn who_ends_or_cannot_store_is_not_ready() {
        let hub = hub();
        assert_eq!(hub.readiness(), Ok(()));
        hub.metrics().stored(false);
        assert_eq!(hub.readiness(), Err(Unready::Storage));
        hub.metrics().stored(true);
        hub.freeze();
        assert_eq!(hub.readiness(), Err(Unready::Closing));
    }
}
