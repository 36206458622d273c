//! Symptom 9: an instance went off the list without having said that it goes.

use super::check::{Answer, Finding};
use super::facts::{Facts, Subject};
use super::life::{Gone, Life};
use super::words::{ago, by, span};
use crate::model::Reason;
use crate::registry::events::By;
use crate::registry::senders::Sender;

pub(super) fn check(facts: &Facts) -> Answer {
    let mut findings = Vec::new();
    let mut went = 0;
    for (subject, life) in facts.lives() {
        let Some(gone) = life.went.as_ref().filter(|gone| facts.covers(gone.at)) else { continue };
        went += 1;
        findings.extend(finding(facts, subject, life, gone));
    }
    Answer::new(findings, || match went {
        0 => "none went off the list".to_owned(),
        1 => "the one that went off the list had said so".to_owned(),
        _ => format!("all {went} that went off the list had said so"),
    })
}

fn finding(facts: &Facts, subject: &Subject, life: &Life, gone: &Gone) -> Option<Finding> {
    let address = &subject.key.address;
    let (cause, remedy) = match gone.reason {
        Reason::Expired => {
            let last = match &gone.by {
                By::Http(Some(sender)) => format!("the last came from {} ({})", sender.ip, agent(sender)),
                By::Http(None) | By::Connection(..) | By::Operator(_) | By::Storage => {
                    "none was ever heard".to_owned()
                }
            };
            (
                format!("the heartbeats of {address} stopped: {last}"),
                "look whether that process lives and reaches the registry: it was killed, hung (a long pause of its \
                 garbage collector counts), or its network was cut",
            )
        }
        // Its goodbye was on the way when the connection ended.
        Reason::ConnectionLost if life.said_goodbye() => return None,
        Reason::ConnectionLost => (
            format!("the connection of {address} ended without a word: {}", by(&gone.by)),
            "look whether that process lives: it was killed (SIGKILL, out of memory), crashed, or its network was cut; \
             `dmesg | grep -i oom` or the platform's last state of the container tell",
        ),
        Reason::Deregistered if life.said_goodbye() => return None,
        Reason::Deregistered => {
            let By::Http(Some(sender)) = &gone.by else { return None };
            let own = address.host().parse() == Ok(sender.ip);
            if own {
                return None;
            }
            (
                format!(
                    "{address} was deregistered over HTTP from {} ({}), which is not its own address",
                    sender.ip,
                    agent(sender)
                ),
                "find the script or console there that deregisters, and let the instance do it itself, or use `/offline`",
            )
        }
        Reason::Disabled => return None,
    };
    let before = life
        .came
        .as_ref()
        .map(|(came, who)| format!("it had come {} before that: {}", span(gone.at.since(*came)), by(who)));
    let unhealthy =
        life.unhealthy.map(|at| format!("it was not healthy for {} before", span(gone.at.since(at))));
    let back = subject.lives.iter().filter_map(|life| life.came.as_ref()).find(|(came, _)| *came > gone.at);
    let back =
        back.map(|(came, who)| format!("it came back {} later: {}", span(came.since(gone.at)), by(who)));
    let evidence = [before, unhealthy, back].into_iter().flatten();
    let cause = format!("{cause}, {}", ago(facts.now, gone.at));
    Some(Finding::new(cause, remedy).about(&subject.key).at(gone.at).known_by(evidence))
}

fn agent(sender: &Sender) -> &str {
    if sender.agent.is_empty() { "no user agent" } else { &sender.agent }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::diagnosis::given::{Events, Given, first};

    fn sender(ip: &str) -> By {
        By::Http(Some(Sender::new(ip.parse().unwrap(), "Nacos-Java-Client:v2")))
    }

    fn checked(events: Events) -> Answer {
        check(&Given::new().events(1, events).facts())
    }

    #[test]
    fn whoever_says_that_it_goes_does_not_disappear() {
        assert!(matches!(checked(Events::of(1).started(10).left(60)), Answer::Pass(_)));
        let cut = Events::of(1).started(10).told(60, "leaving", "SIGTERM").went(60, Reason::ConnectionLost);
        assert!(matches!(checked(cut), Answer::Pass(_)));
        let itself =
            Events::foreign().brought_about(sender("10.0.0.1")).came(10).went(60, Reason::Deregistered);
        assert!(matches!(checked(itself), Answer::Pass(_)));
    }

    #[test]
    fn the_cause_is_named_with_what_was_before_and_after() {
        let cause = |events| first(checked(events));
        let lost = cause(Events::of(1).started(10).went(60, Reason::ConnectionLost).by(2).came(65));
        assert!(
            lost.cause.contains("connection of 10.0.0.1:80 ended without a word: app1 at 10.0.0.1:50000")
        );
        assert!(lost.evidence[0].starts_with("it had come 50 s before that: app1"), "{lost:?}");
        assert!(lost.evidence[1].starts_with("it came back 5.0 s later: app2"), "{lost:?}");

        let silent = Events::foreign().brought_about(sender("10.0.0.1")).came(10).unhealthy(45);
        let silent = cause(silent.went(60, Reason::Expired));
        assert!(silent.cause.contains("the last came from 10.0.0.1 (Nacos-Java-Client:v2)"), "{silent:?}");
        assert_eq!(silent.evidence[1], "it was not healthy for 15 s before");

        let other = Events::of(1).came(10).brought_about(sender("10.0.0.9")).went(60, Reason::Deregistered);
        assert!(cause(other).cause.contains("deregistered over HTTP from 10.0.0.9"));
    }
}
