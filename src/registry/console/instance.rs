//! One instance: how it stands, why it is still listed, its traffic, and its life.

use super::chart::Chart;
use super::frame::Tab;
use super::links;
use super::moment::{Now, clock, clock_of_second, stamp};
use super::page::{Asked, Console, View};
use super::traffic::Picture;
use super::viewer::Viewer;
use crate::model::{InstanceKey, ServiceKey};
use crate::registry::error::Refusal;
use crate::registry::hub::{EventLine, InstanceStanding, Publisher, Source, TrafficLines};
use askama::Template;
use serde::Serialize;

/// Events on the page: all that are kept of one instance.
const EVENTS_MAX: usize = 200;
/// Characters of a value of metadata on the page: whoever wants all of it asks for JSON.
const VALUE_CHARS_MAX: usize = 2_000;

/// The page of an instance, listed or not.
#[derive(Serialize, Template)]
#[template(path = "instance.html")]
pub(super) struct InstancePage {
    namespace: String,
    group: String,
    service: String,
    ip: String,
    port: u16,
    cluster: String,
    /// Nothing of one that is not listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    standing: Option<InstanceStanding>,
    traffic: TrafficLines,
    events: Vec<EventLine>,
    #[serde(skip)]
    chart: Chart,
    #[serde(skip)]
    others: usize,
    #[serde(skip)]
    key: ServiceKey,
    #[serde(skip)]
    viewer: Viewer,
    #[serde(skip)]
    now: Now,
}

impl View for InstancePage {
    const PATH: &'static str = "/console/instance";
    const TAB: Tab = Tab::Services;

    fn of(console: &Console, asked: &Asked) -> Result<Self, Refusal> {
        let (key, instance): (ServiceKey, InstanceKey) = (asked.form.service()?, asked.form.instance_key()?);
        let standing = console.hub.instance_display(&key, &instance);
        let events = console.hub.event_lines(&key, |of| *of == instance, 0, EVENTS_MAX);
        if standing.is_none() && events.is_empty() {
            return Err(Refusal::NotFound);
        }
        let Picture { chart, others, traffic } = Picture::of_instance(&console.hub, &key, &instance);
        Ok(Self {
            namespace: key.namespace.to_string(),
            group: key.group.to_string(),
            service: key.name.to_string(),
            ip: instance.address.host().to_owned(),
            port: instance.address.port(),
            cluster: instance.cluster.to_string(),
            standing,
            traffic,
            events,
            chart,
            others,
            viewer: asked.viewer.clone(),
            now: Now(console.hub.now()),
            key,
        })
    }

    fn title(&self) -> String {
        format!("{}:{} of {}", self.ip, self.port, self.service)
    }
}

/// The beginning of a value that may be long.
fn cut(value: &str) -> (&str, bool) {
    let end = value.char_indices().nth(VALUE_CHARS_MAX).map_or(value.len(), |(at, _)| at);
    (&value[..end], end < value.len())
}
