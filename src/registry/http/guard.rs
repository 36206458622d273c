//! Who may have a request answered: the one place over HTTP, before any handler.
//!
//! A token comes in the header `Authorization: Bearer`, in the header `accessToken`, or as the parameter
//! `accessToken` of query or form; or the parameters `username` and `password` come with every request. Nothing
//! else opens anything: not what a request says of its sender, nor headers that servers of Nacos show each
//! other.

use super::extract::{Gathered, Origin, read};
use super::respond::Json;
use super::rules::{Need, need};
use super::wrap;
use crate::model::{ServiceKey, UnixMillis};
use crate::protocol::form::Form;
use crate::protocol::reply::Forbidden;
use crate::registry::access::{Access, Action, Denied, Place, Principal, User, acting, decide};
#[cfg(feature = "console")]
use crate::registry::console;
use crate::registry::error::Refusal;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// Header that holds a token, as the parameter of this name does.
const TOKEN: &str = "accessToken";

/// Lets a request through to its handler if its sender may do what it asks for.
pub(super) async fn guard(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    if !access.asks() {
        return next.run(request).await;
    }
    // Without a route it is answered that there is none, which is no secret.
    let Some(route) = request.extensions().get::<MatchedPath>() else { return next.run(request).await };
    let need = need(request.method(), route.as_str());
    if need == Need::Nothing {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    let (method, uri) = (parts.method.clone(), parts.uri.clone());
    let (form, body) = match read(Request::from_parts(parts.clone(), body), &()).await {
        Ok(read) => read,
        Err(answer) => return in_envelope_of(&uri, answer).await,
    };
    let user = match admit(&access, need, &parts, &form).await {
        Ok(user) => user,
        Err(refusal) => {
            tracing::debug!(%method, path = uri.path(), %refusal, "request refused");
            #[cfg(feature = "console")]
            if let Some(page) = console::refused(&access, &parts, &form, &refusal) {
                return page;
            }
            return in_words_of(&uri, refusal, access.hub().now()).await;
        }
    };
    parts.extensions.insert(Gathered(form)); // Which the handler need not read again.
    let request = Request::from_parts(parts, Body::from(body));
    let answer = acting(user.clone(), next.run(request)).await;
    // The console asks before it changes anything, and says so itself.
    let may_be_a_change = need.is_change(&method) && !uri.path().starts_with("/console/");
    if may_be_a_change && answer.status().is_success() {
        let user = user.as_ref().map(|user| user.name.as_str());
        tracing::info!(user.name = user, %method, path = uri.path(), "changed by an operator");
    }
    answer
}

/// In whose name the request is done, if they may.
async fn admit(
    access: &Access,
    need: Need,
    parts: &Parts,
    form: &Form,
) -> Result<Option<Arc<User>>, Refusal> {
    let principal = principal(access, need, parts, form).await?;
    allowed(need, &principal, form)?;
    Ok(match principal {
        Principal::Anyone => None,
        Principal::User(user) => Some(user),
    })
}

/// Whether a principal may have a request answered that has these parameters.
///
/// # Errors
/// When it lacks the right.
pub(in crate::registry) fn allowed(need: Need, principal: &Principal, form: &Form) -> Result<(), Refusal> {
    match need {
        Need::Nothing | Need::BeKnown => {}
        Need::BeNamed => {
            let oneself = match principal {
                Principal::Anyone => true,
                Principal::User(user) => form.text("username") == Some(user.name.as_str()),
            };
            if !oneself {
                decide(principal, Action::Operate, Place::Everywhere)?;
            }
        }
        Need::In(action) => decide(principal, action, Place::Namespace(&form.namespace()?))?,
        Need::InKey(action) => {
            let service: ServiceKey = form.required("key")?.parse()?;
            decide(principal, action, Place::Namespace(&service.namespace))?;
        }
        Need::Somewhere(action) => decide(principal, action, Place::Somewhere)?,
        Need::Everywhere(action) => decide(principal, action, Place::Everywhere)?,
    }
    Ok(())
}

impl Need {
    /// Whether `username` and `password` are the sender's: of a request that changes something for all
    /// namespaces they may be those of a user whom it makes.
    const fn takes_passwords(self) -> bool {
        let reads = matches!(self, Self::Somewhere(_) | Self::Everywhere(Action::Read));
        reads || matches!(self, Self::BeKnown | Self::In(_) | Self::InKey(_))
    }

    /// Whether a request with it changes what operators set.
    fn is_change(self, method: &http::Method) -> bool {
        let operates =
            matches!(self, Self::In(Action::Operate) | Self::Everywhere(Action::Operate) | Self::BeNamed);
        operates && !method.is_safe()
    }
}

async fn principal(access: &Access, need: Need, parts: &Parts, form: &Form) -> Result<Principal, Refusal> {
    let token = token(&parts.headers).or_else(|| form.text(TOKEN));
    #[cfg(feature = "console")]
    let token = token.or_else(|| console::token(&parts.uri, &parts.headers));
    let password = form.text("password").filter(|_| need.takes_passwords());
    if let (None, Some(name), Some(password)) = (token, form.text("username"), password) {
        let source = source(parts.extensions.get().copied());
        return access.by_password(name, password, source).await.map(Principal::User);
    }
    Ok(access.by_token(token)?)
}

fn token(headers: &HeaderMap) -> Option<&str> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let bearer = text(AUTHORIZATION.as_str()).and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    bearer.or_else(|| text(TOKEN)).filter(|token| !token.is_empty())
}

/// Where a request comes from, by its connection: what it says itself anyone may write.
pub(super) fn source(origin: Option<Origin>) -> IpAddr {
    origin.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Origin(ip)| ip)
}

/// A refusal as each version of the API puts it.
pub(super) async fn in_words_of(uri: &Uri, refusal: Refusal, now: UnixMillis) -> Response {
    let wait = if let Refusal::TooManyLogins { wait } = &refusal { Some(*wait) } else { None };
    let mut answer = match (version(uri.path()), &refusal) {
        (Version::V1, Refusal::Denied(denied)) => {
            let body = Forbidden::new(now, denied.to_string(), uri.path().to_owned());
            (StatusCode::FORBIDDEN, Json(body)).into_response()
        }
        (Version::Ours, Refusal::Denied(Denied::NoToken | Denied::BadToken | Denied::Expired)) => {
            (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], refusal.to_string()).into_response()
        }
        _ => in_envelope_of(uri, refusal.into_response()).await,
    };
    if let Some(wait) = wait {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
    }
    answer
}

async fn in_envelope_of(uri: &Uri, answer: Response) -> Response {
    match version(uri.path()) {
        Version::V1 | Version::Ours => answer,
        Version::Later => wrap::wrap(answer).await,
    }
}

/// Versions of the API, as far as they differ in refusing.
enum Version {
    V1,
    /// Versions 2 and 3.
    Later,
    /// What is ours.
    Ours,
}

fn version(path: &str) -> Version {
    match path.strip_prefix("/nacos/") {
        Some(path) if path.starts_with("v1/") => Version::V1,
        Some(_) => Version::Later,
        None => Version::Ours,
    }
}
