//! The one owner of the catalog.
//!
//! Every change goes through [`Hub::publish`] and its neighbours: under one short lock the catalog takes the
//! command, leases are put right, and subscribers get a note, no more; lists are written and sent by the
//! connections' own tasks. Readers take a list that is made once for each revision.

use super::catalog::Catalog;
use super::command::{Change, Client, Command, ConnectionId, Event, Limits};
use super::error::Refusal;
use super::expiry::{Expiry, LeaseKey};
use super::push::Subscriber;
use super::query::{Clusters, Page, View};
use crate::Clock;
use crate::model::{
    Address, Group, Instance, Lease, Liveness, Namespace, Reason, ServiceKey, ServiceName, Snapshot,
    UnixMillis,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Services that one client may publish in, or follow: more than any gateway does.
const SERVICES_PER_CLIENT_MAX: usize = 10_000;
/// Leases that end under one lock, so that a mass expiry does not hold up everyone else.
const EXPIRED_AT_ONCE_MAX: usize = 256;

/// The registry's state and all that may be done to it.
#[derive(Debug)]
pub(crate) struct Hub {
    state: Mutex<State>,
    clock: Clock,
    limits: Limits,
    /// A lease ends earlier than [`Hub::expire`] thought.
    earlier: Notify,
}

#[derive(Debug)]
struct State {
    catalog: Catalog,
    expiry: Expiry,
    connections: HashMap<ConnectionId, Arc<Subscriber>>,
    last_connection: u64,
    /// Who follows a service; the reverse of each subscriber's own notes.
    followers: HashMap<ServiceKey, HashMap<ConnectionId, Arc<Subscriber>>>,
    instances_max: usize,
    /// Nothing changes any more.
    frozen: bool,
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
        let state = State {
            catalog: Catalog::new(clock.now()),
            expiry: Expiry::default(),
            connections: HashMap::new(),
            last_connection: 0,
            followers: HashMap::new(),
            instances_max: limits.instances_max,
            frozen: false,
        };
        Self { state: Mutex::new(state), clock, limits, earlier: Notify::new() }
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
        self.limits.check(&instances)?;
        self.execute(Command::Publish { client, service, instances })
    }

    /// Takes off whatever `client` publishes in `service`; that there is nothing is a success.
    ///
    /// # Errors
    /// When the client's connection has ended.
    pub(crate) fn withdraw(&self, client: Client, service: ServiceKey) -> Result<(), Refusal> {
        self.execute(Command::Withdraw { client, service, reason: Reason::Deregistered })
    }

    /// Takes a heartbeat for `address` in `service`, and returns the time until the next one is due;
    /// nothing when no such instance is registered over HTTP.
    ///
    /// # Errors
    /// When the registry is shutting down.
    pub(crate) fn beat(&self, service: &ServiceKey, address: &Address) -> Result<Option<Duration>, Refusal> {
        let (mut state, now) = (self.state(), Instant::now());
        let key = LeaseKey { service: service.clone(), address: address.clone() };
        let before = state.expiry.next();
        let Some(renewal) = state.expiry.renew(&key, now) else { return Ok(None) };
        if renewal.recovered {
            let (LeaseKey { service, address }, healthy) = (key, true);
            let client = Client::Heartbeats(address);
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
    pub(crate) fn view(&self, service: &ServiceKey) -> View {
        self.state().view(service, self.now())
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

    /// How much of everything there is.
    pub(crate) fn counts(&self) -> Counts {
        let state = self.state();
        Counts {
            services: state.catalog.services_len(),
            instances: state.catalog.instances_len(),
            connections: state.connections.len(),
            leases: state.expiry.len(),
            subscriptions: state.followers.values().map(HashMap::len).sum(),
        }
    }

    /// Admits a connection, which may publish and subscribe from here on until [`Hub::disconnect`].
    pub(crate) fn connect(&self) -> (ConnectionId, Arc<Subscriber>) {
        let mut state = self.state();
        state.last_connection += 1;
        let (id, subscriber) = (ConnectionId(state.last_connection), Arc::<Subscriber>::default());
        state.connections.insert(id, subscriber.clone());
        (id, subscriber)
    }

    /// Ends a connection with all its publications and subscriptions. A request of it that is still under
    /// way is refused.
    pub(crate) fn disconnect(&self, id: ConnectionId) {
        let mut state = self.state();
        let Some(subscriber) = state.connections.remove(&id) else { return };
        let followed: Vec<ServiceKey> = subscriber.pushes().services().cloned().collect();
        for service in &followed {
            state.unfollow(id, service);
        }
        let (client, now, before) = (Client::Connection(id), Instant::now(), state.expiry.next());
        // A frozen hub keeps the instances: the registry ends, and they do not.
        if let Ok(events) = state.execute(Command::Forget { client }, self.now(), now) {
            self.finish(state, before, &events);
        }
    }

    /// Lets a connection follow `service`, and returns the list to answer with: whatever changes after it is
    /// pushed.
    ///
    /// # Errors
    /// When the connection has ended or follows too many services.
    pub(crate) fn subscribe(
        &self,
        id: ConnectionId,
        service: &ServiceKey,
        clusters: Clusters,
    ) -> Result<View, Refusal> {
        let mut state = self.state();
        let subscriber = state.connections.get(&id).ok_or(Refusal::Unregistered)?.clone();
        let view = state.view(service, self.now());
        let mut pushes = subscriber.pushes();
        if pushes.services().len() >= SERVICES_PER_CLIENT_MAX && !pushes.leave(service) {
            let what = "subscriptions of one connection";
            return Err(Refusal::TooMany { what, max: SERVICES_PER_CLIENT_MAX });
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
        subscriber.pushes().leave(service);
        state.unfollow(id, service);
        Ok(())
    }

    /// Keeps everything as it is from here on: connections that end with the registry take nothing off, so
    /// that no subscriber is told of a fleet that disappears.
    pub(crate) fn freeze(&self) {
        self.state().frozen = true;
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
        for (LeaseKey { service, address }, liveness) in state.expiry.due(now, EXPIRED_AT_ONCE_MAX) {
            let client = Client::Heartbeats(address);
            let command = match liveness {
                Liveness::Healthy => continue,
                Liveness::Unhealthy => Command::SetHealth { client, service, healthy: false },
                Liveness::Expired => Command::Withdraw { client, service, reason: Reason::Expired },
            };
            // A frozen hub refuses, and that is as good.
            events.extend(state.execute(command, self.now(), now).unwrap_or_default());
        }
        let next = state.expiry.next();
        self.finish(state, next, &events);
        next
    }

    fn execute(&self, command: Command) -> Result<(), Refusal> {
        let mut state = self.state();
        let before = state.expiry.next();
        let events = state.execute(command, self.now(), Instant::now())?;
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
        events.iter().for_each(report);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a defect; what it leaves is still better served than refused.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn execute(&mut self, command: Command, now: UnixMillis, at: Instant) -> Result<Vec<Event>, Refusal> {
        self.admit(&command)?;
        self.lease(&command, at);
        let events = self.catalog.apply(command, now);
        for of_one_service in events.chunk_by(|a, b| a.service == b.service) {
            let service = &of_one_service[0].service;
            let followers = self.followers.get(service).into_iter().flat_map(HashMap::values);
            followers.for_each(|subscriber| subscriber.changed(service, at));
        }
        Ok(events)
    }

    fn view(&mut self, service: &ServiceKey, now: UnixMillis) -> View {
        let snapshot = self.catalog.snapshot(service);
        let removed = self.catalog.removed_from(&snapshot, now);
        View { snapshot, removed }
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
            Command::Forget { .. } => return Ok(()),
        };
        if let Client::Connection(id) = client
            && !self.connections.contains_key(id)
        {
            return Err(Refusal::Unregistered); // Or what it publishes would outlive it.
        }
        let replaced = self.catalog.published(client, service);
        if instances > replaced && self.catalog.published_len() - replaced + instances > self.instances_max {
            return Err(Refusal::Full { max: self.instances_max });
        }
        if instances > 0 && replaced == 0 && self.catalog.publications(client) >= SERVICES_PER_CLIENT_MAX {
            return Err(Refusal::TooMany { what: "services of one client", max: SERVICES_PER_CLIENT_MAX });
        }
        Ok(())
    }

    /// Starts or ends the lease of what is registered over HTTP.
    fn lease(&mut self, command: &Command, at: Instant) {
        match command {
            Command::Publish { client: Client::Heartbeats(address), service, instances } => {
                let key = LeaseKey { service: service.clone(), address: address.clone() };
                let Some(instance) = instances.last() else { return self.expiry.end(&key) };
                let lease = Lease::from_metadata(&instance.metadata).unwrap_or_default();
                self.expiry.grant(&key, lease, instance.healthy, at);
            }
            Command::Withdraw { client: Client::Heartbeats(address), service, .. } => {
                self.expiry.end(&LeaseKey { service: service.clone(), address: address.clone() });
            }
            Command::Publish { .. }
            | Command::Withdraw { .. }
            | Command::SetHealth { .. }
            | Command::Forget { .. } => {}
        }
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

fn report(event: &Event) {
    let Event { service, instance, change } = event;
    match change {
        Change::Came => tracing::info!(service.name = %service, ?instance, "instance came"),
        Change::Changed => tracing::debug!(service.name = %service, ?instance, "instance changed"),
        Change::Went(reason) => tracing::info!(service.name = %service, ?instance, %reason, "instance went"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Metadata;
    use tokio::time::{advance, sleep};

    fn hub() -> Hub {
        hub_with_room_for(1_000_000)
    }

    fn hub_with_room_for(instances_max: usize) -> Hub {
        let limits = Limits { metadata_chars_max: 100, instances_max };
        Hub::new(Clock::manual(UnixMillis::new(1_000)).0, limits)
    }

    fn orders() -> ServiceKey {
        "orders".parse().unwrap()
    }

    fn instance() -> Instance {
        Instance::new("10.0.0.7:80".parse().unwrap())
    }

    fn beaten() -> Client {
        Client::Heartbeats(instance().key.address)
    }

    fn health(hub: &Hub) -> Vec<bool> {
        hub.snapshot(&orders()).instances().iter().map(|instance| instance.healthy).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn an_instance_whose_heartbeats_stop_is_unhealthy_and_then_gone() {
        let hub = hub();
        let life = async {
            hub.publish(beaten(), orders(), vec![instance()]).unwrap();
            sleep(Duration::from_millis(14_990)).await;
            assert_eq!(health(&hub), [true]);
            sleep(Duration::from_millis(20)).await;
            assert_eq!(health(&hub), [false]);
            assert_eq!(hub.beat(&orders(), instance().address()).unwrap(), Some(Duration::from_secs(5)));
            assert_eq!(health(&hub), [true]);
            sleep(Duration::from_millis(29_990)).await;
            assert_eq!(health(&hub), [false]);
            sleep(Duration::from_millis(20)).await;
            assert_eq!(health(&hub), [] as [bool; 0]);
            assert_eq!(hub.beat(&orders(), instance().address()).unwrap(), None);
        };
        tokio::select! { () = hub.expire() => unreachable!(), () = life => {} }
    }

    #[tokio::test(start_paused = true)]
    async fn a_shorter_lease_that_comes_later_is_not_slept_over() {
        let hub = hub();
        let life = async {
            hub.publish(beaten(), orders(), vec![instance()]).unwrap();
            sleep(Duration::from_secs(1)).await;
            let keys = ["interval", "timeout"].map(|key| (format!("preserved.heart.beat.{key}"), "1000"));
            let quick = keys.into_iter().chain([("preserved.ip.delete.timeout".to_owned(), "2000")]);
            let quick = instance().with_metadata(quick.collect());
            hub.publish(beaten(), orders(), vec![quick]).unwrap();
            sleep(Duration::from_millis(2_010)).await;
            assert_eq!(health(&hub), [] as [bool; 0]);
        };
        tokio::select! { () = hub.expire() => unreachable!(), () = life => {} }
    }

    #[tokio::test(start_paused = true)]
    async fn a_mass_expiry_is_carried_out_in_portions_to_its_end() {
        let hub = hub();
        let life = async {
            for port in 0..1_000 {
                let address = Address::new("10.0.0.7", port).unwrap();
                let client = Client::Heartbeats(address.clone());
                hub.publish(client, orders(), vec![Instance::new(address)]).unwrap();
            }
            sleep(Duration::from_millis(30_010)).await;
            assert_eq!(hub.counts().instances, 0);
        };
        tokio::select! { () = hub.expire() => unreachable!(), () = life => {} }
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_after_the_answer_to_a_subscription_is_due_and_one_before_is_in_it() {
        let hub = hub();
        let (provider, _) = hub.connect();
        let (id, subscriber) = hub.connect();
        hub.publish(Client::Connection(provider), orders(), vec![instance()]).unwrap();
        let list = hub.subscribe(id, &orders(), Clusters::default()).unwrap();
        assert_eq!(list.snapshot.instances(), [instance()]);
        assert_eq!(subscriber.pushes().next(), None);
        hub.disconnect(provider);
        advance(Duration::from_secs(1)).await;
        assert_eq!(subscriber.pushes().due(Instant::now()), Some(orders()));
        assert!(hub.snapshot(&orders()).revision() > list.snapshot.revision());
    }

    #[tokio::test]
    async fn a_request_under_way_when_its_connection_ends_changes_nothing() {
        let hub = hub();
        let (id, _) = hub.connect();
        hub.subscribe(id, &orders(), Clusters::default()).unwrap();
        hub.disconnect(id);
        let late = hub.publish(Client::Connection(id), orders(), vec![instance()]);
        assert!(matches!(late, Err(Refusal::Unregistered)));
        assert!(hub.subscribe(id, &orders(), Clusters::default()).is_err());
        let nothing = Counts { services: 0, instances: 0, connections: 0, leases: 0, subscriptions: 0 };
        assert_eq!(hub.counts(), nothing);
    }

    #[tokio::test]
    async fn connections_that_end_with_the_registry_take_nothing_off() {
        let hub = hub();
        let (provider, _) = hub.connect();
        hub.publish(Client::Connection(provider), orders(), vec![instance()]).unwrap();
        hub.freeze();
        hub.disconnect(provider);
        assert_eq!(hub.counts().instances, 1);
        assert!(matches!(hub.withdraw(beaten(), orders()), Err(Refusal::Closing)));
    }

    #[tokio::test]
    async fn what_breaks_a_rule_is_refused_whole() {
        let hub = hub();
        let publish = |instance| hub.publish(beaten(), orders(), vec![instance]).unwrap_err().to_string();
        assert!(publish(Instance { ephemeral: false, ..instance() }).contains("ephemeral=true"));
        let long = instance().with_metadata(Metadata::from_iter([("k", "v".repeat(100))]));
        assert!(publish(long).contains("101 characters are too long: accepted are up to 100"));
        let flapping = Metadata::from_iter([("preserved.heart.beat.timeout", "1")]);
        assert!(publish(instance().with_metadata(flapping)).contains("interval"));
        assert_eq!(hub.counts().instances, 0);
    }

    #[tokio::test]
    async fn a_client_has_a_bounded_number_of_services() {
        let hub = hub();
        let service = |n: usize| format!("s{n}").parse::<ServiceKey>().unwrap();
        let (id, _) = hub.connect();
        for n in 0..SERVICES_PER_CLIENT_MAX {
            hub.publish(Client::Connection(id), service(n), vec![instance()]).unwrap();
            hub.subscribe(id, &service(n), Clusters::default()).unwrap();
        }
        let publish = |n| hub.publish(Client::Connection(id), service(n), vec![instance()]);
        let subscribe = |n| hub.subscribe(id, &service(n), Clusters::default());
        assert!(publish(SERVICES_PER_CLIENT_MAX).is_err());
        assert!(subscribe(SERVICES_PER_CLIENT_MAX).is_err());
        assert!(publish(0).is_ok());
        assert!(subscribe(0).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_a_heartbeat_has_saved_is_not_slept_over() {
        let hub = hub();
        let life = async {
            let keys = ["interval", "timeout"].map(|key| (format!("preserved.heart.beat.{key}"), "1000"));
            let quick = instance().with_metadata(keys.into_iter().collect());
            hub.publish(beaten(), orders(), vec![quick]).unwrap();
            sleep(Duration::from_millis(1_010)).await;
            assert_eq!(health(&hub), [false]);
            hub.beat(&orders(), instance().address()).unwrap();
            assert_eq!(health(&hub), [true]);
            sleep(Duration::from_millis(1_010)).await;
            assert_eq!(health(&hub), [false]);
        };
        tokio::select! { () = hub.expire() => unreachable!(), () = life => {} }
    }

    #[tokio::test]
    async fn the_bound_on_all_instances_counts_what_is_held() {
        let hub = hub_with_room_for(100);
        let publish = |client: &Client, ports: std::ops::Range<u16>| {
            let at = |port| Instance::new(Address::new("10.0.0.8", port).unwrap());
            hub.publish(client.clone(), orders(), ports.map(at).collect())
        };
        let clients: Vec<Client> = (0..3).map(|_| Client::Connection(hub.connect().0)).collect();
        publish(&clients[0], 0..1).unwrap();
        assert!(publish(&clients[0], 0..101).is_err(), "in place of the one before");
        publish(&clients[0], 0..50).unwrap();
        publish(&clients[1], 0..50).unwrap(); // The same instances: held twice.
        assert!(publish(&clients[2], 0..1).is_err());
        publish(&clients[1], 0..49).unwrap();
        publish(&clients[2], 0..1).unwrap();
    }
}
