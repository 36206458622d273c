//! Symptom 6: an instance does not become ready.

use super::check::{Answer, Finding};
use super::facts::{Facts, Subject};
use super::life::Life;
use super::words::{ago, by, counted, span};
use crate::model::{ServiceKey, UnixMillis};
use std::collections::BTreeSet;
use std::time::Duration;

/// From its registration to its readiness: what consumers' caches are given, and a slow machine besides.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// So many processes at one address within so long are one that ends again and again.
const RESTARTS: usize = 3;
const RESTARTS_WITHIN: Duration = Duration::from_secs(5 * 60);
/// The word under which the registry writes down what it has refused.
pub(crate) const REFUSED: &str = "refused";

pub(super) fn check(facts: &Facts) -> Answer {
    let mut findings = Vec::new();
    findings.extend(nobody(facts));
    for subject in &facts.subjects {
        findings.extend(refused(facts, subject));
        findings.extend(restarting(facts, subject));
        findings.extend(waiting(facts, subject));
    }
    findings.extend(without_layers(facts));
    let ready = facts.lives().filter(|(_, life)| life.ready.is_some_and(|ready| facts.covers(ready))).count();
    let governed = facts.lives().any(|(_, life)| life.is_governed())
        || facts.listed().any(|(_, listed)| listed.instance.is_governed());
    let dark = !governed && facts.listed().next().is_some();
    let answer = Answer::new(findings, || match ready {
        0 => "nobody has started".to_owned(),
        many => format!("{} became ready after the registration", counted(many, "instance")),
    });
    answer.unless_unknown(dark.then(|| {
        "no instance has the provider's layers (`graceful.version`), and so none tells whether it is ready".to_owned()
    }))
}

/// Nothing is known of the service at all.
fn nobody(facts: &Facts) -> Option<Finding> {
    if !facts.subjects.is_empty() {
        return None;
    }
    let ServiceKey { namespace, group, name } = &facts.service;
    let cause =
        format!("no instance of {name} has registered in the group {group} and the namespace {namespace}");
    let elsewhere = facts.namesakes.iter().map(|other| {
        format!("there is one in the group {} and the namespace {}", other.group, other.namespace)
    });
    let elsewhere: Vec<_> = elsewhere.collect();
    let remedy = if elsewhere.is_empty() {
        "look at the log of the instance, which says whom it asks and what it is told, and at GET /readiness on its readiness \
         port (55199): `waiting_for` and `error` tell the next step"
    } else {
        "give provider and consumer the same group and namespace"
    };
    Some(Finding::new(cause, remedy).known_by(elsewhere))
}

fn refused(facts: &Facts, subject: &Subject) -> Option<Finding> {
    let refusals = subject.seen.iter().filter(|seen| seen.event == REFUSED && facts.covers(seen.at));
    let last = refusals.max_by_key(|seen| seen.at)?;
    let came = subject.lives.iter().filter_map(Life::began).max();
    if came > Some(last.at) {
        return None;
    }
    let cause = format!("the registration of {} was refused: {}", subject.key.address, last.detail);
    let often = format!("first {}, to {}", ago(facts.now, last.at), by(&last.by));
    let remedy = "change what the registry does not take, or its bound, and start the instance again";
    Some(Finding::new(cause, remedy).about(&subject.key).at(last.at).known_by([often]))
}

/// One process after the other at one address.
fn restarting(facts: &Facts, subject: &Subject) -> Option<Finding> {
    let began = |life: &Life| Some((life.began()?, life.process));
    let starts: Vec<(UnixMillis, Option<u64>)> =
        subject.lives.iter().filter_map(began).filter(|(at, _)| facts.covers(*at)).collect();
    let mut runs = starts.windows(RESTARTS).filter(|run| {
        let processes: BTreeSet<_> = run.iter().filter_map(|(_, process)| *process).collect();
        processes.len() == RESTARTS && run[RESTARTS - 1].0.since(run[0].0) <= RESTARTS_WITHIN
    });
    let last = runs.next_back()?;
    let within = span(last[RESTARTS - 1].0.since(last[0].0));
    let cause = format!(
        "the process at {} keeps restarting: {RESTARTS} started within {within}",
        subject.key.address
    );
    let ends = subject.lives.iter().filter_map(|life| {
        let gone = life.went.as_ref()?;
        let how =
            life.leaving.as_ref().map_or_else(|| "without a word".to_owned(), |said| said.detail.clone());
        Some(format!(
            "one lived for {}, and ended {} ({how})",
            span(gone.at.since(life.began()?)),
            gone.reason.as_str()
        ))
    });
    let remedy = "look at the end of its log, and at what the platform says of its last end (`kubectl describe pod`, \
                  `systemctl status`): a failed liveness probe, memory, or an error while it starts";
    let ends: Vec<_> = ends.collect();
    Some(
        Finding::new(cause, remedy)
            .about(&subject.key)
            .at(last[RESTARTS - 1].0)
            .known_by(ends.into_iter().rev()),
    )
}

