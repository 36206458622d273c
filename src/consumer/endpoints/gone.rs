//! Those who went off the list, and what comes back with them.

use super::endpoint::Fleet;
use super::member::{Life, Member};
use super::seat::Seats;
use crate::model::{Instance, InstanceKey, UnixMillis};
use crate::observe::ConsumerEvent;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Those who went, so that one who returns after a flap of the list keeps its age and its calls in flight.
#[derive(Default)]
pub(super) struct Gone {
    who: HashMap<Incarnation, Memory>,
    /// The same, in the order in which they went.
    order: BTreeMap<u64, Incarnation>,
    went: u64,
    /// Members of the longest list: a flap takes a whole fleet and gives it back.
    most: usize,
}

type Incarnation = (InstanceKey, Option<UnixMillis>);

struct Memory {
    seats: Arc<Seats>,
    life: Life,
    turn: u64,
}

impl Gone {
    /// What a small fleet may remember, beyond itself; what was replaced long before is not missed.
    const MIN: usize = 1024;

    /// Has place for as many as are `members` now.
    pub(super) fn make_room(&mut self, members: usize) {
        self.most = self.most.max(members);
    }

    pub(super) fn remember<S>(&mut self, member: Member<S>, fleet: &Fleet) {
        fleet.tell(&ConsumerEvent::Gone { instance: &member.listed });
        let Member { listed, seats, life, .. } = member;
        if self.who.len() >= self.most.max(Self::MIN)
            && let Some((_, first)) = self.order.pop_first()
        {
            self.who.remove(&first);
        }
        let (who, turn) = ((listed.key, seats.endpoint().epoch()), self.went);
        self.went += 1;
        self.order.insert(turn, who.clone());
        if let Some(before) = self.who.insert(who, Memory { seats, life, turn }) {
            self.order.remove(&before.turn);
        }
    }

    /// How many are remembered, by either way of looking.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> (usize, usize) {
        (self.who.len(), self.order.len())
    }

    pub(super) fn recall(&mut self, listed: &Instance) -> Option<(Arc<Seats>, Life)> {
        if self.who.is_empty() {
            return None;
        }
        let Memory { seats, life, turn } = self.who.remove(&(listed.key.clone(), listed.epoch()))?;
        self.order.remove(&turn);
        Some((seats, life))
    }
}
