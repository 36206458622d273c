//! Who publishes what, and what readers of a service therefore see.
//!
//! Pure: a [`Command`] and the moment go in, [`Event`]s come out. Every client has at most one publication
//! per service, of one instance or of several; publishing again replaces it. Where several clients publish
//! the same instance (one address, one cluster), readers see the newest publication, and the one before it
//! again when that goes. Over what is published lies what operators and the service's record say.

mod leftovers;
mod service;
mod tally;

pub(crate) use leftovers::Subject;
pub(crate) use tally::Tally;

use super::command::{Change, Client, Command, ConnectionId, Event};
use super::fact::{Kind, Overrides, ServiceRecord};
use super::query::View;
use super::removals::Removals;
use super::texts::{Budget, Texts};
use crate::model::{
    Group, Instance, InstanceKey, Lease, Namespace, Reason, Removal, ServiceKey, ServiceName, Snapshot,
    UnixMillis,
};
use leftovers::Leftovers;
use service::Service;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

/// Services that are remembered though they are empty: some tens of megabytes. Beyond that the oldest are
/// forgotten early.
const EMPTY_MAX: usize = 100_000;
/// Metadata of a service or a cluster with which silence ends no instance; Nacos' name.
const NEVER_SILENT: &str = "enableClientBeat";

/// All services that have instances, had some lately, or of which something is said.
#[derive(Debug)]
pub(crate) struct Catalog {
    services: HashMap<ServiceKey, Service>,
    /// Those of `services` that readers find, by group, sorted.
    names: BTreeMap<(Namespace, Group), BTreeSet<ServiceName>>,
    /// What each connection publishes. Other clients have one instance at most in a service, and are found by
    /// its address there.
    publications: HashMap<ConnectionId, HashMap<ServiceKey, Box<[InstanceKey]>>>,
    /// Number of instances that are published, one that several clients publish counted for each.
    published: usize,
    /// How many of them are persistent ones.
    kept: usize,
    instances: usize,
    /// Which services have lost their last instance when, to be forgotten in this order.
    emptied: VecDeque<(UnixMillis, ServiceKey)>,
    /// Revision of the empty list that every service has that nobody knows. At least the last revision of
    /// each service that was forgotten, so that its revision never falls.
    empty_revision: u64,
    /// Who has gone lately, also from services without instances.
    removals: Removals,
    leftovers: Leftovers,
    /// Of the texts of all lists.
    texts: Budget,
}

impl Catalog {
    /// An empty catalog. Revisions begin at `now`, so that they lie above those of an earlier life.
    pub(crate) fn new(now: UnixMillis) -> Self {
        Self {
            services: HashMap::new(),
            names: BTreeMap::new(),
            publications: HashMap::new(),
            published: 0,
            kept: 0,
            instances: 0,
            emptied: VecDeque::new(),
            empty_revision: now.as_u64(),
            removals: Removals::default(),
            leftovers: Leftovers::default(),
            texts: Budget::default(),
        }
    }

    /// Carries out `command`. What readers cannot see is no event: the same publication again, or the end of
    /// one that a newer one hides.
    pub(crate) fn apply(&mut self, command: Command, now: UnixMillis) -> Vec<Event> {
        match command {
            Command::Publish { client, service, instances } => {
                self.publish(&client, &service, instances, Reason::Deregistered, now)
            }
            Command::Withdraw { client, service, reason } => {
                self.publish(&client, &service, Vec::new(), reason, now)
            }
            Command::SetHealth { client, service, healthy } => {
                self.set_health(&client, &service, healthy, now)
            }
            Command::Forget { connection } => self.forget(connection, now),
            Command::Describe { service, record } => self.describe(&service, record, now),
            Command::Override { service, key, overrides } => self.lay_over(&service, &key, overrides, now),
        }
    }

    /// The present list of `service`; the empty one when nobody publishes there.
    ///
    /// The list is made by its first reader and kept for the others, so that a storm of changes costs no
    /// list that nobody reads.
    pub(crate) fn snapshot(&mut self, service: &ServiceKey) -> Arc<Snapshot> {
        match self.services.get_mut(service) {
            Some(state) => state.snapshot(service),
            None => service::empty(service, self.empty_revision),
        }
    }

    /// Forgets services that have had no instances for `kept_for`, unless they were created by name.
    pub(crate) fn clean(&mut self, kept_for: Duration, now: UnixMillis) {
        while self.emptied.front().is_some_and(|(since, _)| now.since(*since) >= kept_for) {
            self.forget_oldest_empty(now);
        }
    }

