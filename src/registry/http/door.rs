//! What stands before every request over HTTP: it is done in the name of where it comes from, and where nobody is
//! asked who they are it is not done for a foreign page.
//!
//! A browser sends what any page wants to any address that its user reaches, a registry on this machine too. It
//! says with whatever may change something where that comes from, and programs say nothing of the kind: so only what
//! a browser sends is looked at. Foreign pages may also lead a name of theirs to the address of a registry: then
//! the name that the request was sent under is foreign.

use super::extract::Origin;
use super::measured::PROBES;
use crate::registry::access::{Access, ActingFrom, Whence, acting_from};
use axum::response::{IntoResponse, Response};
use http::header::{HOST, ORIGIN, USER_AGENT};
use http::uri::Authority;
use http::{HeaderMap, Request, StatusCode, Uri};
use pin_project_lite::pin_project;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower_service::Service;

/// What a browser says of where a request comes from, next to [`ORIGIN`].
pub(in crate::registry) const SITE: &str = "sec-fetch-site";
/// How every browser begins to say what it is.
const BROWSER: &[u8] = b"Mozilla/";
/// Characters of a name that nobody has checked.
const NAME_CHARS_MAX: usize = 32;
const FORGED: &str = "a browser sent this for a page of another site, and nobody is asked here who they are: \
                      nothing was changed\n";

/// The API as requests from one address have it.
#[derive(Clone, Debug)]
pub(in crate::registry) struct Door<S> {
    inner: S,
    access: Arc<Access>,
    ip: IpAddr,
}

impl<S> Door<S> {
    pub(super) fn new(inner: S, access: Arc<Access>, Origin(ip): Origin) -> Self {
        Self { inner, access, ip }
    }
}

impl<S, B> Service<Request<B>> for Door<S>
where
    S: Service<Request<B>, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if let Some(refusal) = refusal(&request, &self.access) {
            return ResponseFuture::Refused { refusal: Some(refusal) };
        }
        let whence = Whence { ip: self.ip, says: at_the_keyboard(request.headers()) };
        ResponseFuture::Admitted { inner: acting_from(whence, self.inner.call(request)) }
    }
}

pin_project! {
    /// Response future of [`Door`].
    #[project = ResponseFutureProjection]
    pub(in crate::registry) enum ResponseFuture<F> {
        Admitted { #[pin] inner: ActingFrom<F> },
        Refused { refusal: Option<Response> },
    }
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for ResponseFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            ResponseFutureProjection::Admitted { inner } => inner.poll(cx),
            ResponseFutureProjection::Refused { refusal } => {
                Poll::Ready(Ok(refusal.take().expect("nobody polls a future that has ended")))
            }
        }
    }
}

/// The answer to what a browser sends for a foreign page, where nobody is asked who they are. The console has a
/// door of its own behind this one.
fn refusal<B>(request: &Request<B>, access: &Access) -> Option<Response> {
    let (headers, path) = (request.headers(), request.uri().path());
    let agent = headers.get(USER_AGENT).map(http::HeaderValue::as_bytes);
    let has_site = headers.contains_key(ORIGIN) || headers.contains_key(SITE);
    let is_browser = has_site || agent.is_some_and(|agent| agent.starts_with(BROWSER));
    if !is_browser || path == "/" || path.starts_with("/console") || access.asks() {
        return None;
    }
    let host = host(request.uri(), headers);
    let changes = !request.method().is_safe();
    if changes && is_foreign(host, headers) {
        return Some((StatusCode::FORBIDDEN, FORGED).into_response());
    }
    let is_probe = !changes && PROBES.contains(&path);
    (!is_probe && !is_ours(host, access.console_hosts())).then(|| misdirected(host))
}

/// Whether a browser says that another site has it send this.
fn is_foreign(host: &str, headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    match (text(SITE), text(ORIGIN.as_str())) {
        (Some(site), _) => !["same-origin", "none"].contains(&site),
        (None, Some(origin)) => origin.split_once("://").is_none_or(|(_, own)| own != host),
        (None, None) => false,
    }
}

