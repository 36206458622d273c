//! Logging in. Where nobody is asked who they are it succeeds for everyone: clients that are configured with a
//! name and a password ask for a token before anything else, and do not start without one.

use super::extract::{Origin, Parameters};
use super::guard;
use super::respond::Json;
use crate::protocol::reply::LoginAnswer;
use crate::registry::access::{Access, Session};
use axum::Extension;
use axum::extract::{OriginalUri, State};
use axum::response::{IntoResponse, Response};
use http::header::AUTHORIZATION;
use std::sync::Arc;
use std::time::Duration;

/// A token that opens what is open, and lasts for Nacos' five hours, so that nobody asks often.
const EVERYONES: (&str, Duration) = ("everyone", Duration::from_secs(5 * 60 * 60));

pub(super) async fn log_in(
    State(access): State<Arc<Access>>,
    origin: Option<Extension<Origin>>,
    OriginalUri(uri): OriginalUri,
    Parameters(form): Parameters,
) -> Response {
    let [name, password] = ["username", "password"].map(|name| form.text(name).unwrap_or_default());
    let session = if access.asks() {
        let source = guard::source(origin.map(|Extension(origin)| origin));
        access.log_in(name, password, source).await
    } else {
        let (token, ttl) = EVERYONES;
        Ok(Session { token: token.to_owned(), ttl, admin: true })
    };
    match session {
        Ok(Session { token, ttl, admin }) => {
            let bearer = [(AUTHORIZATION, format!("Bearer {token}"))];
            (bearer, Json(LoginAnswer::new(token, ttl, admin, name.to_owned()))).into_response()
        }
        Err(refusal) => guard::in_words_of(&uri, refusal, access.hub().now()).await,
    }
}
