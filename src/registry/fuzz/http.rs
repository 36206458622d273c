//! Requests of the HTTP API.

use super::super::access::Access;
use super::super::bound::Allowance;
use super::super::http::{api, routes};
use super::{everyone, live};
use axum::Router;
use axum::body::Body;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::BodyExt as _;
use serde_json::Value;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use tower::ServiceExt as _;

/// Requests of one input that are sent.
const REQUESTS_MAX: usize = 32;
/// Longer than anything here is kept that nobody keeps alive.
const A_WHILE: Duration = Duration::from_secs(200);
/// A client that is sent datagrams.
const AGENT: &str = "Nacos-Java-Client:v1.4.8";
/// Failures of the server that are an answer: not supported, closing or busy, full.
const UNABLE: [StatusCode; 3] =
    [StatusCode::NOT_IMPLEMENTED, StatusCode::SERVICE_UNAVAILABLE, StatusCode::INSUFFICIENT_STORAGE];
const WITNESS: &str = "serviceName=witness&namespaceId=witness&ip=10.9.9.9&port=99&ephemeral=false";

/// Sends requests one after the other: each is a line with method and URI, then lines of its body, and ends
/// with an empty line. Every one is answered in a form that its reader expects, and others are served
/// afterwards.
pub(crate) fn requests(input: &[u8]) {
    live(async |hub| {
        let access = everyone(&hub);
        let routes = routes(hub.clone(), access.clone());
        for request in split(input).take(REQUESTS_MAX).filter_map(read) {
            let path = request.uri().path().to_owned();
            let bare = request.method() == Method::HEAD;
            let (status, is_json, body) = ask(&routes, &access, request).await;
            let fine = !status.is_server_error() || UNABLE.contains(&status);
            assert!(fine, "{path} is answered with {status}: {}", String::from_utf8_lossy(&body));
            assert!(bare || !is_json || serde_json::from_slice::<Value>(&body).is_ok(), "{path}: no JSON");
        }
        serves(&routes, &access).await;
        sleep(A_WHILE).await;
        serves(&routes, &access).await;
    });
}

fn split(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(input);
    std::iter::from_fn(move || {
        let whole = rest.take()?;
        let end = whole.windows(2).position(|pair| pair == b"\n\n");
        rest = end.map(|end| &whole[end + 2..]);
        Some(&whole[..end.unwrap_or(whole.len())])
    })
}

fn read(text: &[u8]) -> Option<Request<Body>> {
    let (head, body) = match text.iter().position(|&byte| byte == b'\n') {
        Some(end) => (&text[..end], &text[end + 1..]),
        None => (text, &b""[..]),
    };
    let space = head.iter().position(|&byte| byte == b' ')?;
    let (method, uri) = (Method::from_bytes(&head[..space]).ok()?, Uri::try_from(&head[space + 1..]).ok()?);
    let request = Request::builder().method(method).uri(uri).header(USER_AGENT, AGENT);
    request.body(Body::from(body.to_vec())).ok()
}

async fn ask(routes: &Router, access: &Arc<Access>, request: Request<Body>) -> (StatusCode, bool, Vec<u8>) {
    let (ip, body_bytes_max) = (Ipv4Addr::LOCALHOST.into(), Allowance::default().body_bytes);
    let Ok(answer) = api(routes.clone(), access.clone(), ip, body_bytes_max).oneshot(request).await;
    let (head, body) = answer.into_parts();
    let is_json =
        head.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let body = body.collect().await.expect("bodies come from memory").to_bytes();
    (head.status, is_json, body.to_vec())
}

/// Somebody else registers, is found, and goes.
async fn serves(routes: &Router, access: &Arc<Access>) {
    for (method, path, found) in [
        ("POST", "/nacos/v1/ns/instance", "ok"),
        ("GET", "/nacos/v1/ns/instance/list", "10.9.9.9"),
        ("DELETE", "/nacos/v1/ns/instance", "ok"),
        ("GET", "/readyz", ""),
    ] {
        let request = Request::builder().method(method).uri(format!("{path}?{WITNESS}"));
        let (status, _, body) = ask(routes, access, request.body(Body::empty()).expect("a URI")).await;
        let body = String::from_utf8_lossy(&body);
        let full = status == StatusCode::INSUFFICIENT_STORAGE;
        assert!(full || status.is_success() && body.contains(found), "{method} {path}: {status} {body}");
        if full {
            return; // As it must be of as many as there are.
        }
    }
}
