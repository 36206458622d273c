//! Answers out of results.

use super::super::bound::Bound;
use super::super::error::Refusal;
use super::wrap::Fault;
use crate::naming::Causes;
use crate::protocol::written::Written;
use axum::Extension;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode, Uri};
use serde::Serialize;

/// The content type of JSON, which clients compare to the letter.
pub(super) const JSON: &str = "application/json;charset=UTF-8";

/// The bound that a request exceeded; goes with the answer to whoever counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exceeded(pub(super) Bound);

/// A JSON body.
pub(in crate::registry) struct Json<T>(pub(in crate::registry) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => ([(CONTENT_TYPE, JSON)], body).into_response(),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        }
    }
}

/// A JSON body that was written before.
pub(super) struct Text(pub(super) Written);

impl IntoResponse for Text {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, JSON)], Bytes::from(self.0)).into_response()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let fault = Extension(Fault::of(&self)); // For versions 2 and 3.
        let mut answer = (self.status(), fault, Causes(&self).to_string()).into_response();
        if let Some(bound) = self.bound() {
            answer.extensions_mut().insert(Exceeded(bound)); // To be counted.
        }
        answer
    }
}

impl Refusal {
    /// The status of an answer that says so.
    pub(in crate::registry) fn status(&self) -> StatusCode {
        match self {
            Self::Form(_)
            | Self::Name(_)
            | Self::Instance(_)
            | Self::Lease(_)
            | Self::MetadataTooLong { .. }
            | Self::NameTooLong { .. }
            | Self::Persistent
            | Self::NoService(_)
            | Self::NothingToSet(_)
            | Self::ServiceExists(_)
            | Self::NotEmpty(_)
            | Self::NamespaceExists(_)
            | Self::NamespaceInUse(_)
            | Self::DefaultNamespace
            | Self::Probed { .. }
            | Self::OtherKind { .. }
            | Self::OwnHealth
            | Self::RequestType { .. }
            | Self::TooMany { .. }
            | Self::User(_) => StatusCode::BAD_REQUEST,
            Self::Denied(_) | Self::UnknownUser => StatusCode::FORBIDDEN,
            Self::TooManyLogins { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::NotFound | Self::NoClient(_) | Self::NoNamespace(_) => StatusCode::NOT_FOUND,
            Self::NotTaken(_) => StatusCode::CONFLICT,
            Self::Unregistered | Self::NotYours => StatusCode::CONFLICT, // Only connections can be, and HTTP has none.
            Self::Full { .. } => StatusCode::INSUFFICIENT_STORAGE,
            Self::NoSwitches | Self::NoPermissions => StatusCode::NOT_IMPLEMENTED,
            Self::Storage(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Busy { .. } | Self::Hash(_) | Self::Closing => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

pub(super) async fn no_such_path(uri: Uri) -> (StatusCode, String) {
    let path = uri.path();
    (
        StatusCode::NOT_FOUND,
        format!(
            "there is nothing at {path}: the API begins with /nacos/v1/ns, /nacos/v2/ns, /nacos/v3/client/ns, /nacos/v3/admin/ns or /graceful/v1"
        ),
    )
}

pub(super) async fn no_such_method(method: Method, uri: Uri) -> (StatusCode, String) {
    let path = uri.path();
    (StatusCode::METHOD_NOT_ALLOWED, format!("{method} is not supported at {path}: see the header Allow"))
}
