//! Symptom 10: what a subscriber is given is not what the list shows.

use super::check::{Answer, Finding};
use super::facts::{Facts, Listed};
use super::words::{ago, by, counted, span};
use crate::model::{InstanceKey, UnixMillis};
use crate::registry::hub::{Known, PeerLine};
use crate::registry::query::Clusters;
use std::time::Duration;

/// A push is acknowledged within milliseconds, and in a storm sent again for some seconds; one who polls over HTTP
/// asks as often as its client is set to.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(10);

pub(super) fn check(facts: &Facts) -> Answer {
    let keys: Vec<&InstanceKey> = facts.listed().map(|(subject, _)| &subject.key).collect();
    let followers = &facts.followers;
    let mut findings = Vec::new();
    for line in &followers.subscribers {
        let who = who(&line.connection);
        findings.extend(filtered(&line.clusters, &who, &keys));
        findings.extend(behind(facts, &line.known, &who));
    }
    for line in &followers.listeners {
        let agent = if line.agent.is_empty() { "polls over HTTP" } else { &line.agent };
        let who = format!("{} ({agent})", line.address);
        findings.extend(filtered(&line.clusters, &who, &keys));
        findings.extend(behind(facts, &line.known, &who));
    }
    let count = followers.subscribers.len() + followers.listeners.len();
    if count > 0 {
        findings.extend(disabled(facts));
        findings.extend(protected(facts));
    }
    Answer::new(findings, || match count {
        0 => "nobody follows it".to_owned(),
        many => format!("{} acknowledged the present list", counted(many, "subscriber")),
    })
}

fn who(peer: &PeerLine) -> String {
    let app = if peer.app.is_empty() { "a client without a name" } else { &peer.app };
    format!("{app} at {} ({})", peer.address, peer.version)
}

/// One who has asked for some clusters, and so is not given everyone.
fn filtered(clusters: &str, who: &str, keys: &[&InstanceKey]) -> Option<Finding> {
    let asked = Clusters::new(clusters.to_owned()).ok()?;
    let (kept, left_out): (Vec<&InstanceKey>, Vec<_>) =
        keys.iter().copied().partition(|key| asked.admit(&key.cluster));
    if left_out.is_empty() {
        return None;
    }
    let cause = format!(
        "{who} has asked for the clusters {clusters:?} only, and so sees {} of {}",
        kept.len(),
        counted(keys.len(), "instance")
    );
    let remedy = "take the filter out of that subscription, or register the instances in those clusters";
    let evidence = left_out.iter().map(|key| format!("{} is in the cluster {}", key.address, key.cluster));
    Some(Finding::new(cause, remedy).known_by(evidence))
}

/// One who has not taken the present list.
fn behind(facts: &Facts, known: &Known, who: &str) -> Option<Finding> {
    let changed = facts.now.since(UnixMillis::new(facts.followers.revision));
    if known.current || changed < ACKNOWLEDGED_WITHIN {
        return None;
    }
    let last = span(Duration::from_millis(known.acknowledged_ms_ago));
    let cause = format!(
        "{who} has not acknowledged the present list (revision {}, {} old): it has revision {}, since {last}",
        facts.followers.revision,
        span(changed),
        known.acknowledged
    );
    let remedy = "look at that process: it is stopped in a debugger, has no processor time, or its network loses what \
                  is pushed; a restart makes it ask anew";
    Some(Finding::new(cause, remedy))
}

fn disabled(facts: &Facts) -> Vec<Finding> {
    let off = facts.listed().filter(|(_, listed)| !listed.instance.is_eligible());
    let finding = off.map(|(subject, Listed { instance, .. })| {
        let address = &subject.key.address;
        let why = if instance.enabled { "has no weight" } else { "is disabled" };
        let life = subject.lives.last();
        let actor = life.and_then(|life| life.disabled.as_ref());
        let actor = actor.map(|(at, who)| format!("by {}, {}", by(who), ago(facts.now, *at)));
        let remedy = "enable it (`enabled=true`), or give it a weight, when it is to take requests again";
        Finding::new(format!("{address} {why}: subscribers do not use it"), remedy)
            .about(&subject.key)
            .known_by(actor)
    });
    finding.collect()
}

fn protected(facts: &Facts) -> Option<Finding> {
    let threshold = facts.protect_threshold?;
    let all = facts.listed().filter(|(_, listed)| listed.instance.is_eligible()).count();
    let healthy = facts.listed().filter(|(_, listed)| listed.instance.takes_traffic()).count();
    if all == healthy || healthy as f64 / all as f64 > threshold {
        return None;
    }
    let cause = format!(
        "the protection threshold holds: {healthy} of {} healthy, which is not more than {threshold}, and so subscribers \
         are given all of them as healthy",
        if all == 1 { "1 instance is".to_owned() } else { format!("{all} instances are") }
    );
    let remedy =
        "bring the unhealthy ones back or take them off the list; or lower the service's `protectThreshold`";
    let unhealthy = facts.listed().filter(|(_, listed)| !listed.instance.healthy);
    let evidence = unhealthy.map(|(subject, _)| format!("{} is not healthy", subject.key.address));
    Some(Finding::new(cause, remedy).known_by(evidence))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Instance;
    use crate::registry::diagnosis::given::{Given, first, followers, instance};

    fn given() -> Given {
        let mut given =
            Given::new().listed(instance(1), Vec::new(), &[]).listed(instance(2), Vec::new(), &[]);
        given.followers = followers(1);
        given
    }

    fn found(given: Given) -> Finding {
        first(check(&given.facts()))
    }

    #[test]
    fn a_subscriber_with_the_present_list_of_everyone_sees_what_it_should() {
        assert_eq!(
            check(&given().facts()),
            Answer::Pass("1 subscriber acknowledged the present list".to_owned())
        );
    }

    #[test]
    fn each_reason_for_another_list_is_told_apart() {
        let mut filter = given();
        filter.followers.subscribers[0].clusters = "east".to_owned();
        let filter = found(filter);
        assert!(
            filter.cause.starts_with("app1 at 10.0.0.1:50000 (Tower-Graceful:v0.1.0) has asked for"),
            "{filter:?}"
        );
        assert!(filter.cause.ends_with("so sees 0 of 2 instances"), "{filter:?}");

        let mut behind = given();
        (behind.followers.subscribers[0].known.current, behind.followers.subscribers[0].known.acknowledged) =
            (false, 5);
        assert!(found(behind).cause.contains("it has revision 5, since 1.0 s"));

        let off = given().listed(Instance { enabled: false, ..instance(2) }, Vec::new(), &[]);
        assert_eq!(found(off).cause, "10.0.0.2:80 is disabled: subscribers do not use it");

        let mut protected = given().listed(Instance { healthy: false, ..instance(2) }, Vec::new(), &[]);
        protected.protect_threshold = Some(0.5);
        let protected = found(protected);
        assert!(
            protected.cause.starts_with("the protection threshold holds: 1 of 2 instances are healthy"),
            "{protected:?}"
        );
        assert_eq!(protected.evidence, ["10.0.0.2:80 is not healthy"]);
    }
}