/// On the list for long, and not ready.
fn waiting(facts: &Facts, subject: &Subject) -> Option<Finding> {
    subject.listed.as_ref()?;
    let life = subject.lives.last()?;
    let registered = life
        .registered
        .filter(|_| life.ready.is_none() && life.ended().is_none() && life.leaving.is_none())?;
    let waiting = facts.now.since(registered);
    if waiting < READY_WITHIN {
        return None;
    }
    let cause = format!("{} registered {} ago, and is not ready yet", subject.key.address, span(waiting));
    let remedy =
        "ask it what it waits for: `waiting_for` and `error` of GET /readiness on its readiness port";
    let host = subject.key.address.host();
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let command = format!("curl 'http://{host}:55199/readiness'");
    Some(Finding::new(cause, remedy).about(&subject.key).at(registered).with_commands([command]))
}

/// Instances without our layers in a fleet that has them.
fn without_layers(facts: &Facts) -> Vec<Finding> {
    let governed = facts.listed().filter(|(_, listed)| listed.instance.is_governed()).count();
    let plain = facts
        .listed()
        .filter(|(_, listed)| governed > 0 && !listed.instance.is_governed() && listed.instance.ephemeral);
    let finding = plain.map(|(subject, _)| {
        let address = &subject.key.address;
        let cause = format!("graceful start is off at {address}: it has no `graceful.version`, and nobody answers /readiness there");
        let remedy = format!("serve it with the provider's layers, as the other {} of this service do", counted(governed, "instance"));
        Finding::new(cause, remedy).about(&subject.key)
    });
    finding.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Reason;
    use crate::registry::diagnosis::given::{Events, Given, first, instance, warming};

    fn found(given: Given) -> Finding {
        first(check(&given.facts()))
    }

    fn listed(events: Events) -> Given {
        Given::new().events(1, events).listed(instance(1).with_metadata(warming(None)), Vec::new(), &[])
    }

    #[test]
    fn an_instance_that_is_ready_soon_is_no_finding() {
        let answer = check(&listed(Events::of(1).started(10)).facts());
        assert_eq!(answer, Answer::Pass("1 instance became ready after the registration".to_owned()));
        let young = Events::of(1).came(990).told(990, "registered", "");
        assert!(matches!(check(&listed(young).facts()), Answer::Pass(_)));
    }

    #[test]
    fn a_name_that_nobody_has_is_looked_for_elsewhere() {
        let mut given = Given::new();
        assert!(
            found(Given::new())
                .cause
                .starts_with("no instance of orders has registered in the group DEFAULT_GROUP")
        );
        given.namesakes = vec!["shop@@orders"];
        let finding = found(given);
        assert_eq!(finding.evidence, ["there is one in the group shop and the namespace public"]);
        assert_eq!(finding.remedy, "give provider and consumer the same group and namespace");
    }

    #[test]
    fn a_refusal_is_told_in_the_registry_s_words_until_it_is_taken() {
        let refused = || Events::of(1).said(None, 20, REFUSED, "weight -1 is not valid");
        let finding = found(Given::new().events(1, refused()));
        assert_eq!(finding.cause, "the registration of 10.0.0.1:80 was refused: weight -1 is not valid");
        assert!(matches!(check(&listed(refused().started(21)).facts()), Answer::Pass(_)));
    }

    #[test]
    fn a_process_that_is_not_ready_is_found_and_one_that_restarts_too() {
        let finding = found(listed(Events::of(1).came(10).told(10, "registered", "")));
        assert_eq!(finding.cause, "10.0.0.1:80 registered 16 min 30 s ago, and is not ready yet");
        assert_eq!(finding.commands, ["curl 'http://10.0.0.1:55199/readiness'"]);
        let lost = Reason::ConnectionLost;
        let events =
            Events::of(1).started(10).went(20, lost).by(2).started(30).went(40, lost).by(3).started(50);
        let finding = found(listed(events));
        assert_eq!(finding.cause, "the process at 10.0.0.1:80 keeps restarting: 3 started within 40 s");
        let connections = Events::of(1).started(10).went(20, lost).started(30).went(40, lost).started(50);
        assert!(
            matches!(check(&listed(connections).facts()), Answer::Pass(_)),
            "one process connects again and again"
        );
        let slowly =
            Events::of(1).started(10).went(20, lost).by(2).started(30).went(40, lost).by(3).started(500);
        assert!(matches!(check(&listed(slowly).facts()), Answer::Pass(_)));
    }

    #[test]
    fn an_instance_without_the_layers_stands_out_among_others() {
        let plain = || Given::new().listed(instance(2), Vec::new(), &[]);
        let Answer::Unknown(why) = check(&plain().facts()) else { panic!("nothing can be said") };
        assert!(why.contains("`graceful.version`"), "{why}");
        let finding = found(plain().listed(instance(1).with_metadata(warming(None)), Vec::new(), &[]));
        assert!(finding.cause.starts_with("graceful start is off at 10.0.0.2:80"), "{finding:?}");
    }
}
