//! The metrics by name: the table of `docs/metrics.md`.

use metrics::{Recorder, Unit};

/// One metric: its name and what it says. Every one has the label `service`.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    unit: Unit,
    /// Its label beside `service`.
    pub(super) label: Option<&'static str>,
    meaning: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
}

const fn counter(name: &'static str, label: Option<&'static str>, meaning: &'static str) -> Family {
    Family { name, kind: Kind::Counter, unit: Unit::Count, label, meaning }
}

const fn gauge(name: &'static str, unit: Unit, label: Option<&'static str>, meaning: &'static str) -> Family {
    Family { name, kind: Kind::Gauge, unit, label, meaning }
}

pub(super) const ENDPOINTS: Family =
    gauge("graceful_endpoints", Unit::Count, Some("state"), "Listed instances, by how they stand.");
pub(super) const PICKS: Family = counter(
    "graceful_picks_total",
    Some("state"),
    "Choices of an instance, by how it stood; a retry is another choice.",
);
pub(super) const PUT_ASIDE: Family = counter(
    "graceful_put_aside_total",
    Some("cause"),
    "Instances put aside, by what told: their answer (tag), their notice, or that nobody could connect.",
);
pub(super) const RETRIES: Family = counter(
    "graceful_retries_total",
    Some("cause"),
    "Requests sent to another instance, by what they had failed of.",
);
pub(super) const SNAPSHOT_AGE: Family = gauge(
    "graceful_snapshot_age_seconds",
    Unit::Seconds,
    None,
    "Time since the newest list came, NaN until one has. It grows while nothing changes.",
);
pub(super) const REGISTRY_AWAY: Family = gauge(
    "graceful_registry_away_seconds",
    Unit::Seconds,
    None,
    "Time for which the registry that the lists come from has been away, 0 while it is there: what changes meanwhile is not learned.",
);
pub(super) const AMPLIFICATION: Family = gauge(
    "graceful_amplification_ratio",
    Unit::Count,
    None,
    "How many times its load before a warm instance gets while others have gone and their successors ramp.",
);
pub(super) const PHASE: Family =
    gauge("graceful_phase", Unit::Count, Some("phase"), "1 for the phase that the provider is in, else 0.");
pub(super) const IN_FLIGHT: Family =
    gauge("graceful_inflight_requests", Unit::Count, None, "Requests under way, without probes.");
pub(super) const REQUESTS: Family = counter(
    "graceful_requests_total",
    Some("outcome"),
    "Requests, without probes: served, refused, or served although this instance had said that it leaves.",
);
pub(super) const WARM_UP: Family = gauge(
    "graceful_warmup_ratio",
    Unit::Count,
    None,
    "The part of its weight that the provider takes, by its own curve: 1 when warm.",
);
pub(super) const DRAIN_DURATION: Family = gauge(
    "graceful_drain_duration_seconds",
    Unit::Seconds,
    None,
    "Time since the provider began to leave; stands still once it has drained. 0 before.",
);
pub(super) const DRAIN_ABANDONED: Family =
    counter("graceful_drain_abandoned_total", None, "Requests that were under way when time was up.");
pub(super) const NOTICES: Family = counter(
    "graceful_notices_total",
    Some("result"),
    "Notices sent to recent callers on the way out, by what came of them.",
);

pub(super) const ALL: [&Family; 14] = [
    &ENDPOINTS,
    &PICKS,
    &PUT_ASIDE,
    &RETRIES,
    &SNAPSHOT_AGE,
    &REGISTRY_AWAY,
    &AMPLIFICATION,
    &PHASE,
    &IN_FLIGHT,
    &REQUESTS,
    &WARM_UP,
    &DRAIN_DURATION,
    &DRAIN_ABANDONED,
    &NOTICES,
];

impl Family {
    pub(super) fn describe(&self, recorder: &dyn Recorder) {
        let (name, unit, meaning) = (self.name.into(), Some(self.unit), self.meaning.into());
        match self.kind {
            Kind::Counter => recorder.describe_counter(name, unit, meaning),
            Kind::Gauge => recorder.describe_gauge(name, unit, meaning),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_table_is_this_one() {
        let documented = include_str!("../../../docs/metrics.md");
        let mut written = Vec::new();
        for Family { name, kind, label, meaning, .. } in ALL {
            let kind = format!("{kind:?}").to_lowercase();
            let labels = label.map_or("`service`".to_owned(), |label| format!("`service`, `{label}`"));
            written.push(format!("| `{name}` | {kind} | {labels} | {meaning} |"));
        }
        let rows: Vec<_> = documented.lines().filter(|line| line.starts_with("| `graceful_")).collect();
        assert_eq!(rows, written);
    }
}
