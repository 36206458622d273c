//! Who is connected, as far as whoever looks may see it.

use super::frame::Tab;
use super::moment::{Now, stamp};
use super::page::{Asked, Console, View};
use super::viewer::Viewer;
use crate::registry::error::Refusal;
use crate::registry::hub::ClientLine;
use crate::registry::query::Page;
use askama::Template;
use serde::Serialize;

/// Clients on a page.
const PAGE_SIZE: usize = 100;

/// The page of the clients.
#[derive(Serialize, Template)]
#[template(path = "clients.html")]
pub(super) struct ClientsPage {
    count: usize,
    page: usize,
    pages: usize,
    clients: Vec<ClientLine>,
    #[serde(skip)]
    viewer: Viewer,
    #[serde(skip)]
    now: Now,
}

impl View for ClientsPage {
    const PATH: &'static str = "/console/clients";
    const TAB: Tab = Tab::Clients;

    fn of(console: &Console, asked: &Asked) -> Result<Self, Refusal> {
        let page = asked.form.count("pageNo")?.unwrap_or(1).max(1);
        let (count, clients) =
            console.hub.client_lines(Page::new(page, PAGE_SIZE, PAGE_SIZE), &asked.viewer.sight()?);
        let (pages, now) = (count.div_ceil(PAGE_SIZE).max(1), Now(console.hub.now()));
        Ok(Self { count, page, pages, clients, viewer: asked.viewer.clone(), now })
    }

    fn title(&self) -> String {
        "Clients".to_owned()
    }
}

#[expect(clippy::unused_self, reason = "the pager's template asks the page for links")]
impl ClientsPage {
    fn page_link(&self, page: usize) -> String {
        format!("{}?pageNo={page}", Self::PATH)
    }
}
