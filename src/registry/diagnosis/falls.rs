//! Symptom 4: requests to an instance that has left.

use super::check::{Answer, Finding};
use super::facts::{Facts, Measured, Subject};
use super::words::{ago, counted, lately, span};
use crate::model::UnixMillis;
use crate::protocol::report::ReportedCaller;
use crate::registry::verdict::{Left, Verdict};
use std::time::Duration;

/// A caller with our layers that calls seldom learns of the leaving by the answer to its next call: that one is
/// served, and is no trouble as long as it comes soon.
const GOVERNED_WITHIN: Duration = Duration::from_secs(5);
/// Paths that probes and scripts ask, by a part of them.
const PROBED: [&str; 6] = ["health", "ready", "readiness", "live", "ping", "metrics"];

pub(super) fn check(facts: &Facts) -> Answer {
    let left: Vec<_> = (facts.measured())
        .filter_map(|(subject, measured)| Some((subject, measured, measured.left?)))
        .filter(|(.., left)| facts.covers(left.at))
        .collect();
    let called = left.iter().filter(|(_, measured, _)| is_called(&measured.verdict));
    let findings = called.map(|(subject, measured, left)| finding(facts, subject, measured, *left)).collect();
    let slowest = left.iter().filter_map(|(_, measured, _)| match measured.verdict {
        Verdict::Quiet { after, .. } => Some(after),
        Verdict::InUse | Verdict::Unmeasured | Verdict::Called { .. } => None,
    });
    let slowest = slowest.max();
    let answer = Answer::new(findings, || match slowest {
        Some(slowest) => {
            let many = counted(left.len(), "instance");
            let after = span(slowest);
            format!("{many} left {}, and had the last request {after} after that at most", lately(facts))
        }
        None => format!("none has left {}", lately(facts)),
    });
    let known =
        |subject: &Subject| subject.traffic.as_ref().is_some_and(|it| it.verdict != Verdict::Unmeasured);
    let dark = facts.lives().filter(|(subject, life)| {
        !known(subject) && life.went.as_ref().is_some_and(|went| facts.now.since(went.at) < MEASURED_FOR)
    });
    let dark: Vec<_> = dark.map(|(subject, _)| subject.key.address.to_string()).collect();
    answer.unless_unknown((!dark.is_empty()).then(|| {
        format!(
            "{} left, and reported no requests: only instances with the provider's layers do",
            dark.join(", ")
        )
    }))
}

/// Requests of who went longer ago are not known any more.
const MEASURED_FOR: Duration = Duration::from_secs(crate::registry::traffic::KEPT_SECONDS);

fn is_called(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Called { .. } => true,
        Verdict::Quiet { after, late } => {
            late.ungoverned > 0 || (late.governed > 0 && *after > GOVERNED_WITHIN)
        }
        Verdict::InUse | Verdict::Unmeasured => false,
    }
}

fn finding(facts: &Facts, subject: &Subject, measured: &Measured, left: Left) -> Finding {
    let off = left.deregistered.unwrap_or(left.at);
    // Those of the first second were on their way.
    let is_late =
        |caller: &&ReportedCaller| UnixMillis::new(caller.last).since(off) >= Duration::from_secs(1);
    let late: Vec<_> = measured.late.iter().filter(is_late).collect();
    let remedies = remedies(facts, &late, measured);
    let evidence = late.iter().rev().map(|caller| line(facts, caller));
    let notices = if facts.sends_notices() { "notices are on" } else { "notices are off" };
    Finding::new(measured.verdict.to_string(), remedies.join("; "))
        .about(&subject.key)
        .at(left.at)
        .known_by(evidence.chain([notices.to_owned()]))
}

fn line(facts: &Facts, caller: &ReportedCaller) -> String {
    let who = if caller.caller.is_empty() {
        format!("{}, which has not the consumer's layers", caller.address)
    } else {
        format!("{} at {} (governed, {})", caller.app, caller.address, caller.caller)
    };
    let requests = counted(usize::try_from(caller.requests).unwrap_or(usize::MAX), "request");
    let last = ago(facts.now, UnixMillis::new(caller.last));
    format!("{requests} for {} from {who}, the last {last}", caller.path)
}

