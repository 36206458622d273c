//! Which requests come to the console at all: none that a foreign page has a browser send, and none under a name
//! that a foreign page may have led here.
//!
//! A browser says with every form where it comes from; [`CsrfLayer`] reads that. Whoever says nothing is no
//! browser of this decade, and programs have `/graceful/v1`: so a form without a word is refused too. Where
//! nobody is asked who they are there is no cookie that only the right name gets, so the name itself is looked
//! at (a page of `evil.example` whose address becomes 127.0.0.1 would be of one origin with the console).

use super::page::Console;
use crate::registry::access::{Whence, acting_from};
use crate::registry::http::Origin;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{HOST, ORIGIN};
use http::{HeaderMap, StatusCode, Uri};
use std::net::IpAddr;
use std::sync::Arc;
use tower_http::csrf::{CsrfLayer, ProtectionError};

/// What a browser says of where a request comes from, next to [`ORIGIN`].
const SITE: &str = "sec-fetch-site";
const FORGED: &str =
    "this form was not sent by a page of this console: nothing was changed; programs use /graceful/v1\n";

/// Refuses what a foreign page has a browser send.
pub(super) fn same_site() -> CsrfLayer<fn(ProtectionError) -> Response> {
    CsrfLayer::new().with_rejection_response(forged as fn(ProtectionError) -> Response)
}

fn forged(_: ProtectionError) -> Response {
    (StatusCode::FORBIDDEN, FORGED).into_response()
}

/// Lets a request in, and has what it does written down with where it comes from.
pub(super) async fn door(State(console): State<Arc<Console>>, request: Request, next: Next) -> Response {
    let access = &console.access;
    if !access.asks() {
        let host = host(request.uri(), request.headers());
        if !is_ours(host, access.console_hosts()) {
            let name: String = name_of(host).chars().take(64).collect();
            let why = format!(
                "the console is not known under the name {name:?}, and nobody is asked here who they are: \
                 open it by address or localhost, or start the registry with --console-hosts {name}\n"
            );
            return (StatusCode::MISDIRECTED_REQUEST, why).into_response();
        }
    }
    let says_nothing = [ORIGIN.as_str(), SITE].iter().all(|name| !request.headers().contains_key(*name));
    if !request.method().is_safe() && says_nothing {
        return (StatusCode::FORBIDDEN, FORGED).into_response();
    }
    match request.extensions().get().copied() {
        Some(Origin(ip)) => acting_from(Whence { ip, says: None }, next.run(request)).await,
        None => next.run(request).await, // Routes that are not served on a port.
    }
}

/// Under which name, with which port, a request was sent.
pub(super) fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> &'a str {
    let said = || headers.get(HOST).and_then(|host| host.to_str().ok());
    uri.authority().map(http::uri::Authority::as_str).or_else(said).unwrap_or_default()
}

/// Whether a page under this host can only be one of ours. No foreign page is at an address, or at `localhost`,
/// with our port.
fn is_ours(host: &str, names: &[String]) -> bool {
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
}
