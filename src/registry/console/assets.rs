//! The one stylesheet and the one script, compiled in.

use axum::response::IntoResponse;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

const STYLE: &str = include_str!("pages/style.css");
const SCRIPT: &str = include_str!("pages/script.js");

/// Stands in the address of both, so that a browser that keeps them asks anew after an update.
pub(super) const DIGEST: u64 = digest(STYLE) ^ digest(SCRIPT);

/// How long a browser keeps what stands under one address.
const KEPT: &str = "public, max-age=86400, immutable";

/// FNV-1a: enough to tell two versions apart.
const fn digest(text: &str) -> u64 {
    let (bytes, mut digest, mut at) = (text.as_bytes(), 0xcbf2_9ce4_8422_2325, 0);
    while at < bytes.len() {
        digest = (digest ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    digest
}

pub(super) async fn style() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/css; charset=utf-8"), (CACHE_CONTROL, KEPT)], STYLE)
}

pub(super) async fn script() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8"), (CACHE_CONTROL, KEPT)], SCRIPT)
}
