//! Which persistent instances are to be probed when, and what the answers make of them.
//!
//! Pure: moments and chance come in as arguments. Nobody sends heartbeats for a persistent instance, so the
//! registry knocks itself. One answer is no verdict: an instance changes after three that agree, or at once
//! when its machine refuses it.

use crate::model::{InstanceKey, Metadata, ServiceKey};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use tokio::time::Instant;

/// Before the first probe: an instance registers and then listens, in some order. Nacos' values.
const FIRST_AFTER: Duration = Duration::from_secs(2);
/// Up to this much more, so that a restart does not probe everyone at once.
const FIRST_SPREAD: Duration = Duration::from_secs(5);
/// Between two probes while the answers are as before.
const CALM: Duration = Duration::from_secs(5);
/// Between two probes while they are not.
const DOUBTFUL: Duration = Duration::from_secs(1);
/// Answers in a row that change an instance. Nacos' value.
const IN_A_ROW: u8 = 3;

/// A persistent instance of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Target {
    pub(crate) service: ServiceKey,
    pub(crate) key: InstanceKey,
}

/// How the instances of a cluster are probed, and what is said of the cluster besides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClusterRecord {
    pub(crate) probe: Probe,
    /// The port to probe; by default each instance's own.
    pub(crate) port: Option<u16>,
    pub(crate) metadata: Metadata,
}

/// How an instance is probed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Probe {
    /// Not at all: its health is as registered, and as operators set it.
    None,
    /// A connection can be opened.
    #[default]
    Tcp,
    /// A `GET` of `path` is answered with the status `expected`.
    Http { path: String, headers: Vec<(String, String)>, expected: u16 },
}

/// What a probe has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// It answers as it should.
    Up,
    /// No answer in time, or one that asks for patience.
    Missed,
    /// Refused, or a wrong answer: that is certain.
    Down,
}

/// Everyone who is probed.
#[derive(Debug, Default)]
pub(crate) struct Health {
    rows: HashMap<Target, Row>,
    agenda: BTreeSet<(Instant, Target)>,
}

/// Findings in a row that contradict the present health, and when the next probe is due; none while one is
/// under way.
#[derive(Debug, Default)]
struct Row {
    against: u8,
    due: Option<Instant>,
}

impl Health {
    /// Begins to probe, or begins anew; `chance` is from 0 to 1.
    pub(crate) fn begin(&mut self, target: Target, now: Instant, chance: f64) {
        self.end(&target);
        let due = now + FIRST_AFTER + FIRST_SPREAD.mul_f64(chance);
        self.agenda.insert((due, target.clone()));
        self.rows.insert(target, Row { against: 0, due: Some(due) });
    }

    /// Ends to probe; the finding of a probe that is under way comes to nothing.
    pub(crate) fn end(&mut self, target: &Target) {
        if let Some(Row { due: Some(due), .. }) = self.rows.remove(target) {
            self.agenda.remove(&(due, target.clone()));
        }
    }

    /// Up to `max` who are to be probed now; each is due again after [`Health::found`].
    pub(crate) fn due(&mut self, now: Instant, max: usize) -> Vec<Target> {
        let mut due = Vec::new();
        while due.len() < max
            && let Some((at, target)) = self.agenda.pop_first()
        {
            if at > now {
                self.agenda.insert((at, target));
                break;
            }
            if let Some(row) = self.rows.get_mut(&target) {
                row.due = None;
            }
            due.push(target);
        }
        due
    }

    /// When to look again; nothing while nobody waits for a probe.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.agenda.first().map(|(at, _)| *at)
    }

    /// Takes a finding about `target`, which is `healthy` at present, and returns what it is from here on if
    /// that differs.
    pub(crate) fn found(
        &mut self,
        target: &Target,
        healthy: bool,
        finding: Finding,
        now: Instant,
    ) -> Option<bool> {
        let row = self.rows.get_mut(target).filter(|row| row.due.is_none())?;
        let agrees = (finding == Finding::Up) == healthy;
        row.against = if agrees { 0 } else { row.against + 1 };
        let flips = row.against >= IN_A_ROW || (!agrees && finding == Finding::Down);
        if flips {
            row.against = 0;
        }
        let due = now + if row.against == 0 { CALM } else { DOUBTFUL };
        row.due = Some(due);
        self.agenda.insert((due, target.clone()));
        flips.then_some(!healthy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Finding::{Down, Missed, Up};

    fn target() -> Target {
        let instance = crate::model::Instance::new("10.0.0.7:80".parse().unwrap());
        Target { service: "orders".parse().unwrap(), key: instance.key }
    }

    #[test]
    fn three_answers_in_a_row_change_an_instance_and_a_refusal_does_at_once() {
        for (healthy, findings, changed_by) in [
            (true, vec![Missed, Missed, Up, Missed, Missed, Missed], Some(6)),
            (true, vec![Up, Missed, Up, Missed, Up], None),
            (true, vec![Missed, Down], Some(2)),
            (false, vec![Up, Up, Up], Some(3)),
            (false, vec![Up, Up, Down, Up, Up], None),
        ] {
            let (mut health, mut now) = (Health::default(), Instant::now());
            health.begin(target(), now, 0.0);
            let mut changed = None;
            for (at, finding) in (1..).zip(&findings) {
                now = health.next().unwrap();
                assert_eq!(health.due(now, 9), [target()]);
                if let Some(to) = health.found(&target(), healthy, *finding, now) {
                    assert_eq!((to, changed.replace(at)), (!healthy, None));
                    break;
                }
            }
            assert_eq!(changed, changed_by, "{findings:?}");
        }
    }

    #[test]
    fn a_probe_is_due_sooner_while_in_doubt_and_never_twice_at_once() {
        let (mut health, start) = (Health::default(), Instant::now());
        health.begin(target(), start, 0.5);
        let first = start + FIRST_AFTER + FIRST_SPREAD / 2;
        assert_eq!(health.next(), Some(first));
        assert_eq!(health.due(first - Duration::from_millis(1), 9), []);
        assert_eq!(health.due(first, 0), []);
        assert_eq!(health.due(first, 9), [target()]);
        assert_eq!((health.next(), health.due(first, 9)), (None, vec![]));
        assert_eq!(health.found(&target(), true, Missed, first), None);
        assert_eq!(health.next(), Some(first + DOUBTFUL));
        assert_eq!(health.due(first + DOUBTFUL, 9), [target()]);
        assert_eq!(health.found(&target(), true, Up, first), None);
        assert_eq!(health.next(), Some(first + CALM));
    }

    #[test]
    fn who_has_gone_or_come_anew_hears_nothing_of_an_old_probe() {
        let (mut health, now) = (Health::default(), Instant::now());
        health.begin(target(), now, 0.0);
        let due = health.next().unwrap();
        health.due(due, 9);
        health.begin(target(), due, 0.0);
        assert_eq!(health.found(&target(), true, Down, due), None);
        health.end(&target());
        assert_eq!(health.found(&target(), true, Down, due), None);
        assert_eq!(health.next(), None);
    }
}
