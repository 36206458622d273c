//! What processes tell of themselves: their events join the registry's own, their traffic is kept for a few
//! minutes. Nothing is decided by it.

use super::{Client, ConnectionId, Hub, State};
use crate::model::{Address, InstanceKey, ServiceKey, UnixMillis};
use crate::protocol::report::{ReportedCaller, ReportedSecond};
use crate::registry::bound::Bound;
use crate::registry::error::Refusal;
use crate::registry::events::{Recorded, Told, What};
use crate::registry::traffic::{KEPT_SECONDS, Series};
use crate::registry::verdict::{Left, Member, Verdict, Whole};
use serde::Serialize;
use std::sync::Arc;

/// Instances and services that one connection may report of.
const REPORTED_MAX: usize = 100;

/// A report, with the times in it as its sender's clock had them.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) service: ServiceKey,
    /// Whose it is: an instance of the service, or a consumer of it, which speaks of other instances.
    pub(crate) instance: Option<InstanceKey>,
    /// When it was sent.
    pub(crate) sent_at: UnixMillis,
    pub(crate) in_flight: u64,
    /// When, to whom, and what.
    pub(crate) events: Vec<(UnixMillis, Address, Told)>,
    pub(crate) seconds: Vec<ReportedSecond>,
    pub(crate) late: Vec<ReportedCaller>,
}

/// The traffic of a service.
#[derive(Debug, Serialize)]
pub(crate) struct TrafficLines {
    /// The present moment, in milliseconds since 1970.
    now: u64,
    /// Seconds that are kept.
    kept: u64,
    pub(crate) instances: Vec<TrafficLine>,
}

/// The traffic of one instance, as it has reported it.
#[derive(Debug, Serialize)]
pub(crate) struct TrafficLine {
    pub(crate) ip: String,
    pub(crate) port: u16,
    pub(crate) cluster: String,
    pub(crate) in_flight: u64,
    /// Requests a second that began in the last ten whole seconds.
    pub(crate) rate: f64,
    /// When it reported last, in seconds since 1970.
    pub(crate) reported: u64,
    /// How far its clock is ahead of the registry's, in milliseconds; negative where it is behind. The time
    /// that the report was under way is in it.
    pub(crate) ahead_ms: i64,
    /// Those in which there were requests.
    pub(crate) seconds: Vec<ReportedSecond>,
    /// Requests that each second would have had if all of this service had gone by the weights, as
    /// `[second, requests]`.
    pub(crate) ideal: Vec<(u64, f64)>,
    /// When it left, if it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) left: Option<LeftLine>,
    pub(crate) verdict: VerdictLine,
    /// Who has called since it said that it leaves.
    pub(crate) late_callers: Vec<ReportedCaller>,
}

/// When an instance left, in milliseconds since 1970.
#[derive(Debug, Serialize)]
pub(crate) struct LeftLine {
    at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    deregistered: Option<u64>,
}

impl From<Left> for LeftLine {
    fn from(left: Left) -> Self {
        Self { at: left.at.as_u64(), deregistered: left.deregistered.map(UnixMillis::as_u64) }
    }
}

/// What its numbers say, in a word and in a sentence.
#[derive(Debug, Serialize)]
pub(crate) struct VerdictLine {
    pub(crate) word: &'static str,
    pub(crate) text: String,
}

impl VerdictLine {
    pub(super) fn new(verdict: &Verdict) -> Self {
        Self { word: verdict.as_str(), text: verdict.to_string() }
    }
}

/// Over how many seconds a rate is taken.
const RATE_OVER: u64 = 10;

