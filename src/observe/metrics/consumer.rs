//! The numbers of a consumer of one service.

use super::sink::SeriesOf;
use super::{Youngest, family};
use crate::model::ServiceKey;
use crate::observe::{
    AsideCause, Cause, ConsumerEvent, ConsumerReading, Gauge as Watched, Observer, Reading, State,
};
use metrics::{Counter, Gauge};
use std::fmt;
use std::sync::Weak;

/// The handles, each looked up once.
pub(super) struct ConsumerSeries {
    picks: Vec<Counter>,
    endpoints: Vec<Gauge>,
    put_aside: Vec<Counter>,
    retries: Vec<Counter>,
    snapshot_age: Gauge,
    registry_away: Gauge,
    amplification: Gauge,
    balancer: Youngest,
}

impl ConsumerSeries {
    pub(super) fn new(series: &SeriesOf<'_>) -> Self {
        Self {
            picks: series.counters(&family::PICKS, State::WORDS),
            endpoints: series.gauges(&family::ENDPOINTS, State::WORDS),
            put_aside: series.counters(&family::PUT_ASIDE, AsideCause::WORDS),
            retries: series.counters(&family::RETRIES, Cause::WORDS),
            snapshot_age: series.gauge(&family::SNAPSHOT_AGE),
            registry_away: series.gauge(&family::REGISTRY_AWAY),
            amplification: series.gauge(&family::AMPLIFICATION),
            balancer: Youngest::default(),
        }
    }

    pub(super) fn refresh(&self) {
        let reading = self.balancer.get().map(|balancer| balancer.read());
        let Some(Reading::Consumer(reading)) = reading else { return };
        let ConsumerReading { endpoints, snapshot_age, registry_away, amplification } = reading;
        for (state, gauge) in State::ALL.iter().zip(&self.endpoints) {
            gauge.set(endpoints.iter().filter(|&one| one == state).count() as f64);
        }
        self.snapshot_age.set(snapshot_age.map_or(f64::NAN, |age| age.as_secs_f64()));
        self.registry_away.set(registry_away.as_secs_f64());
        self.amplification.set(amplification);
    }
}

impl Observer for ConsumerSeries {
    fn picked(&self, state: State) {
        self.picks[state as usize].increment(1);
    }

    fn consumer(&self, _: &ServiceKey, event: &ConsumerEvent<'_>) {
        match *event {
            ConsumerEvent::PutAside { cause, .. } => self.put_aside[cause as usize].increment(1),
            ConsumerEvent::Retried { cause, .. } => self.retries[cause as usize].increment(1),
            ConsumerEvent::AmplificationChanged { ratio } => self.amplification.set(ratio),
            ConsumerEvent::ListApplied { .. }
            | ConsumerEvent::Joined { .. }
            | ConsumerEvent::Gone { .. }
            | ConsumerEvent::Returned { .. }
            | ConsumerEvent::TagIgnored { .. }
            | ConsumerEvent::NoticeIgnored { .. }
            | ConsumerEvent::NotRetried { .. } => {}
        }
    }

    fn follow(&self, gauge: Weak<dyn Watched>) {
        self.balancer.follow(gauge);
        self.refresh();
    }
}

impl fmt::Debug for ConsumerSeries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConsumerSeries")
    }
}
