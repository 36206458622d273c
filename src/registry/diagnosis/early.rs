//! Symptom 7: what started the warm-up was no request of a consumer.

use super::check::{Answer, Finding};
use super::facts::Facts;
use super::falls::is_probed;
use super::life::Said;
use super::words::{counted, span};
use std::time::Duration;

/// What a provider says before the path that started it.
const BY_A_REQUEST: &str = "by a request for ";
/// Two moments of one process are told as they were; the registry's own may differ by the way there.
const APART_MIN: Duration = Duration::from_millis(500);

pub(super) fn check(facts: &Facts) -> Answer {
    let (mut findings, mut looked_at) = (Vec::new(), 0);
    for (subject, life) in facts.lives() {
        let Some(warming) = life.warming.as_ref().filter(|said| facts.covers(said.at)) else { continue };
        looked_at += 1;
        let (address, path) = (&subject.key.address, path(warming));
        if let Some(path) = path.filter(|path| is_probed(path)) {
            let cause = format!("the warm-up of {address} was started by a probe, a request for {path}");
            let remedy = format!(
                "name that path among the ones that the warm-up ignores: `.warm_up_ignores({path:?})` of the provider, or \
                 point the probe at /readiness on the readiness port (55199), which counts for nothing"
            );
            findings.push(Finding::new(cause, remedy).about(&subject.key).at(warming.at));
        } else if let Some(began) = life.began().filter(|began| began.since(warming.at) >= APART_MIN) {
            let early = span(began.since(warming.at));
            let by = path.map_or_else(|| warming.detail.clone(), |path| format!("by a request for {path}"));
            let cause = format!("the warm-up of {address} started {early} before its registration, {by}");
            let remedy = "let nobody call the instance before it is ready, and warm up by the clock of the first request: \
                          leave the gate on, and put the provider's layers around every route";
            findings.push(Finding::new(cause, remedy).about(&subject.key).at(warming.at));
        }
    }
    Answer::new(findings, || match looked_at {
        0 => "no warm-up has started".to_owned(),
        many => format!("{} started after the registration, by real requests", counted(many, "warm-up")),
    })
}

/// The path of the request that started it, if one did.
fn path(warming: &Said) -> Option<&str> {
    let path = warming.detail.strip_prefix(BY_A_REQUEST)?;
    Some(path.rsplit_once(", for ").map_or(path, |(path, _)| path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::diagnosis::given::{Events, Given};

    fn started(by: &str, seconds: u64) -> Answer {
        let events = Events::of(1).started(10).told(seconds, "warm-up-started", by);
        check(&Given::new().events(1, events).facts())
    }

    #[test]
    fn a_real_request_starts_a_warm_up_rightly() {
        assert!(matches!(started("by a request for /orders, for 120s", 12), Answer::Pass(_)));
        assert!(matches!(started("by the registration, for 120s", 10), Answer::Pass(_)));
        assert!(matches!(check(&Given::new().facts()), Answer::Pass(_)));
    }

    #[test]
    fn a_probe_that_starts_it_is_named_with_the_setting_for_it() {
        let Answer::Found(findings) = started("by a request for /actuator/health, for 120s", 12) else {
            panic!()
        };
        assert!(findings[0].cause.ends_with("a request for /actuator/health"), "{findings:?}");
        assert!(findings[0].remedy.contains(".warm_up_ignores(\"/actuator/health\")"), "{findings:?}");
        let Answer::Found(findings) = started("by a request for /orders, for 120s", 7) else { panic!() };
        assert!(findings[0].cause.contains("3.0 s before its registration"), "{findings:?}");
    }
}
