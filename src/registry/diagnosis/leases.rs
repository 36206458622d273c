//! Check 13: how near heartbeats come to the end of their lease.

use super::check::{Answer, Finding};
use super::facts::{Facts, Subject};
use super::words::{counted, span};
use crate::model::{Lease, UnixMillis};
use crate::registry::hub::{HeardSender, Publisher};

pub(super) fn check(facts: &Facts) -> Answer {
    let (mut findings, mut looked_at) = (Vec::new(), 0);
    for (subject, listed) in facts.listed() {
        let heard = listed.publishers.iter().filter_map(|publisher| match publisher {
            Publisher::Heartbeats { senders, .. } => Some(senders.iter().max_by_key(|heard| heard.last)),
            Publisher::Connection { .. } | Publisher::Storage { .. } => None,
        });
        for heard in heard {
            looked_at += 1;
            let lease = Lease::from_metadata(&listed.instance.metadata).unwrap_or_default();
            findings.extend(late(facts, subject, heard, lease));
        }
    }
    Answer::new(findings, || match looked_at {
        0 => "no instance lives by heartbeats".to_owned(),
        many => format!("those of {} come in time", counted(many, "instance")),
    })
}

fn late(facts: &Facts, subject: &Subject, heard: Option<&HeardSender>, lease: Lease) -> Option<Finding> {
    let address = &subject.key.address;
    let recovered: usize =
        facts.lives().filter(|(of, _)| of.key == subject.key).map(|(_, life)| life.recovered).sum();
    let silent = heard.map(|heard| facts.now.since(UnixMillis::new(heard.last)));
    let is_late = silent.is_some_and(|silent| silent >= lease.unhealthy_after());
    let cause = if is_late {
        let silent = span(silent.unwrap_or_default());
        format!(
            "the last heartbeat of {address} is {silent} old, and it has to come every {}",
            span(lease.interval())
        )
    } else if recovered > 0 {
        format!(
            "the heartbeats of {address} came too late, and it was not healthy until the next one, {}",
            times(recovered)
        )
    } else {
        return None;
    };
    let remedy = format!(
        "look at that process and its way to the registry; or give the lease more room than {} by the metadata \
         `preserved.heart.beat.timeout` and `preserved.ip.delete.timeout` (now {} and {})",
        span(lease.unhealthy_after().saturating_sub(lease.interval())),
        span(lease.unhealthy_after()),
        span(lease.expires_after())
    );
    let sender = heard.map(|heard| format!("they come from {} ({})", heard.ip, heard.agent));
    Some(Finding::new(cause, remedy).about(&subject.key).known_by(sender))
}

fn times(count: usize) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::diagnosis::given::{Events, Given, at, heard, instance};

    fn checked(last: u64, events: Events) -> Answer {
        let heartbeats = Publisher::Heartbeats { since: 0, senders: vec![heard("10.0.0.1", at(last))] };
        check(&Given::new().events(1, events).listed(instance(1), vec![heartbeats], &[]).facts())
    }

    #[test]
    fn heartbeats_that_come_late_are_found_now_and_afterwards() {
        let came = || Events::foreign().came(10);
        assert_eq!(checked(996, came()), Answer::Pass("those of 1 instance come in time".to_owned()));
        let Answer::Found(findings) = checked(980, came()) else { panic!("found") };
        assert!(
            findings[0].cause.starts_with("the last heartbeat of 10.0.0.1:80 is 20 s old"),
            "{findings:?}"
        );
        let Answer::Found(findings) = checked(996, came().unhealthy(500).healthy(504)) else {
            panic!("found")
        };
        assert!(findings[0].cause.ends_with("not healthy until the next one, once"), "{findings:?}");
        assert!(findings[0].remedy.contains("(now 15 s and 30 s)"), "{findings:?}");
    }
}
