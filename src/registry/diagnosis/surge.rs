//! Symptom 1: warm instances left while those that stay were cold, and so these had to take more than they should.

use super::check::{Answer, Finding};
use super::facts::{Facts, Subject};
use super::words::{counted, lately, span};
use crate::model::UnixMillis;
use crate::protocol::report::ReportedSecond;
use crate::registry::verdict::Member;
use std::time::Duration;

/// How often its place on the curve an instance may take: consumers flatten the curve beyond it.
const AMPLIFIED_MAX: f64 = 1.5;
/// Requests in the seconds around a moment, fewer of which are no load.
const LOAD_MIN: u64 = 20;
/// Seconds around a moment in which load is looked for.
const AROUND: u64 = 5;
/// Old capacity counts for so long after it has gone, where the warm-ups are shorter.
const WINDOW_MIN: Duration = Duration::from_secs(10);

pub(super) fn check(facts: &Facts) -> Answer {
    let members: Vec<(&Subject, Member)> =
        facts.measured().filter_map(|(subject, measured)| Some((subject, measured.member?))).collect();
    let left = facts.measured().filter_map(|(subject, measured)| Some((subject, measured.left?.at)));
    let mut left: Vec<_> = left.filter(|(_, at)| facts.covers(*at)).collect();
    left.sort_by_key(|(_, at)| *at);
    let surges = left.iter().filter_map(|(subject, at)| Surge::new(facts, &members, subject, *at));
    // Of several that are part of one, the worst is it.
    let worst = surges.max_by(|a, b| a.times.total_cmp(&b.times));
    let findings = worst.iter().map(|surge| surge.finding(facts)).collect();
    Answer::new(findings, || match left.len() {
        0 => format!("none has left {}", lately(facts)),
        many => {
            let many = counted(many, "instance");
            format!("{many} left {}, and those that stayed were warm enough", lately(facts))
        }
    })
}

struct Surge<'a> {
    /// Who left, and when.
    who: &'a Subject,
    at: UnixMillis,
    /// Those that stayed and were cold, with their places on the curve.
    cold: Vec<(&'a Subject, f64)>,
    staying: usize,
    /// How often its place on the curve each of them has to take.
    times: f64,
    window: Duration,
}

