//! Versions 2 and 3 of the API: the answers of version 1, in an envelope.
//!
//! `{"code":0,"message":"success","data":..}`; a failure has a code that says what failed, and its words in
//! `data`.

use crate::registry::error::Refusal;
use axum::body::{Body, to_bytes};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::value::RawValue;

use super::respond::{JSON, Json};

/// Why a request failed, as versions 2 and 3 put it: goes with the answer of version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ErrorCode {
    code: u32,
    message: &'static str,
}

#[derive(serde::Serialize)]
struct Envelope<'a> {
    code: u32,
    message: &'a str,
    data: &'a RawValue,
}

impl ErrorCode {
    const fn new(code: u32, message: &'static str) -> Self {
        Self { code, message }
    }

    /// The code of a refusal; those without one of their own are Nacos' 30000.
    pub(super) fn of(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Form(form) if form.is_missing() => Self::new(10_000, "parameter missing"),
            Refusal::Form(_)
            | Refusal::Name(_)
            | Refusal::Instance(_)
            | Refusal::Lease(_)
            | Refusal::Persistent
            | Refusal::RequestType { .. }
            | Refusal::TooMany { .. } => Self::new(20_002, "parameter validate error"),
            Refusal::MetadataTooLong { .. } => Self::new(21_002, "instance metadata error"),
            Refusal::NotFound => Self::new(20_004, "resource not found"),
            Refusal::ServiceExists(_) => Self::new(21_007, "service already exist"),
            Refusal::NoService(_) => Self::new(21_008, "service not exist"),
            Refusal::NotEmpty(_) => Self::new(21_009, "service delete failure"),
            Refusal::Probed { .. } => Self::new(21_011, "health check still running"),
            Refusal::Storage(_) => Self::new(10_002, "data access error"),
            Refusal::OtherKind { .. }
            | Refusal::Unregistered
            | Refusal::Full { .. }
            | Refusal::Busy { .. }
            | Refusal::Closing => Self::new(30_000, "server error"),
        }
    }
}

/// Puts the answer of a handler into its envelope.
pub(super) async fn wrap(answer: Response) -> Response {
    let (parts, body) = answer.into_parts();
    let failed = parts.extensions.get::<ErrorCode>().copied();
    let is_json = parts.headers.get(CONTENT_TYPE).is_some_and(|kind| kind == JSON);
    // Handlers answer from memory, so this neither waits nor fails.
    let Ok(bytes) = to_bytes(body, usize::MAX).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let data = if is_json { RawValue::from_string(text) } else { serde_json::value::to_raw_value(&text) };
    let Ok(data) = data else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let status = parts.status;
    let unnamed = || (!status.is_success()).then_some(ErrorCode::new(30_000, "server error"));
    let ErrorCode { code, message } = failed.or_else(unnamed).unwrap_or(ErrorCode::new(0, "success"));
    let wrapped = Json(Envelope { code, message, data: &data }).into_response();
    let (head, body): (_, Body) = wrapped.into_parts();
    (status, head.headers, body).into_response()
}
