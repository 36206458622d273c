//! The numbers of a provider of one service.

use super::sink::SeriesOf;
use super::{Youngest, family};
use crate::model::{Phase, ServiceKey, UnixMillis};
use crate::observe::{
    Gauge as Watched, NoticeResult, Observer, Outcome, ProviderEvent, ProviderReading, Reading,
};
use metrics::{Counter, Gauge};
use std::fmt;
use std::sync::Weak;

/// The handles, each looked up once.
pub(super) struct ProviderSeries {
    requests: Vec<Counter>,
    phases: Vec<Gauge>,
    in_flight: Gauge,
    warm_up: Gauge,
    drain_duration: Gauge,
    drain_abandoned: Counter,
    notices: Vec<Counter>,
    process: Youngest,
}

impl ProviderSeries {
    pub(super) fn new(series: &SeriesOf<'_>) -> Self {
        Self {
            requests: series.counters(&family::REQUESTS, Outcome::WORDS),
            phases: series.gauges(&family::PHASE, &Phase::ALL.map(Phase::as_str)),
            in_flight: series.gauge(&family::IN_FLIGHT),
            warm_up: series.gauge(&family::WARM_UP),
            drain_duration: series.gauge(&family::DRAIN_DURATION),
            drain_abandoned: series.counter(&family::DRAIN_ABANDONED),
            notices: series.counters(&family::NOTICES, NoticeResult::WORDS),
            process: Youngest::default(),
        }
    }

    pub(super) fn refresh(&self) {
        let reading = self.process.get().map(|process| process.read());
        let Some(Reading::Provider(ProviderReading { phase, in_flight, warm_up, leaving, .. })) = reading
        else {
            return;
        };
        self.enter(phase);
        self.in_flight.set(in_flight as f64);
        self.warm_up.set(warm_up);
        self.drain_duration.set(leaving.unwrap_or_default().as_secs_f64());
    }

    fn enter(&self, phase: Phase) {
        for (one, gauge) in Phase::ALL.iter().zip(&self.phases) {
            gauge.set(f64::from(u8::from(*one == phase)));
        }
    }
}

impl Observer for ProviderSeries {
    fn answered(&self, outcome: Outcome) {
        self.requests[outcome as usize].increment(1);
    }

    fn provider(&self, _: &ServiceKey, _: UnixMillis, event: &ProviderEvent<'_>) {
        match *event {
            ProviderEvent::Notified { result, .. } => self.notices[result as usize].increment(1),
            ProviderEvent::Drained { abandoned, .. } => self.drain_abandoned.increment(abandoned),
            ProviderEvent::Registered { .. }
            | ProviderEvent::Serving
            | ProviderEvent::WarmUpStarted { .. }
            | ProviderEvent::SettingChanged { .. }
            | ProviderEvent::WarmUpFinished { .. }
            | ProviderEvent::Leaving { .. }
            | ProviderEvent::Deregistered { .. }
            | ProviderEvent::NotDeregistered { .. }
            | ProviderEvent::CalledLate { .. }
            | ProviderEvent::ReadinessWaits { .. }
            | ProviderEvent::HeldUp { .. }
            | ProviderEvent::Stopped { .. } => {}
        }
        self.refresh(); // A recorder that nobody reads through us learns of each step, of the last one too.
    }

    fn follow(&self, gauge: Weak<dyn Watched>) {
        self.process.follow(gauge);
        self.refresh();
    }
}

impl fmt::Debug for ProviderSeries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProviderSeries")
    }
}