impl Hub {
    /// Takes down what the process behind a connection tells: of an instance, when the connection publishes
    /// it, or has done so; of what it sees as a consumer, when it follows the service.
    ///
    /// # Errors
    /// When the connection has ended, or has nothing to say of this.
    pub(crate) fn report(&self, id: ConnectionId, report: Report) -> Result<(), Refusal> {
        let (mut state, now) = (self.state(), self.now());
        state.admit_report(id, &report)?;
        let Report { service, instance, sent_at, in_flight, events, seconds, late } = report;
        let ahead_ms = difference(sent_at, now);
        let by = state.by_connection(id);
        for (at, about, told) in events {
            // A consumer speaks of addresses, and of those that somebody has registered only: others would fill
            // the room of the events.
            let Some(about) = instance.clone().or_else(|| state.known_at(&service, &about)) else { continue };
            let at = shifted(at, ahead_ms).min(now);
            let event =
                Recorded { at, instance: about, what: What::Told(Arc::new(told)), by: by.clone(), list: 0 };
            state.events.record(&service, event);
        }
        let Some(instance) = instance else { return Ok(()) };
        // Half a second is as much as a second's number can be wrong by anyway.
        let ahead_s = (ahead_ms + 500).div_euclid(1000);
        let seconds = seconds
            .into_iter()
            .map(|second| ReportedSecond { second: second.second.saturating_add_signed(-ahead_s), ..second });
        let late = late.into_iter().map(|caller| {
            let last = shifted(UnixMillis::new(caller.last), ahead_ms).as_u64();
            ReportedCaller { last, ..caller }
        });
        let listed =
            state.catalog.snapshot(&service).get(&instance).map(|listed| Member::new(listed, now, now));
        let left = state.left(&service, &instance);
        let series = state.traffic.record(&service, &instance, seconds, now.as_u64() / 1000);
        (series.in_flight, series.ahead_ms) = (in_flight, ahead_ms);
        let known = series.member;
        let member = listed.map(|listed| known.map_or(listed, |known| listed.since(known.from()))).or(known);
        series.member = left.iter().fold(member, |member, left| member.map(|member| member.until(left.at)));
        late.for_each(|caller| series.came_late(caller));
        Ok(())
    }

    /// What the instances of a service that are `wanted` have reported of the last `seconds`.
    pub(crate) fn traffic(
        &self,
        service: &ServiceKey,
        wanted: impl Fn(&InstanceKey) -> bool,
        seconds: u64,
    ) -> TrafficLines {
        let now = self.now();
        let now_s = now.as_u64() / 1000;
        let first = now_s.saturating_sub(seconds.min(KEPT_SECONDS));
        let (members, totals, known) = {
            let state = self.state();
            let members: Vec<Member> =
                state.traffic.of(service).filter_map(|(_, series)| series.member).collect();
            let line = |(key, series): (&InstanceKey, &Series)| {
                let left = state.left(service, key);
                let line = TrafficLine {
                    left: left.map(LeftLine::from),
                    verdict: VerdictLine::new(&series.verdict(left, now)),
                    ..TrafficLine::new(key, series, first, now_s)
                };
                (series.member, line)
            };
            let known = state.traffic.of(service).filter(|(key, _)| wanted(key));
            let known: Vec<_> = known.map(line).collect();
            (members, state.traffic.totals(service, first), known)
        };
        // Each second is weighed against every member: nobody else waits for that.
        let whole: Vec<_> = totals
            .into_iter()
            .map(|(second, requests)| (second, Whole::new(second, requests, &members)))
            .collect();
        let with_ideal = |(member, line): (Option<Member>, TrafficLine)| {
            let thousandths = |part: f64| (part * 1000.0).round() / 1000.0; // More makes the answer long.
            let part = |all: &Whole, own: Member| all.part(own).map(thousandths);
            let parts =
                |own: Member| whole.iter().filter_map(move |(second, all)| Some((*second, part(all, own)?)));
            TrafficLine { ideal: member.into_iter().flat_map(parts).collect(), ..line }
        };
        let mut instances: Vec<_> = known.into_iter().map(with_ideal).collect();
        instances.sort_by(|a, b| (&a.ip, a.port, &a.cluster).cmp(&(&b.ip, b.port, &b.cluster)));
        TrafficLines { now: now.as_u64(), kept: KEPT_SECONDS, instances }
    }

