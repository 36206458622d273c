//! The one owner of the catalog.
//!
//! Every change goes through [`Hub::publish`] and its neighbours: under one short lock the catalog takes the
//! command, leases are put right, and subscribers get a note, no more; lists are written and sent by the
//! connections' own tasks. Readers take a list that is made once for each revision. What must outlive the
//! process waits for the clerk first ([`Hub::write`]).

mod accounts;
mod checks;
pub(super) mod clients;
mod diagnosis;
#[cfg(feature = "console")]
mod display;
mod durable;
mod explain;
mod farewell;
mod kept;
mod leases;
mod lines;
mod listen;
mod namespaces;
mod operate;
mod orders;
mod reads;
mod reports;
mod standing;
#[cfg(feature = "console")]
mod whereabouts;

#[cfg(feature = "console")]
pub(crate) use display::{InstanceStanding, Overview, ServiceDisplay, ServiceStanding};
#[cfg(feature = "console")]
pub(crate) use explain::Source;
#[cfg(test)]
pub(crate) use explain::SubscriberLine;
use explain::changed;
pub(crate) use explain::{
    ClientLine, EventLine, Flag, Followers, HeardSender, Instances, Known, PeerLine, Publisher, ServiceLine,
};
pub(crate) use farewell::Farewell;
pub(crate) use kept::KeptService;
pub(crate) use operate::DeedLine;
pub(crate) use orders::Actor;
#[cfg(feature = "console")]
pub(crate) use reports::TrafficLine;
pub(crate) use reports::{Recordings, Report, TrafficLines};
pub(crate) use standing::Unready;
#[cfg(feature = "console")]
pub(crate) use whereabouts::Whereabouts;

use super::access::{Accounts, Operator};
use super::bound::{Allowance, Bound};
use super::catalog::{Catalog, shrink};
use super::clerk::Queue;
use super::command::{Client, Command, ConnectionId, Event, Limits};
use super::deeds::Deeds;
use super::error::Refusal;
use super::events::Events;
use super::expiry::{Expiry, LeaseKey};
use super::fact::{Kind, ServiceRecord};
use super::health::Health;
use super::large::Large;
use super::ledger::Ledger;
use super::metrics::Metrics;
use super::peer::Peer;
use super::push::Subscriber;
use super::query::{Clusters, Described, Page, View};
use super::senders::{Agents, Sender};
use super::traffic::Traffic;
use super::udp::Audience;
use super::write::Present;
use crate::Clock;
use crate::model::{
    Address, Group, Instance, InstanceKey, Liveness, Namespace, Reason, ServiceKey, ServiceName, Snapshot,
    UnixMillis,
};
use arc_swap::ArcSwap;
use leases::Leased;
use lines::Lines;
use std::collections::{BTreeMap, HashMap};
#[cfg(feature = "console")]
use std::sync::OnceLock;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

/// Leases that end under one lock, so that a mass expiry does not hold up everyone else.
const EXPIRED_AT_ONCE_MAX: usize = 256;

/// The registry's state and all that may be done to it.
#[derive(Debug)]
pub(crate) struct Hub {
    state: Mutex<State>,
    clock: Clock,
    limits: Limits,
    allowance: Allowance,
    large: Large,
    /// Who hears of changes over UDP; as `State` has it.
    audience: Arc<Audience>,
    metrics: Arc<Metrics>,
    /// Users as they are stored, for readers.
    accounts: ArcSwap<Accounts>,
    /// A lease ends earlier than [`Hub::expire`] thought.
    earlier: Notify,
    /// Somebody waits for the clerk.
    asked: Notify,
    /// A probe is due earlier than [`Hub::check`] thought.
    probed_earlier: Notify,
    /// The last connection has ended.
    deserted: Notify,
    /// Nothing changes any more.
    frozen: watch::Sender<bool>,
    lines: Lines,
    /// Where it is; nothing of one that has no ports.
    #[cfg(feature = "console")]
    whereabouts: OnceLock<Whereabouts>,
}

