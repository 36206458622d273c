//! Facts as tests give them: moments are seconds after a start.

use super::check::{Answer, Finding};
use super::{Facts, Listed, Measured, Seen, Subject, lives};
use crate::model::{Instance, InstanceKey, Metadata, Reason, UnixMillis, key};
use crate::protocol::report::{ReportedCaller, ReportedSecond, Requests};
use crate::registry::command::ConnectionId;
use crate::registry::events::{By, Recorded, Role, Told, What};
use crate::registry::hub::{Flag, Followers, HeardSender, Known, PeerLine, Publisher, SubscriberLine};
use crate::registry::peer::Peer;
use crate::registry::senders::{Heard, Sender};
use crate::registry::verdict::{Left, Member, Verdict};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The moment so many seconds after the start, which lies on a whole second.
pub(super) fn at(seconds: u64) -> UnixMillis {
    UnixMillis::new((1_000_000 + seconds) * 1000)
}

/// How long before [`NOW`] everything is looked at.
const NOW: u64 = 1000;

/// The instance `10.0.0.N:80`.
pub(super) fn instance(n: u8) -> Instance {
    Instance::new(format!("10.0.0.{n}:80").parse().unwrap())
}

/// Its metadata with our layers in it, and a warm-up along a line of 100 s since `start`.
pub(super) fn warming(start: Option<u64>) -> Metadata {
    let metadata = Metadata::new().with(key::VERSION, "0.1.0").with(key::WARM_UP, 100);
    let metadata = metadata.with(key::WARM_UP_EXPONENT, 1);
    match start {
        None => metadata,
        Some(start) => metadata.with(key::WARM_UP_START, at(start)),
    }
}

/// A client at the address of `10.0.0.N`, whose process has that id.
pub(super) fn peer(n: u8) -> Arc<Peer> {
    let address = format!("10.0.0.{n}:50000").parse().unwrap();
    let (app, caller) = (format!("app{n}"), Some(n.into()));
    Arc::new(Peer { address, app, version: "Tower-Graceful:v0.1.0".to_owned(), caller, ..Peer::default() })
}

/// Events of one instance.
#[derive(Clone)]
pub(super) struct Events {
    by: By,
    recorded: Vec<Recorded>,
}

impl Events {
    /// Told by the process with this id.
    pub(super) fn of(process: u8) -> Self {
        Self { by: By::Connection(ConnectionId(process.into()), peer(process)), recorded: Vec::new() }
    }

    /// Of a client that tells nothing.
    pub(super) fn foreign() -> Self {
        Self { by: By::Http(None), recorded: Vec::new() }
    }

    /// From here on by another process.
    pub(super) fn by(self, process: u8) -> Self {
        Self { by: Self::of(process).by, ..self }
    }

    /// From here on by whomever.
    pub(super) fn brought_about(self, by: By) -> Self {
        Self { by, ..self }
    }

    fn and(mut self, seconds: u64, what: What) -> Self {
        let by = self.by.clone();
        self.recorded.push(Recorded { at: at(seconds), instance: instance(1).key, what, by, list: 0 });
        self
    }

    pub(super) fn came(self, seconds: u64) -> Self {
        self.and(seconds, What::Came)
    }

    pub(super) fn went(self, seconds: u64, reason: Reason) -> Self {
        self.and(seconds, What::Went(reason))
    }

    pub(super) fn healthy(self, seconds: u64) -> Self {
        self.and(seconds, What::BecameHealthy)
    }

    pub(super) fn unhealthy(self, seconds: u64) -> Self {
        self.and(seconds, What::BecameUnhealthy)
    }

    pub(super) fn told(self, seconds: u64, event: &str, detail: &str) -> Self {
        self.said(Some(Role::Provider), seconds, event, detail)
    }

    pub(super) fn said(self, role: Option<Role>, seconds: u64, event: &str, detail: &str) -> Self {
        let told = Told::new(role, event.to_owned(), detail).unwrap();
        self.and(seconds, What::Told(Arc::new(told)))
    }

    /// A whole start.
    pub(super) fn started(self, seconds: u64) -> Self {
        self.came(seconds).told(seconds, "registered", "").told(seconds, "ready", "")
    }

    /// A whole way out that takes a second.
    pub(super) fn left(self, seconds: u64) -> Self {
        let leaving = self.told(seconds, "leaving", "SIGTERM, 0 requests under way");
        let off = leaving.went(seconds, Reason::Deregistered).told(seconds, "deregistered", "");
        off.told(seconds + 1, "drained", "after 1.0 s").told(seconds + 1, "stopped", "")
    }

    pub(super) fn all(&self) -> Vec<Recorded> {
        self.recorded.clone()
    }
}

/// The first finding of an answer that has one.
pub(super) fn first(answer: Answer) -> Finding {
    match answer {
        Answer::Found(mut findings) => findings.remove(0),
        Answer::Pass(text) | Answer::Unknown(text) => panic!("{text}"),
    }
}

