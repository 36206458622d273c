//! What a diagnosis is made of.

use super::life::Life;
use crate::model::{Instance, InstanceKey, ServiceKey, UnixMillis};
use crate::protocol::report::{ReportedCaller, ReportedSecond};
use crate::registry::events::{By, Recorded, Role, What};
use crate::registry::hub::{Flag, Followers, Publisher};
use crate::registry::verdict::{Left, Member, Verdict};
use std::collections::{BTreeMap, BTreeSet};

/// All that is known of a service at one moment.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) service: ServiceKey,
    pub(crate) now: UnixMillis,
    /// What happened before is not looked at.
    pub(crate) since: UnixMillis,
    /// Share of healthy instances up to which all are given as healthy; nothing where nobody has set one.
    pub(crate) protect_threshold: Option<f64>,
    /// Instances that are listed, or of which something is remembered, by address.
    pub(crate) subjects: Vec<Subject>,
    pub(crate) followers: Followers,
    /// Services of the same name in other namespaces and groups that have instances; only where nothing is
    /// known of this one.
    pub(crate) namesakes: Vec<ServiceKey>,
    /// Requests of all instances, by the second in which they began.
    pub(crate) totals: BTreeMap<u64, u64>,
}

/// One instance.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) key: InstanceKey,
    /// How it is listed, disabled ones too; nothing of who has gone.
    pub(crate) listed: Option<Listed>,
    /// The processes at its address, the last one at the end.
    pub(crate) lives: Vec<Life>,
    /// What else is told of it, by consumers or by the registry, in the order of time.
    pub(crate) seen: Vec<Seen>,
    pub(crate) traffic: Option<Measured>,
}

/// An instance on the list, and who keeps it there.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) instance: Instance,
    pub(crate) publishers: Vec<Publisher>,
    pub(crate) flags: BTreeSet<Flag>,
}

/// Something that somebody else says of an instance.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) at: UnixMillis,
    pub(crate) event: String,
    pub(crate) detail: String,
    pub(crate) by: By,
}

/// What an instance has reported of its requests.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) seconds: Vec<ReportedSecond>,
    pub(crate) in_flight: u64,
    /// The last second in which it reported.
    pub(crate) reported: u64,
    pub(crate) ahead_ms: i64,
    pub(crate) member: Option<Member>,
    pub(crate) late: Vec<ReportedCaller>,
    pub(crate) left: Option<Left>,
    pub(crate) verdict: Verdict,
}

impl Seen {
    /// What others than the process itself say of it.
    pub(crate) fn read(event: &Recorded) -> Option<Self> {
        let What::Told(told) = &event.what else { return None };
        let by_another = told.role != Some(Role::Provider);
        by_another.then(|| Self {
            at: event.at,
            event: told.event.clone(),
            detail: told.detail.clone(),
            by: event.by.clone(),
        })
    }
}

impl Facts {
    /// Every life that has not ended before what is looked at, with whose it is.
    pub(crate) fn lives(&self) -> impl Iterator<Item = (&Subject, &Life)> {
        let all =
            self.subjects.iter().flat_map(|subject| subject.lives.iter().map(move |life| (subject, life)));
        all.filter(|(_, life)| {
            let [drained, stopped] =
                [&life.drained, &life.stopped].map(|said| said.as_ref().map(|said| said.at));
            let last = [life.went.as_ref().map(|gone| gone.at), drained, stopped].into_iter().flatten().max();
            last.is_none_or(|last| last >= self.since)
        })
    }

    /// Whether a moment is one of those that are looked at.
    pub(crate) fn covers(&self, at: UnixMillis) -> bool {
        (self.since..=self.now).contains(&at)
    }

    /// Instances on the list.
    pub(crate) fn listed(&self) -> impl Iterator<Item = (&Subject, &Listed)> {
        self.subjects.iter().filter_map(|subject| Some((subject, subject.listed.as_ref()?)))
    }

    /// Instances that report their requests.
    pub(crate) fn measured(&self) -> impl Iterator<Item = (&Subject, &Measured)> {
        self.subjects.iter().filter_map(|subject| Some((subject, subject.traffic.as_ref()?)))
    }

    /// Whether instances of this service send notices when they leave, as those do that are listed.
    pub(crate) fn sends_notices(&self) -> bool {
        self.listed().any(|(_, listed)| listed.instance.sends_notices())
            || self.lives().any(|(_, life)| life.notified > 0)
    }
}
