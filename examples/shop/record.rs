//! What happened in a release: every request as its sender saw it, every execution as an instance told it.

use super::line::Executed;
use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tower_graceful::model::{UnixMillis, WarmUp};

/// A release, from its first request to its last.
#[derive(Clone, Debug)]
pub struct Record {
    /// How it was done, in words for people.
    pub title: &'static str,
    /// Requests a second.
    pub rate: f64,
    /// When the first request was due.
    pub began: UnixMillis,
    /// From the start of the first new process to the exit of the last old one; open while it goes on.
    pub rolled: (Option<UnixMillis>, Option<UnixMillis>),
    /// When no more requests were sent.
    pub ended: UnixMillis,
    /// The instances of orders, in the order of their start.
    pub instances: Vec<Instance>,
    /// What became of each request.
    pub answers: Vec<Answer>,
    /// What is being done at this moment, in words for people.
    pub phase: String,
}

/// One process of orders. All moments come from the clock of the one machine.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Its release.
    pub release: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    /// When it was ready to serve.
    pub ready: Option<UnixMillis>,
    /// The ramp it ought to follow; none for those that have long been warm.
    pub warm_up: Option<WarmUp>,
    /// When that ramp began.
    pub warm_up_start: Option<UnixMillis>,
    /// When it was told to go.
    pub signalled: Option<UnixMillis>,
    /// When its process was gone.
    pub exited: Option<UnixMillis>,
    /// Requests that it answers at this moment.
    pub in_flight: u64,
    /// Every execution: the request's id, and when it reached the handler.
    pub executions: Vec<(String, UnixMillis)>,
}

/// A request as its sender saw it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// When it was to be sent.
    pub due: UnixMillis,
    /// How much later it was sent: the generator's own fault, not the shop's.
    pub lag: Duration,
    /// From the moment it was due to the last byte of its answer.
    pub latency: Duration,
    /// Whether it was to be answered at once. The others take as long as they were asked to.
    pub short: bool,
    /// What became of it.
    pub outcome: Result<(), Failure>,
}

/// How a request can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection to the storefront.
    Connect,
    /// The connection broke before the answer was complete.
    Broken,
    /// Another status than the right one.
    Status(u16),
    /// The right status with a wrong body.
    Body,
    /// No complete answer in time.
    Timeout,
}

impl Record {
    /// An empty record of instances that are about to take `rate` requests a second.
    pub fn new(title: &'static str, rate: f64, began: UnixMillis) -> Self {
        let phase = String::from("starting");
        let (rolled, ended) = ((None, None), began);
        Self { title, rate, began, rolled, ended, instances: Vec::new(), answers: Vec::new(), phase }
    }

    /// Requests that had no right answer.
    pub fn failures(&self) -> impl Iterator<Item = (&Answer, Failure)> {
        self.answers.iter().filter_map(|answer| Some((answer, answer.outcome.err()?)))
    }

    /// Requests that were executed more than once, anywhere.
    pub fn executed_twice(&self) -> usize {
        let mut counts = HashMap::<&str, u32>::new();
        for (id, _) in self.instances.iter().flat_map(|instance| &instance.executions) {
            *counts.entry(id).or_default() += 1;
        }
        counts.values().filter(|count| **count > 1).count()
    }

    /// Whether `instance` runs another release than those that the record begins with.
    pub fn is_new(&self, instance: &Instance) -> bool {
        self.instances.first().is_some_and(|first| first.release != instance.release)
    }

    /// The instances that were told to go.
    pub fn replaced(&self) -> impl Iterator<Item = &Instance> {
        self.instances.iter().filter(|instance| instance.signalled.is_some())
    }
}

impl Instance {
    /// An instance that is not ready yet and has executed nothing.
    pub fn new(release: &'static str, address: SocketAddr) -> Self {
        Self {
            release,
            address,
            ready: None,
            warm_up: None,
            warm_up_start: None,
            signalled: None,
            exited: None,
            in_flight: 0,
            executions: Vec::new(),
        }
    }

    /// Executions that began in `from..until`.
    pub fn executed_between(&self, from: UnixMillis, until: UnixMillis) -> usize {
        self.executions.iter().filter(|(_, at)| (from..until).contains(at)).count()
    }

    /// Requests that reached a handler after the signal to go.
    pub fn after_signal(&self) -> Option<usize> {
        let signalled = self.signalled?;
        Some(self.executions.iter().filter(|(_, at)| *at >= signalled).count())
    }

    /// From the signal to the exit.
    pub fn drain(&self) -> Option<Duration> {
        Some(self.exited?.since(self.signalled?))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connect"),
            Self::Broken => f.write_str("broken"),
            Self::Status(status) => write!(f, "status_{status}"),
            Self::Body => f.write_str("body"),
            Self::Timeout => f.write_str("timeout"),
        }
    }
}

/// Often enough: executions are told five times a second.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(100);

/// A record that several tasks write; a clone shares it.
#[derive(Clone)]
pub struct Recorder(Arc<Mutex<Record>>);

impl Recorder {
    /// Continues `record`.
    pub fn new(record: Record) -> Self {
        Self(Arc::new(Mutex::new(record)))
    }

    /// The record as it stands. Held for a moment only: the generator writes it too.
    pub fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an instance; returns its place in [`Record::instances`].
    pub fn add(&self, instance: Instance) -> usize {
        let mut record = self.record();
        record.instances.push(instance);
        record.instances.len() - 1
    }

    /// Changes the instance at `place`.
    pub fn change(&self, place: usize, change: impl FnOnce(&mut Instance)) {
        if let Some(instance) = self.record().instances.get_mut(place) {
            change(instance);
        }
    }

    /// Notes what the instance at `place` says of itself.
    pub fn executed(&self, place: usize, executed: Executed) {
        self.change(place, |instance| {
            let requests = executed.requests.into_iter();
            instance.executions.extend(requests.map(|(id, at)| (id, UnixMillis::new(at))));
            instance.in_flight = executed.in_flight;
        });
    }

    /// Waits until the instance at `place` has told of its first execution; returns the moment of that.
    pub async fn first_execution(&self, place: usize) -> UnixMillis {
        loop {
            let first = self.record().instances[place].executions.first().map(|(_, at)| *at);
            match first {
                Some(at) => return at,
                None => tokio::time::sleep(LOOKED_AT_EVERY).await,
            }
        }
    }

    /// Says what is being done.
    pub fn phase(&self, phase: impl Into<String>) {
        self.record().phase = phase.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(executions: &[(&str, u64)]) -> Instance {
        let mut instance = Instance::new("v1", "127.0.0.1:1".parse().unwrap());
        let each = executions.iter().map(|(id, at)| ((*id).to_owned(), UnixMillis::new(*at)));
        instance.executions = each.collect();
        instance
    }

    #[test]
    fn a_request_that_two_instances_executed_counts_as_executed_twice() {
        let mut record = Record::new("test", 1.0, UnixMillis::new(0));
        record.instances = vec![instance(&[("a", 1), ("b", 2)]), instance(&[("c", 1), ("a", 3)])];
        assert_eq!(record.executed_twice(), 1);
    }

    #[test]
    fn only_what_reached_a_handler_after_the_signal_counts_as_after_it() {
        let mut instance = instance(&[("a", 99), ("b", 100), ("c", 150)]);
        assert_eq!(instance.after_signal(), None);
        instance.signalled = Some(UnixMillis::new(100));
        instance.exited = Some(UnixMillis::new(700));
        assert_eq!(instance.after_signal(), Some(2));
        assert_eq!(instance.drain(), Some(Duration::from_millis(600)));
    }
}
