//! Which requests come to the console at all: none that a foreign page has a browser send, and none under a name
//! that a foreign page may have led here.
//!
//! A browser says with every form where it comes from; [`CsrfLayer`] reads that. Whoever says nothing is no
//! browser of this decade, and programs have `/graceful/v1`: so a form without a word is refused too. Where
//! nobody is asked who they are there is no cookie that only the right name gets, so the name itself is looked
//! at (a page of `evil.example` whose address becomes 127.0.0.1 would be of one origin with the console).

use super::page::Console;
use crate::registry::http::{SITE, host, is_ours, misdirected};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::ORIGIN;
use std::sync::Arc;
use tower_http::csrf::{CsrfLayer, ProtectionError};

const FORGED: &str =
    "this form was not sent by a page of this console: nothing was changed; programs use /graceful/v1\n";

/// Refuses what a foreign page has a browser send.
pub(super) fn same_site() -> CsrfLayer<fn(ProtectionError) -> Response> {
    CsrfLayer::new().with_rejection_response(forged as fn(ProtectionError) -> Response)
}

fn forged(_: ProtectionError) -> Response {
    (StatusCode::FORBIDDEN, FORGED).into_response()
}

/// Lets a request in.
pub(super) async fn door(State(console): State<Arc<Console>>, request: Request, next: Next) -> Response {
    let access = &console.access;
    let host = host(request.uri(), request.headers());
    if !access.asks() && !is_ours(host, access.console_hosts()) {
        return misdirected(host);
    }
    let says_nothing = [ORIGIN.as_str(), SITE].iter().all(|name| !request.headers().contains_key(*name));
    if !request.method().is_safe() && says_nothing {
        return (StatusCode::FORBIDDEN, FORGED).into_response();
    }
    next.run(request).await
}