#[derive(Debug)]
struct State {
    catalog: Catalog,
    ledger: Ledger,
    health: Health,
    queue: Queue,
    expiry: Expiry,
    agents: Agents,
    events: Events,
    deeds: Deeds,
    traffic: Traffic,
    /// Of whom each connection has told something.
    reporters: HashMap<ConnectionId, Vec<(ServiceKey, Option<InstanceKey>)>>,
    connections: HashMap<ConnectionId, Arc<Subscriber>>,
    last_connection: u64,
    /// Who follows a service; the reverse of each subscriber's own notes.
    followers: HashMap<ServiceKey, HashMap<ConnectionId, Arc<Subscriber>>>,
    audience: Arc<Audience>,
    named: namespaces::Named,
    limits: Limits,
    allowance: Allowance,
    /// Nothing changes any more.
    frozen: bool,
}

/// Who asked for a change.
#[derive(Debug)]
enum Asker {
    /// Whoever sent a request over HTTP.
    Sender(Sender),
    /// Whoever may set what counts more than what instances register.
    Operator(Operator),
}

/// How much of everything there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) services: usize,
    pub(crate) instances: usize,
    pub(crate) connections: usize,
    pub(crate) leases: usize,
    pub(crate) subscriptions: usize,
}

impl Hub {
    /// A hub without services, whose revisions follow `clock`.
    pub(crate) fn new(clock: Clock, limits: Limits) -> Self {
        let audience = Arc::<Audience>::default();
        let state = State {
            catalog: Catalog::new(clock.now()),
            ledger: Ledger::default(),
            health: Health::default(),
            queue: Queue::default(),
            expiry: Expiry::default(),
            agents: Agents::default(),
            events: Events::default(),
            deeds: Deeds::default(),
            traffic: Traffic::default(),
            reporters: HashMap::new(),
            connections: HashMap::new(),
            last_connection: 0,
            followers: HashMap::new(),
            audience: audience.clone(),
            named: BTreeMap::new(),
            limits,
            allowance: Allowance::default(),
            frozen: false,
        };
        let [earlier, asked, probed_earlier, deserted] = [(); 4].map(|()| Notify::new());
        let (metrics, accounts) = (Arc::new(Metrics::new()), ArcSwap::default());
        Self {
            state: Mutex::new(state),
            clock,
            limits,
            allowance: Allowance::default(),
            large: Large::new(Allowance::default().message_bytes),
            audience,
            metrics,
            accounts,
            earlier,
            asked,
            probed_earlier,
            deserted,
            frozen: watch::Sender::new(false),
            lines: Lines::default(),
            #[cfg(feature = "console")]
            whereabouts: OnceLock::new(),
        }
    }

    /// The same hub with other bounds than the default ones.
    pub(crate) fn with_allowance(mut self, allowance: Allowance) -> Self {
        self.allowance = allowance;
        self.large = Large::new(allowance.message_bytes.max(allowance.body_bytes));
        self.state.get_mut().unwrap_or_else(PoisonError::into_inner).allowance = allowance;
        self
    }

    /// What one client, one service and one request may take.
    pub(crate) fn allowance(&self) -> &Allowance {
        &self.allowance
    }

    /// What large messages take.
    pub(crate) fn large(&self) -> &Large {
        &self.large
    }

    /// What one instance, and all of them, may take.
    #[cfg(feature = "console")]
    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// The present moment by the hub's clock.
    pub(crate) fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    /// Makes `instances` all that `client` publishes in `service`.
    ///
    /// # Errors
    /// When an instance breaks a rule, a bound is reached, or the client's connection has ended.
    pub(crate) fn publish(
        &self,
        client: Client,
        service: ServiceKey,
        instances: Vec<Instance>,
    ) -> Result<(), Refusal> {
        let checked = self.admits(&service, &instances);
        self.execute_checked(checked, Command::Publish { client, service, instances }, None)
    }

    /// Whether these instances may be published together in `service`.
    fn admits(&self, service: &ServiceKey, instances: &[Instance]) -> Result<(), Refusal> {
        self.limits.check(instances)?;
        self.allowance.names.check_keys(service, instances.iter().map(|instance| &instance.key))
    }

