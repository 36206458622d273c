//! Logging in, where everyone may do everything: clients that are configured with a name and a password ask
//! for a token before anything else, and do not start without one.

use super::extract::Parameters;
use super::respond::Json;
use crate::protocol::reply::LoginAnswer;
use axum::response::{IntoResponse, Response};
use http::header::AUTHORIZATION;

/// A token that opens what is open.
const TOKEN: &str = "everyone";

pub(super) async fn log_in(Parameters(form): Parameters) -> Response {
    let username = form.text("username").unwrap_or_default().to_owned();
    let bearer = [(AUTHORIZATION, format!("Bearer {TOKEN}"))];
    (bearer, Json(LoginAnswer::new(TOKEN, username))).into_response()
}
