//! What happened in a release: every request as its sender saw it, every execution as an instance told it.

use super::common::line::Executed;
use http::Method;
use std::collections::{HashMap, HashSet};
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
    /// The end of what counts: no more requests were sent, or none that are taken down.
    pub ended: UnixMillis,
    /// Whether it is complete, so that nothing more is taken down.
    pub closed: bool,
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
    /// Whether it was told by a signal that it cannot hear.
    pub killed: bool,
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
    /// The request's place in the plan, which is its id.
    pub number: u32,
    /// What it asked for, in a word.
    pub wish: &'static str,
    /// How it asked.
    pub method: Method,
    /// When it was to be sent.
    pub due: UnixMillis,
    /// How much later it was sent: the generator's own fault, not the shop's.
    pub lag: Duration,
    /// From the moment it was due to the last byte of its answer.
    pub latency: Duration,
    /// Whether it was to be answered at once. The others take as long as they were asked to.
    pub short: bool,
    /// What became of it.
    pub outcome: Result<(), Failed>,
}

/// What became of a request that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// How its sender saw it.
    pub kind: Failure,
    /// The instance that was asked last, where the storefront tells.
    pub instance: Option<SocketAddr>,
    /// Whether the right answer had begun to come.
    pub begun: bool,
    /// The causes, in words for people; empty where there is nothing to add.
    pub reason: String,
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
        let (instances, answers) = (Vec::new(), Vec::new());
        Self { title, rate, began, rolled, ended, closed: false, instances, answers, phase }
    }

    /// Requests that had no right answer.
    pub fn failures(&self) -> impl Iterator<Item = (&Answer, &Failed)> {
        self.answers.iter().filter_map(|answer| Some((answer, answer.outcome.as_ref().err()?)))
    }

    /// The failures that no consumer can spare anyone: under way on a process as it was killed, and either
    /// not idempotent, so that nobody may send them again who does not know whether they were executed; or
    /// with an answer that had begun, the beginning of which has been passed on.
    pub fn killed_in_flight(&self) -> impl Iterator<Item = (&Answer, &Failed)> {
        self.failures().filter(|(answer, failed)| {
            let killed = self.instances.iter().filter(|instance| instance.killed);
            let mut there = killed.filter(|instance| failed.instance == Some(instance.address));
            let may_be_sent_again = answer.method.is_idempotent() && !failed.begun;
            !may_be_sent_again && there.any(|instance| answer.is_cut_by_the_end_of(instance))
        })
    }

    /// Requests that were executed more than once, anywhere, without need.
    pub fn executed_twice(&self) -> usize {
        self.repeated().count() - self.repeated_after_kill()
    }

    /// Requests that were executed again because the process that had begun with them was killed: idempotent
    /// ones, which may be.
    pub fn repeated_after_kill(&self) -> usize {
        let killed = self.instances.iter().filter(|instance| instance.killed);
        let begun: HashSet<&str> = killed.flat_map(Instance::executed_ids).collect();
        if begun.is_empty() {
            return 0;
        }
        let answers = self.answers.iter().filter(|answer| answer.method.is_idempotent());
        let idempotent: HashSet<String> = answers.map(|answer| answer.number.to_string()).collect();
        self.repeated().filter(|id| begun.contains(id) && idempotent.contains(*id)).count()
    }

    /// The ids that were executed more than once.
    fn repeated(&self) -> impl Iterator<Item = &str> {
        let mut counts = HashMap::<&str, u32>::new();
        for id in self.instances.iter().flat_map(Instance::executed_ids) {
            *counts.entry(id).or_default() += 1;
        }
        counts.into_iter().filter(|(_, count)| *count > 1).map(|(id, _)| id)
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
            killed: false,
            exited: None,
            in_flight: 0,
            executions: Vec::new(),
        }
    }

    /// The id of each execution.
    pub fn executed_ids(&self) -> impl Iterator<Item = &str> {
        self.executions.iter().map(|(id, _)| id.as_str())
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

impl Answer {
    /// Whether it had been sent, and not been answered, when `instance` ended.
    fn is_cut_by_the_end_of(&self, instance: &Instance) -> bool {
        let (sent, over) = (self.due + self.lag, self.due + self.latency);
        instance.exited.is_some_and(|exited| sent <= exited)
            && instance.signalled.is_some_and(|signalled| over >= signalled)
    }
}

#[cfg(test)]
impl Answer {
    /// The answer to a `GET /orders/1`, sent 1.2 ms after it was due.
    pub fn to_a_read(due: UnixMillis, latency: Duration, outcome: Result<(), Failure>) -> Self {
        let (lag, outcome) = (Duration::from_micros(1_200), outcome.map_err(Failed::from));
        Self { number: 1, wish: "read", method: Method::GET, short: true, due, lag, latency, outcome }
    }
}

impl From<Failure> for Failed {
    fn from(kind: Failure) -> Self {
        Self { kind, instance: None, begun: false, reason: String::new() }
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

    /// Closes the record of a shop that stays open: the answers to those who asked after its end are
    /// dropped, and no more are kept, however long people go on asking.
    pub fn close(&self) {
        let mut record = self.record();
        let ended = record.ended;
        record.answers.retain(|answer| answer.due < ended);
        record.closed = true;
    }

    /// Notes what became of a request.
    pub fn answered(&self, answer: Answer) {
        let mut record = self.record();
        if !record.closed {
            record.answers.push(answer);
        }
    }

    /// Notes what the instance at `place` says of itself.
    pub fn executed(&self, place: usize, executed: Executed) {
        if self.record().closed {
            return;
        }
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
    fn a_record_that_is_closed_has_who_asked_before_its_end_and_nobody_after() {
        let answer = |due| Answer::to_a_read(UnixMillis::new(due), Duration::from_millis(5), Ok(()));
        let recorder = Recorder::new(Record::new("test", 1.0, UnixMillis::new(0)));
        recorder.add(instance(&[]));
        recorder.record().ended = UnixMillis::new(10);
        recorder.answered(answer(9));
        recorder.answered(answer(10));
        recorder.close();
        recorder.answered(answer(8));
        recorder.executed(0, Executed { in_flight: 1, total: 1, requests: vec![(String::new(), 8)] });
        let record = recorder.record();
        assert_eq!(record.answers.iter().map(|answer| answer.due.as_u64()).collect::<Vec<_>>(), [9]);
        assert_eq!(record.instances[0].executions, []);
    }

    fn failed_post(number: u32, due: u64, latency: u64) -> Answer {
        let instance = Some("127.0.0.1:1".parse().unwrap());
        let outcome = Err(Failed { instance, ..Failure::Status(502).into() });
        let read = Answer::to_a_read(UnixMillis::new(due), Duration::from_millis(latency), Ok(()));
        Answer { number, wish: "create", method: Method::POST, lag: Duration::ZERO, outcome, ..read }
    }

    /// A record whose only instance was killed at 1000 ms and gone at 1010 ms.
    fn killed(executions: &[(&str, u64)], answers: Vec<Answer>) -> Record {
        let mut record = Record::new("test", 1.0, UnixMillis::new(0));
        let (signalled, exited) = (Some(UnixMillis::new(1_000)), Some(UnixMillis::new(1_010)));
        record.instances = vec![Instance { killed: true, signalled, exited, ..instance(executions) }];
        record.answers = answers;
        record
    }

    #[test]
    fn only_what_cannot_be_sent_again_and_was_under_way_as_a_process_was_killed_is_excused() {
        let excused = |answer: Answer| killed(&[], vec![answer]).killed_in_flight().count() == 1;
        assert!(excused(failed_post(1, 990, 15)));
        assert!(!excused(Answer { method: Method::GET, ..failed_post(1, 990, 15) }), "can be sent again");
        let mut streamed = Answer { method: Method::GET, ..failed_post(1, 990, 15) };
        streamed.outcome = streamed.outcome.map_err(|failed| Failed { begun: true, ..failed });
        assert!(excused(streamed));
        assert!(!excused(failed_post(1, 980, 15)), "failed before");
        assert!(!excused(failed_post(1, 1_011, 5)), "sent after");
        assert!(
            !excused(Answer { outcome: Err(Failure::Timeout.into()), ..failed_post(1, 990, 15) }),
            "by whom?"
        );
        assert!(!excused(Answer { outcome: Ok(()), ..failed_post(1, 990, 15) }), "no failure");
        let mut told_to_go = killed(&[], vec![failed_post(1, 990, 15)]);
        told_to_go.instances[0].killed = false;
        assert_eq!(told_to_go.killed_in_flight().count(), 0);
    }

    #[test]
    fn what_is_idempotent_may_be_executed_again_where_its_first_process_was_killed() {
        let get = |number| Answer { method: Method::GET, outcome: Ok(()), ..failed_post(number, 990, 15) };
        let mut record = killed(&[("1", 995), ("2", 995)], vec![get(1), get(3), failed_post(2, 990, 15)]);
        record.instances.push(instance(&[("1", 1_005), ("2", 1_005), ("3", 1_005), ("3", 1_006)]));
        assert_eq!((record.repeated_after_kill(), record.executed_twice()), (1, 2));
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