/// What is given of one instance.
#[derive(Default)]
struct Parts {
    listed: Option<Listed>,
    events: Vec<Recorded>,
    traffic: Option<Measured>,
}

/// Facts in the making.
pub(super) struct Given {
    subjects: BTreeMap<InstanceKey, Parts>,
    pub(super) followers: Followers,
    pub(super) protect_threshold: Option<f64>,
    pub(super) namesakes: Vec<&'static str>,
}

impl Given {
    pub(super) fn new() -> Self {
        let (subjects, followers) = (BTreeMap::new(), Followers::default());
        Self { subjects, followers, protect_threshold: None, namesakes: Vec::new() }
    }

    fn subject(&mut self, n: u8) -> &mut Parts {
        self.subjects.entry(instance(n).key).or_default()
    }

    /// What has happened to `10.0.0.N:80`.
    pub(super) fn events(mut self, n: u8, events: Events) -> Self {
        self.subject(n).events.extend(events.recorded);
        self
    }

    /// It is listed, kept by `publishers`.
    pub(super) fn listed(mut self, listed: Instance, publishers: Vec<Publisher>, flags: &[Flag]) -> Self {
        let entry = self.subjects.entry(listed.key.clone()).or_default();
        entry.listed = Some(Listed { instance: listed, publishers, flags: flags.iter().copied().collect() });
        self
    }

    /// `10.0.0.N:80`, with this metadata, has reported so many requests of governed and of other callers in each
    /// of these seconds.
    pub(super) fn measured(
        mut self,
        n: u8,
        metadata: Metadata,
        from: u64,
        seconds: &[(u64, u32, u32)],
    ) -> Self {
        let of = |started| Requests { started, ..Requests::default() };
        let second = |&(second, governed, ungoverned): &(u64, u32, u32)| ReportedSecond {
            second: at(second).as_u64() / 1000,
            governed: of(governed),
            ungoverned: of(ungoverned),
        };
        self.subject(n).traffic = Some(Measured {
            seconds: seconds.iter().map(second).collect(),
            in_flight: 0,
            reported: at(NOW).as_u64() / 1000,
            ahead_ms: 0,
            member: Some(Member::new(&instance(n).with_metadata(metadata), at(from), at(NOW))),
            late: Vec::new(),
            left: None,
            verdict: Verdict::InUse,
        });
        self
    }

    /// The same instance has reported that, too.
    pub(super) fn and(mut self, n: u8, change: impl FnOnce(&mut Measured)) -> Self {
        change(self.subject(n).traffic.as_mut().unwrap());
        self
    }

    pub(super) fn facts(self) -> Facts {
        let now = at(NOW);
        let mut totals = BTreeMap::new();
        let subject = |(key, Parts { listed, events, traffic }): (InstanceKey, Parts)| {
            let left = Left::read(&events);
            let traffic = traffic.map(|measured| {
                for second in &measured.seconds {
                    *totals.entry(second.second).or_default() += second.started();
                }
                let verdict = Verdict::of(left, measured.seconds.iter(), true, now);
                let member = measured.member.map(|member| left.map_or(member, |left| member.until(left.at)));
                Measured { member, left, verdict, ..measured }
            });
            let seen = events.iter().filter_map(Seen::read);
            Subject { key, listed, lives: lives(&events), seen: seen.collect(), traffic }
        };
        let subjects: Vec<_> = self.subjects.into_iter().map(subject).collect();
        Facts {
            service: "orders".parse().unwrap(),
            now,
            since: at(0),
            protect_threshold: self.protect_threshold,
            subjects,
            followers: self.followers,
            namesakes: self.namesakes.into_iter().map(|name| name.parse().unwrap()).collect(),
            totals,
        }
    }
}

/// One late caller: requests for a path from an address.
pub(super) fn late(caller: &str, requests: u64, last: u64) -> ReportedCaller {
    let (caller, path) = (caller.to_owned(), "/orders".to_owned());
    ReportedCaller {
        caller,
        address: "10.0.0.9".to_owned(),
        path,
        requests,
        last: at(last).as_u64(),
        ..ReportedCaller::default()
    }
}

/// So many subscribers, which have the present list.
pub(super) fn followers(count: u8) -> Followers {
    let line = |n: u8| SubscriberLine {
        connection: PeerLine::new(ConnectionId(n.into()), &peer(n)),
        clusters: String::new(),
        known: Known { acknowledged: at(0).as_u64(), acknowledged_ms_ago: 1000, current: true },
    };
    Followers {
        revision: at(0).as_u64(),
        subscribers: (1..=count).map(line).collect(),
        listeners: Vec::new(),
    }
}

/// A sender of heartbeats, heard last at that moment.
pub(super) fn heard(ip: &str, last: UnixMillis) -> HeardSender {
    let sender = Sender::new(ip.parse().unwrap(), "Nacos-Java-Client:v1");
    HeardSender::new(&Heard { sender, since: at(0), last })
}
