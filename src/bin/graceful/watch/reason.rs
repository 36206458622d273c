//! Why an instance has changed, as a registry of this crate tells it.

use super::change::Change;
use crate::Failure;
use crate::api::{Api, Kind, Recorded, events};
use tower_graceful::model::{Cluster, ServiceKey};

/// Events that are looked at after one change of a list.
const EVENTS_MAX: usize = 1000;

/// What the registry has written down of a service, from a moment on.
pub(super) struct Reasons {
    /// The last that was seen.
    sequence: u64,
    seen: Vec<Recorded>,
}

impl Reasons {
    /// From now on. Nothing where it is a Nacos: that tells no reasons.
    pub(super) async fn begin(api: &Api, service: &ServiceKey) -> Result<Option<Self>, Failure> {
        let Kind::Ours = api.kind else { return Ok(None) };
        let last = events(api, service, &[], 0, 1).await?;
        Ok(Some(Self { sequence: last.first().map_or(0, |event| event.sequence), seen: Vec::new() }))
    }

    /// Looks at what is new, after a list has changed.
    pub(super) async fn look(&mut self, api: &Api, service: &ServiceKey) -> Result<(), Failure> {
        self.seen = events(api, service, &[], self.sequence, EVENTS_MAX).await?; // The newest first.
        self.sequence = self.seen.first().map_or(self.sequence, |event| event.sequence);
        Ok(())
    }

    /// Why this has happened, if the registry says so.
    pub(super) fn of(&self, change: &Change) -> Option<&Recorded> {
        self.seen.iter().find(|event| explains(event, change))
    }
}

fn explains(event: &Recorded, Change { key, what, .. }: &Change) -> bool {
    key.address.host() == event.ip
        && key.address.port() == event.port
        && Cluster::new(&event.cluster).is_ok_and(|cluster| cluster == key.cluster)
        && what.events().contains(&event.event.as_str())
}