    /// Seconds of traffic and events that are kept.
    pub(crate) fn recordings(&self) -> Recordings {
        let state = self.state();
        Recordings { seconds: state.traffic.held(), events: state.events.held() }
    }
}

/// How much is kept of what has happened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recordings {
    /// Seconds of traffic.
    pub(crate) seconds: usize,
    pub(crate) events: usize,
}

impl State {
    /// When an instance left, if it has.
    pub(super) fn left(&self, service: &ServiceKey, instance: &InstanceKey) -> Option<Left> {
        Left::read(self.events.of_instance(service, instance).map(|(_, event)| event))
    }

    /// The instance at an address: one that is listed, or else one of whom something is known.
    fn known_at(&mut self, service: &ServiceKey, address: &Address) -> Option<InstanceKey> {
        let list = self.catalog.snapshot(service);
        let listed = list.instances().iter().find(|listed| listed.key.address == *address);
        listed.map(|listed| listed.key.clone()).or_else(|| self.events.at(service, address).cloned())
    }

    fn admit_report(&mut self, id: ConnectionId, report: &Report) -> Result<(), Refusal> {
        let subscriber = self.connections.get(&id).ok_or(Refusal::Unregistered)?;
        let (service, instance) = (&report.service, &report.instance);
        let may = match instance {
            Some(key) => {
                self.catalog.publication(&Client::Connection(id), service).iter().any(|own| own == key)
            }
            None => subscriber.pushes().following(service).is_some(),
        };
        let spoken = self.reporters.entry(id).or_default();
        let known = spoken.iter().any(|(of, key)| of == service && key == instance);
        if !known && !may {
            return Err(Refusal::NotYours);
        }
        if !known && spoken.len() >= REPORTED_MAX {
            return Err(Refusal::TooMany { bound: Bound::Reported, max: REPORTED_MAX });
        }
        if !known {
            spoken.push((service.clone(), instance.clone()));
        }
        Ok(())
    }
}

impl TrafficLine {
    fn new(key: &InstanceKey, series: &Series, first: u64, now: u64) -> Self {
        Self {
            ip: key.address.host().to_owned(),
            port: key.address.port(),
            cluster: key.cluster.to_string(),
            in_flight: series.in_flight,
            rate: series.rate(now, RATE_OVER),
            reported: series.reported,
            ahead_ms: series.ahead_ms,
            seconds: series.since(first).copied().collect(),
            ideal: Vec::new(),
            left: None,
            verdict: VerdictLine::new(&Verdict::InUse),
            late_callers: series.late().to_vec(),
        }
    }
}

/// How far `a` lies after `b`, in milliseconds.
fn difference(a: UnixMillis, b: UnixMillis) -> i64 {
    let after = |a: UnixMillis, b: UnixMillis| i64::try_from(a.since(b).as_millis()).unwrap_or(i64::MAX);
    if a >= b { after(a, b) } else { -after(b, a) }
}

