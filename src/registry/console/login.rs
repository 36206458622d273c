//! The way in and the way out, where users are asked who they are.

use super::frame::{Frame, Tab};
use super::page::{Asked, Console};
use super::session;
use super::viewer::Viewer;
use crate::naming::Causes;
use crate::registry::access::Session;
use crate::registry::error::Refusal;
use crate::registry::http::Origin;
use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, RETRY_AFTER, SET_COOKIE};
use http::{HeaderValue, StatusCode};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// What people read after the way out.
const LOGGED_OUT: &str = "You are logged out.";

/// The page with the form.
#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    /// Whether anybody is asked who they are.
    asks: bool,
    /// Where to go then.
    next: &'a str,
    /// As typed.
    name: &'a str,
    wrong: Option<String>,
}

pub(super) async fn page(State(console): State<Arc<Console>>, asked: Asked) -> Response {
    form(&console, asked, None)
}

/// Begins a session, and goes to where the form came from.
pub(super) async fn log_in(
    State(console): State<Arc<Console>>,
    origin: Option<Extension<Origin>>,
    asked: Asked,
) -> Response {
    let access = &console.access;
    let [name, password] = ["username", "password"].map(|field| asked.form.text(field).unwrap_or_default());
    if !access.asks() {
        return session::see_other(session::next(asked.form.text("next")));
    }
    let nowhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED); // Routes that are not served on a port.
    let source = origin.map_or(nowhere, |Extension(Origin(ip))| ip);
    match access.log_in(name, password, source).await {
        Ok(Session { token, ttl, .. }) => {
            let cookie = session::begun(&asked.uri, &asked.headers, &token, ttl, access.speaks_tls());
            let mut answer = session::see_other(session::next(asked.form.text("next")));
            answer.headers_mut().append(SET_COOKIE, cookie);
            answer
        }
        Err(refusal) => form(&console, asked, Some(&refusal)),
    }
}

/// Ends a session: its token counts no more, wherever else it may be.
pub(super) async fn log_out(State(console): State<Arc<Console>>, asked: Asked) -> Response {
    let (access, uri, headers) = (&console.access, &asked.uri, &asked.headers);
    if let Some(token) = session::token(uri, headers) {
        access.log_out(token);
    }
    let tls = access.speaks_tls();
    let mut answer = session::tell(uri, headers, session::LOGIN, LOGGED_OUT, tls);
    answer.headers_mut().append(SET_COOKIE, session::ended(uri, headers, tls));
    answer
}

/// The form, with what was wrong with the last one.
fn form(console: &Console, mut asked: Asked, refusal: Option<&Refusal>) -> Response {
    let asks = console.access.asks();
    if asks {
        asked.viewer = Viewer::nobody(); // Whoever stands before the door is shown nothing of what is inside.
    }
    let wrong = refusal.map(|refusal| {
        let unknown = matches!(refusal, Refusal::UnknownUser);
        let why = || Causes(refusal).to_string();
        if unknown { "There is no such user, or the password is another one.".to_owned() } else { why() }
    });
    let name = asked.form.text("username").unwrap_or_default();
    let page = LoginPage { asks, next: session::next(asked.form.text("next")), name, wrong };
    let main = match page.render() {
        Ok(main) => main,
        Err(error) => return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    };
    let mut answer = Frame::around(&main, "Log in".to_owned(), Tab::None, console, &asked);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(refusal) = refusal {
        *answer.status_mut() = refusal.status();
    }
    if let Some(Refusal::TooManyLogins { wait }) = refusal {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
    }
    answer
}