    /// Takes off whatever `client` publishes in `service`; that there is nothing is a success.
    ///
    /// # Errors
    /// When the client's connection has ended.
    pub(crate) fn withdraw(&self, client: Client, service: ServiceKey) -> Result<(), Refusal> {
        self.execute(Command::Withdraw { client, service, reason: Reason::Deregistered })
    }

    /// As [`Hub::publish`] of the one instance that heartbeats keep alive, and notes who asked for it.
    ///
    /// # Errors
    /// Those of [`Hub::publish`].
    pub(crate) fn publish_beaten(
        &self,
        service: ServiceKey,
        instance: Instance,
        sender: Sender,
    ) -> Result<(), Refusal> {
        let (client, instances) = (Client::Heartbeats(instance.address().clone()), vec![instance]);
        let (checked, asker) = (self.admits(&service, &instances), Some(Asker::Sender(sender)));
        self.execute_checked(checked, Command::Publish { client, service, instances }, asker)
    }

    /// As [`Hub::withdraw`] of the instance that heartbeats for `address` keep alive, and notes who asked for it.
    ///
    /// # Errors
    /// Those of [`Hub::withdraw`].
    pub(crate) fn withdraw_beaten(
        &self,
        service: ServiceKey,
        address: Address,
        sender: Sender,
    ) -> Result<(), Refusal> {
        let (client, reason) = (Client::Heartbeats(address), Reason::Deregistered);
        self.execute_for(Command::Withdraw { client, service, reason }, Some(Asker::Sender(sender)))
    }

    /// Takes a heartbeat for `address` in `service`, and returns the time until the next one is due;
    /// nothing when no such instance is registered over HTTP.
    ///
    /// # Errors
    /// When the registry is shutting down.
    pub(crate) fn beat(&self, service: &ServiceKey, address: &Address) -> Result<Option<Duration>, Refusal> {
        self.beat_from(service, address, None)
    }

    /// As [`Hub::beat`], and notes who sent it.
    ///
    /// # Errors
    /// Those of [`Hub::beat`].
    pub(crate) fn beat_from(
        &self,
        service: &ServiceKey,
        address: &Address,
        sender: Option<Sender>,
    ) -> Result<Option<Duration>, Refusal> {
        let (mut state, now) = (self.state(), Instant::now());
        let before = state.expiry.next();
        let Some(renewal) = state.expiry.renew((service, address), now) else { return Ok(None) };
        if let Some(sender) = sender {
            let sender = state.agents.share(sender);
            state.expiry.hear((service, address), sender, self.now());
        }
        if renewal.recovered {
            let (client, service, healthy) = (Client::Heartbeats(address.clone()), service.clone(), true);
            let events = state.execute(Command::SetHealth { client, service, healthy }, self.now(), now)?;
            self.finish(state, before, &events);
        }
        Ok(Some(renewal.interval))
    }

    /// The present list of `service`.
    pub(crate) fn snapshot(&self, service: &ServiceKey) -> Arc<Snapshot> {
        self.state().catalog.snapshot(service)
    }

    /// The present list of `service`, and who has gone from it lately.
    pub(crate) fn view(&self, service: &ServiceKey) -> Arc<View> {
        self.state().catalog.view(service, self.now())
    }

    /// Number of services in a group that have instances, and one page of their names, sorted.
    pub(crate) fn names(
        &self,
        namespace: &Namespace,
        group: &Group,
        page: Page,
    ) -> (usize, Vec<ServiceName>) {
        let state = self.state();
        let names = state.catalog.names(namespace, group);
        names.map_or((0, Vec::new()), |names| (names.len(), page.of(names.iter().cloned())))
    }

    /// What is known of a service.
    ///
    /// # Errors
    /// When it has no instances and was not created.
    pub(crate) fn described(&self, service: &ServiceKey) -> Result<Described, Refusal> {
        self.state().described(service).ok_or_else(|| Refusal::NoService(service.clone()))
    }

