//! What callers and the client's task share: one value behind a lock, and a bell.
//!
//! Calls change [`Desired`] at once, wherever the connection stands, so that what was said last is true from
//! that moment on; the task looks at it whenever the bell rings. There is no queue between them to fill up.

use super::connection::Hears;
use super::desired::{Answer, Desired, Listing, Outcome, Settled, Step, Ticket};
use super::failure::Failure;
use crate::model::{Instance, InstanceKey, ServiceKey, Snapshot, UnixMillis};
use crate::naming::{Error, Order, Publisher, Snapshots, Told};
use crate::observe::Observer;
use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{Instant, timeout};

/// Calls that may wait for their outcome at one time: far more than a process has reason to make, and a
/// bound for one that makes them without end.
const CALLS_MAX: usize = 4096;

/// Shared by the handles, their calls, and the task.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    bell: Notify,
    /// Rings for whoever writes lists into files.
    to_save: Notify,
    /// Why the registry does not let this client in, if that is its last word.
    shut_out: watch::Sender<Option<Failure>>,
}

#[derive(Debug)]
struct State {
    desired: Desired,
    cells: HashMap<ServiceKey, Arc<Publisher>>,
    calls: HashMap<Ticket, oneshot::Sender<Outcome>>,
    /// Instances that wait for orders: as many as providers run in this process.
    takers: Vec<Taker>,
    tickets: u64,
    /// Whether the connection's registry hears of consumers.
    hears: Hears,
    /// Why there is no connection.
    trouble: Option<Failure>,
    /// Since when there has been none.
    away_since: Option<Instant>,
    /// The newest list of each service that is not in its file yet; nothing where nobody writes files.
    unsaved: Option<HashMap<ServiceKey, Arc<Snapshot>>>,
    closing: bool,
}

/// An instance that waits for an order.
#[derive(Debug)]
struct Taker {
    service: ServiceKey,
    key: InstanceKey,
    epoch: Option<UnixMillis>,
    order: oneshot::Sender<Order>,
}

/// A call that waits for its outcome; dropping it gives it up.
#[derive(Debug)]
pub(super) struct Call {
    shared: Arc<Shared>,
    ticket: Ticket,
    service: ServiceKey,
    outcome: oneshot::Receiver<Outcome>,
}

/// A service that has begun to be followed.
#[derive(Debug)]
pub(super) struct Following {
    pub(super) first: Call,
    pub(super) snapshots: Snapshots,
    /// The cell, when it is new and nobody listens to its readers yet.
    pub(super) anew: Option<Arc<Publisher>>,
}

impl Shared {
    /// Nothing is wanted yet. `keep` is how long an instance is believed in that is missing without an
    /// order; `saving` says that somebody takes what is [unsaved](Self::take_unsaved).
    pub(super) fn new(keep: Duration, saving: bool) -> Self {
        let state = State {
            desired: Desired::new(keep),
            cells: HashMap::new(),
            calls: HashMap::new(),
            takers: Vec::new(),
            tickets: 0,
            hears: Hears::default(),
            trouble: None,
            away_since: Some(Instant::now()),
            unsaved: saving.then(HashMap::new),
            closing: false,
        };
        Self {
            state: Mutex::new(state),
            bell: Notify::new(),
            to_save: Notify::new(),
            shut_out: watch::Sender::new(None),
        }
    }

    /// Asks for an instance.
    pub(super) fn register(
        self: &Arc<Self>,
        service: &ServiceKey,
        instance: &Instance,
    ) -> Result<Call, Error> {
        let ((), call) =
            self.begin(service, |state, ticket, _| state.desired.register(ticket, service, instance))?;
        Ok(call)
    }

    /// Takes an instance off, and asks who knows if that is to be heard.
    pub(super) fn deregister(
        self: &Arc<Self>,
        service: &ServiceKey,
        key: &InstanceKey,
        who_knows: bool,
    ) -> Result<Call, Error> {
        let ((), call) = self.begin(service, |state, ticket, settled| {
            state.desired.deregister(ticket, service, key, who_knows, settled);
            Ok(())
        })?;
        Ok(call)
    }

