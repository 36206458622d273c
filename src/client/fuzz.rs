//! A client that follows one service, given lists of any kind.

use super::desired::{Answer, Desired, Ticket};
use super::incoming::read_list;
use crate::model::{ServiceKey, Snapshot};
use crate::protocol::entity::ServiceInfo;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long an instance is believed in that is missing without an order.
const KEEP: Duration = Duration::from_secs(60);

/// Follows a service.
pub(crate) struct Follower {
    service: ServiceKey,
    desired: Desired,
}

impl Follower {
    pub(crate) fn new(service: ServiceKey) -> Self {
        let (mut desired, mut settled) = (Desired::new(KEEP), Vec::new());
        desired.subscribe(Ticket(0), &service, &mut settled).expect("one service can be followed");
        desired.connected(&mut settled);
        Self { service, desired }
    }

    /// Takes an answer's list in, or a pushed one, and then whatever is overdue; returns what is believed.
    pub(crate) fn hear(&mut self, json: &[u8], pushed: bool) -> Vec<Arc<Snapshot>> {
        let now = Instant::now();
        let info = serde_json::from_slice::<ServiceInfo>(json).ok();
        let list = info.map(|info| read_list(info, self.service.clone()));
        let believed = list.and_then(|list| {
            if pushed {
                return self.desired.take_in(list, now);
            }
            self.desired.followed(&self.service, Answer::Yes(list), now, 0.5, &mut Vec::new())
        });
        let overdue = self.desired.take_overdue(now);
        believed.into_iter().chain(overdue).collect()
    }

    /// The connection is lost, and there is another one.
    pub(crate) fn reconnect(&mut self) {
        self.desired.disconnected();
        self.desired.connected(&mut Vec::new());
    }
}