    /// Who has gone from `list` lately, and why.
    pub(crate) fn removed_from(&self, list: &Snapshot, now: UnixMillis) -> Vec<Removal> {
        self.removals.from(list, now)
    }

    /// What readers of `service` are given at `now`, kept for the others as the list is.
    pub(crate) fn view(&mut self, service: &ServiceKey, now: UnixMillis) -> Arc<View> {
        let kept = self.services.get(service).and_then(|state| state.view.as_ref());
        if let Some(view) = kept.filter(|view| view.holds(now)) {
            return view.clone();
        }
        let snapshot = self.snapshot(service);
        let view = Arc::new(View {
            removed: self.removed_from(&snapshot, now),
            until: self.removals.until(service, now),
            protect_threshold: self.said_of(service).map(|record| record.protect_threshold),
            sources: self.services.get(service).map(|state| state.overlay.sources()).unwrap_or_default(),
            texts: Texts::new(self.texts.clone()),
            snapshot,
        });
        if let Some(state) = self.services.get_mut(service) {
            state.view = Some(view.clone());
        }
        view
    }

    /// Gives back what is of no more use: memory of those who have left, removals that are told no more, and
    /// the texts of all lists if they leave no room for those that are read now.
    pub(crate) fn tidy(&mut self, now: UnixMillis) {
        if self.texts.is_used_up() {
            self.services.values_mut().for_each(|state| state.view = None);
        }
        self.removals.tidy(now);
        shrink(&mut self.publications);
        shrink(&mut self.services);
    }

    /// The service as the catalog names it, so that whatever is kept of it shares the text of its name.
    pub(crate) fn shared(&self, service: &ServiceKey) -> Option<ServiceKey> {
        self.services.get_key_value(service).map(|(shared, _)| shared.clone())
    }

    /// What `client` publishes in `service`.
    pub(crate) fn publication(&self, client: &Client, service: &ServiceKey) -> &[InstanceKey] {
        if let Client::Connection(id) = client {
            return self
                .publications
                .get(id)
                .and_then(|services| services.get(service))
                .map_or(&[], |k| &**k);
        }
        let key = self.services.get(service).and_then(|state| state.only_one_of(client));
        key.map_or(&[], std::slice::from_ref)
    }

    /// Everyone who publishes an instance, and since when; readers see what the last one says.
    pub(crate) fn publishers(
        &self,
        service: &ServiceKey,
        key: &InstanceKey,
    ) -> impl Iterator<Item = (Client, UnixMillis)> {
        self.services.get(service).into_iter().flat_map(|state| state.publishers(key))
    }

    /// What `client` publishes in each service, in no order.
    pub(crate) fn published_by(
        &self,
        client: &Client,
    ) -> impl Iterator<Item = (&ServiceKey, &[InstanceKey])> {
        let published = self.services.keys().map(move |service| (service, self.publication(client, service)));
        published.filter(|(_, keys)| !keys.is_empty())
    }

    /// How many instances are published in all, one that several clients publish counted for each.
    pub(crate) fn published_len(&self) -> usize {
        self.published
    }

    /// How many of them are persistent ones.
    pub(crate) fn kept_len(&self) -> usize {
        self.kept
    }

    /// In how many services a connection publishes.
    pub(crate) fn publications(&self, connection: ConnectionId) -> usize {
        self.publications.get(&connection).map_or(0, HashMap::len)
    }

    /// The services in which a connection publishes, in no order.
    pub(crate) fn services_of(&self, connection: ConnectionId) -> impl Iterator<Item = &ServiceKey> {
        self.publications.get(&connection).into_iter().flat_map(HashMap::keys)
    }

    /// What a connection publishes in each service, in no order.
    pub(crate) fn published_by_connection(
        &self,
        connection: ConnectionId,
    ) -> impl Iterator<Item = (&ServiceKey, &[InstanceKey])> {
        let published = self.publications.get(&connection).into_iter().flatten();
        published.map(|(service, keys)| (service, &**keys))
    }

    /// How many instances a connection publishes in all services.
    pub(crate) fn instances_of(&self, connection: ConnectionId) -> usize {
        let services = self.publications.get(&connection).into_iter().flat_map(HashMap::values);
        services.map(|keys| keys.len()).sum()
    }

    /// How many instances a service has, whoever sees them.
    pub(crate) fn instances_in(&self, service: &ServiceKey) -> usize {
        self.services.get(service).map_or(0, |state| state.instances.len())
    }

