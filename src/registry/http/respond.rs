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
pub(super) struct Json<T>(pub(super) T);

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
        let mut answer = (status(&self), fault, Causes(&self).to_string()).into_response();
        if let Some(bound) = self.bound() {
            answer.extensions_mut().insert(Exceeded(bound)); // To be counted.
        }
        answer
    }
}

fn status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::Form(_)
        | Refusal::Name(_)
        | Refusal::Instance(_)
        | Refusal::Lease(_)
        | Refusal::MetadataTooLong { .. }
        | Refusal::Persistent
        | Refusal::NoService(_)
        | Refusal::NothingToSet(_)
        | Refusal::ServiceExists(_)
        | Refusal::NotEmpty(_)
        | Refusal::NamespaceExists(_)
        | Refusal::NamespaceInUse(_)
        | Refusal::DefaultNamespace
        | Refusal::Probed { .. }
        | Refusal::OtherKind { .. }
        | Refusal::RequestType { .. }
        | Refusal::TooMany { .. }
        | Refusal::User(_) => StatusCode::BAD_REQUEST,
        Refusal::Denied(_) | Refusal::UnknownUser => StatusCode::FORBIDDEN,
        Refusal::TooManyLogins { .. } => StatusCode::TOO_MANY_REQUESTS,
        Refusal::NotFound | Refusal::NoClient(_) | Refusal::NoNamespace(_) => StatusCode::NOT_FOUND,
        Refusal::NotTaken(_) => StatusCode::CONFLICT,
        Refusal::Unregistered | Refusal::NotYours => StatusCode::CONFLICT, // Only connections can be, and HTTP has none.
        Refusal::Full { .. } => StatusCode::INSUFFICIENT_STORAGE,
        Refusal::NoSwitches | Refusal::NoPermissions => StatusCode::NOT_IMPLEMENTED,
        Refusal::Storage(_) => StatusCode::INTERNAL_SERVER_ERROR,
        Refusal::Busy { .. } | Refusal::Hash(_) | Refusal::Closing => StatusCode::SERVICE_UNAVAILABLE,
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
