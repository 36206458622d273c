//! What this client wants of the registry, and what to send next for it.
//!
//! A pure value: calls and answers change it, and it says which request is due. The rule for a new
//! connection follows from it without a word of its own, because a new connection holds nothing: everything
//! that was acknowledged is sent again, each instance by itself as it was last accepted, and nothing that
//! was deregistered, also when the registry was away at that moment.

mod follow;
mod list;
mod pause;
mod publication;

pub(super) use follow::Ask;
pub(super) use list::Listing;
pub(super) use publication::Change;

use crate::model::{Instance, InstanceKey, ServiceKey, Snapshot};
use crate::naming::{Error, Told};
use follow::Follow;
use list::List;
use publication::Publication;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Number of a call that waits for its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ticket(pub(super) u64);

/// What a call came to; who has been told is known of calls that take an instance off.
pub(super) type Outcome = Result<Told, Error>;

/// Calls whose outcome is known.
pub(super) type Settled = Vec<(Ticket, Outcome)>;

/// Instances that one client registers at most: a process offers a few, and each is sent with every change
/// of its service.
const INSTANCES_MAX: usize = 256;
/// Services that one client follows at most: each holds a list of up to a message's size in memory.
const SERVICES_MAX: usize = 4096;

/// What should be registered and followed, and what is.
#[derive(Debug)]
pub(super) struct Desired {
    publications: BTreeMap<ServiceKey, Publication>,
    follows: BTreeMap<ServiceKey, Follow>,
    /// How long an instance is believed in that is missing without an order.
    keep: Duration,
}

/// A request that is due.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Publish(ServiceKey, Change),
    Follow(ServiceKey, Ask),
}

impl Desired {
    /// Nothing is wanted. `keep` is how long an instance is believed in that is missing without an order.
    pub(super) fn new(keep: Duration) -> Self {
        Self { publications: BTreeMap::new(), follows: BTreeMap::new(), keep }
    }

    /// Asks for an instance in place of the one with its key.
    pub(super) fn register(
        &mut self,
        ticket: Ticket,
        service: &ServiceKey,
        instance: &Instance,
    ) -> Result<(), Error> {
        let known =
            self.publications.get(service).is_some_and(|publication| publication.wants(&instance.key));
        if !known && self.publications.values().map(Publication::wanted).sum::<usize>() >= INSTANCES_MAX {
            let message = format!("more than {INSTANCES_MAX} instances registered by one client");
            return Err(Error::Invalid { message });
        }
        if let Some(follow) = self.follows.get_mut(service) {
            follow.restore(&instance.key);
        }
        self.publications.entry(service.clone()).or_default().register(ticket, instance.clone());
        Ok(())
    }

    /// Takes an instance off, and asks who knows if it is to be heard; one that was never asked for is off
    /// already.
    pub(super) fn deregister(
        &mut self,
        ticket: Ticket,
        service: &ServiceKey,
        key: &InstanceKey,
        who_knows: bool,
        settled: &mut Settled,
    ) {
        if let Some(follow) = self.follows.get_mut(service) {
            follow.withdraw(key);
        }
        self.publications.entry(service.clone()).or_default().deregister(ticket, key, who_knows, settled);
        self.forget_publication(service);
    }

    /// Follows a service. Says whether nobody has followed it before, so that its cell is to be made.
    pub(super) fn subscribe(
        &mut self,
        ticket: Ticket,
        service: &ServiceKey,
        settled: &mut Settled,
    ) -> Result<bool, Error> {
        let list = || List::new(Snapshot::empty(service.clone()), self.keep);
        let full = self.follows.len() >= SERVICES_MAX;
        let anew = match self.follows.get_mut(service) {
            Some(follow) if follow.is_wanted() => false,
            Some(follow) => {
                follow.renew(list());
                true
            }
            None if full => {
                let message = format!("more than {SERVICES_MAX} services followed by one client");
                return Err(Error::Invalid { message });
            }
            None => {
                self.follows.insert(service.clone(), Follow::new(list()));
                true
            }
        };
        if let Some(follow) = self.follows.get_mut(service) {
            follow.subscribe(ticket, settled);
        }
        Ok(anew)
    }

    /// Starts from the list of an earlier process where nothing is known; whether it is to be published.
    pub(super) fn start_from(&mut self, file: &Arc<Snapshot>, settled: &mut Settled) -> bool {
        self.follows.get_mut(file.service()).is_some_and(|follow| follow.start_from(file, settled))
    }

    /// Whether the list of `service` is the registry's own word, with nobody kept.
    pub(super) fn is_whole(&self, service: &ServiceKey) -> bool {
        self.follows.get(service).is_some_and(Follow::is_whole)
    }

    /// Somebody who follows `service` wants its list at once.
    pub(super) fn refresh(&mut self, service: &ServiceKey) {
        if let Some(follow) = self.follows.get_mut(service) {
            follow.refresh();
        }
    }

    /// Nobody follows `service` any more.
    pub(super) fn abandon(&mut self, service: &ServiceKey) {
        if let Some(follow) = self.follows.get_mut(service) {
            follow.abandon();
        }
        self.forget_follow(service);
    }

