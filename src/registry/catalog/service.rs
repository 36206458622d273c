//! One service of the catalog: who publishes which instance, and what readers therefore see.

use super::tally::Tally;
use crate::model::{
    Cluster, Instance, InstanceKey, Metadata, Reason, ServiceKey, Snapshot, UnixMillis, Weight,
};
use crate::registry::command::{Change, Client, ConnectionId};
use crate::registry::fact::{Kind, ServiceRecord};
use crate::registry::overlay::Overlay;
use crate::registry::query::View;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Service {
    pub(super) revision: u64,
    pub(super) instances: BTreeMap<InstanceKey, Claims>,
    pub(super) record: Option<Arc<ServiceRecord>>,
    pub(super) overlay: Overlay,
    /// Of which kind its instances are, or were when the last one went: until it is forgotten, an empty
    /// service takes no others.
    pub(super) kind: Option<Kind>,
    /// Since when it has no instances.
    pub(super) empty_since: Option<UnixMillis>,
    /// Since when readers do not find it.
    pub(super) gone_since: Option<UnixMillis>,
    /// The list at `revision`, once somebody has read it.
    snapshot: Option<Arc<Snapshot>>,
    /// The same with what else readers are told.
    pub(super) view: Option<Arc<View>>,
    /// Of the instances as they are, once somebody has asked.
    pub(super) tally: Option<Tally>,
}

/// Everyone who publishes one instance, the newest last; never empty.
type Claims = Vec<Claim>;

/// What one client says of one instance, but for its key: there are a hundred thousand of these.
#[derive(Debug)]
pub(super) struct Claim {
    publisher: Publisher,
    /// When the client first published it.
    since: UnixMillis,
    weight: Weight,
    metadata: Metadata,
    healthy: bool,
    enabled: bool,
    ephemeral: bool,
}

/// A [`Client`] as it is told apart from the others that publish the same instance: the rest of its name is
/// the instance's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Publisher {
    Connection(ConnectionId),
    Heartbeats,
    Kept,
}

impl Publisher {
    fn of(client: &Client) -> Self {
        match client {
            Client::Connection(id) => Self::Connection(*id),
            Client::Heartbeats(_) => Self::Heartbeats,
            Client::Kept(_) => Self::Kept,
        }
    }

    fn client(self, key: &InstanceKey) -> Client {
        match self {
            Self::Connection(id) => Client::Connection(id),
            Self::Heartbeats => Client::Heartbeats(key.address.clone()),
            Self::Kept => Client::Kept(key.clone()),
        }
    }
}

impl Claim {
    fn new(publisher: Publisher, instance: Instance, since: UnixMillis) -> Self {
        let Instance { key: _, weight, healthy, enabled, ephemeral, metadata } = instance;
        Self { publisher, since, weight, metadata, healthy, enabled, ephemeral }
    }

    fn says(&self, instance: &Instance) -> bool {
        let Instance { key: _, weight, healthy, enabled, ephemeral, metadata } = instance;
        (self.weight, self.healthy, self.enabled, self.ephemeral) == (*weight, *healthy, *enabled, *ephemeral)
            && self.metadata == *metadata
    }

    pub(super) fn instance(&self, key: &InstanceKey) -> Instance {
        Instance {
            key: key.clone(),
            weight: self.weight,
            healthy: self.healthy,
            enabled: self.enabled,
            ephemeral: self.ephemeral,
            metadata: self.metadata.clone(),
        }
    }
}

impl Service {
    /// A service as it was before its first instance: everyone may have read its empty list.
    pub(super) fn new(service: &ServiceKey, empty_revision: u64) -> Self {
        let snapshot = Some(empty(service, empty_revision));
        Self {
            revision: empty_revision,
            instances: BTreeMap::new(),
            record: None,
            overlay: Overlay::default(),
            kind: None,
            empty_since: None,
            gone_since: None,
            snapshot,
            view: None,
            tally: None,
        }
    }

    /// Whether readers of names find it.
    pub(super) fn is_found(&self) -> bool {
        self.kind.is_some() || self.record.as_ref().is_some_and(|record| record.lasting)
    }

    /// Notes whether an instance is there, and with it anybody at all.
    pub(super) fn note(&mut self, key: &InstanceKey, now: UnixMillis) {
        self.overlay.note(key, self.instances.contains_key(key), now);
        self.note_empty(now);
    }

    pub(super) fn note_empty(&mut self, now: UnixMillis) {
        let since = self.empty_since.unwrap_or(now);
        self.empty_since = self.instances.is_empty().then_some(since);
    }

    pub(super) fn snapshot(&mut self, service: &ServiceKey) -> Arc<Snapshot> {
        let (revision, claims, overlay) = (self.revision, self.instances.iter(), &self.overlay);
        let make = || {
            let shown = claims.filter_map(|(key, claims)| Some(overlay.show(claims.last()?.instance(key))));
            Arc::new(Snapshot::new(service.clone(), revision, shown.collect()))
        };
        self.snapshot.get_or_insert_with(make).clone()
    }

