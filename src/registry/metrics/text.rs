//! The numbers as Prometheus reads them.

use super::super::bound::Bound;
use super::super::grpc::KINDS;
use super::super::http::apis;
use super::{Meter, Metrics, Phase, Phases};
use crate::registry::hub::{Counts, Recordings};
use std::fmt::{self, Display, Write};
use std::sync::atomic::Ordering::Relaxed;

/// How much of everything there is at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) counts: Counts,
    pub(crate) phases: Phases,
    /// Lists that were sent and not yet acknowledged.
    pub(crate) unacknowledged: usize,
    pub(crate) recordings: Recordings,
}

/// The label of requests for which there is no API.
const UNKNOWN: &str = "unknown";

impl Metrics {
    /// All of them as text.
    pub(crate) fn text(&self, standing: &Standing) -> String {
        let mut text = String::new();
        // Text takes whatever is written into it.
        let _ = self.write(&mut text, standing);
        text
    }

    fn write(&self, out: &mut String, standing: &Standing) -> fmt::Result {
        let Standing { counts, phases, unacknowledged, recordings } = standing;
        head(
            out,
            "registry_instances",
            "gauge",
            "Instances, by the first reason why they get less traffic than their part.",
        )?;
        for phase in Phase::ALL {
            writeln!(out, r#"registry_instances{{phase="{}"}} {}"#, phase.as_str(), phases.of(phase))?;
        }
        one(out, "registry_services", "gauge", "Services that are found by name.", counts.services)?;
        one(
            out,
            "registry_connections",
            "gauge",
            "Clients that are connected over gRPC.",
            counts.connections,
        )?;
        one(out, "registry_leases", "gauge", "Instances that heartbeats keep.", counts.leases)?;
        one(out, "registry_subscribers", "gauge", "Subscriptions of services.", counts.subscriptions)?;
        one(
            out,
            "registry_push_unacknowledged",
            "gauge",
            "Lists that were sent to subscribers and not yet acknowledged.",
            unacknowledged,
        )?;
        head(
            out,
            "registry_push_duration_seconds",
            "histogram",
            "From sending a list to its acknowledgement.",
        )?;
        self.pushes.write(out, "registry_push_duration_seconds", "")?;
        head(
            out,
            "registry_expired_total",
            "counter",
            "Instances that went without an order, by what ended.",
        )?;
        for (reason, count) in [("expired", &self.expired), ("connection-lost", &self.connections_lost)] {
            writeln!(out, r#"registry_expired_total{{reason="{reason}"}} {}"#, count.load(Relaxed))?;
        }
        let revision = self.revision.load(Relaxed);
        one(
            out,
            "registry_revision",
            "gauge",
            "Moment of the newest change, in milliseconds since 1970; 0 before.",
            revision,
        )?;
        let available = u8::from(self.store_is_available());
        one(
            out,
            "registry_store_available",
            "gauge",
            "1 unless the last change that was to be stored was not.",
            available,
        )?;
        one(
            out,
            "registry_traffic_seconds",
            "gauge",
            "Seconds of traffic that instances have reported and that are kept, of 500 000 at most.",
            recordings.seconds,
        )?;
        one(
            out,
            "registry_events",
            "gauge",
            "Events of instances that are kept, of 50 000 at most.",
            recordings.events,
        )?;
        let under_way = self.under_way.load(Relaxed);
        one(
            out,
            "registry_requests_in_flight",
            "gauge",
            "Requests under way, over HTTP and gRPC.",
            under_way,
        )?;
        head(
            out,
            "registry_refused_total",
            "counter",
            "Connections, requests and changes that were refused because a bound was reached.",
        )?;
        for bound in Bound::ALL {
            let count = self.refused(bound);
            writeln!(out, r#"registry_refused_total{{bound="{}"}} {count}"#, bound.as_str())?;
        }
        self.write_requests(out)
    }

    /// The series of APIs that somebody has called.
    fn write_requests(&self, out: &mut String) -> fmt::Result {
        let http = apis().map(|(method, path)| format!("{method} {path}")).chain([format!("{UNKNOWN} http")]);
        let grpc = KINDS.into_iter().map(str::to_owned).chain([format!("{UNKNOWN} grpc")]);
        let called = http.zip(&self.http).chain(grpc.zip(&self.grpc));
        let called: Vec<(String, &Meter)> = called.filter(|(_, meter)| !meter.durations.is_empty()).collect();
        let name = "registry_request_duration_seconds";
        head(out, name, "histogram", "Time to answer a request, by API.")?;
        for (api, meter) in &called {
            meter.durations.write(out, name, &format!(r#"api="{api}""#))?;
        }
        head(
            out,
            "registry_requests_failed_total",
            "counter",
            "Requests that were answered with a failure, by API.",
        )?;
        for (api, meter) in called {
            writeln!(
                out,
                r#"registry_requests_failed_total{{api="{api}"}} {}"#,
                meter.failures.load(Relaxed)
            )?;
        }
        Ok(())
    }
}

fn head(out: &mut String, name: &str, kind: &str, about: &str) -> fmt::Result {
    writeln!(out, "# HELP {name} {about}\n# TYPE {name} {kind}")
}

fn one(out: &mut String, name: &str, kind: &str, about: &str, value: impl Display) -> fmt::Result {
    head(out, name, kind, about)?;
    writeln!(out, "{name} {value}")
}