    /// Of which kind a service is that readers find: as it was created, or by its instances.
    pub(crate) fn kind(&self, service: &ServiceKey) -> Option<Kind> {
        let Service { record, kind, .. } = self.services.get(service)?;
        let created = record.as_ref().filter(|record| record.lasting);
        created.map(|record| record.kind).or(*kind)
    }

    /// The times of what heartbeats of `client` keep alive in `service`: as registered, unless operators have
    /// set others that can work.
    pub(crate) fn lease(&self, client: &Client, service: &ServiceKey) -> Option<Lease> {
        let key = self.publication(client, service).last()?;
        let state = self.services.get(service)?;
        let registered = state.registered(client, key)?;
        let as_registered = Lease::from_metadata(&registered.metadata);
        let shown = Lease::from_metadata(&state.overlay.show(registered).metadata);
        let lease = shown.or(as_registered).unwrap_or_default();
        let record = state.record.as_deref();
        let cluster = record.and_then(|record| record.clusters.get(&key.cluster)).map(|said| &said.metadata);
        let mut said = record.map(|record| &record.metadata).into_iter().chain(cluster);
        let endless = said.any(|metadata| metadata.parse(NEVER_SILENT) == Some(true));
        Some(if endless { lease.without_end() } else { lease })
    }

    /// What is said of a service.
    pub(crate) fn said_of(&self, service: &ServiceKey) -> Option<&Arc<ServiceRecord>> {
        self.services.get(service)?.record.as_ref()
    }

    /// Of whom something is said though they have been gone for `kept_for`, the longest gone first.
    pub(crate) fn leftovers(&self, kept_for: Duration, now: UnixMillis) -> impl Iterator<Item = &Subject> {
        self.leftovers.gone_for(kept_for, now)
    }

    /// Whether somebody publishes an instance.
    pub(crate) fn has_instance(&self, service: &ServiceKey, key: &InstanceKey) -> bool {
        self.services.get(service).is_some_and(|state| state.instances.contains_key(key))
    }

    /// The instances that somebody publishes in a service, whoever sees them.
    pub(crate) fn keys(&self, service: &ServiceKey) -> impl Iterator<Item = &InstanceKey> {
        self.services.get(service).into_iter().flat_map(|state| state.instances.keys())
    }

    /// The instances of a service as readers are given them, disabled ones too, without making a list.
    pub(crate) fn shown(&self, service: &ServiceKey) -> impl Iterator<Item = Instance> {
        let state = self.services.get(service).into_iter();
        state.flat_map(|state| {
            let newest = state.instances.iter();
            newest.filter_map(|(key, claims)| Some(state.overlay.show(claims.last()?.instance(key))))
        })
    }

    /// How many instances of a service are what: counted anew only after a change, and without making a list, so
    /// that a look at all services is cheap.
    pub(crate) fn tally(&mut self, service: &ServiceKey) -> Tally {
        let counted = self.services.get(service).and_then(|state| state.tally);
        let tally = counted.unwrap_or_else(|| self.shown(service).fold(Tally::default(), |t, i| t.and(&i)));
        if let Some(state) = self.services.get_mut(service) {
            state.tally = Some(tally);
        }
        tally
    }

    /// The revision of a service's list, without making it.
    pub(crate) fn revision(&self, service: &ServiceKey) -> u64 {
        self.services.get(service).map_or(self.empty_revision, |state| state.revision)
    }

    /// The services that readers find, sorted by namespace, group and name: as many as `most` after one.
    pub(crate) fn services_after(&self, after: Option<&ServiceKey>, most: usize) -> Vec<ServiceKey> {
        let from = after.map(|key| (key.namespace.clone(), key.group.clone()));
        let from = from.map_or(Bound::Unbounded, Bound::Included);
        let keys = self.names.range((from, Bound::Unbounded)).flat_map(|((namespace, group), names)| {
            let same = |key: &&ServiceKey| key.namespace == *namespace && key.group == *group;
            let after = after.filter(same).map_or(Bound::Unbounded, |key| Bound::Excluded(&key.name));
            names.range::<ServiceName, _>((after, Bound::Unbounded)).map(|name| ServiceKey {
                namespace: namespace.clone(),
                group: group.clone(),
                name: name.clone(),
            })
        });
        keys.take(most).collect()
    }

    /// The namespaces of the services that are found by name, sorted, with repetitions.
    pub(crate) fn namespaces(&self) -> impl Iterator<Item = &Namespace> {
        self.names.keys().map(|(namespace, _)| namespace)
    }

    /// Whether a service has instances, whoever sees them.
    pub(crate) fn has_instances(&self, service: &ServiceKey) -> bool {
        self.services.get(service).is_some_and(|state| !state.instances.is_empty())
    }

