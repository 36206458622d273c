//! What this client has registered of one service: what should be, what is, and the next step between.
//!
//! One connection holds one publication of a service, an instance or a list of them, and each request
//! replaces it as a whole. So at most one request per service is on its way, and each carries everything
//! that the registry has accepted before and at most one instance that it has not: a refusal hits the
//! instance that was asked for and no other.

use super::pause::Pause;
use super::{Outcome, Settled, Ticket};
use crate::model::{Instance, InstanceKey};
use crate::naming::{Error, Told};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::mem;
use tokio::time::Instant;

type Set = BTreeMap<InstanceKey, Instance>;

/// What should be registered of one service, and what is.
#[derive(Debug, Default)]
pub(super) struct Publication {
    /// Acknowledged once, and done again on each new connection until deregistered.
    accepted: Set,
    /// Asked for, not acknowledged yet.
    asked: BTreeMap<InstanceKey, Asked>,
    /// Deregistrations that wait until the registry holds the instance no more.
    leaving: Vec<Leaving>,
    /// What the registry holds of this connection; of the last one when there is none.
    held: Set,
    sent: Option<Sent>,
    pause: Pause,
}

#[derive(Debug)]
struct Asked {
    instance: Instance,
    tickets: Vec<Ticket>,
}

/// A deregistration.
#[derive(Debug)]
struct Leaving {
    key: InstanceKey,
    ticket: Ticket,
    /// Whether somebody wants to hear which consumers know.
    who_knows: bool,
}

/// A request on its way.
#[derive(Debug)]
struct Sent {
    set: Set,
    /// Which instance of the set is not accepted yet, and who asked for it. Without tickets it is no
    /// longer wanted.
    trial: Option<(InstanceKey, Vec<Ticket>)>,
}

/// What a request asks of the registry.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::client) enum Change {
    /// These are all.
    Register(Vec<Instance>),
    /// There is none any more; this was one of them.
    Deregister(Instance),
    /// As the other two: `gone` was one of them, and those that `stay` are all. But it is to be heard which
    /// consumers know.
    Leave { gone: Instance, stay: Vec<Instance> },
}