    /// How much of everything there is.
    pub(crate) fn counts(&self) -> Counts {
        let state = self.state();
        Counts {
            services: state.catalog.services_len(),
            instances: state.catalog.instances_len(),
            connections: state.connections.len(),
            leases: state.expiry.len(),
            subscriptions: state.followers.values().map(HashMap::len).sum::<usize>()
                + state.audience.ears().len(),
        }
    }

    /// Admits the connection of `peer`, which may publish and subscribe from here on until [`Hub::disconnect`].
    pub(crate) fn connect(&self, peer: Peer) -> (ConnectionId, Arc<Subscriber>) {
        let mut state = self.state();
        state.last_connection += 1;
        let (id, subscriber) = (ConnectionId(state.last_connection), Arc::new(Subscriber::new(peer)));
        state.connections.insert(id, subscriber.clone());
        (id, subscriber)
    }

    /// Ends a connection with all its publications and subscriptions. A request of it that is still under
    /// way is refused.
    pub(crate) fn disconnect(&self, id: ConnectionId) {
        let mut state = self.state();
        let Some(subscriber) = state.connections.get(&id).cloned() else { return };
        let followed: Vec<ServiceKey> = subscriber.pushes().services().cloned().collect();
        for service in &followed {
            subscriber.leave(service);
            state.unfollow(id, service);
        }
        let (now, before) = (Instant::now(), state.expiry.next());
        // A frozen hub keeps the instances: the registry ends, and they do not.
        let events = state.execute(Command::Forget { connection: id }, self.now(), now).unwrap_or_default();
        state.connections.remove(&id);
        state.reporters.remove(&id);
        if state.connections.is_empty() {
            self.deserted.notify_one();
        }
        self.finish(state, before, &events);
    }

    /// Waits until nobody is connected.
    ///
    /// # Cancel safety
    /// The end of the last connection is not missed when this is dropped before it resolves.
    pub(crate) async fn deserted(&self) {
        while !self.state().connections.is_empty() {
            self.deserted.notified().await;
        }
    }

    /// Lets a connection follow `service`, and returns the list to answer with: whatever changes after it is
    /// pushed.
    ///
    /// # Errors
    /// When a name is too long, and when the connection has ended or follows too many services.
    pub(crate) fn subscribe(
        &self,
        id: ConnectionId,
        service: &ServiceKey,
        clusters: Clusters,
    ) -> Result<Arc<View>, Refusal> {
        self.allowance.names.check(service)?;
        let mut state = self.state();
        let subscriber = state.connections.get(&id).ok_or(Refusal::Unregistered)?.clone();
        let view = state.catalog.view(service, self.now());
        let (mut pushes, max) = (subscriber.pushes(), state.allowance.services_per_client);
        if pushes.services().len() >= max && !pushes.leave(service) {
            return Err(Refusal::TooMany { bound: Bound::Subscriptions, max });
        }
        let list = (view.snapshot.revision(), view.snapshot.instances().len());
        pushes.follow(service, clusters, list, Instant::now());
        drop(pushes);
        state.followers.entry(service.clone()).or_default().insert(id, subscriber);
        Ok(view)
    }

    /// Ends a subscription; that there is none is a success.
    ///
    /// # Errors
    /// When the connection has ended.
    pub(crate) fn unsubscribe(&self, id: ConnectionId, service: &ServiceKey) -> Result<(), Refusal> {
        let mut state = self.state();
        let subscriber = state.connections.get(&id).ok_or(Refusal::Unregistered)?.clone();
        subscriber.leave(service);
        state.unfollow(id, service);
        Ok(())
    }

    /// Keeps everything as it is from here on, but for changes that wait to be stored: connections that end
    /// with the registry take nothing off, so that no subscriber is told of a fleet that disappears.
    pub(crate) fn freeze(&self) {
        self.state().frozen = true;
        self.frozen.send_replace(true);
    }

    /// Waits until [`Hub::freeze`] has been called.
    #[cfg(feature = "console")]
    pub(crate) async fn frozen(&self) {
        // The sender lives as long as the hub, so it is only ever the value that ends this.
        let _ = self.frozen.subscribe().wait_for(|frozen| *frozen).await;
    }

