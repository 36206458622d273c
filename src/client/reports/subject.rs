//! What waits to be told of one instance, or of the consumers of one service.
//!
//! A pure value: moments come in as arguments. What waits is bounded; the oldest goes first, and is counted.

use crate::model::{Instance, InstanceKey, Namespace, ServiceKey, UnixMillis};
use crate::observe::{LateCaller, ProviderReading, RequestCounts, Role};
use crate::protocol::report::{
    EVENTS_MAX, GracefulReportRequest, LATE_CALLERS_MAX, ReportedCaller, ReportedEvent, ReportedSecond,
    Requests, SECONDS_MAX,
};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// Reports of one subject keep this distance: one a second says all that there is.
const DISTANCE: Duration = Duration::from_secs(1);
/// An instance to which nothing happens says so this often: no requests, and no report of requests, differ.
const IDLE: Duration = Duration::from_secs(10);

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) at: UnixMillis,
    pub(super) event: &'static str,
    pub(super) detail: String,
    /// The instance that a consumer speaks of.
    pub(super) instance: String,
}

/// What is to be told of one of them.
#[derive(Debug)]
pub(super) struct Subject {
    service: ServiceKey,
    role: Role,
    /// Which instance it is; a provider tells nothing before it is registered.
    instance: Option<Instance>,
    /// Each with how often it has happened since.
    notes: VecDeque<(Note, u64)>,
    seconds: VecDeque<ReportedSecond>,
    late: Vec<ReportedCaller>,
    in_flight: u64,
    dropped: u64,
    /// The counts that have been told, or wait to be.
    counted: [RequestCounts; 2],
    /// When it was told of last.
    told_at: Option<Instant>,
    /// Whether the present connection has told of it: then it may, also when the instance is off the list.
    told_here: bool,
}

impl Subject {
    pub(super) fn new(service: ServiceKey, role: Role) -> Self {
        Self {
            service,
            role,
            instance: None,
            notes: VecDeque::new(),
            seconds: VecDeque::new(),
            late: Vec::new(),
            in_flight: 0,
            dropped: 0,
            counted: Default::default(),
            told_at: None,
            told_here: false,
        }
    }

    /// Whether it is of one side of this service.
    pub(super) fn is(&self, role: Role, service: &ServiceKey) -> bool {
        self.role == role && self.service == *service
    }

    /// Whether it is an instance.
    pub(super) fn is_provider(&self) -> bool {
        self.role == Role::Provider
    }

    /// This is the instance that is told of.
    pub(super) fn is_at(&mut self, instance: &Instance) {
        self.instance = Some(instance.clone());
    }

    /// Takes note of what happened; what happens again and again is one note.
    pub(super) fn note(&mut self, note: Note) {
        let same = |known: &Note| {
            (known.event, &known.detail, &known.instance) == (note.event, &note.detail, &note.instance)
        };
        if let Some((_, times)) = self.notes.iter_mut().rev().find(|(known, _)| same(known)) {
            *times += 1;
            return;
        }
        if self.notes.len() == EVENTS_MAX {
            self.notes.pop_front();
            self.dropped += 1;
        }
        self.notes.push_back((note, 1));
    }

    /// Takes note of who came late.
    pub(super) fn came_late(&mut self, at: UnixMillis, caller: &LateCaller) {
        let LateCaller { id, app, address, path, requests } = caller;
        let caller = ReportedCaller {
            caller: id.map(|id| format!("{id:016x}")).unwrap_or_default(),
            app: app.clone(),
            address: address.map(|address| address.to_string()).unwrap_or_default(),
            path: path.clone(),
            requests: *requests,
            last: at.as_u64(),
        };
        let known = self.late.iter().position(|known| known.who() == caller.who());
        let before = known.map_or(0, |place| self.late.swap_remove(place).requests);
        if self.late.len() < LATE_CALLERS_MAX {
            self.late.push(ReportedCaller { requests: before + requests, ..caller });
        } else {
            self.dropped += 1;
        }
    }

