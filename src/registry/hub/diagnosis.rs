//! What a diagnosis is made of, taken under one lock; it is made without.

use super::explain::flags;
use super::{Asker, Command, Hub, State};
use crate::model::{InstanceKey, ServiceKey, UnixMillis};
use crate::naming::Causes;
use crate::registry::access::Sight;
use crate::registry::diagnosis::{
    Diagnosis, Facts, Listed, Measured, REFUSED, Seen, Subject, diagnose, lives,
};
use crate::registry::error::Refusal;
use crate::registry::events::{Recorded, Told, What};
use crate::registry::traffic::{KEPT_SECONDS, Series};
use crate::registry::verdict::Left;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Services of the same name elsewhere that are named.
const NAMESAKES_MAX: usize = 5;

impl Hub {
    /// What went wrong with the starts, releases and shutdowns of a service over the last `period`; services of
    /// other namespaces are named where whoever asks may see them.
    pub(crate) fn diagnosis(&self, service: &ServiceKey, period: Duration, sight: &Sight) -> Diagnosis {
        diagnose(&self.facts(service, period, sight))
    }

    fn facts(&self, service: &ServiceKey, period: Duration, sight: &Sight) -> Facts {
        let (mut state, now) = (self.state(), self.now());
        let period_ms = u64::try_from(period.as_millis()).unwrap_or(u64::MAX);
        let list = state.catalog.snapshot(service);
        let events = state.events.of(service, |_| true, 0, usize::MAX);
        let mut known: BTreeMap<&InstanceKey, Vec<&Recorded>> = BTreeMap::new();
        for (_, event) in events.into_iter().rev() {
            known.entry(&event.instance).or_default().push(event);
        }
        let mut traffic: BTreeMap<&InstanceKey, &Series> = state.traffic.of(service).collect();
        let keys: BTreeSet<&InstanceKey> = (list.instances().iter().map(|listed| &listed.key))
            .chain(known.keys().copied())
            .chain(traffic.keys().copied())
            .collect();
        let subject = |key: &InstanceKey| {
            let events = known.remove(key).unwrap_or_default();
            let left = Left::read(events.iter().copied());
            Subject {
                key: key.clone(),
                listed: list.get(key).map(|instance| {
                    let publishers = state.keepers(service, key);
                    let flags = flags(instance.address().host(), &publishers, now);
                    Listed { instance: instance.clone(), publishers, flags }
                }),
                lives: lives(events.iter().copied()),
                seen: events.iter().filter_map(|event| Seen::read(event)).collect(),
                traffic: traffic.remove(key).map(|series| measured(series, left, now)),
            }
        };
        let subjects: Vec<Subject> = keys.into_iter().map(subject).collect();
        let totals = state.traffic.totals(service, (now.as_u64() / 1000).saturating_sub(KEPT_SECONDS));
        let namesakes = if subjects.is_empty() { state.namesakes(service, sight) } else { Vec::new() };
        Facts {
            service: service.clone(),
            now,
            since: UnixMillis::new(now.as_u64().saturating_sub(period_ms)),
            protect_threshold: state.catalog.view(service, now).protect_threshold,
            subjects,
            followers: state.followers_of(service),
            namesakes,
            totals,
        }
    }
}

impl State {
    /// Writes down that a registration was refused: whoever waits for the instance will ask why. Said again
    /// and again, it is one event.
    pub(super) fn record_refusal(
        &mut self,
        command: &Command,
        asker: Option<&Asker>,
        refusal: &Refusal,
        now: UnixMillis,
    ) {
        let Command::Publish { service, instances, .. } = command else { return };
        // Those are no words about what was to be registered.
        if matches!(refusal, Refusal::Unregistered | Refusal::Closing) {
            return;
        }
        let told = Told::new(None, REFUSED.to_owned(), &Causes(refusal).to_string());
        let (Some(instance), Some(told)) = (instances.first(), told) else { return };
        let what = What::Told(Arc::new(told));
        let last = self.events.of_instance(service, &instance.key).last();
        if last.is_none_or(|(_, last)| last.what != what) {
            let by = self.by(command, asker);
            let event = Recorded { at: now, instance: instance.key.clone(), what, by, list: 0 };
            self.events.record(service, event);
        }
    }

    /// Services of the same name in other namespaces and groups that have instances.
    fn namesakes(&self, service: &ServiceKey, sight: &Sight) -> Vec<ServiceKey> {
        let all = self
            .catalog
            .namespaces()
            .filter(|namespace| sight.sees(namespace))
            .flat_map(|namespace| self.catalog.of_namespace(namespace));
        let alike = all.filter(|other| other.name == service.name && other != service);
        alike.filter(|other| self.catalog.has_instances(other)).take(NAMESAKES_MAX).collect()
    }
}

fn measured(series: &Series, left: Option<Left>, now: UnixMillis) -> Measured {
    Measured {
        seconds: series.since(0).copied().collect(),
        in_flight: series.in_flight,
        reported: series.reported,
        ahead_ms: series.ahead_ms,
        member: series.member,
        late: series.late().to_vec(),
        left,
        verdict: series.verdict(left, now),
    }
}