    /// Forgets a call that waits no more. An instance that nobody waits for is not asked for.
    pub(super) fn give_up(&mut self, ticket: Ticket, service: &ServiceKey) {
        if let Some(publication) = self.publications.get_mut(service) {
            publication.give_up(ticket);
        }
        if let Some(follow) = self.follows.get_mut(service) {
            follow.give_up(ticket);
        }
        self.forget_publication(service);
    }

    /// Wants nothing any more: every instance is to be taken off, and nobody follows anything.
    pub(super) fn clear(&mut self, settled: &mut Settled) {
        for publication in self.publications.values_mut() {
            publication.clear(settled);
        }
        self.publications.retain(|_, publication| !publication.is_over());
        self.follows.clear(); // The end of the connection ends its subscriptions.
    }

    /// The next request, which is then on its way: instances before subscriptions, because others wait for
    /// them.
    pub(super) fn next(&mut self, now: Instant) -> Option<Step> {
        let mut publications = self.publications.iter_mut();
        let publish =
            publications.find_map(|(service, p)| Some(Step::Publish(service.clone(), p.next(now)?)));
        publish.or_else(|| {
            let mut follows = self.follows.iter_mut();
            follows.find_map(|(service, f)| Some(Step::Follow(service.clone(), f.next(now)?)))
        })
    }

    /// The registry answered a change of what is registered.
    pub(super) fn published(
        &mut self,
        service: &ServiceKey,
        answer: Answer<Told>,
        now: Instant,
        chance: f64,
        settled: &mut Settled,
    ) {
        if let Some(publication) = self.publications.get_mut(service) {
            match answer {
                Answer::Yes(told) => publication.acknowledged(&told, settled),
                Answer::No(error) => publication.refused(&error, now, chance, settled),
                Answer::Later => publication.postponed(now, chance, settled),
            }
        }
        self.forget_publication(service);
    }

    /// The registry answered a question about a followed service; returns what is to be published.
    pub(super) fn followed(
        &mut self,
        service: &ServiceKey,
        answer: Answer<Listing>,
        now: Instant,
        chance: f64,
        settled: &mut Settled,
    ) -> Option<Arc<Snapshot>> {
        let follow = self.follows.get_mut(service)?;
        let published = match answer {
            Answer::Yes(list) => follow.answered(list, now, settled),
            Answer::No(error) => {
                follow.refused(&error, now, chance, settled);
                None
            }
            Answer::Later => {
                follow.postponed(now, chance);
                None
            }
        };
        self.forget_follow(service);
        published
    }

    /// Takes a pushed list in; returns what is to be published.
    pub(super) fn take_in(&mut self, list: Listing, now: Instant) -> Option<Arc<Snapshot>> {
        self.follows.get_mut(list.snapshot.service())?.take_in(list, now)
    }

    /// Lists without those who have been missing for long enough.
    pub(super) fn take_overdue(&mut self, now: Instant) -> Vec<Arc<Snapshot>> {
        self.follows.values_mut().filter_map(|follow| follow.take_overdue(now)).collect()
    }

    /// The connection is gone.
    pub(super) fn disconnected(&mut self) {
        self.publications.values_mut().for_each(Publication::disconnected);
        self.follows.values_mut().for_each(Follow::disconnected);
        self.follows.retain(|_, follow| !follow.is_over());
    }

    /// There is a new connection.
    pub(super) fn connected(&mut self, settled: &mut Settled) {
        for publication in self.publications.values_mut() {
            publication.connected(settled);
        }
        self.publications.retain(|_, publication| !publication.is_over());
    }

    /// Number of instances that the registry holds as far as is known.
    pub(super) fn held(&self) -> usize {
        self.publications.values().map(Publication::held).sum()
    }

    /// Whether the registry knows what this client has to do with a service: that it has registered this
    /// instance, or that it follows.
    pub(super) fn is_known(&self, service: &ServiceKey, instance: Option<&InstanceKey>) -> bool {
        match instance {
            Some(key) => self.publications.get(service).is_some_and(|publication| publication.holds(key)),
            None => self.follows.get(service).is_some_and(Follow::is_subscribed),
        }
    }

    /// The first moment after `now` at which something becomes due by itself.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let publications = self.publications.values().filter_map(Publication::due);
        publications.chain(self.follows.values().filter_map(Follow::due)).filter(|due| *due > now).min()
    }

    fn forget_publication(&mut self, service: &ServiceKey) {
        if self.publications.get(service).is_some_and(Publication::is_over) {
            self.publications.remove(service);
        }
    }

    fn forget_follow(&mut self, service: &ServiceKey) {
        if self.follows.get(service).is_some_and(Follow::is_over) {
            self.follows.remove(service);
        }
    }
}

/// What the registry made of a request.
#[derive(Clone, Debug)]
pub(super) enum Answer<T> {
    Yes(T),
    /// It will be refused again.
    No(Error),
    /// It may succeed after a pause.
    Later,
}

#[cfg(test)]
mod tests;
