//! Symptom 3: for a while there was nobody who could take a request.

use super::check::{Answer, Finding};
use super::facts::{Facts, Subject};
use super::life::Life;
use super::words::{ago, counted, gone, span};
use crate::model::UnixMillis;
use std::time::Duration;

/// A shorter gap may be one of clocks and of the way that news take.
const GAP_MIN: Duration = Duration::from_secs(1);

pub(super) fn check(facts: &Facts) -> Answer {
    let mut served: Vec<Served<'_>> =
        facts.lives().filter_map(|(subject, life)| Served::new(subject, life)).collect();
    served.sort_by_key(|served| served.from);
    let mut findings = Vec::new();
    let mut last: Option<&Served<'_>> = None;
    for next in &served {
        if let Some(until) = last.and_then(|last| last.until)
            && let Some(last) = last
            && next.from.since(until) >= GAP_MIN
        {
            findings.push(between(facts, last, until, Some(next)));
        }
        let lasts = |served: &Served<'_>| served.until.unwrap_or(UnixMillis::new(u64::MAX));
        if last.is_none_or(|last| lasts(next) >= lasts(last)) {
            last = Some(next);
        }
    }
    // Where nobody wants anything of a service, nobody misses it.
    let is_missed = facts.followers.subscribers.len() + facts.followers.listeners.len() > 0;
    if let Some(last) = last
        && let Some(until) = last.until.filter(|until| is_missed && facts.now.since(*until) >= GAP_MIN)
    {
        findings.push(between(facts, last, until, None));
    }
    Answer::new(findings, || match served.len() {
        0 => "nobody has served in this time".to_owned(),
        many => format!("of {} there was always one that could take requests", counted(many, "instance")),
    })
}

/// A time in which an instance could take requests.
struct Served<'a> {
    subject: &'a Subject,
    life: &'a Life,
    from: UnixMillis,
    until: Option<UnixMillis>,
}

impl<'a> Served<'a> {
    fn new(subject: &'a Subject, life: &'a Life) -> Option<Self> {
        Some(Self { subject, life, from: life.serving()?, until: life.ended() })
    }
}

fn between(facts: &Facts, last: &Served<'_>, until: UnixMillis, next: Option<&Served<'_>>) -> Finding {
    let old = &last.subject.key.address;
    let went = last.life.went.as_ref().map_or("could take no more requests", |went| gone(went.reason));
    let (end, cause) = match next {
        Some(next) => {
            let gap = span(next.from.since(until));
            let new = &next.subject.key.address;
            (next.from, format!("for {gap} no instance was ready: {old} {went} before {new} was ready"))
        }
        None => (facts.now, format!("no instance is ready since {old} {went}, {}", ago(facts.now, until))),
    };
    let remedy = "let nothing be stopped before its successor is ready: probe GET /readiness on the readiness port \
                  (55199) of every instance, and have the platform start one more instead of stopping one first \
                  (Kubernetes: readinessProbe with that path and port, maxUnavailable: 0, maxSurge: 1)";
    let came = next.and_then(|next| next.life.came.as_ref()).map(|(came, _)| came);
    let registered = came.filter(|came| **came < end).map(|came| {
        format!(
            "the successor registered {} after that, and was ready {} later",
            span(came.since(until)),
            span(end.since(*came))
        )
    });
    let leaving = last.life.leaving.as_ref();
    let leaving =
        leaving.map(|said| format!("{old} was told to leave {} ({})", ago(facts.now, said.at), said.detail));
    let seconds = until.as_u64() / 1000 + 1..end.as_u64() / 1000;
    let quiet = seconds.clone().filter(|second| !facts.totals.contains_key(second)).count();
    let quiet =
        facts.totals.first_key_value().filter(|(first, _)| **first <= seconds.start).map(|_| {
            format!("in {} of {} no request began", quiet, counted(seconds.count(), "whole second"))
        });
    Finding::new(cause, remedy)
        .about(&last.subject.key)
        .at(until)
        .known_by([leaving, registered, quiet].into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::diagnosis::given::{Events, Given};

    #[test]
    fn a_successor_that_is_ready_in_time_leaves_no_gap() {
        let given =
            Given::new().events(1, Events::of(1).started(10).left(60)).events(2, Events::of(2).started(50));
        assert!(matches!(check(&given.facts()), Answer::Pass(_)));
        assert!(matches!(check(&Given::new().facts()), Answer::Pass(_)));
    }

    #[test]
    fn a_gap_is_told_with_both_neighbours() {
        let late = Events::of(2).came(62).told(65, "registered", "").told(70, "ready", "");
        let given = Given::new().events(1, Events::of(1).started(10).left(60)).events(2, late);
        let Answer::Found(findings) = check(&given.facts()) else { panic!("found") };
        assert_eq!(findings.len(), 1);
        let cause =
            "for 10 s no instance was ready: 10.0.0.1:80 was deregistered before 10.0.0.2:80 was ready";
        assert_eq!(findings[0].cause, cause);
        assert!(
            findings[0].evidence.iter().any(|line| line.contains("registered 2.0 s after that")),
            "{findings:?}"
        );
    }

    #[test]
    fn a_service_that_nobody_follows_may_end() {
        let ended = || Given::new().events(1, Events::of(1).started(10).left(60));
        assert!(matches!(check(&ended().facts()), Answer::Pass(_)));
        let mut followed = ended();
        followed.followers = crate::registry::diagnosis::given::followers(1);
        let Answer::Found(findings) = check(&followed.facts()) else { panic!("found") };
        assert!(
            findings[0].cause.starts_with("no instance is ready since 10.0.0.1:80 was deregistered"),
            "{findings:?}"
        );
    }
}