impl<'a> Surge<'a> {
    fn new(
        facts: &Facts,
        members: &[(&'a Subject, Member)],
        who: &'a Subject,
        at: UnixMillis,
    ) -> Option<Self> {
        let sum = |moment| members.iter().map(|(_, member)| member.weight_at(moment)).sum::<f64>();
        let staying: Vec<_> = members.iter().filter(|(_, member)| member.weight_at(at) > 0.0).collect();
        let warm: f64 = staying.iter().map(|(_, member)| member.weight()).sum();
        let place = |member: &Member| member.weight_at(at) / member.weight();
        let cold = staying.iter().map(|(subject, member)| (*subject, place(member)));
        let cold: Vec<_> = cold.filter(|(_, place)| *place < 1.0).collect();
        let windows = staying.iter().filter_map(|(_, member)| Some(member.curve()?.0.window()));
        let window = windows.max().unwrap_or_default();
        let second = at.as_u64() / 1000;
        let load: u64 = facts
            .totals
            .range(second.saturating_sub(AROUND)..=second + AROUND)
            .map(|(_, requests)| requests)
            .sum();
        // The most that carried the load lately; only comings and goings make steps down.
        let recent =
            at.as_u64().saturating_sub(u64::try_from(window.max(WINDOW_MIN).as_millis()).unwrap_or(u64::MAX));
        let ends = members.iter().filter_map(|(subject, _)| Some(subject.traffic.as_ref()?.left?.at));
        let before = ends.filter(|end| (recent..=at.as_u64()).contains(&end.as_u64()));
        let most = before.map(|end| sum(UnixMillis::new(end.as_u64().saturating_sub(1)))).fold(0.0, f64::max);
        let now = sum(at);
        let times = (warm / now).min(most / now);
        let is_surge = now > 0.0 && !cold.is_empty() && times > AMPLIFIED_MAX && load >= LOAD_MIN;
        is_surge.then_some(Self { who, at, cold, staying: staying.len(), times, window })
    }

    fn finding(&self, facts: &Facts) -> Finding {
        let names: Vec<_> = self
            .cold
            .iter()
            .map(|(subject, place)| format!("{} ({:.0} %)", subject.key.address, place * 100.0))
            .collect();
        let cause = format!(
            "{} left while {} of {} were still warming up: each had to take {:.1} times its place on the curve",
            self.who.key.address,
            self.cold.len(),
            counted(self.staying, "remaining instance"),
            self.times
        );
        let ready = self.window.as_secs() + 1;
        let remedy = format!(
            "let nobody leave before the new ones are warm: minReadySeconds above the warm-up of {} (say {}), or replace them in \
             batches of which the warm ones can carry the load, or hand over slowly (`leave_fade` of the provider)",
            span(self.window),
            ready + ready / 10 + 1
        );
        let rates = self.cold.iter().filter_map(|(subject, _)| rates(facts, subject, self.at));
        let cold = format!("places on the curve: {}", names.join(", "));
        Finding::new(cause, remedy).about(&self.who.key).at(self.at).known_by([cold].into_iter().chain(rates))
    }
}

/// How the requests of one that stayed changed.
fn rates(facts: &Facts, subject: &Subject, at: UnixMillis) -> Option<String> {
    let (traffic, second) = (subject.traffic.as_ref()?, at.as_u64() / 1000);
    let rate = |from: u64, to: u64| {
        let started: u64 = traffic
            .seconds
            .iter()
            .filter(|of| (from..to).contains(&of.second))
            .map(ReportedSecond::started)
            .sum();
        started as f64 / (to - from).max(1) as f64
    };
    let (before, after) = (rate(second.saturating_sub(3), second), rate(second + 1, second + 4));
    let is_over = facts.now.as_u64() / 1000 >= second + 4;
    is_over.then(|| {
        format!("{}: from {before:.1} to {after:.1} requests a second within 3 s", subject.key.address)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Metadata;
    use crate::registry::diagnosis::given::{Events, Given, warming};

    /// Two old instances, of which one leaves at 950, the other at 955, and a new one that began to warm up at
    /// `begun`.
    fn rolled(begun: u64, rate: u32) -> Given {
        let load: Vec<_> = (900..990).map(|second| (second, rate, 0)).collect();
        Given::new()
            .events(1, Events::of(1).started(10).left(950))
            .events(2, Events::of(2).started(10).left(955))
            .measured(1, Metadata::new(), 10, &load[..50])
            .measured(2, Metadata::new(), 10, &load[..55])
            .measured(3, warming(Some(begun)), begun, &load)
    }

    #[test]
    fn a_release_that_waits_for_warm_instances_has_no_surge() {
        let answer = check(&rolled(840, 50).facts());
        assert_eq!(
            answer,
            Answer::Pass(
                "2 instances left in the last 5 min, and those that stayed were warm enough".to_owned()
            )
        );
        assert!(matches!(check(&rolled(940, 0).facts()), Answer::Pass(_)), "without load nothing surges");
    }

    #[test]
    fn warm_instances_that_leave_cold_ones_alone_are_found_with_the_time_to_wait() {
        let Answer::Found(findings) = check(&rolled(935, 50).facts()) else { panic!("found") };
        assert_eq!(findings.len(), 1, "{findings:?}");
        let cause = "10.0.0.2:80 left while 1 of 1 remaining instance were still warming up: each had to take 5.0 times its place on the curve";
        assert_eq!(findings[0].cause, cause);
        assert!(
            findings[0].remedy.contains("minReadySeconds above the warm-up of 1 min 40 s (say 112)"),
            "{findings:?}"
        );
        assert_eq!(findings[0].evidence[0], "places on the curve: 10.0.0.3:80 (20 %)");
    }
}