impl Publication {
    /// Asks for an instance in place of the one with its key.
    pub(super) fn register(&mut self, ticket: Ticket, instance: Instance) {
        self.pause.end();
        match self.asked.entry(instance.key.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(Asked { instance, tickets: vec![ticket] });
            }
            Entry::Occupied(mut occupied) => {
                occupied.get_mut().instance = instance;
                occupied.get_mut().tickets.push(ticket);
            }
        }
    }

    /// Takes an instance off. From here on nothing asks for it, and if a request with it is on its way, one
    /// without it follows.
    pub(super) fn deregister(
        &mut self,
        ticket: Ticket,
        key: &InstanceKey,
        who_knows: bool,
        settled: &mut Settled,
    ) {
        self.pause.end();
        self.accepted.remove(key);
        let mut withdrawn = self.asked.remove(key).map(|asked| asked.tickets).unwrap_or_default();
        if let Some(Sent { trial: Some((tried, tickets)), .. }) = &mut self.sent
            && tried == key
        {
            withdrawn.append(tickets);
        }
        let message = format!("{key:?} was deregistered while its registration was under way");
        settle(withdrawn, &Err(Error::Invalid { message }), settled);
        self.leaving.push(Leaving { key: key.clone(), ticket, who_knows });
        self.settle_leaving(&Told::default(), settled);
    }

    /// Forgets a call that waits no more; an instance that nobody waits for is not asked for.
    pub(super) fn give_up(&mut self, ticket: Ticket) {
        for asked in self.asked.values_mut() {
            asked.tickets.retain(|waiting| *waiting != ticket);
        }
        self.asked.retain(|_, asked| !asked.tickets.is_empty());
        if let Some(Sent { trial: Some((_, tickets)), .. }) = &mut self.sent {
            tickets.retain(|waiting| *waiting != ticket);
        }
        self.leaving.retain(|leaving| leaving.ticket != ticket);
    }

    /// Takes everything off, for good.
    pub(super) fn clear(&mut self, settled: &mut Settled) {
        self.pause.end();
        self.accepted.clear();
        let mut tickets: Vec<_> = mem::take(&mut self.asked).into_values().flat_map(|a| a.tickets).collect();
        if let Some(Sent { trial: Some((_, tried)), .. }) = &mut self.sent {
            tickets.append(tried);
        }
        settle(tickets, &Err(Error::Closed), settled);
    }

    /// The next request, which is then on its way. What was accepted comes first, so that after a reconnect
    /// nothing waits behind an instance that may be refused.
    pub(super) fn next(&mut self, now: Instant) -> Option<Change> {
        let settled = self.held == self.accepted && self.asked.is_empty();
        if settled || self.sent.is_some() || self.pause.lasts(now) {
            return None;
        }
        let mut set = self.accepted.clone();
        let mut trial = None;
        if self.held == self.accepted {
            let (key, Asked { instance, tickets }) = self.asked.pop_first()?;
            set.insert(key.clone(), instance);
            trial = Some((key, tickets));
        }
        let (gone, stay) =
            (self.held.values().find(|held| !set.contains_key(&held.key)), set.values().cloned());
        let change = match gone {
            Some(gone) if self.leaving.iter().any(|leaving| leaving.who_knows) => {
                Change::Leave { gone: gone.clone(), stay: stay.collect() }
            }
            Some(last) if set.is_empty() => Change::Deregister(last.clone()),
            _ => Change::Register(stay.collect()),
        };
        self.sent = Some(Sent { set, trial });
        Some(change)
    }

    /// The registry did what the request asked, and consumers have been told of it.
    pub(super) fn acknowledged(&mut self, told: &Told, settled: &mut Settled) {
        let Some(Sent { set, trial }) = self.sent.take() else { return };
        self.pause.end();
        if let Some((key, tickets)) = trial.filter(|(_, tickets)| !tickets.is_empty()) {
            if let Some(instance) = set.get(&key) {
                self.accepted.insert(key, instance.clone());
            }
            settle(tickets, &Ok(Told::default()), settled);
        }
        self.held = set;
        self.settle_leaving(told, settled);
    }

    /// The registry said no. What it had accepted once is tried again after a pause.
    pub(super) fn refused(&mut self, error: &Error, now: Instant, chance: f64, settled: &mut Settled) {
        let Some(Sent { trial, .. }) = self.sent.take() else { return };
        if let Some((_, tickets)) = trial {
            settle(tickets, &Err(error.clone()), settled);
            return self.settle_leaving(&Told::default(), settled);
        }
        let leaving = mem::take(&mut self.leaving).into_iter().map(|leaving| leaving.ticket).collect();
        settle(leaving, &Err(error.clone()), settled);
        self.pause.lengthen(now, chance);
    }

    /// The registry asked to come back later.
    pub(super) fn postponed(&mut self, now: Instant, chance: f64, settled: &mut Settled) {
        if let Some(sent) = self.sent.take() {
            self.ask_again(sent);
        }
        self.settle_leaving(&Told::default(), settled);
        self.pause.lengthen(now, chance);
    }

    /// The connection is gone. Whether it did what is on its way nobody knows.
    pub(super) fn disconnected(&mut self) {
        if let Some(sent) = self.sent.take() {
            self.held.extend(sent.set.iter().map(|(key, instance)| (key.clone(), instance.clone())));
            self.ask_again(sent);
        }
    }

    /// There is a new connection, of which the registry holds nothing.
    pub(super) fn connected(&mut self, settled: &mut Settled) {
        self.held.clear();
        self.pause.end();
        self.settle_leaving(&Told::default(), settled);
    }

    /// Whether the instance should be registered.
    pub(super) fn wants(&self, key: &InstanceKey) -> bool {
        self.accepted.contains_key(key) || self.asked.contains_key(key)
    }

    /// Number of instances that should be registered.
    pub(super) fn wanted(&self) -> usize {
        self.accepted.len() + self.asked.keys().filter(|key| !self.accepted.contains_key(key)).count()
    }

    /// Number of instances that the registry holds as far as is known.
    pub(super) fn held(&self) -> usize {
        let sent = self.sent.iter().flat_map(|sent| sent.set.keys());
        self.held.len() + sent.filter(|key| !self.held.contains_key(key)).count()
    }

    /// Whether the registry has acknowledged the instance, on this connection if there is one.
    pub(super) fn holds(&self, key: &InstanceKey) -> bool {
        self.held.contains_key(key)
    }

    /// Whether there is nothing to do and nothing to remember.
    pub(super) fn is_over(&self) -> bool {
        let Self { accepted, asked, leaving, held, sent, pause: _ } = self;
        accepted.is_empty() && asked.is_empty() && leaving.is_empty() && held.is_empty() && sent.is_none()
    }

    /// When a pause ends.
    pub(super) fn due(&self) -> Option<Instant> {
        self.pause.until().filter(|_| self.sent.is_none() && !self.is_over())
    }

    /// Puts what was tried back among what is asked for; an instance asked for since then stands.
    fn ask_again(&mut self, Sent { set, trial }: Sent) {
        let Some((key, mut tickets)) = trial.filter(|(_, tickets)| !tickets.is_empty()) else { return };
        match self.asked.entry(key) {
            Entry::Occupied(mut newer) => newer.get_mut().tickets.append(&mut tickets),
            Entry::Vacant(vacant) => {
                if let Some(instance) = set.get(vacant.key()).cloned() {
                    vacant.insert(Asked { instance, tickets });
                }
            }
        }
    }

    fn settle_leaving(&mut self, told: &Told, settled: &mut Settled) {
        let Self { leaving, held, sent, .. } = self;
        let there = |key: &InstanceKey| {
            held.contains_key(key) || sent.as_ref().is_some_and(|sent| sent.set.contains_key(key))
        };
        let gone = leaving.extract_if(.., |leaving| !there(&leaving.key));
        settle(gone.map(|leaving| leaving.ticket).collect(), &Ok(told.clone()), settled);
    }
}

fn settle(tickets: Vec<Ticket>, outcome: &Outcome, settled: &mut Settled) {
    settled.extend(tickets.into_iter().map(|ticket| (ticket, outcome.clone())));
}