fn remedies(facts: &Facts, late: &[&ReportedCaller], measured: &Measured) -> Vec<String> {
    let (governed, others): (Vec<&ReportedCaller>, Vec<_>) =
        late.iter().partition(|caller| !caller.caller.is_empty());
    let is_probe = |caller: &&&ReportedCaller| is_probed(&caller.path);
    let probes: Vec<_> = others
        .iter()
        .filter(is_probe)
        .map(|caller| format!("{} ({})", caller.address, caller.path))
        .collect();
    let direct: Vec<_> =
        others.iter().filter(|caller| !is_probe(caller)).map(|caller| caller.address.clone()).collect();
    let mut remedies = Vec::new();
    if !probes.is_empty() {
        remedies.push(format!(
            "remove the probe from {}, or name its path among the probes of the provider",
            listed(probes)
        ));
    }
    if !direct.is_empty() {
        let whom = listed(direct);
        remedies.push(format!("remove the script that calls the instance directly from {whom}, or put the consumer's layers there"));
    }
    if !governed.is_empty() && !facts.sends_notices() {
        let whom = listed(governed.iter().map(|caller| caller.app.clone()).collect());
        remedies.push(format!(
            "turn notices on (the provider's `notice(true)`) for callers that call seldom: {whom}"
        ));
    } else if !governed.is_empty() {
        let whom = listed(governed.iter().map(|caller| caller.address.clone()).collect());
        remedies.push(format!(
            "look whether notices and lists reach {whom}: its subscription is on the registry's page"
        ));
    }
    if remedies.is_empty() {
        let whom = if matches!(measured.verdict, Verdict::Quiet { late, .. } | Verdict::Called { late, .. } if late.governed > 0)
        {
            "turn notices on (the provider's `notice(true)`), and look which subscriber has not acknowledged the list"
        } else {
            "find who calls the instance past the registry, and put the consumer's layers there"
        };
        remedies.push(whom.to_owned());
    }
    remedies
}

/// Whether a path is one that probes ask.
pub(super) fn is_probed(path: &str) -> bool {
    let mut segments = path.split('/');
    segments.any(|segment| PROBED.iter().any(|word| segment.to_ascii_lowercase().starts_with(word)))
}

fn listed(mut words: Vec<String>) -> String {
    words.sort();
    words.dedup();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Metadata;
    use crate::registry::diagnosis::given::{Events, Given, first, late};

    fn left(seconds: &[(u64, u32, u32)]) -> Given {
        Given::new().events(1, Events::of(1).started(10).left(900)).measured(1, Metadata::new(), 10, seconds)
    }

    fn found(given: Given) -> Finding {
        first(check(&given.facts()))
    }

    #[test]
    fn requests_that_end_in_time_are_no_finding() {
        let Answer::Pass(text) = check(&left(&[(899, 50, 50)]).facts()) else { panic!("a pass") };
        assert_eq!(
            text,
            "1 instance left in the last 5 min, and had the last request 0.0 s after that at most"
        );
        assert!(
            matches!(check(&left(&[(901, 1, 0), (904, 1, 0)]).facts()), Answer::Pass(_)),
            "told by its answer"
        );
    }

    #[test]
    fn callers_are_named_with_what_to_do_about_each() {
        let script = left(&[(905, 0, 3)]).and(1, |it| it.late = vec![late("", 3, 905)]);
        let finding = found(script);
        assert!(
            finding.cause.contains("3 requests after deregistration, all from callers without"),
            "{finding:?}"
        );
        assert!(
            finding.remedy.contains("script that calls the instance directly from 10.0.0.9"),
            "{finding:?}"
        );
        assert!(
            finding.evidence[0].starts_with("3 requests for /orders from 10.0.0.9, which has not"),
            "{finding:?}"
        );
        let probe = |path: &str| {
            let path = path.to_owned();
            left(&[(905, 0, 3)]).and(1, |it| it.late = vec![ReportedCaller { path, ..late("", 3, 905) }])
        };
        assert!(
            found(probe("/actuator/health")).remedy.starts_with("remove the probe from 10.0.0.9 (/actuator")
        );
        let governed = left(&[(905, 3, 0), (907, 3, 0)]).and(1, |it| it.late = vec![late("aa", 3, 907)]);
        let finding = found(governed);
        assert!(finding.remedy.starts_with("turn notices on"), "{finding:?}");
        assert_eq!(finding.evidence.last().unwrap(), "notices are off");
    }

    #[test]
    fn nothing_can_be_said_of_who_reports_nothing() {
        let gone = Events::foreign().came(10).went(990, crate::model::Reason::Deregistered);
        let Answer::Unknown(why) = check(&Given::new().events(1, gone).facts()) else { panic!("unknown") };
        assert!(why.starts_with("10.0.0.1:80 left, and reported no requests"), "{why}");
    }
}
