//! A service: its instances in four columns, who follows it, and who has gone.

#![expect(clippy::trivially_copy_pass_by_ref, reason = "templates hand over references")]

use super::chart::Chart;
use super::frame::Tab;
use super::links;
use super::moment::{Now, clock, clock_of_second, span, stamp};
use super::page::{Asked, Console, View};
use super::traffic::Picture;
use super::viewer::Viewer;
use crate::model::ServiceKey;
use crate::registry::error::Refusal;
use crate::registry::hub::{DeedLine, Followers, Publisher, ServiceDisplay, Source, TrafficLines};
use crate::registry::query::Page;
use askama::Template;
use serde::Serialize;

/// Deeds on a page: those of the last release or two.
const DEEDS_SHOWN: usize = 20;
/// Instances on a page.
const PAGE_SIZE: usize = 100;

/// The page of a service.
#[derive(Serialize, Template)]
#[template(path = "service.html")]
pub(super) struct ServicePage {
    namespace: String,
    group: String,
    name: String,
    page: usize,
    pages: usize,
    #[serde(flatten)]
    service: ServiceDisplay,
    followers: Followers,
    /// Of those that are in the picture.
    traffic: TrafficLines,
    #[serde(skip)]
    chart: Chart,
    #[serde(skip)]
    others: usize,
    /// What operators have done to the service as a whole.
    deeds: Vec<DeedLine>,
    #[serde(skip)]
    key: ServiceKey,
    #[serde(skip)]
    viewer: Viewer,
    #[serde(skip)]
    now: Now,
}

impl View for ServicePage {
    const PATH: &'static str = "/console/service";
    const TAB: Tab = Tab::Services;

    fn of(console: &Console, asked: &Asked) -> Result<Self, Refusal> {
        let key = asked.form.service()?;
        let page = asked.form.count("pageNo")?.unwrap_or(1).max(1);
        let service = console.hub.service_display(&key, Page::new(page, PAGE_SIZE, PAGE_SIZE))?;
        let Picture { chart, others, traffic } = Picture::of_service(&console.hub, &key);
        Ok(Self {
            chart,
            others,
            traffic,
            namespace: key.namespace.to_string(),
            group: key.group.to_string(),
            name: key.name.to_string(),
            page,
            pages: service.tally.instances.div_ceil(PAGE_SIZE).max(1),
            service,
            followers: console.hub.subscribers(&key),
            deeds: console.hub.deed_lines(&key, DEEDS_SHOWN),
            viewer: asked.viewer.clone(),
            now: Now(console.hub.now()),
            key,
        })
    }

    fn title(&self) -> String {
        self.name.clone()
    }
}

impl ServicePage {
    fn link(&self, ip: &str, port: &u16, cluster: &str) -> String {
        links::instance(&self.key, ip, *port, cluster)
    }

    fn page_link(&self, page: usize) -> String {
        format!("{}&pageNo={page}", links::service(&self.key))
    }

    /// How many of those who follow are known to have the present list.
    fn current(&self) -> usize {
        let subscribers = self.followers.subscribers.iter().filter(|line| line.known.current).count();
        subscribers + self.followers.listeners.iter().filter(|line| line.known.current).count()
    }
}