/// A moment by a clock that is ahead, by ours.
fn shifted(at: UnixMillis, ahead_ms: i64) -> UnixMillis {
    UnixMillis::new(at.as_u64().saturating_add_signed(ahead_ms.saturating_neg()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Clock;
    use crate::model::Instance;
    use crate::protocol::report::Requests;
    use crate::registry::command::Limits;
    use crate::registry::events::Role;
    use crate::registry::peer::Peer;

    const NOW: u64 = 1_000_000_000;

    fn hub() -> Hub {
        let (clock, _) = Clock::manual(UnixMillis::new(NOW));
        Hub::new(clock, Limits { metadata_chars_max: 1024, instances_max: 10 })
    }

    fn orders() -> ServiceKey {
        "orders".parse().unwrap()
    }

    fn instance() -> Instance {
        Instance::new("10.0.0.7:80".parse().unwrap())
    }

    /// Of three requests that began `s_ago` seconds ago and an event of that moment, by a clock that is so
    /// much ahead.
    fn report(s_ago: u64, ahead_ms: i64) -> Report {
        let sent_at = NOW.saturating_add_signed(ahead_ms);
        let at = sent_at - s_ago * 1000;
        let governed = Requests { started: 3, ..Requests::default() };
        let told = Told::new(Some(Role::Provider), "leaving".to_owned(), "SIGTERM").unwrap();
        let caller = ReportedCaller { requests: 2, last: at, ..ReportedCaller::default() };
        Report {
            service: orders(),
            instance: Some(instance().key),
            sent_at: UnixMillis::new(sent_at),
            in_flight: 4,
            events: vec![(UnixMillis::new(at), instance().key.address, told)],
            seconds: vec![ReportedSecond { second: at / 1000, governed, ..ReportedSecond::default() }],
            late: vec![caller],
        }
    }

    #[test]
    fn a_process_reports_of_what_it_publishes_and_has_published() {
        let hub = hub();
        let (id, _) = hub.connect(Peer::default());
        let (other, _) = hub.connect(Peer::default());
        assert!(matches!(hub.report(id, report(5, 0)), Err(Refusal::NotYours)), "not yet");
        hub.publish(Client::Connection(id), orders(), vec![instance()]).unwrap();
        hub.report(id, report(5, 0)).unwrap();
        hub.withdraw(Client::Connection(id), orders()).unwrap();
        hub.report(id, report(4, 0)).unwrap();
        assert!(matches!(hub.report(other, report(5, 0)), Err(Refusal::NotYours)));
        hub.disconnect(id);
        assert!(matches!(hub.report(id, report(3, 0)), Err(Refusal::Unregistered)));
        let lines = hub.traffic(&orders(), |_| true, 60);
        let numbers: Vec<_> =
            lines.instances[0].seconds.iter().map(|second| (second.second, second.started())).collect();
        assert_eq!(numbers, [(NOW / 1000 - 5, 3), (NOW / 1000 - 4, 3)]);
        assert_eq!((lines.instances[0].in_flight, lines.instances[0].late_callers[0].requests), (4, 4));
    }

    #[test]
    fn a_clock_that_is_wrong_is_put_right_and_told() {
        for ahead_ms in [90_000, -90_000, 90_400, -90_400] {
            let hub = hub();
            let (id, _) = hub.connect(Peer::default());
            hub.publish(Client::Connection(id), orders(), vec![instance()]).unwrap();
            hub.report(id, report(5, ahead_ms)).unwrap();
            let lines = hub.traffic(&orders(), |_| true, 60);
            let line = &lines.instances[0];
            assert_eq!(line.ahead_ms, ahead_ms);
            assert!(line.seconds[0].second.abs_diff(NOW / 1000 - 5) <= 1, "{ahead_ms}: {:?}", line.seconds);
            assert_eq!(line.late_callers[0].last, NOW - 5000);
            let events = hub.event_lines(&orders(), |_| true, 0, 100);
            let events = serde_json::to_value(events).unwrap();
            assert_eq!((&events[0]["event"], &events[0]["reason"]), (&"leaving".into(), &"SIGTERM".into()));
            assert_eq!(events[0]["at"], NOW - 5000);
        }
    }

    #[test]
    fn a_connection_reports_of_no_more_than_a_process_can_be() {
        let hub = hub();
        let (id, _) = hub.connect(Peer::default());
        let of = |n: usize| Report { service: format!("s{n}").parse().unwrap(), ..report(1, 0) };
        for n in 0..REPORTED_MAX {
            let report = of(n);
            hub.publish(Client::Connection(id), report.service.clone(), vec![instance()]).unwrap();
            hub.report(id, report).unwrap();
            hub.withdraw(Client::Connection(id), of(n).service).unwrap();
        }
        hub.publish(Client::Connection(id), of(REPORTED_MAX).service, vec![instance()]).unwrap();
        assert!(matches!(hub.report(id, of(REPORTED_MAX)), Err(Refusal::TooMany { .. })));
        hub.report(id, of(0)).unwrap();
    }
}
