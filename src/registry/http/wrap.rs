//! Versions 2 and 3 of the API: the answers of version 1, in an envelope.
//!
//! `{"code":0,"message":"success","data":..}`; a failure has a code that says what failed, and its words in
//! `data`.

use crate::protocol::form::InvalidForm;
use crate::registry::error::Refusal;
use axum::Extension;
use axum::body::{Body, to_bytes};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::value::RawValue;

use super::respond::{Exceeded, JSON, Json};

/// Why a request failed, as versions 2 and 3 put it: goes with the answer of version 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    code: u32,
    message: &'static str,
    /// Words of these versions, where they are not those of version 1.
    words: Option<String>,
}

#[derive(serde::Serialize)]
struct Envelope<'a> {
    code: u32,
    message: &'a str,
    data: &'a RawValue,
}

impl Fault {
    /// A heartbeat for an instance that is not registered: the one fault that comes with status 200.
    pub(super) const INSTANCE_NOT_FOUND: Self = Self::new(21_003, "instance not found");

    const fn new(code: u32, message: &'static str) -> Self {
        Self { code, message, words: None }
    }

    /// What a refusal is; those without a code of their own are Nacos' 30000.
    pub(super) fn of(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Form(InvalidForm::Missing("healthy")) => Self::new(21_010, "healthy param miss"),
            Refusal::Form(InvalidForm::Missing(name)) => {
                let words = Some(format!("Required parameter '{name}' type String is not present"));
                Self { words, ..Self::new(10_000, "parameter missing") }
            }
            Refusal::Form(form) => match form.name() {
                Some("weight") => Self::new(21_001, "weight error"),
                Some("metadata") => Self::new(21_002, "instance metadata error"),
                Some("selector") => Self::new(21_006, "selector error"),
                Some("service") => Self::new(21_000, "service name error"),
                Some("namespace") => Self::new(22_000, "illegal namespace"),
                Some(_) | None => Self::new(20_002, "parameter validate error"),
            },
            Refusal::Name(_)
            | Refusal::Instance(_)
            | Refusal::Lease(_)
            | Refusal::Persistent
            | Refusal::RequestType { .. }
            | Refusal::TooMany { .. } => Self::new(20_002, "parameter validate error"),
            Refusal::NameTooLong { kind: "service", .. } => Self::new(21_000, "service name error"),
            Refusal::NameTooLong { kind: "namespace", .. } => Self::new(22_000, "illegal namespace"),
            Refusal::NameTooLong { .. } => Self::new(20_002, "parameter validate error"),
            Refusal::MetadataTooLong { .. } => Self::new(21_002, "instance metadata error"),
            Refusal::NotFound | Refusal::NoClient(_) => Self::new(20_004, "resource not found"),
            Refusal::NothingToSet(_) => Self::new(21_004, "instance error"),
            Refusal::DefaultNamespace => Self::new(22_000, "illegal namespace"),
            Refusal::NoNamespace(_) => Self::new(22_001, "namespace not exist"),
            Refusal::NamespaceExists(_) => Self::new(22_002, "namespace already exist"),
            Refusal::NamespaceInUse(_) => Self::new(20_005, "resource conflict"),
            Refusal::ServiceExists(_) => Self::new(21_007, "service already exist"),
            Refusal::NoService(_) => Self::new(21_008, "service not exist"),
            Refusal::NotEmpty(_) => Self::new(21_009, "service delete failure"),
            Refusal::Probed { .. } => Self::new(21_011, "health check still running"),
            Refusal::Storage(_) => Self::new(10_002, "data access error"),
            Refusal::NoSwitches | Refusal::NoPermissions => Self::new(40_001, "API function disabled."),
            Refusal::Denied(_) | Refusal::UnknownUser | Refusal::TooManyLogins { .. } => {
                Self::new(10_001, "access denied")
            }
            Refusal::User(_) => Self::new(20_002, "parameter validate error"),
            Refusal::OtherKind { .. }
            | Refusal::OwnHealth
            | Refusal::Unregistered
            | Refusal::NotYours
            | Refusal::NotTaken(_)
            | Refusal::Full { .. }
            | Refusal::Busy { .. }
            | Refusal::Hash(_)
            | Refusal::Closing => Self::new(30_000, "server error"),
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        Extension(self).into_response()
    }
}

/// Puts the answer of a handler into its envelope; one that says nothing has no `data`.
pub(super) async fn wrap(answer: Response) -> Response {
    let (parts, body) = answer.into_parts();
    let is_json = parts.headers.get(CONTENT_TYPE).is_some_and(|kind| kind == JSON);
    // Handlers answer from memory, so this neither waits nor fails.
    let Ok(bytes) = to_bytes(body, usize::MAX).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let status = parts.status;
    let unnamed = || (!status.is_success()).then_some(Fault::new(30_000, "server error"));
    let fault = parts.extensions.get::<Fault>().cloned().or_else(unnamed);
    let Fault { code, message, words } = fault.unwrap_or(Fault::new(0, "success"));
    let text = words.unwrap_or_else(|| String::from_utf8_lossy(&bytes).into_owned());
    let data = match text.as_str() {
        "" => Ok(RawValue::NULL.to_owned()),
        _ if is_json => RawValue::from_string(text),
        _ => serde_json::value::to_raw_value(&text),
    };
    let Ok(data) = data else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let wrapped = Json(Envelope { code, message, data: &data }).into_response();
    let (head, body): (_, Body) = wrapped.into_parts();
    let mut answer = (status, head.headers, body).into_response();
    if let Some(exceeded) = parts.extensions.get::<Exceeded>() {
        answer.extensions_mut().insert(*exceeded);
    }
    answer
}