    /// The services of a namespace that readers find, sorted: those that have instances, had some lately, or
    /// were created by name.
    pub(crate) fn of_namespace(&self, namespace: &Namespace) -> impl Iterator<Item = ServiceKey> {
        let groups = self.names.iter().filter(move |((of, _), _)| of == namespace);
        groups.flat_map(|((namespace, group), names)| {
            let key = |name: &ServiceName| ServiceKey {
                namespace: namespace.clone(),
                group: group.clone(),
                name: name.clone(),
            };
            names.iter().map(key)
        })
    }

    /// The services of a group that readers find, sorted.
    pub(crate) fn names(&self, namespace: &Namespace, group: &Group) -> Option<&BTreeSet<ServiceName>> {
        self.names.get(&(namespace.clone(), group.clone()))
    }

    /// Number of services that readers find.
    pub(crate) fn services_len(&self) -> usize {
        self.names.values().map(BTreeSet::len).sum()
    }

    /// Number of instances in all services.
    pub(crate) fn instances_len(&self) -> usize {
        self.instances
    }

    fn publish(
        &mut self,
        client: &Client,
        service: &ServiceKey,
        instances: Vec<Instance>,
        reason: Reason,
        now: UnixMillis,
    ) -> Vec<Event> {
        // By key: of two in one batch with the same key the last one counts.
        let wanted: BTreeMap<InstanceKey, Instance> =
            instances.into_iter().map(|instance| (instance.key.clone(), instance)).collect();
        let before = self.record(client, service, wanted.keys().cloned().collect());
        if before.is_empty() && wanted.is_empty() {
            return Vec::new();
        }
        let floor = self.empty_revision; // Not by `service`: the borrow would take in `removals`.
        let state = self.services.entry(service.clone()).or_insert_with_key(|key| Service::new(key, floor));
        let len_before = state.instances.len();
        let leaving = before.into_iter().filter(|key| !wanted.contains_key(key)).map(|key| (key, None));
        let leaving: Vec<_> = leaving.collect();
        let coming = wanted.into_iter().map(|(key, instance)| (key, Some(instance)));
        let mut changes = Vec::new();
        for (key, instance) in leaving.into_iter().chain(coming) {
            if instance.as_ref().is_some_and(|instance| state.says(client, instance)) {
                continue; // Of a large batch nearly all are as they were, and everyone waits for this.
            }
            let (listed, missing_since) = (state.listed(&key), state.overlay.missing_since(&key));
            let change = match instance {
                Some(instance) => Some(state.put(client, instance, now)),
                None => state.take(client, &key, reason, now),
            };
            if let Some(gone) = listed.filter(|_| state.listed(&key).is_none()) {
                let reason = if state.instances.contains_key(&key) { Reason::Disabled } else { reason };
                self.removals.record(service, Removal::new(&gone, reason), now);
            }
            state.note(&key, now);
            let moved = (missing_since, state.overlay.missing_since(&key));
            self.leftovers.note(moved, || Subject::Instance(service.clone(), key.clone()));
            changes.extend(change.map(|change| (key, change)));
        }
        self.instances = self.instances + state.instances.len() - len_before;
        if len_before > 0 && state.instances.is_empty() {
            self.emptied.push_back((now, service.clone()));
        }
        self.settle(service, now);
        if self.emptied.len() > EMPTY_MAX {
            self.forget_oldest_empty(now);
        }
        changes.into_iter().map(|(key, change)| event(service, key, change)).collect()
    }

    /// Writes down what `client` publishes in `service` from now on, and returns what it was before.
    fn record(
        &mut self,
        client: &Client,
        service: &ServiceKey,
        keys: Box<[InstanceKey]>,
    ) -> Vec<InstanceKey> {
        let (before, published) = (self.publication(client, service).to_vec(), keys.len());
        self.published = self.published + published - before.len();
        if let Client::Kept(_) = client {
            self.kept = self.kept + published - before.len();
        }
        let Client::Connection(id) = client else { return before };
        let services = self.publications.entry(*id).or_default();
        if published == 0 {
            services.remove(service);
        } else {
            services.insert(service.clone(), keys);
        }
        if services.is_empty() {
            self.publications.remove(id);
        }
        before
    }

    /// Forgets the service that was emptied first, unless it has been filled since.
    fn forget_oldest_empty(&mut self, now: UnixMillis) {
        let Some((since, service)) = self.emptied.pop_front() else { return };
        if let Some(state) = self.services.get_mut(&service).filter(|state| state.empty_since == Some(since))
        {
            state.kind = None;
            self.settle(&service, now);
        }
    }