    /// The instance as readers are given it; nothing when they are not.
    pub(super) fn listed(&self, key: &InstanceKey) -> Option<Instance> {
        let registered = self.instances.get(key)?.last()?.instance(key);
        self.overlay.gives(&registered).then(|| self.overlay.show(registered))
    }

    /// Moves the revision on if anyone has read the present one.
    ///
    /// Clients drop a list whose revision is not above the one they have, so it is a moment, but counts up
    /// where two lists are read within a millisecond. Changes that nobody saw in between share a revision;
    /// otherwise a storm would carry it so far ahead of the clock that lists after a restart would be old.
    pub(super) fn touch(&mut self, now: UnixMillis) {
        (self.view, self.tally) = (None, None);
        let read = u64::from(self.snapshot.take().is_some());
        self.revision = now.as_u64().max(self.revision + read);
    }

    /// Whether `client` publishes an instance just so already: that is no news, and no reason to hide a newer
    /// publication of another client.
    pub(super) fn says(&self, client: &Client, instance: &Instance) -> bool {
        let (claims, publisher) =
            (self.instances.get(&instance.key).into_iter().flatten(), Publisher::of(client));
        claims.filter(|claim| claim.publisher == publisher).any(|claim| claim.says(instance))
    }

    /// Publishes an instance of which `client` has not [said](Self::says) the same before.
    pub(super) fn put(&mut self, client: &Client, instance: Instance, now: UnixMillis) -> Change {
        let publisher = Publisher::of(client);
        let claims = self.instances.entry(instance.key.clone()).or_default();
        let own = claims.iter().find(|claim| claim.publisher == publisher);
        let change = if claims.is_empty() { Change::Came } else { Change::Changed };
        let since = own.map_or(now, |claim| claim.since);
        self.kind = Some(Kind::of(&instance));
        claims.retain(|claim| claim.publisher != publisher);
        claims.reserve_exact(1); // Nearly always the only one: room for more would be most of its memory.
        claims.push(Claim::new(publisher, instance, since));
        self.touch(now);
        change
    }

    pub(super) fn take(
        &mut self,
        client: &Client,
        key: &InstanceKey,
        reason: Reason,
        now: UnixMillis,
    ) -> Option<Change> {
        let (claims, publisher) = (self.instances.get_mut(key)?, Publisher::of(client));
        let shown = claims.last().is_some_and(|claim| claim.publisher == publisher);
        claims.retain(|claim| claim.publisher != publisher);
        let change = if claims.is_empty() { Change::Went(reason) } else { Change::Changed };
        if claims.is_empty() {
            self.instances.remove(key);
        }
        shown.then(|| self.touch(now))?;
        Some(change)
    }

    /// Whether readers see a difference.
    pub(super) fn set_health(
        &mut self,
        client: &Client,
        key: &InstanceKey,
        healthy: bool,
        now: UnixMillis,
    ) -> bool {
        let Some(claims) = self.instances.get_mut(key) else { return false };
        let publisher = Publisher::of(client);
        let Some(at) = claims.iter().position(|claim| claim.publisher == publisher) else { return false };
        let differs = claims[at].healthy != healthy;
        claims[at].healthy = healthy;
        let visible = differs && at + 1 == claims.len();
        if visible {
            self.touch(now);
        }
        visible
    }

    /// Everyone who publishes an instance, and since when.
    pub(super) fn publishers(&self, key: &InstanceKey) -> impl Iterator<Item = (Client, UnixMillis)> {
        let known = self.instances.get_key_value(key);
        let claims = known.into_iter().flat_map(|(key, claims)| claims.iter().map(move |claim| (key, claim)));
        claims.map(|(key, claim)| (claim.publisher.client(key), claim.since))
    }

    /// The instance of a client other than a connection, who has one at most in a service.
    pub(super) fn only_one_of(&self, client: &Client) -> Option<&InstanceKey> {
        let claimed = |claims: &Claims| claims.iter().any(|claim| claim.publisher == Publisher::of(client));
        match client {
            Client::Connection(_) => None,
            Client::Kept(key) => {
                let (key, claims) = self.instances.get_key_value(key)?;
                claimed(claims).then_some(key)
            }
            Client::Heartbeats(address) => {
                // Whatever its cluster is: the default one comes first.
                let first = InstanceKey { address: address.clone(), cluster: Cluster::default() };
                let mut there = self.instances.range(first..).take_while(|(key, _)| key.address == *address);
                there.find(|(_, claims)| claimed(claims)).map(|(key, _)| key)
            }
        }
    }

    /// What `client` has registered of an instance.
    pub(super) fn registered(&self, client: &Client, key: &InstanceKey) -> Option<Instance> {
        let publisher = Publisher::of(client);
        let mut claims = self.instances.get(key)?.iter();
        claims.find(|claim| claim.publisher == publisher).map(|claim| claim.instance(key))
    }
}

pub(super) fn empty(service: &ServiceKey, revision: u64) -> Arc<Snapshot> {
    Arc::new(Snapshot::new(service.clone(), revision, Vec::new()))
}
