//! All services of a namespace, those with problems first.

use super::frame::Tab;
use super::links;
use super::page::{Asked, Console, View};
use super::viewer::Viewer;
use crate::model::{Group, Namespace, ServiceKey, ServiceName};
use crate::registry::error::Refusal;
use crate::registry::hub::{Overview, ServiceStanding};
use crate::registry::query::{Page, Search};
use askama::Template;
use serde::Serialize;

/// Services on a page: what one can look through, and far below 200 kilobytes.
const PAGE_SIZE: usize = 50;

/// The first page.
#[derive(Debug, Serialize, Template)]
#[template(path = "overview.html")]
pub(super) struct OverviewPage {
    namespace: String,
    search: String,
    page: usize,
    pages: usize,
    #[serde(flatten)]
    overview: Overview,
    #[serde(skip)]
    key: Namespace,
    #[serde(skip)]
    viewer: Viewer,
}

impl View for OverviewPage {
    const PATH: &'static str = "/console";
    const TAB: Tab = Tab::Services;

    fn of(console: &Console, asked: &Asked) -> Result<Self, Refusal> {
        let key = asked.form.namespace()?;
        let search = asked.form.text("search").unwrap_or_default().to_owned();
        let page = asked.form.count("pageNo")?.unwrap_or(1).max(1);
        let wanted = Search { name: search.clone(), ..Search::default() };
        let overview = console.hub.overview(&key, &wanted, Page::new(page, PAGE_SIZE, PAGE_SIZE));
        let pages = overview.count.div_ceil(PAGE_SIZE).max(1);
        let viewer = asked.viewer.clone();
        Ok(Self { namespace: key.to_string(), search, page, pages, overview, key, viewer })
    }

    fn title(&self) -> String {
        "Services".to_owned()
    }
}

impl OverviewPage {
    fn link(&self, service: &ServiceStanding) -> String {
        let key = (Group::new(&service.group), ServiceName::new(&service.name));
        let (Ok(group), Ok(name)) = key else { return links::overview(&self.key) };
        links::service(&ServiceKey { namespace: self.key.clone(), group, name })
    }

    fn page_link(&self, page: usize) -> String {
        format!("{}&search={}&pageNo={page}", links::overview(&self.key), links::Encoded(&self.search))
    }
}
