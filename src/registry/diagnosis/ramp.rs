//! Symptom 2: a cold instance takes more than its place on the curve, from callers that know no curve.

use super::check::{Answer, Finding};
use super::facts::{Facts, Measured, Subject};
use super::words::{counted, lately};
use crate::protocol::report::ReportedSecond;
use crate::registry::verdict::{Member, Whole};
use std::collections::BTreeMap;

/// How far above its share an instance is out of place, and how many requests that must be: fewer are chance.
const ABOVE_MAX: f64 = 2.0;
const EXCESS_MIN: f64 = 20.0;

pub(super) fn check(facts: &Facts) -> Answer {
    let members: Vec<Member> = facts.measured().filter_map(|(_, measured)| measured.member).collect();
    let whole: BTreeMap<u64, Whole> = (facts.totals.iter())
        .map(|(second, requests)| (*second, Whole::new(*second, *requests, &members)))
        .collect();
    let warming = facts
        .measured()
        .filter_map(|(subject, measured)| Some((subject, measured, Cold::new(measured, &whole)?)));
    let warming: Vec<_> = warming.collect();
    let findings = warming.iter().filter(|(.., cold)| cold.is_out_of_place());
    let findings =
        findings.map(|(subject, measured, cold)| finding(facts, subject, measured, cold)).collect();
    Answer::new(findings, || match warming.len() {
        0 => format!("none has been warming up under load {}", lately(facts)),
        many => format!("{} warmed up {}, each with its share", counted(many, "instance"), lately(facts)),
    })
}

/// What came to an instance while it was cold.
struct Cold {
    started: u64,
    ungoverned: u64,
    ideal: f64,
}

impl Cold {
    fn new(measured: &Measured, whole: &BTreeMap<u64, Whole>) -> Option<Self> {
        let member = measured.member?;
        let (curve, begun) = member.curve()?;
        let window_ms = u64::try_from(curve.window().as_millis()).unwrap_or(u64::MAX);
        let end = begun.map_or(u64::MAX, |begun| begun.as_u64().saturating_add(window_ms));
        let is_cold = |second: u64| second * 1000 >= member.from().as_u64() && (second + 1) * 1000 <= end;
        let cold = measured.seconds.iter().filter(|second| is_cold(second.second));
        let (mut started, mut ungoverned) = (0, 0);
        for second in cold {
            started += ReportedSecond::started(second);
            ungoverned += u64::from(second.ungoverned.started);
        }
        let parts =
            whole.iter().filter(|(second, _)| is_cold(**second)).filter_map(|(_, whole)| whole.part(member));
        (started > 0).then(|| Self { started, ungoverned, ideal: parts.sum() })
    }

    fn is_out_of_place(&self) -> bool {
        let excess = self.started as f64 - self.ideal;
        // Of the excess, most is of callers that know no curve; what the others make of it is another symptom.
        let is_theirs = self.ungoverned as f64 > excess / 2.0;
        excess >= EXCESS_MIN && self.started as f64 > self.ideal * ABOVE_MAX && is_theirs
    }
}

fn finding(facts: &Facts, subject: &Subject, measured: &Measured, cold: &Cold) -> Finding {
    let cause = format!(
        "{} had {} requests while it was warming up, where its share was {:.0}: {} of them from callers without the consumer's layers",
        subject.key.address, cold.started, cold.ideal, cold.ungoverned
    );
    let followers = &facts.followers;
    let subscribers = followers.subscribers.iter().filter(|line| line.connection.caller.is_none());
    let subscribers = subscribers.map(|line| {
        format!("{} at {} ({})", line.connection.app, line.connection.address, line.connection.version)
    });
    let listeners =
        followers.listeners.iter().map(|line| format!("{} at {} ({})", line.app, line.address, line.agent));
    let mut callers: Vec<String> = subscribers
        .chain(listeners)
        .map(|who| format!("follows the service without the layers: {who}"))
        .collect();
    if callers.is_empty() {
        callers.push("no subscriber is without the layers: they call past the registry, by an address or a load balancer".to_owned());
    }
    let remedy = "put the consumer's layers into those callers; what calls through a load balancer needs a slow start there";
    let fastest = measured.seconds.iter().max_by_key(|second| second.ungoverned.started);
    let fastest = fastest.map(|second| format!("up to {} a second from them", second.ungoverned.started));
    Finding::new(cause, remedy).about(&subject.key).known_by(callers.into_iter().chain(fastest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Metadata;
    use crate::registry::diagnosis::given::{Given, followers, warming};

    /// A warm and a cold instance, which is 10 s old of 100, in the same three seconds.
    fn given(governed: u32, ungoverned: u32) -> Given {
        let of = |governed, ungoverned| [910, 911, 912].map(|second| (second, governed, ungoverned));
        let mut given = Given::new().measured(1, Metadata::new(), 0, &of(90, 0)).measured(
            2,
            warming(Some(900)),
            890,
            &of(governed, ungoverned),
        );
        given.followers = followers(1);
        given
    }

    #[test]
    fn a_cold_instance_with_its_share_is_in_its_place() {
        assert_eq!(
            check(&given(10, 0).facts()),
            Answer::Pass("1 instance warmed up in the last 5 min, each with its share".to_owned())
        );
        assert!(matches!(check(&given(60, 0).facts()), Answer::Pass(_)), "that is no caller without layers");
    }

    #[test]
    fn callers_without_layers_that_load_a_cold_instance_are_named() {
        let mut plain = given(9, 90);
        plain.followers.subscribers[0].connection.caller = None;
        plain.followers.subscribers[0].connection.version = "Nacos-Java-Client:v2.3.0".to_owned();
        let Answer::Found(findings) = check(&plain.facts()) else { panic!("found") };
        let cause = "10.0.0.2:80 had 297 requests while it was warming up, where its share was 58: 270 of them from callers without the consumer's layers";
        assert_eq!(findings[0].cause, cause);
        assert!(
            findings[0].evidence[0].ends_with("app1 at 10.0.0.1:50000 (Nacos-Java-Client:v2.3.0)"),
            "{findings:?}"
        );
        let Answer::Found(findings) = check(&given(9, 90).facts()) else { panic!("found") };
        assert!(findings[0].evidence[0].contains("past the registry"), "{findings:?}");
    }
}