/// The answer to a browser under a name that a foreign page may have led here.
pub(in crate::registry) fn misdirected(host: &str) -> Response {
    let name: String = name_of(host).chars().take(64).collect();
    let why = format!(
        "the registry is not known to browsers under the name {name:?}, and nobody is asked here who they are: \
         open it by address or localhost, or start the registry with --console-hosts {name}\n"
    );
    (StatusCode::MISDIRECTED_REQUEST, why).into_response()
}

/// Whom the program `graceful` names behind itself, as in `graceful/0.1.0 (ann)`.
fn at_the_keyboard(headers: &HeaderMap) -> Option<Arc<str>> {
    let agent = headers.get(USER_AGENT)?.to_str().ok()?.strip_prefix("graceful/")?;
    let (_, name) = agent.split_once(" (")?;
    let name: String = name.strip_suffix(')')?.chars().take(NAME_CHARS_MAX).collect();
    (!name.is_empty()).then(|| name.into())
}

/// Under which name, with which port, a request was sent.
pub(in crate::registry) fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> &'a str {
    let said = || headers.get(HOST).and_then(|host| host.to_str().ok());
    uri.authority().map(Authority::as_str).or_else(said).unwrap_or_default()
}

/// Whether a page under this host can only be one of ours. No foreign page is at an address, or at `localhost`,
/// with our port.
pub(in crate::registry) fn is_ours(host: &str, names: &[String]) -> bool {
    let name = name_of(host).to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    address.parse::<IpAddr>().is_ok()
        || name == "localhost"
        || name.ends_with(".localhost")
        || names.iter().any(|own| own == name)
}

/// A host without its port.
fn name_of(host: &str) -> &str {
    let port = host.rsplit_once(':').filter(|(name, port)| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && (!name.contains(':') || name.ends_with(']'))
    });
    port.map_or(host, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_localhost_and_configured_names_are_ours() {
        let names = ["registry.example".to_owned()];
        for ours in [
            "127.0.0.1:8848",
            "127.0.0.1",
            "[::1]:8848",
            "10.0.0.7:80",
            "localhost:8848",
            "LOCALHOST",
            "a.localhost:1",
            "localhost.",
            "registry.example:8848",
            "Registry.Example",
        ] {
            assert!(is_ours(ours, &names), "{ours}");
        }
        for foreign in [
            "",
            "evil.example",
            "evil.example:8848",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "notlocalhost",
            "registry.example.evil",
            "evil.registry.example",
            "[evil]",
            "127.0.0.1@evil.example",
        ] {
            assert!(!is_ours(foreign, &names), "{foreign}");
        }
    }

    #[test]
    fn only_what_says_that_it_is_of_the_same_origin_is_not_foreign() {
        let foreign = |site: Option<&'static str>, origin: Option<&'static str>| {
            let pairs = [(SITE, site), ("origin", origin)];
            let pairs = pairs.into_iter().filter_map(|(name, value)| Some((name, value?)));
            let headers =
                pairs.map(|(name, value)| (name.parse().unwrap(), http::HeaderValue::from_static(value)));
            is_foreign("10.0.0.7:8848", &headers.collect())
        };
        for (site, origin) in [
            (None, None),
            (Some("same-origin"), None),
            (Some("none"), None),
            (Some("same-origin"), Some("https://proxy.example")),
            (None, Some("http://10.0.0.7:8848")),
            (None, Some("https://10.0.0.7:8848")),
        ] {
            assert!(!foreign(site, origin), "{site:?} {origin:?}");
        }
        for (site, origin) in [
            (Some("cross-site"), None),
            (Some("same-site"), Some("http://10.0.0.7:8848")),
            (Some(""), None),
            (None, Some("null")),
            (None, Some("")),
            (None, Some("http://10.0.0.7")),
            (None, Some("http://10.0.0.7:8848.evil.example")),
        ] {
            assert!(foreign(site, origin), "{site:?} {origin:?}");
        }
    }
}