    /// Marks and removes instances whose heartbeats stop, for ever.
    pub(crate) async fn expire(&self) {
        loop {
            match self.expire_due() {
                Some(at) if at <= Instant::now() => tokio::task::yield_now().await,
                Some(at) => tokio::select! {
                    () = sleep_until(at) => {}
                    () = self.earlier.notified() => {}
                },
                None => self.earlier.notified().await,
            }
        }
    }

    /// Carries out a portion of what is due, and returns when to look again.
    fn expire_due(&self) -> Option<Instant> {
        let (mut state, now) = (self.state(), Instant::now());
        let mut events = Vec::new();
        for (LeaseKey { service, address }, liveness, last) in state.expiry.due(now, EXPIRED_AT_ONCE_MAX) {
            let (client, service) = (Client::Heartbeats(address), (*service).clone());
            let command = match liveness {
                Liveness::Healthy => continue,
                Liveness::Unhealthy => Command::SetHealth { client, service, healthy: false },
                Liveness::Expired => Command::Withdraw { client, service, reason: Reason::Expired },
            };
            // A frozen hub refuses, and that is as good.
            if state.admit(&command).is_ok() {
                events.extend(state.apply(command, last.map(Asker::Sender), self.now(), now));
            }
        }
        let next = state.expiry.next();
        self.finish(state, next, &events);
        next
    }

    fn execute(&self, command: Command) -> Result<(), Refusal> {
        self.execute_for(command, None)
    }

    fn execute_for(&self, command: Command, asker: Option<Asker>) -> Result<(), Refusal> {
        self.execute_checked(Ok(()), command, asker)
    }

    /// Makes a change whose content has been `checked`.
    fn execute_checked(
        &self,
        checked: Result<(), Refusal>,
        command: Command,
        asker: Option<Asker>,
    ) -> Result<(), Refusal> {
        let mut state = self.state();
        let before = state.expiry.next();
        if let Err(refusal) = checked.and_then(|()| state.admit(&command)) {
            state.record_refusal(&command, asker.as_ref(), &refusal, self.now());
            return Err(refusal);
        }
        let events = state.apply(command, asker, self.now(), Instant::now());
        self.finish(state, before, &events);
        Ok(())
    }