    /// Follows a service, whose readers tell `observer` what they do about its instances.
    pub(super) fn subscribe(
        self: &Arc<Self>,
        service: &ServiceKey,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<Following, Error> {
        let ((snapshots, anew), first) = self.begin(service, |state, ticket, settled| {
            let begun = state.desired.subscribe(ticket, service, settled)?;
            match state.cells.get(service) {
                Some(cell) if !begun => Ok((cell.snapshots(), None)),
                _ => {
                    let (cell, snapshots) = Publisher::observed(service.clone(), observer);
                    let cell = Arc::new(cell);
                    cell.away_since(state.away_since);
                    state.cells.insert(service.clone(), cell.clone());
                    Ok((snapshots, Some(cell)))
                }
            }
        })?;
        Ok(Following { first, snapshots, anew })
    }

    /// Publishes the list of an earlier process, `age` old, where nothing is known; whether it did.
    pub(super) fn start_from(&self, file: Snapshot, age: Duration) -> bool {
        let file = Arc::new(file);
        self.change(|state, settled| {
            let begun = state.desired.start_from(&file, settled);
            if let Some(cell) = state.cells.get(file.service()).filter(|_| begun) {
                cell.publish_aged(file.clone(), age);
            }
            begun
        })
    }

    /// The lists that are not in their files yet, which are taken for written from here on.
    pub(super) fn take_unsaved(&self) -> Vec<Arc<Snapshot>> {
        self.state().unsaved.iter_mut().flat_map(HashMap::drain).map(|(_, list)| list).collect()
    }

    /// Waits until there may be something to save, or the client is closing.
    pub(super) async fn to_save(&self) {
        self.to_save.notified().await;
    }

    /// How long to wait for an answer before the registry counts as away: `within`, less the time for which
    /// there has been no connection.
    pub(super) fn patience(&self, within: Duration) -> Duration {
        within.saturating_sub(self.state().away_since.map_or(Duration::ZERO, |since| since.elapsed()))
    }

    /// Carries the wishes of the readers of a cell until there are none, neither wishes nor readers.
    pub(super) async fn listen(self: Arc<Self>, service: ServiceKey, cell: Arc<Publisher>) {
        loop {
            tokio::select! {
                () = cell.refresh_wanted() => self.change(|state, _| state.desired.refresh(&service)),
                () = cell.abandoned() => if self.abandon(&service, &cell) { return },
            }
        }
    }

    /// What is due now, which is then on its way.
    pub(super) fn next(&self, now: Instant) -> Option<Step> {
        self.state().desired.next(now)
    }

    /// Publishes what has become due by itself, and says when the next thing does.
    pub(super) fn tick(&self, now: Instant) -> Option<Instant> {
        let mut state = self.state();
        for overdue in state.desired.take_overdue(now) {
            state.publish(overdue);
            self.to_save.notify_one();
        }
        state.desired.due(now)
    }

    /// The registry answered a change of what is registered.
    pub(super) fn published(&self, service: &ServiceKey, answer: Answer<Told>) {
        let (now, chance) = (Instant::now(), fastrand::f64());
        self.change(|state, settled| state.desired.published(service, answer, now, chance, settled));
    }

    /// The registry answered a question about a followed service.
    pub(super) fn followed(&self, service: &ServiceKey, answer: Answer<Listing>) {
        let (now, chance) = (Instant::now(), fastrand::f64());
        self.change(|state, settled| {
            if let Some(list) = state.desired.followed(service, answer, now, chance, settled) {
                state.publish(list);
            }
        });
    }

    /// Takes a pushed list in. Once this returns, readers see it.
    pub(super) fn pushed(&self, list: Listing) {
        let now = Instant::now();
        self.change(|state, _| {
            if let Some(list) = state.desired.take_in(list, now) {
                state.publish(list);
            }
        });
    }

    /// There is a new connection, and `hears` says what its registry can do.
    pub(super) fn connected(&self, hears: Hears) {
        self.shut_out.send_replace(None);
        self.change(|state, settled| {
            state.hears = hears;
            state.trouble = None;
            state.away(None);
            state.desired.connected(settled);
        });
    }

    /// There is no connection, and this is why.
    pub(super) fn disconnected(&self, trouble: Option<Failure>) {
        self.shut_out.send_replace(trouble.clone().filter(Failure::is_shut_out));
        let mut state = self.state();
        state.hears = Hears::default();
        state.trouble = trouble;
        let since = *state.away_since.get_or_insert_with(Instant::now);
        state.away(Some(since));
        state.desired.disconnected();
    }

    /// Wants nothing from here on; calls that wait are told.
    pub(super) fn close(&self) {
        self.change(|state, settled| {
            state.closing = true;
            state.desired.clear(settled);
            state.cells.clear();
            state.takers.clear();
        });
    }

    /// The task is gone: calls that still wait will have no outcome.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.closing = true;
        state.calls.clear();
        state.takers.clear();
        self.to_save.notify_one();
    }

