//! Symptom 5: where the time of a release goes.

use super::check::{Answer, Finding};
use super::facts::{Facts, Subject};
use super::life::Life;
use super::words::{counted, span};
use crate::model::UnixMillis;
use crate::registry::verdict::Verdict;
use std::time::Duration;

/// What a start may take from the beginning of the process to its readiness, of what can be set: consumers' caches
/// are given a second or two.
const START_MAX: Duration = Duration::from_secs(30);
/// What the way out may take when nothing is under way: consumers are told within a second, and rare callers are
/// waited for a few.
const DRAIN_MAX: Duration = Duration::from_secs(15);
/// What may pass from the last request to the end of the process.
const END_MAX: Duration = Duration::from_secs(5);

pub(super) fn check(facts: &Facts) -> Answer {
    let (mut findings, mut slowest) = (Vec::new(), (0, Duration::ZERO));
    for (subject, life) in facts.lives() {
        findings.extend(start(facts, subject, life));
        if let Some(leaving) = life.leaving.as_ref().filter(|said| facts.covers(said.at)) {
            let ended = life.stopped.as_ref().or(life.drained.as_ref()).map_or(facts.now, |said| said.at);
            slowest = (slowest.0 + 1, slowest.1.max(ended.since(leaving.at)));
            findings.extend(drain(facts, subject, life, leaving.at));
            findings.extend(end(facts, subject, life));
        }
    }
    Answer::new(findings, || match slowest.0 {
        0 => "none has left".to_owned(),
        many => format!("{} left within {} at most", counted(many, "instance"), span(slowest.1)),
    })
}

/// A start that waits for something.
fn start(facts: &Facts, subject: &Subject, life: &Life) -> Option<Finding> {
    let (came, _) = life.came.as_ref()?;
    let ready = life.ready.filter(|ready| facts.covers(*ready))?;
    let address = &subject.key.address;
    if let Some(waits) = &life.waits {
        let until = life.warm.as_ref().map_or(facts.now, |warm| warm.at);
        let waited = until.since(waits.at);
        if waited >= START_MAX && life.ended().is_none_or(|ended| ended >= until) {
            let still = if life.warm.is_some() { "waited" } else { "has been waiting" };
            let cause = format!("readiness of {address} {still} for its warm-up for {}", span(waited));
            let remedy = "leave out `ready_after_warm_up` (`GRACEFUL_READY_AFTER_WARMUP`): an instance is ready once it is on the list, and \
                          consumers spare it while it warms up; or shorten the warm-up";
            return Some(Finding::new(cause, remedy).about(&subject.key).at(waits.at));
        }
    }
    let listed = ready.since(*came);
    if listed >= START_MAX {
        let cause = format!("{address} was ready only {} after its registration", span(listed));
        let remedy = "it waits for the caches of consumers: lower the provider's `cache_time` to what consumers poll by, or 0 \
                      where all of them are pushed to";
        return Some(Finding::new(cause, remedy).about(&subject.key).at(ready));
    }
    let epoch = subject.listed.as_ref()?.instance.epoch()?;
    // By its own clock, as it tells it.
    let ahead_ms = subject.traffic.as_ref().map_or(0, |traffic| traffic.ahead_ms);
    let epoch = UnixMillis::new(epoch.as_u64().saturating_add_signed(ahead_ms.saturating_neg()));
    let is_first = subject.lives.iter().rev().find_map(|life| life.registered) == life.registered;
    let before = came.since(epoch);
    (is_first && life.registered.is_some() && before >= START_MAX).then(|| {
        let cause = format!("{address} registered only {} after its process began", span(before));
        let remedy = "look what it does before: `register_after` is a fixed wait, as is the service's `graceful.delay`, \
                      and `register_when` waits for the application's own preparation";
        Finding::new(cause, remedy).about(&subject.key).at(*came)
    })
}

/// A way out on which something was waited for.
fn drain(facts: &Facts, subject: &Subject, life: &Life, leaving: UnixMillis) -> Option<Finding> {
    let is_over = life.drained.is_some() || life.stopped.is_some();
    let heard =
        subject.traffic.as_ref().map(|traffic| UnixMillis::new(traffic.reported.saturating_mul(1000)));
    let drained = life.drained.as_ref().or(life.stopped.as_ref()).map(|said| said.at);
    let took = drained.unwrap_or(if is_over { facts.now } else { heard? }).since(leaving);
    if took < DRAIN_MAX {
        return None;
    }
    let address = &subject.key.address;
    let quiet = subject.traffic.as_ref().and_then(|traffic| match traffic.verdict {
        Verdict::Quiet { after, .. } => Some(after),
        Verdict::InUse | Verdict::Unmeasured | Verdict::Called { .. } => None,
    });
    let still = if is_over { "drained for" } else { "is draining for" };
    let under_way = life.leaving.as_ref().map(|said| format!("when it began to leave: {}", said.detail));
    let at_last = subject.traffic.as_ref().map(|traffic| {
        format!(
            "when it reported last, {} under way",
            counted(usize::try_from(traffic.in_flight).unwrap_or(usize::MAX), "request")
        )
    });
    let held = life
        .held
        .as_ref()
        .map(|said| format!("{} after it began to leave: {}", span(said.at.since(leaving)), said.detail));
    let evidence = [under_way, held, at_last].into_iter().flatten();
    let (cause, remedy) = match quiet {
        Some(after) if took.saturating_sub(after) >= DRAIN_MAX / 2 => (
            format!(
                "{address} {still} {}: the last request began {} after it left, and took that long",
                span(took),
                span(after)
            ),
            "bound the long requests (a limit of your own, or `drain_timeout` of the provider, which cuts them), or move what \
             takes long into a task",
        ),
        _ => (
            format!("{address} {still} {}: requests went on coming", span(took)),
            "tell its callers: put the consumer's layers there, turn notices on; or lower `lame_duck_max` of the provider",
        ),
    };
    Some(Finding::new(cause, remedy).about(&subject.key).at(leaving).known_by(evidence))
}