    /// Ends a change: wakes [`Hub::expire`] if a lease ends earlier than all did `before`, and opens the lock
    /// before the words are written.
    fn finish(&self, state: MutexGuard<'_, State>, before: Option<Instant>, events: &[Event]) {
        let after = state.expiry.next();
        drop(state);
        if after.is_some_and(|after| before.is_none_or(|before| after < before)) {
            self.earlier.notify_one();
        }
        for event in events {
            self.metrics.happened(event, self.now());
        }
        if !events.is_empty() {
            self.lines.tell(events, self.now());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a defect; what it leaves is still better served than refused.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn execute(&mut self, command: Command, now: UnixMillis, at: Instant) -> Result<Vec<Event>, Refusal> {
        self.admit(&command)?;
        Ok(self.apply(command, None, now, at))
    }

    /// Makes a change that has been admitted; `asker` is known where it is no connection.
    fn apply(
        &mut self,
        mut command: Command,
        asker: Option<Asker>,
        now: UnixMillis,
        at: Instant,
    ) -> Vec<Event> {
        if let Command::Publish { service, .. } = &mut command
            && let Some(shared) = self.catalog.shared(service)
        {
            *service = shared;
        }
        let asker = asker.map(|asker| match asker {
            Asker::Sender(sender) => Asker::Sender(self.agents.share(sender)),
            operator @ Asker::Operator(_) => operator,
        });
        let (by, changed) = (self.by(&command, asker.as_ref()), changed(&command)); // Before its lease ends.
        let leased = Leased::by(&command);
        let heard = match (&command, asker) {
            (
                Command::Publish { client: Client::Heartbeats(address), service, .. },
                Some(Asker::Sender(sender)),
            ) => Some((service.clone(), address.clone(), sender)),
            _ => None,
        };
        let events = self.catalog.apply(command, now);
        self.record(&events, changed.as_ref(), &by, now);
        self.lease(leased, at);
        if let Some((service, address, sender)) = heard {
            self.expiry.hear((&service, &address), sender, now);
        }
        for of_one_service in events.chunk_by(|a, b| a.service == b.service) {
            let service = &of_one_service[0].service;
            let followers = self.followers.get(service).into_iter().flat_map(HashMap::values);
            followers.for_each(|subscriber| subscriber.changed(service, at));
            self.audience.changed(service, at);
        }
        events
    }

    fn present(&self) -> Present<'_> {
        let per_service_max = self.allowance.instances_per_service;
        Present { ledger: &self.ledger, catalog: &self.catalog, limits: self.limits, per_service_max }
    }

    fn described(&mut self, service: &ServiceKey) -> Option<Described> {
        let kind = self.catalog.kind(service)?;
        let record = self.catalog.said_of(service).cloned();
        let record = record.unwrap_or_else(|| Arc::new(ServiceRecord::new(kind)));
        Some(Described { snapshot: self.catalog.snapshot(service), kind, record })
    }

    fn admit(&self, command: &Command) -> Result<(), Refusal> {
        if self.frozen {
            return Err(Refusal::Closing);
        }
        let (client, service, instances) = match command {
            Command::Publish { client, service, instances } => (client, service, instances.len()),
            Command::Withdraw { client, service, .. } | Command::SetHealth { client, service, .. } => {
                (client, service, 0)
            }
            Command::Forget { .. } | Command::Describe { .. } | Command::Override { .. } => return Ok(()),
        };
        if let Client::Connection(id) = client
            && !self.connections.contains_key(id)
        {
            return Err(Refusal::Unregistered); // Or what it publishes would outlive it.
        }
        if instances > 0 {
            self.present().admits(service, Kind::Ephemeral)?;
        }
        let replaced = self.catalog.publication(client, service).len();
        if instances > replaced && self.present().held() - replaced + instances > self.limits.instances_max {
            return Err(Refusal::Full { max: self.limits.instances_max });
        }
        if instances > replaced {
            self.has_room(client, service, instances - replaced, replaced == 0)?;
        }
        Ok(())
    }

    /// Whether a client may publish more instances in a service, which may be a new one for it.
    fn has_room(&self, client: &Client, service: &ServiceKey, more: usize, new: bool) -> Result<(), Refusal> {
        let Allowance { services_per_client, instances_per_client, .. } = self.allowance;
        if let Client::Connection(id) = client {
            let max = services_per_client;
            if new && self.catalog.publications(*id) >= max {
                return Err(Refusal::TooMany { bound: Bound::ServicesPerClient, max });
            }
            let max = instances_per_client;
            if self.catalog.instances_of(*id) + more > max {
                return Err(Refusal::TooMany { bound: Bound::InstancesPerClient, max });
            }
        }
        self.has_room_in(service, more)
    }

    /// Whether a service takes more instances. Those that several clients publish are counted as new ones.
    fn has_room_in(&self, service: &ServiceKey, more: usize) -> Result<(), Refusal> {
        let max = self.allowance.instances_per_service;
        if self.catalog.instances_in(service) + more > max {
            return Err(Refusal::TooMany { bound: Bound::InstancesPerService, max });
        }
        Ok(())
    }

    /// Gives back what is of no more use.
    fn tidy(&mut self, now: UnixMillis) {
        self.catalog.tidy(now);
        self.expiry.tidy();
        self.agents.tidy();
        self.traffic.tidy(now.as_u64() / 1000);
        self.events.tidy(now);
        self.deeds.tidy(now);
        shrink(&mut self.connections);
        shrink(&mut self.followers);
    }

    fn unfollow(&mut self, id: ConnectionId, service: &ServiceKey) {
        if let Some(followers) = self.followers.get_mut(service) {
            followers.remove(&id);
            if followers.is_empty() {
                self.followers.remove(service);
            }
        }
    }
}

#[cfg(test)]
mod tests;