    /// Whether nothing is wanted any more.
    pub(super) fn is_closing(&self) -> bool {
        self.state().closing
    }

    /// Number of instances that the registry holds as far as is known.
    pub(super) fn held(&self) -> usize {
        self.state().desired.held()
    }

    /// Whether the registry knows what this client has to do with a service: that it has registered this
    /// instance, or that it follows.
    pub(super) fn is_known(&self, service: &ServiceKey, instance: Option<&InstanceKey>) -> bool {
        self.state().desired.is_known(service, instance)
    }

    /// Waits for the next order for an instance; an error when none will come any more.
    pub(super) fn await_order(&self, service: ServiceKey, instance: &Instance) -> oneshot::Receiver<Order> {
        let (taker, order) = oneshot::channel();
        let mut state = self.state();
        state.takers.retain(|taker| !taker.order.is_closed());
        if !state.closing {
            let (key, epoch) = (instance.key.clone(), instance.epoch());
            state.takers.push(Taker { service, key, epoch, order: taker });
        }
        order
    }

    /// Hands an order to the instance at an address, of this epoch if one is given; whether it took it.
    pub(super) fn order(
        &self,
        service: &ServiceKey,
        key: &InstanceKey,
        epoch: Option<UnixMillis>,
        order: Order,
    ) -> bool {
        let is_meant = |taker: &Taker| {
            let is_it = epoch.is_none() || taker.epoch == epoch;
            taker.service == *service && taker.key == *key && is_it && !taker.order.is_closed()
        };
        let mut state = self.state();
        let taker = state.takers.iter().position(is_meant).map(|place| state.takers.swap_remove(place));
        taker.is_some_and(|taker| taker.order.send(order).is_ok())
    }

    /// Whether there is a registry that hears of consumers.
    pub(super) fn hears(&self) -> bool {
        self.state().hears.get()
    }

    /// Why there is no connection, if there is none.
    pub(super) fn trouble(&self) -> Option<Failure> {
        self.state().trouble.clone()
    }

    /// Waits until the registry does not let this client in, and says why. Nobody waits for a registry that
    /// has said no.
    pub(super) async fn shut_out(&self) -> Failure {
        let mut word = self.shut_out.subscribe();
        let said = word.wait_for(Option::is_some).await.ok().and_then(|word| word.clone());
        match said {
            Some(why) => why,
            None => pending().await, // Not while the sender lives, which it does here.
        }
    }

    /// Waits until something has changed since the last time.
    pub(super) async fn changed(&self) {
        self.bell.notified().await;
    }

    /// Waits until nothing is wanted any more.
    pub(super) async fn closing(&self) {
        while !self.is_closing() {
            self.changed().await;
        }
    }

    /// Begins a call unless the client is closed.
    fn begin<T>(
        self: &Arc<Self>,
        service: &ServiceKey,
        begin: impl FnOnce(&mut State, Ticket, &mut Settled) -> Result<T, Error>,
    ) -> Result<(T, Call), Error> {
        self.change(|state, settled| {
            if state.closing {
                return Err(Error::Closed);
            }
            if state.calls.len() >= CALLS_MAX {
                let message = format!("more than {CALLS_MAX} calls wait for the registry at one time");
                return Err(Error::Invalid { message });
            }
            state.tickets += 1;
            let ticket = Ticket(state.tickets);
            let begun = begin(state, ticket, settled)?;
            let (sender, outcome) = oneshot::channel();
            state.calls.insert(ticket, sender);
            Ok((begun, Call { shared: self.clone(), ticket, service: service.clone(), outcome }))
        })
    }

    /// Ends a following unless a reader has come meanwhile; says whether it has ended.
    fn abandon(&self, service: &ServiceKey, cell: &Arc<Publisher>) -> bool {
        self.change(|state, _| {
            if !cell.is_abandoned() {
                return false;
            }
            if state.cells.get(service).is_some_and(|current| Arc::ptr_eq(current, cell)) {
                state.desired.abandon(service);
                state.cells.remove(service);
            }
            true
        })
    }

