//! The registry itself: whether it takes changes, how much it holds, and within which bounds.

use super::frame::Tab;
use super::live::STREAMS_MAX;
use super::moment::stamp;
use super::page::{Asked, Console, View};
use crate::registry::error::Refusal;
use crate::registry::events::EVENTS_MAX;
use crate::registry::hub::Whereabouts;
use crate::registry::traffic::{KEPT_SECONDS, SECONDS_MAX};
use askama::Template;
use serde::Serialize;

/// The page of the registry itself.
#[derive(Serialize, Template)]
#[template(path = "settings.html")]
pub(super) struct SettingsPage {
    version: &'static str,
    /// Milliseconds since 1970, by the registry's clock.
    now: u64,
    /// Nothing of a registry without ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<Whereabouts>,
    /// Whether every change that was asked for is stored.
    settled: bool,
    /// Nothing while changes are taken.
    unready: Option<String>,
    /// Whether whoever asks must be known.
    asks: bool,
    holds: Vec<Held>,
    bounds: Vec<Bounded>,
}

/// How much there is of something.
#[derive(Debug, Serialize)]
struct Held {
    what: &'static str,
    count: usize,
    /// At most.
    #[serde(skip_serializing_if = "Option::is_none")]
    most: Option<usize>,
}

/// A bound that whoever starts the registry may set.
#[derive(Debug, Serialize)]
struct Bounded {
    setting: &'static str,
    most: usize,
    unit: &'static str,
}

impl View for SettingsPage {
    const PATH: &'static str = "/console/settings";
    const TAB: Tab = Tab::Settings;

    fn of(console: &Console, _: &Asked) -> Result<Self, Refusal> {
        let hub = &console.hub;
        let (counts, recordings, limits) = (hub.counts(), hub.recordings(), hub.limits());
        let held = |what, count| Held { what, count, most: None };
        let allowance = hub.allowance();
        let bounded = |setting, most, unit| Bounded { setting, most, unit };
        Ok(Self {
            version: env!("CARGO_PKG_VERSION"),
            now: hub.now().as_u64(),
            place: hub.whereabouts().cloned(),
            settled: hub.is_settled(),
            unready: hub.readiness().err().map(|why| why.to_string()),
            asks: console.access.asks(),
            holds: vec![
                held("services", counts.services),
                Held { most: Some(limits.instances_max), ..held("instances", counts.instances) },
                held("of them on disk, persistent", hub.persistent_len()),
                held("connections over gRPC", counts.connections),
                held("subscriptions", counts.subscriptions),
                held("instances that heartbeats keep alive", counts.leases),
                Held { most: Some(EVENTS_MAX), ..held("events", recordings.events) },
                Held { most: Some(SECONDS_MAX), ..held("seconds of traffic", recordings.seconds) },
                Held { most: Some(STREAMS_MAX), ..held("pages that are followed", console.followed()) },
            ],
            bounds: vec![
                bounded("instances-max", limits.instances_max, "instances in all"),
                bounded(
                    "instances-per-service-max",
                    allowance.instances_per_service,
                    "instances of a service",
                ),
                bounded(
                    "instances-per-client-max",
                    allowance.instances_per_client,
                    "instances of a connection",
                ),
                bounded("services-per-client-max", allowance.services_per_client, "services of a connection"),
                bounded("metadata-chars-max", limits.metadata_chars_max, "characters of metadata"),
                bounded("name-bytes-max", allowance.names.bytes_max, "bytes of a name"),
                bounded("body-bytes-max", allowance.body_bytes, "bytes of a body over HTTP"),
                bounded("message-bytes-max", allowance.message_bytes, "bytes of a message over gRPC"),
                bounded("requests-max", allowance.requests, "requests under way"),
            ],
        })
    }

    fn title(&self) -> String {
        "Settings".to_owned()
    }
}
