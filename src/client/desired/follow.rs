//! What this client follows of one service: what should be asked of the registry, and the list it gave.

use super::list::{List, Listing};
use super::pause::Pause;
use super::{Settled, Ticket};
use crate::model::{InstanceKey, Snapshot};
use crate::naming::{Error, Told};
use std::mem;
use std::sync::Arc;
use tokio::time::Instant;

/// A service that is followed, or whose following is being ended.
#[derive(Debug)]
pub(super) struct Follow {
    list: List,
    wanted: bool,
    /// Whether the registry sends pushes on this connection.
    subscribed: bool,
    /// Whether a reader wants the list at once.
    refresh: bool,
    /// The one question on its way.
    sent: Option<Ask>,
    /// Calls that wait for the first list.
    waiting: Vec<Ticket>,
    pause: Pause,
}

/// A question to the registry about one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) enum Ask {
    /// The list now, and pushes from now on.
    Subscribe,
    /// No more pushes.
    Unsubscribe,
    /// The list now.
    Query,
}

impl Follow {
    /// A service to be followed, with nothing known yet.
    pub(super) fn new(list: List) -> Self {
        let (waiting, pause) = (Vec::new(), Pause::default());
        Self { list, wanted: true, subscribed: false, refresh: false, sent: None, waiting, pause }
    }

    /// Waits for the first list, or settles at once where it has come.
    pub(super) fn subscribe(&mut self, ticket: Ticket, settled: &mut Settled) {
        if self.list.is_known() {
            settled.push((ticket, Ok(Told::default())));
        } else {
            self.pause.end();
            self.waiting.push(ticket);
        }
    }

    /// Starts from the list of an earlier process where nothing is known; whether it is to be published.
    pub(super) fn start_from(&mut self, file: &Arc<Snapshot>, settled: &mut Settled) -> bool {
        let begun = self.wanted && self.list.start_from(file.clone());
        if begun {
            settled
                .extend(mem::take(&mut self.waiting).into_iter().map(|ticket| (ticket, Ok(Told::default()))));
        }
        begun
    }

    /// Whether the list is the registry's own word, with nobody kept.
    pub(super) fn is_whole(&self) -> bool {
        self.list.is_whole()
    }

    /// Whether the registry sends pushes on this connection.
    pub(super) fn is_subscribed(&self) -> bool {
        self.subscribed
    }

    /// Whether somebody follows it.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Follows anew, from nothing known, what nobody has followed any more: the registry is asked again, be
    /// it that it has not heard of the end yet.
    pub(super) fn renew(&mut self, list: List) {
        (self.wanted, self.subscribed, self.list) = (true, false, list);
    }

    /// Nobody follows it any more.
    pub(super) fn abandon(&mut self) {
        (self.wanted, self.refresh) = (false, false);
    }

    /// Forgets a call that waits no more.
    pub(super) fn give_up(&mut self, ticket: Ticket) {
        self.waiting.retain(|waiting| *waiting != ticket);
    }

    /// A reader wants the list at once.
    pub(super) fn refresh(&mut self) {
        self.refresh = true;
    }

    /// The next question, which is then on its way.
    pub(super) fn next(&mut self, now: Instant) -> Option<Ask> {
        if self.sent.is_some() || self.pause.lasts(now) {
            return None;
        }
        let ask = match (self.wanted, self.subscribed) {
            (true, false) => Ask::Subscribe,
            (true, true) if self.refresh => Ask::Query,
            (false, true) => Ask::Unsubscribe,
            (true, true) | (false, false) => return None,
        };
        self.refresh = false; // A wish from now on wants an answer that is newer than this one's.
        self.sent = Some(ask);
        self.sent
    }

    /// The registry answered the question with a list; returns what is to be published.
    pub(super) fn answered(
        &mut self,
        list: Listing,
        now: Instant,
        settled: &mut Settled,
    ) -> Option<Arc<Snapshot>> {
        self.pause.end();
        match self.sent.take()? {
            Ask::Unsubscribe => {
                self.subscribed = false;
                None
            }
            Ask::Query => self.take_in(list, now),
            Ask::Subscribe => {
                self.subscribed = true;
                let published = self.take_in(list, now);
                settled.extend(
                    mem::take(&mut self.waiting).into_iter().map(|ticket| (ticket, Ok(Told::default()))),
                );
                published
            }
        }
    }

    /// The registry said no. A subscription that it had accepted once is tried again after a pause.
    pub(super) fn refused(&mut self, error: &Error, now: Instant, chance: f64, settled: &mut Settled) {
        match self.sent.take() {
            None | Some(Ask::Query) => {}
            Some(Ask::Unsubscribe) => self.subscribed = false, // There is nothing better to believe.
            Some(Ask::Subscribe) if self.list.is_known() => self.pause.lengthen(now, chance),
            Some(Ask::Subscribe) => {
                let waiting = mem::take(&mut self.waiting);
                settled.extend(waiting.into_iter().map(|ticket| (ticket, Err(error.clone()))));
                self.abandon();
            }
        }
    }

    /// The registry asked to come back later, or gave no answer that can be read.
    pub(super) fn postponed(&mut self, now: Instant, chance: f64) {
        self.refresh |= self.sent.take() == Some(Ask::Query) && self.wanted;
        self.pause.lengthen(now, chance);
    }

    /// Takes a pushed list in; returns what is to be published.
    pub(super) fn take_in(&mut self, list: Listing, now: Instant) -> Option<Arc<Snapshot>> {
        if self.wanted { self.list.take_in(list, now) } else { None }
    }

    /// The list without those who have been missing for long enough.
    pub(super) fn take_overdue(&mut self, now: Instant) -> Option<Arc<Snapshot>> {
        self.list.take_overdue(now)
    }

    /// This client takes the instance off.
    pub(super) fn withdraw(&mut self, key: &InstanceKey) {
        self.list.withdraw(key);
    }

    /// This client registers the instance.
    pub(super) fn restore(&mut self, key: &InstanceKey) {
        self.list.restore(key);
    }

    /// The connection is gone, and its subscription with it; the list is kept.
    pub(super) fn disconnected(&mut self) {
        (self.subscribed, self.sent) = (false, None);
        self.pause.end();
        self.list.disconnected();
    }

    /// Whether there is nothing to do and nothing to remember.
    pub(super) fn is_over(&self) -> bool {
        !self.wanted && !self.subscribed && self.sent.is_none()
    }

    /// When a pause ends or an instance has been missing for long enough, whatever is first.
    pub(super) fn due(&self) -> Option<Instant> {
        let paused = self.pause.until().filter(|_| self.sent.is_none());
        paused.into_iter().chain(self.list.due()).min()
    }
}
