//! Check 12: whether the time that a process is given to end is enough for what it has to do.

use super::check::{Answer, Finding};
use super::facts::{Facts, Subject};
use super::life::Life;
use super::words::{ago, counted, span};
use crate::model::UnixMillis;
use std::time::Duration;

/// An instance that leaves reports at least so often; one that is silent for longer is gone.
const SILENT_AFTER: Duration = Duration::from_secs(20);

pub(super) fn check(facts: &Facts) -> Answer {
    let (mut findings, mut looked_at) = (Vec::new(), 0);
    for (subject, life) in facts.lives() {
        let Some(leaving) = life.leaving.as_ref().filter(|said| facts.covers(said.at)) else { continue };
        looked_at += 1;
        findings.extend(cut(subject, life, leaving.at).or_else(|| killed(facts, subject, life, leaving.at)));
    }
    Answer::new(findings, || match looked_at {
        0 => "none has left".to_owned(),
        many => format!("{} left, and nothing was cut", counted(many, "instance")),
    })
}

/// One that had to cut what was under way.
fn cut(subject: &Subject, life: &Life, leaving: UnixMillis) -> Option<Finding> {
    let [drained, stopped] =
        [&life.drained, &life.stopped].map(|said| said.as_ref().filter(|said| said.detail.contains(" cut")));
    let last = drained.or(stopped)?;
    let said = [drained, stopped].into_iter().flatten().map(|said| said.detail.clone());
    let cause = format!(
        "{} cut what was under way {} after it began to leave: {}",
        subject.key.address,
        span(last.at.since(leaving)),
        last.detail
    );
    let remedy = "give the drain more time than its longest request takes (`drain_timeout` of the provider), and the platform \
                  5 s more than that (terminationGracePeriodSeconds, TimeoutStopSec)";
    Some(Finding::new(cause, remedy).about(&subject.key).at(last.at).known_by(said.skip(1)))
}

/// One of whom nothing was heard any more before it had ended.
fn killed(facts: &Facts, subject: &Subject, life: &Life, leaving: UnixMillis) -> Option<Finding> {
    if life.drained.is_some() || life.stopped.is_some() {
        return None;
    }
    let traffic = subject.traffic.as_ref()?;
    let heard = UnixMillis::new(traffic.reported.saturating_mul(1000)).max(leaving);
    let is_another = subject.lives.last().is_some_and(|last| last.began() > Some(leaving));
    if facts.now.since(heard) < SILENT_AFTER || is_another {
        return None;
    }
    let cause = format!(
        "{} was killed before it had drained: it was heard last {} after it began to leave, with {} under way",
        subject.key.address,
        span(heard.since(leaving)),
        counted(usize::try_from(traffic.in_flight).unwrap_or(usize::MAX), "request")
    );
    let remedy = "give the platform's grace period (terminationGracePeriodSeconds, TimeoutStopSec) more than the provider's \
                  `lame_duck_max` and `drain_timeout` together, and whatever a preStop hook sleeps";
    Some(
        Finding::new(cause, remedy)
            .about(&subject.key)
            .at(heard)
            .known_by([format!("it left {}", ago(facts.now, leaving))]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Metadata, Reason};
    use crate::registry::diagnosis::given::{Events, Given, at, first};

    fn found(given: Given) -> Finding {
        first(check(&given.facts()))
    }

    #[test]
    fn what_was_cut_is_told_and_what_was_not_is_not() {
        let given = Given::new().events(1, Events::of(1).started(10).left(60));
        assert_eq!(check(&given.facts()), Answer::Pass("1 instance left, and nothing was cut".to_owned()));
        let cut = Events::of(1).started(10).told(60, "leaving", "SIGTERM").went(60, Reason::Deregistered);
        let cut = cut.told(90, "drained", "after 30.0 s, 2 requests cut").told(
            90,
            "stopped",
            "2 connections and 0 tasks cut",
        );
        let finding = found(Given::new().events(1, cut));
        assert!(
            finding.cause.ends_with("30 s after it began to leave: after 30.0 s, 2 requests cut"),
            "{finding:?}"
        );
        assert_eq!(finding.evidence, ["2 connections and 0 tasks cut"]);
    }

    #[test]
    fn a_process_that_is_silent_before_its_end_was_killed() {
        let leaving = |seconds| {
            Events::of(1).started(10).told(seconds, "leaving", "SIGTERM").went(seconds, Reason::Deregistered)
        };
        let killed = |seconds, reported| {
            let given = Given::new().events(1, leaving(seconds)).measured(1, Metadata::new(), 10, &[]);
            given.and(1, |it| (it.reported, it.in_flight) = (at(reported).as_u64() / 1000, 3))
        };
        assert!(
            found(killed(900, 930))
                .cause
                .ends_with("30 s after it began to leave, with 3 requests under way")
        );
        assert!(matches!(check(&killed(900, 995).facts()), Answer::Pass(_)), "it is at work");
        assert!(matches!(check(&killed(995, 980).facts()), Answer::Pass(_)), "it has just begun to leave");
    }
}
