//! The traffic of a service's instances as a picture, out of what the hub tells of it.

use super::chart::{Chart, Event, LINES_MAX, Series};
use crate::model::{Address, InstanceKey, ServiceKey};
use crate::registry::hub::{EventLine, Hub, TrafficLine, TrafficLines};
use std::collections::BTreeSet;

/// Seconds that a picture shows: as many as are kept, but for the last ones.
const WIDTH: u64 = 300;
/// How long a second is over before it is drawn: until then its report may be under way.
const LAG: u64 = 2;
/// Events that are looked at for a picture.
const EVENTS_MAX: usize = 400;
/// What is marked in a picture: what changes how much traffic an instance gets.
const MARKED: [&str; 8] = [
    "came",
    "went",
    "warm-up-started",
    "leaving",
    "offline-ordered",
    "disabled",
    "became-unhealthy",
    "became-healthy",
];

/// The traffic of the instances of a service that say most.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) chart: Chart,
    /// Instances that have reported and are not in it.
    pub(super) others: usize,
    /// What it is made of.
    pub(super) traffic: TrafficLines,
}

impl Picture {
    /// Of a whole service.
    pub(super) fn of_service(hub: &Hub, service: &ServiceKey) -> Self {
        let (count, telling) = hub.telling(service, LINES_MAX);
        let others = count - telling.len();
        Self { others, ..Self::of(hub, service, &telling, |_| true) }
    }

    /// Of one instance.
    pub(super) fn of_instance(hub: &Hub, service: &ServiceKey, key: &InstanceKey) -> Self {
        Self::of(hub, service, std::slice::from_ref(key), |of| of == key)
    }

    /// Of those that are `shown`, in this order, with the events of those that are `wanted`.
    fn of(
        hub: &Hub,
        service: &ServiceKey,
        shown: &[InstanceKey],
        wanted: impl Fn(&InstanceKey) -> bool,
    ) -> Self {
        let known: BTreeSet<&InstanceKey> = shown.iter().collect();
        let mut traffic = hub.traffic(service, |key| known.contains(key), u64::MAX);
        let place = |line: &TrafficLine| shown.iter().position(|key| is_of(key, line));
        traffic.instances.sort_by_key(place);
        let until = (hub.now().as_u64() / 1000).saturating_sub(LAG);
        let series: Vec<Series> = traffic.instances.iter().map(series).collect();
        let events = hub.event_lines(service, wanted, 0, EVENTS_MAX).iter().filter_map(event).collect();
        let chart = Chart::draw(&series, events, until.saturating_sub(WIDTH), until);
        Self { chart, others: 0, traffic }
    }
}

fn is_of(key: &InstanceKey, line: &TrafficLine) -> bool {
    key.address.host() == line.ip && key.address.port() == line.port && key.cluster.as_str() == line.cluster
}

fn series(line: &TrafficLine) -> Series {
    Series {
        name: name(&line.ip, line.port),
        measured: line.seconds.iter().map(|second| (second.second, second.started() as f64)).collect(),
        ideal: line.ideal.clone(),
        until: line.reported,
        ended: line.left.is_some(),
    }
}

/// What is marked of an event, if anything.
fn event(line: &EventLine) -> Option<Event> {
    if !MARKED.contains(&&*line.event) || line.told_by == Some("consumer") {
        return None;
    }
    let reason = line.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
    Some(Event { at: line.at, name: name(&line.ip, line.port), what: format!("{}{reason}", line.event) })
}

/// An address as people write it.
fn name(ip: &str, port: u16) -> String {
    Address::new(ip, port).map_or_else(|_| format!("{ip}:{port}"), |address| address.to_string())
}