    /// Changes the state, tells the calls that are settled by it, and rings the bell.
    fn change<T>(&self, change: impl FnOnce(&mut State, &mut Settled) -> T) -> T {
        let mut settled = Settled::new();
        let mut state = self.state();
        let changed = change(&mut state, &mut settled);
        for (ticket, outcome) in settled {
            if let Some(call) = state.calls.remove(&ticket) {
                let _ = call.send(outcome); // A call that was given up needs no outcome.
            }
        }
        if state.unsaved.as_ref().is_some_and(|unsaved| !unsaved.is_empty()) {
            self.to_save.notify_one();
        }
        drop(state);
        self.bell.notify_one();
        changed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while it was held cannot be undone, and what stands there is still the best known.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Says to all who read lists since when there has been no connection, or that there is one.
    fn away(&mut self, since: Option<Instant>) {
        self.away_since = since;
        self.cells.values().for_each(|cell| cell.away_since(since));
    }

    fn publish(&mut self, list: Arc<Snapshot>) {
        let Some(cell) = self.cells.get(list.service()) else { return };
        cell.publish(list.clone());
        // A file never holds more than the registry has said at one time.
        if let Some(unsaved) = self.unsaved.as_mut().filter(|_| self.desired.is_whole(list.service())) {
            unsaved.insert(list.service().clone(), list);
        }
    }
}

impl Call {
    /// Waits for the outcome, `bound` at most, and once `first` is over no longer than until the registry does
    /// not let this client in; `tried` says in an error what this was about.
    pub(super) async fn outcome(
        mut self,
        bound: Duration,
        first: impl Future<Output = ()>,
        tried: impl FnOnce() -> String,
    ) -> Outcome {
        let shared = self.shared.clone();
        let shut_out = async {
            first.await;
            shared.shut_out().await
        };
        let outcome = tokio::select! {
            biased;
            outcome = timeout(bound, &mut self.outcome) => outcome,
            // What came first may have settled it.
            why = shut_out => return self.outcome.try_recv().unwrap_or_else(|_| Err(why.to_unavailable(tried()))),
        };
        match outcome {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Error::Closed),
            Err(elapsed) => {
                let tried = format!("{}, for {bound:?}", tried());
                match self.shared.trouble() {
                    Some(trouble) => Err(trouble.to_unavailable(tried)),
                    None => Err(Error::Unavailable { tried, source: Arc::new(elapsed) }),
                }
            }
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.shared.change(|state, _| {
            if state.calls.remove(&self.ticket).is_some() {
                state.desired.give_up(self.ticket, &self.service);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::ready;

    #[test]
    fn a_cell_that_has_found_a_reader_again_is_not_given_up() {
        let (shared, orders) = (Arc::new(Shared::new(Duration::ZERO, false)), "orders".parse().unwrap());
        let first = shared.subscribe(&orders, None).unwrap();
        let cell = first.anew.clone().unwrap();
        drop(first);
        let second = shared.subscribe(&orders, None).unwrap(); // Before its listener has noticed anything.
        assert!(second.anew.is_none());
        assert!(!shared.abandon(&orders, &cell));
        drop(second);
        assert!(shared.abandon(&orders, &cell));
        assert!(shared.subscribe(&orders, None).unwrap().anew.is_some());
    }

    #[tokio::test]
    async fn calls_are_bounded_and_told_when_the_task_is_gone() {
        let (shared, orders) = (Arc::new(Shared::new(Duration::ZERO, false)), "orders".parse().unwrap());
        let instance = Instance::new("10.0.0.7:8080".parse().unwrap());
        let mut calls: Vec<_> =
            (0..CALLS_MAX).map(|_| shared.register(&orders, &instance).unwrap()).collect();
        assert!(matches!(shared.register(&orders, &instance), Err(Error::Invalid { .. })));
        calls.truncate(1);
        calls.push(shared.register(&orders, &instance).unwrap());
        shared.end();
        for call in calls {
            let outcome = call.outcome(Duration::from_secs(1), ready(()), String::new).await;
            assert!(matches!(outcome, Err(Error::Closed)), "{outcome:?}");
        }
    }
}
