//! What stands around every page: where one is, who looks, and of when it is.

use super::assets::DIGEST;
use super::clients::ClientsPage;
use super::links::{self, Encoded};
use super::moment::{Clock, Stamp};
use super::page::{Asked, Console, View};
use super::session;
use super::settings::SettingsPage;
use super::viewer::Viewer;
use crate::model::Namespace;
use crate::registry::access::random;
use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use http::header::{CONTENT_SECURITY_POLICY, HOST, REFERRER_POLICY, SET_COOKIE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode};

/// Where a page is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tab {
    Services,
    Clients,
    Settings,
    /// Nowhere.
    None,
}

/// The frame of a page.
#[derive(Template)]
#[template(path = "frame.html")]
pub(super) struct Frame<'a> {
    title: String,
    tabs: Vec<TabLine>,
    namespaces: Vec<(String, bool)>,
    viewer: &'a Viewer,
    /// Whether it is sent anew when it changes.
    live: bool,
    at: Clock,
    stamp: Stamp,
    digest: u64,
    nonce: String,
    /// The command by which a program gets the same.
    curl: String,
    version: &'static str,
    /// Already escaped, by its own template.
    main: &'a str,
    /// What the last form did.
    said: Option<String>,
}

/// A tab of the navigation.
struct TabLine {
    name: &'static str,
    link: String,
    current: bool,
}

impl<'a> Frame<'a> {
    /// `main`, which is HTML, as a whole page.
    pub(super) fn around(
        main: &'a str,
        title: String,
        tab: Tab,
        console: &Console,
        asked: &'a Asked,
    ) -> Response {
        let Ok(random) = random::<16>() else {
            return (StatusCode::SERVICE_UNAVAILABLE, "the system has no random numbers\n").into_response();
        };
        let nonce = format!("{:032x}", u128::from_ne_bytes(random));
        let namespace = asked.form.namespace().unwrap_or_default();
        let now = console.hub.now().as_u64();
        let said = session::said(&asked.uri, &asked.headers, console.access.speaks_tls());
        let (said, told) = said.unzip();
        let frame = Self {
            title,
            tabs: tabs(tab, &namespace, &asked.viewer),
            namespaces: namespaces(console, &asked.viewer, &namespace),
            viewer: &asked.viewer,
            live: tab != Tab::None,
            at: Clock(now),
            stamp: Stamp(now),
            digest: DIGEST,
            curl: curl(console, asked),
            version: env!("CARGO_PKG_VERSION"),
            main,
            said,
            nonce,
        };
        let page = match frame.render() {
            Ok(page) => Html(page).into_response(),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        };
        let mut page = guarded(page, &frame.nonce);
        if let Some(told) = told {
            page.headers_mut().append(SET_COOKIE, told);
        }
        page
    }
}

/// Lets the page do nothing but what it was written to do.
fn guarded(mut page: Response, nonce: &str) -> Response {
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; \
         img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    let headers = page.headers_mut();
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Not `no-referrer`: forms would not say that they come from here.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    page
}

/// The tabs that somebody may open.
fn tabs(current: Tab, namespace: &Namespace, viewer: &Viewer) -> Vec<TabLine> {
    let of_namespace = |path: &str| format!("{path}?namespaceId={}", Encoded(namespace.as_str()));
    let tabs = [
        ("Services", Tab::Services, links::overview(namespace)),
        ("Clients", Tab::Clients, of_namespace(ClientsPage::PATH)),
        ("Settings", Tab::Settings, of_namespace(SettingsPage::PATH)),
    ];
    let open = tabs.into_iter().filter(|(_, tab, _)| *tab != Tab::Settings || viewer.may_read_everywhere());
    open.map(|(name, tab, link)| TabLine { name, link, current: tab == current }).collect()
}

/// The namespaces that somebody may look at, each with whether it is the present one.
fn namespaces(console: &Console, viewer: &Viewer, present: &Namespace) -> Vec<(String, bool)> {
    let all = console.hub.namespaces().into_iter().filter(|namespace| viewer.may_read(namespace));
    all.map(|namespace| (namespace.to_string(), namespace == *present)).collect()
}

/// The command, with nothing in it that a shell would take for more than a word.
fn curl(console: &Console, asked: &Asked) -> String {
    let host = asked.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    let host = if host.is_empty() || !host.bytes().all(plain) { "127.0.0.1:8848" } else { host };
    let path = asked.uri.path_and_query().map_or("/console", |path| path.as_str()).replace('\'', "%27");
    let token = if console.access.asks() { " -H \"Authorization: Bearer $TOKEN\"" } else { "" };
    format!("curl -H 'Accept: application/json'{token} 'http://{host}{path}'")
}