/// A process that stays when all is done.
fn end(facts: &Facts, subject: &Subject, life: &Life) -> Option<Finding> {
    let drained = life.drained.as_ref()?;
    let ended = life.stopped.as_ref().map(|said| said.at);
    let by_order = life
        .leaving
        .as_ref()
        .is_some_and(|said| said.detail.starts_with("/offline") || said.detail.starts_with("an operator"));
    // One that was taken offline stays until somebody stops it, which may be meant.
    if ended.is_none() && by_order {
        return None;
    }
    let heard =
        subject.traffic.as_ref().map(|traffic| UnixMillis::new(traffic.reported.saturating_mul(1000)));
    let idle = ended.or(heard).unwrap_or(facts.now).since(drained.at);
    if idle < END_MAX {
        return None;
    }
    let address = &subject.key.address;
    let (cause, remedy) = if by_order {
        (
            format!(
                "{address} had no request any more, and was stopped {} later: something slept for a fixed time",
                span(idle)
            ),
            "replace the sleep after `/offline` (a preStop hook) by `/offline?wait=30s`, which answers as soon as it has drained, or \
             by nothing: SIGTERM alone does the same",
        )
    } else {
        (
            format!("{address} had drained, and took {} more to stop", span(idle)),
            "look at what is done last: tasks that were spawned on the provider, and `on_stopped`",
        )
    };
    Some(Finding::new(cause, remedy).about(&subject.key).at(drained.at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Metadata, Reason, key};
    use crate::registry::diagnosis::given::{Events, Given, at, first, instance};

    fn left(cause: &str, drained: u64, stopped: u64) -> Events {
        let events = Events::of(1).started(800).told(900, "leaving", cause).went(900, Reason::Deregistered);
        events.told(drained, "drained", "").told(stopped, "stopped", "")
    }

    fn found(given: Given) -> Finding {
        first(check(&given.facts()))
    }

    #[test]
    fn a_way_out_that_takes_as_long_as_it_must_is_no_finding() {
        let given = Given::new().events(1, left("SIGTERM, 9 requests under way", 903, 904));
        assert_eq!(check(&given.facts()), Answer::Pass("1 instance left within 4.0 s at most".to_owned()));
    }

    #[test]
    fn what_held_the_way_out_is_named() {
        let long = Given::new().events(1, left("SIGTERM, 2 requests under way", 930, 930));
        let finding = found(long.measured(1, Metadata::new(), 800, &[(899, 9, 0)]));
        assert!(
            finding.cause.contains("drained for 30 s: the last request began 0.0 s after it left"),
            "{finding:?}"
        );
        assert_eq!(finding.evidence[0], "when it began to leave: SIGTERM, 2 requests under way");
        let called = Given::new().events(1, left("SIGTERM", 930, 930));
        let finding = found(called.measured(1, Metadata::new(), 800, &[(927, 0, 9)]));
        assert!(finding.cause.ends_with("30 s: requests went on coming"), "{finding:?}");
    }

    #[test]
    fn long_requests_are_named_as_the_instance_named_them() {
        let events = Events::of(1).started(800).told(900, "leaving", "SIGTERM, 2 requests under way");
        let events = events.told(916, "held-up", "1 under way, oldest: GET /export for 17.0 s");
        let given = Given::new().events(1, events.told(930, "drained", "").told(930, "stopped", ""));
        let finding = found(given.measured(1, Metadata::new(), 800, &[(899, 9, 0)]));
        let named = "16 s after it began to leave: 1 under way, oldest: GET /export for 17.0 s";
        assert!(finding.evidence.iter().any(|said| said == named), "{finding:?}");
    }

    #[test]
    fn readiness_that_is_set_to_wait_for_the_warm_up_is_told() {
        let waits = || Events::of(1).started(800).told(800, "readiness-waits", "for the warm-up, 100s");
        let finding = found(Given::new().events(1, waits().told(900, "warm-up-finished", "after 100s")));
        assert_eq!(finding.cause, "readiness of 10.0.0.1:80 waited for its warm-up for 1 min 40 s");
        let brief = waits().told(810, "warm-up-finished", "after 10s");
        assert!(matches!(check(&Given::new().events(1, brief).facts()), Answer::Pass(_)));
    }

    #[test]
    fn a_fixed_sleep_after_offline_is_found_by_what_follows_it() {
        let finding = found(Given::new().events(1, left("/offline, 0 requests under way", 901, 931)));
        assert!(
            finding.cause.contains("stopped 30 s later: something slept for a fixed time"),
            "{finding:?}"
        );
        assert!(found(Given::new().events(1, left("SIGTERM", 901, 931))).remedy.contains("`on_stopped`"));
        let offline = Events::of(1).started(800).told(900, "leaving", "/offline").told(901, "drained", "");
        assert!(
            matches!(check(&Given::new().events(1, offline).facts()), Answer::Pass(_)),
            "that is what offline is for"
        );
    }

    #[test]
    fn a_start_that_waits_is_told_with_the_setting() {
        let events = Events::of(1).came(800).told(801, "registered", "").told(840, "ready", "");
        assert!(found(Given::new().events(1, events)).remedy.contains("`cache_time`"));
        let metadata = Metadata::new().with(key::EPOCH, at(700));
        let given = Given::new().listed(instance(1).with_metadata(metadata), Vec::new(), &[]);
        let finding = found(given.events(1, Events::of(1).started(800)));
        assert_eq!(finding.cause, "10.0.0.1:80 registered only 1 min 40 s after its process began");
    }
}
