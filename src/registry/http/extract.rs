//! Parameters out of a request.

use super::super::error::Refusal;
use super::super::senders::Sender;
use crate::protocol::form::Form;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use http::header::USER_AGENT;
use http::request::Parts;
use http_body::Body as _;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use tokio::time::timeout;

/// How long a body may take to arrive: it is small.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// The parameters of a request, from its query and its body, whatever its method and content type.
pub(in crate::registry) struct Parameters(pub(in crate::registry) Form);

impl<S: Send + Sync> FromRequest<S> for Parameters {
    type Rejection = Response;

    async fn from_request(mut request: Request, state: &S) -> Result<Self, Response> {
        if let Some(Gathered(form)) = request.extensions_mut().remove() {
            return Ok(Self(form));
        }
        let (form, _) = read(request, state).await?;
        Ok(Self(form))
    }
}

/// The parameters of a request, and the body that some of them came in.
pub(super) async fn read<S: Send + Sync>(request: Request, state: &S) -> Result<(Form, Bytes), Response> {
    let uri = request.uri().clone();
    let body = if request.body().is_end_stream() { Bytes::new() } else { body(request, state).await? };
    let form = Form::parse(uri.query().unwrap_or_default(), &body);
    let form = form.map_err(|error| Refusal::from(error).into_response())?;
    Ok((form, body))
}

async fn body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Response> {
    let late = (StatusCode::REQUEST_TIMEOUT, "the body did not arrive within 10 seconds");
    let body = timeout(BODY_WITHIN, Bytes::from_request(request, state)).await;
    body.map_err(|_| late.into_response())?.map_err(IntoResponse::into_response)
}

/// Parameters that were read before the handler: an extension of the request.
#[derive(Clone, Debug)]
pub(super) struct Gathered(pub(super) Form);

/// Where the requests of a connection come from; an extension of each of them.
#[derive(Clone, Copy, Debug)]
pub(in crate::registry) struct Origin(pub(in crate::registry) IpAddr);

impl<S: Send + Sync> FromRequestParts<S> for Sender {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let nowhere = Origin(Ipv4Addr::UNSPECIFIED.into()); // Routes that are not served on a port.
        let Origin(ip) = parts.extensions.get().copied().unwrap_or(nowhere);
        let agent = parts.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
        Ok(Self::new(ip, agent.unwrap_or_default()))
    }
}