    /// What has been counted since the last time belongs to this second.
    pub(super) fn measured(&mut self, second: u64, reading: &ProviderReading) {
        self.in_flight = reading.in_flight;
        let since = |now: RequestCounts, before: &mut RequestCounts| {
            let grown = |now: u64, before: &mut u64| {
                let by = now.saturating_sub(*before);
                *before = now.max(*before);
                u32::try_from(by).unwrap_or(u32::MAX)
            };
            Requests {
                started: grown(now.started, &mut before.started),
                finished: grown(now.finished, &mut before.finished),
                failed: grown(now.failed, &mut before.failed),
            }
        };
        let [governed, ungoverned] = &mut self.counted;
        let measured = ReportedSecond {
            second,
            governed: since(reading.governed, governed),
            ungoverned: since(reading.ungoverned, ungoverned),
        };
        if measured == (ReportedSecond { second, ..ReportedSecond::default() }) {
            return; // Nothing happened in it.
        }
        match self.seconds.back_mut() {
            Some(last) if last.second == second => last.add(&measured),
            _ => self.seconds.push_back(measured),
        }
        if self.seconds.len() > SECONDS_MAX {
            self.seconds.pop_front();
            self.dropped += 1;
        }
    }

    /// When it is to be told of next, `now` or later; nothing while there is nothing to tell, or nobody would take it. `lives`
    /// says whether the provider does.
    pub(super) fn due(
        &self,
        now: Instant,
        lives: bool,
        is_known: impl FnOnce(&ServiceKey, Option<&InstanceKey>) -> bool,
    ) -> Option<Instant> {
        let instance = self.instance.as_ref().map(|instance| &instance.key);
        let speaks = self.role == Role::Consumer || instance.is_some();
        if !speaks || !(self.told_here || is_known(&self.service, instance)) {
            return None;
        }
        let at = |distance| self.told_at.map_or(now, |told| told + distance);
        if self.has_something() {
            Some(at(DISTANCE))
        } else {
            (lives && self.role == Role::Provider).then(|| at(IDLE))
        }
    }

    /// Whether something waits to be told.
    pub(super) fn has_something(&self) -> bool {
        !(self.notes.is_empty() && self.seconds.is_empty() && self.late.is_empty())
    }

    /// Whether something waits that the present connection may tell.
    pub(super) fn waits_here(&self) -> bool {
        self.told_here && self.has_something()
    }

    /// Takes what waits, as a request of the registry.
    pub(super) fn take(&mut self, now: Instant, sent_at: UnixMillis) -> GracefulReportRequest {
        (self.told_at, self.told_here) = (Some(now), true);
        let event = |(note, times): (Note, u64)| ReportedEvent {
            at: note.at.as_u64(),
            event: note.event.to_owned(),
            detail: match times {
                1 => note.detail,
                times if note.detail.is_empty() => format!("{times} times"),
                times => format!("{}, {times} times", note.detail),
            },
            instance: note.instance,
        };
        let report = GracefulReportRequest {
            namespace: self.service.namespace.to_string(),
            service_name: self.service.name.to_string(),
            group_name: self.service.group.to_string(),
            role: self.role.to_string(),
            sent_at: sent_at.as_u64(),
            in_flight: self.in_flight,
            events: self.notes.drain(..).map(event).collect(),
            traffic: self.seconds.drain(..).collect(),
            late_callers: std::mem::take(&mut self.late),
            dropped: std::mem::take(&mut self.dropped),
            ..GracefulReportRequest::default()
        };
        let Some(Instance { key, .. }) = &self.instance else { return report };
        GracefulReportRequest {
            ip: key.address.host().to_owned(),
            port: key.address.port(),
            cluster: key.cluster.to_string(),
            epoch: self.instance.as_ref().and_then(Instance::epoch).map_or(0, UnixMillis::as_u64),
            ..report
        }
    }

    /// There is a new connection.
    pub(super) fn connected(&mut self) {
        self.told_here = false;
    }

    /// Forgets what waits: nobody wants to know.
    pub(super) fn clear(&mut self) {
        (self.notes, self.seconds, self.late, self.dropped) = Default::default();
    }
}