    /// Enters a service into the index by name or takes it out, and drops it when there is nothing to it.
    fn settle(&mut self, service: &ServiceKey, now: UnixMillis) {
        let group = (service.namespace.clone(), service.group.clone());
        let Some(state) = self.services.get_mut(service) else { return };
        let is_spoken_of = state.record.is_some() || !state.overlay.is_clear_of_overrides();
        let is_left_over = is_spoken_of && !state.is_found();
        let gone_before = state.gone_since;
        state.gone_since = is_left_over.then_some(gone_before.unwrap_or(now));
        self.leftovers.note((gone_before, state.gone_since), || Subject::Service(service.clone()));
        if state.is_found() {
            self.names.entry(group).or_default().insert(service.name.clone());
            return;
        }
        if !is_spoken_of {
            self.empty_revision = self.empty_revision.max(state.revision);
            self.services.remove(service);
        }
        if let Some(names) = self.names.get_mut(&group) {
            names.remove(&service.name);
            if names.is_empty() {
                self.names.remove(&group);
            }
        }
    }

    fn set_health(
        &mut self,
        client: &Client,
        service: &ServiceKey,
        healthy: bool,
        now: UnixMillis,
    ) -> Vec<Event> {
        let keys = self.publication(client, service).to_vec();
        let Some(state) = self.services.get_mut(service) else { return Vec::new() };
        let changed = keys.iter().filter(|key| state.set_health(client, key, healthy, now));
        changed.map(|key| event(service, key.clone(), Change::Changed)).collect()
    }

    fn describe(
        &mut self,
        service: &ServiceKey,
        record: Option<Arc<ServiceRecord>>,
        now: UnixMillis,
    ) -> Vec<Event> {
        let state = self.service(service);
        let metadata = record.as_ref().map(|record| record.metadata.clone());
        state.overlay.lay_over_all(&metadata.unwrap_or_default());
        state.record = record;
        state.view = None; // It has the protect threshold in it.
        state.note_empty(now);
        if state.record.is_none() && state.instances.is_empty() {
            state.kind = None; // Deleted, or what was said of it is forgotten, and it with that.
        }
        let keys: Vec<InstanceKey> = state.instances.keys().cloned().collect();
        if !keys.is_empty() {
            state.touch(now);
        }
        self.settle(service, now);
        keys.into_iter().map(|key| event(service, key, Change::Changed)).collect()
    }

    fn lay_over(
        &mut self,
        service: &ServiceKey,
        key: &InstanceKey,
        overrides: Option<Overrides>,
        now: UnixMillis,
    ) -> Vec<Event> {
        let state = self.service(service);
        let (listed, missing_since) = (state.listed(key), state.overlay.missing_since(key));
        state.overlay.lay_over(key, overrides);
        state.note(key, now);
        let moved = (missing_since, state.overlay.missing_since(key));
        let there = state.instances.contains_key(key);
        let hidden = listed.filter(|_| state.listed(key).is_none());
        if there {
            state.touch(now);
        }
        if let Some(hidden) = hidden {
            self.removals.record(service, Removal::new(&hidden, Reason::Disabled), now);
        }
        self.leftovers.note(moved, || Subject::Instance(service.clone(), key.clone()));
        self.settle(service, now);
        there.then(|| event(service, key.clone(), Change::Changed)).into_iter().collect()
    }

    /// A service, made if it is not there; whoever changes it settles it.
    fn service(&mut self, service: &ServiceKey) -> &mut Service {
        let floor = self.empty_revision;
        self.services.entry(service.clone()).or_insert_with_key(|key| Service::new(key, floor))
    }

    fn forget(&mut self, connection: ConnectionId, now: UnixMillis) -> Vec<Event> {
        let Some(services) = self.publications.get(&connection) else { return Vec::new() };
        let services: Vec<ServiceKey> = services.keys().cloned().collect();
        let client = Client::Connection(connection);
        let withdraw =
            |service| self.publish(&client, &service, Vec::new(), Reason::ConnectionLost, now).into_iter();
        services.into_iter().flat_map(withdraw).collect()
    }
}

/// Halves, at least, a map of which no more than a quarter is in use.
pub(super) fn shrink<K: Eq + std::hash::Hash, V>(map: &mut HashMap<K, V>) {
    if map.len() < map.capacity() / 4 {
        map.shrink_to(map.len() * 2);
    }
}

fn event(service: &ServiceKey, instance: InstanceKey, change: Change) -> Event {
    Event { service: service.clone(), instance, change }
}

#[cfg(test)]
mod tests;