/// The service as a client of the namespace `own` means it; nothing where it is not a service of that client.
pub(super) fn in_namespace(own: &Namespace, service: &ServiceKey) -> Option<ServiceKey> {
    let is_own = service.namespace == *own || service.namespace == Namespace::default();
    is_own.then(|| ServiceKey { namespace: own.clone(), ..service.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(event: &'static str, detail: &str) -> Note {
        Note { at: UnixMillis::new(5), event, detail: detail.to_owned(), instance: String::new() }
    }

    fn provider() -> Subject {
        let mut subject = Subject::new("orders".parse().unwrap(), Role::Provider);
        subject.is_at(&Instance::new("10.0.0.7:80".parse().unwrap()));
        subject
    }

    fn counts(started: u64, finished: u64) -> ProviderReading {
        let governed = RequestCounts { started, finished, failed: 0 };
        ProviderReading { governed, ..ProviderReading::default() }
    }

    fn take(subject: &mut Subject) -> GracefulReportRequest {
        subject.take(Instant::now(), UnixMillis::new(9_000))
    }

    #[test]
    fn what_grows_is_told_by_the_second() {
        let mut subject = provider();
        for (second, started, finished) in [(100, 5, 3), (101, 5, 5), (102, 5, 5), (103, 9, 8), (103, 10, 8)]
        {
            subject.measured(second, &counts(started, finished));
        }
        let told: Vec<_> = take(&mut subject)
            .traffic
            .iter()
            .map(|second| (second.second, second.governed.started, second.governed.finished))
            .collect();
        assert_eq!(told, [(100, 5, 3), (101, 0, 2), (103, 5, 3)]);
        assert!(!subject.has_something());
    }

    #[test]
    fn what_happens_again_and_again_is_one_note() {
        let mut subject = provider();
        (0..1000).for_each(|_| subject.note(note("retried", "connect")));
        subject.note(note("retried", "lost"));
        let told: Vec<_> = take(&mut subject).events.into_iter().map(|event| event.detail).collect();
        assert_eq!(told, ["connect, 1000 times", "lost"]);
    }

    #[test]
    fn while_nobody_takes_it_the_newest_is_kept_and_the_rest_counted() {
        let mut subject = provider();
        for n in 0..EVENTS_MAX + 3 {
            subject.note(note("notified", &n.to_string()));
        }
        for second in 0..SECONDS_MAX as u64 + 2 {
            subject.measured(second, &counts(second + 1, 0));
        }
        for n in 0..=LATE_CALLERS_MAX {
            let caller =
                LateCaller { id: None, app: String::new(), address: None, path: n.to_string(), requests: 1 };
            subject.came_late(UnixMillis::new(7), &caller);
        }
        let told = take(&mut subject);
        assert_eq!(told.events[0].detail, "3");
        assert_eq!(told.traffic[0].second, 2);
        assert_eq!((told.events.len(), told.traffic.len(), told.late_callers.len()), (200, 300, 20));
        assert_eq!(told.dropped, 3 + 2 + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_told_of_once_a_second_at_most_and_of_quiet_every_ten() {
        let mut subject = provider();
        let yes = |_: &ServiceKey, _: Option<&InstanceKey>| true;
        subject.note(note("registered", ""));
        let now = Instant::now();
        tokio::time::advance(Duration::from_millis(1)).await; // Whoever asks has looked at the clock before.
        assert_eq!(subject.due(now, true, yes), Some(now), "the first word at once");
        assert_eq!(subject.due(now, true, |_, _| false), None, "the registry does not know it yet");
        subject.take(now, UnixMillis::new(9_000));
        assert_eq!(subject.due(now, true, yes), Some(now + IDLE));
        assert_eq!(subject.due(now, false, yes), None);
        subject.note(note("leaving", "SIGTERM"));
        assert_eq!(subject.due(now, true, |_, _| false), Some(now + DISTANCE), "it has told of it here");
        subject.connected();
        assert_eq!(subject.due(now, true, |_, _| false), None);
    }

    #[test]
    fn a_provider_that_is_not_registered_yet_tells_nothing() {
        let mut subject = Subject::new("orders".parse().unwrap(), Role::Provider);
        subject.note(note("warm-up-started", ""));
        assert_eq!(subject.due(Instant::now(), true, |_, _| true), None);
    }
}
