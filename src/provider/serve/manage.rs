//! The two ports beside the application's: what probes ask, and what operators order.
//!
//! - `GET /readiness`, `GET /health`: 200 `{"ready":true,"phase":"serving"}` while requests are welcome,
//!   500 `{"ready":false,"phase":"starting","waiting_for":"..","error":null}` before and after; while it
//!   warms up too, where readiness waits for that.
//! - `GET /livez`: 200 while the process runs.
//! - `GET` or `POST /offline`: leaves the registry's list, and says how far that has come:
//!   `{"phase":"leaving","in_flight":3,"left_ms":9800,"untold":1}`. With `?wait=30s` the answer comes when
//!   the instance has drained, or after that time.
//! - `GET /metrics`, where they are kept and have no port of their own: Prometheus' text.

use super::process::Process;
#[cfg(feature = "metrics")]
use super::settings::Port;
use super::settings::Token;
use crate::model::Phase;
use crate::naming::Causes;
use crate::observe::LeaveCause;
#[cfg(feature = "metrics")]
use crate::observe::Metrics;
#[cfg(feature = "metrics")]
use axum::extract::Request;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
#[cfg(feature = "metrics")]
use axum::routing::any;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{self, Instant};

/// Longest time that an answer of `/offline` may be held: whatever waits for it gives up about then.
const WAIT_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, PartialEq, Serialize)]
struct Readiness {
    ready: bool,
    phase: &'static str,
    #[serde(flatten)]
    unready: Option<NotReady>,
}

#[derive(Debug, PartialEq, Serialize)]
struct NotReady {
    waiting_for: Option<&'static str>,
    error: Option<String>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Leaving {
    phase: &'static str,
    in_flight: u64,
    left_ms: u64,
    untold: usize,
}

#[derive(Debug, Serialize)]
struct Problem {
    error: &'static str,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)] // A misspelt wish must not take the instance out.
struct Wait {
    wait: Option<String>,
}

/// What the readiness port answers.
pub(super) fn readiness_routes(process: Arc<Process>) -> Router {
    let routes = Router::new()
        .route("/readiness", get(readiness))
        .route("/health", get(readiness))
        .route("/livez", get(async || "alive\n"));
    with_fallbacks(routes, "here are GET /readiness, /health and /livez").with_state(process)
}

const OFFLINE_METHODS: &str = "here is GET or POST /offline";

/// What the offline port answers.
pub(super) fn offline_routes(process: Arc<Process>) -> Router {
    // A look at the headers alone must not take the instance out.
    let no_look = async || problem(StatusCode::METHOD_NOT_ALLOWED, OFFLINE_METHODS);
    let routes = Router::new().route("/offline", get(offline).post(offline).head(no_look));
    #[cfg(feature = "metrics")]
    let routes = match process.settings.metrics_port {
        Port::Off if process.settings.metrics.is_some() => routes.route("/metrics", any(metrics)),
        Port::Off | Port::At(_) | Port::Beside(_) => routes,
    };
    with_fallbacks(routes, OFFLINE_METHODS).with_state(process)
}

/// What a port answers that is for metrics alone.
#[cfg(feature = "metrics")]
pub(super) fn metrics_routes(metrics: &Metrics) -> Router {
    let nowhere = async || problem(StatusCode::NOT_FOUND, "here is GET /metrics");
    Router::new().route_service("/metrics", metrics.clone()).fallback(nowhere)
}

fn with_fallbacks(routes: Router<Arc<Process>>, here: &'static str) -> Router<Arc<Process>> {
    routes
        .fallback(async move || problem(StatusCode::NOT_FOUND, here))
        .method_not_allowed_fallback(async move || problem(StatusCode::METHOD_NOT_ALLOWED, here))
}

async fn readiness(State(process): State<Arc<Process>>) -> Response {
    let phase = process.lifecycle.phase();
    let ready = process.is_ready();
    let unready = (!ready).then(|| {
        let progress = process.progress.borrow();
        let registry = process.settings.registry.as_ref().filter(|_| progress.waiting_for.is_some());
        let trouble =
            || registry.and_then(|registry| registry.trouble()).map(|error| Causes(&error).to_string());
        NotReady { waiting_for: progress.waiting_for, error: progress.error.clone().or_else(trouble) }
    });
    let status = if ready { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    (status, Json(Readiness { ready, phase: phase.as_str(), unready })).into_response()
}

async fn offline(
    State(process): State<Arc<Process>>,
    query: Result<Query<Wait>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    if let Some(refusal) = refusal(&process, &headers) {
        return refusal;
    }
    let wait = match query.map(|Query(Wait { wait })| wait.as_deref().map(parse_wait)) {
        Ok(None) => Duration::ZERO,
        Ok(Some(Some(wait))) => wait,
        Ok(Some(None)) | Err(_) => {
            return problem(
                StatusCode::BAD_REQUEST,
                "accepted is wait=500ms, wait=30s or wait=30, up to 60s",
            );
        }
    };
    process.asked.go_offline(LeaveCause::Offline);
    process.lifecycle.reached(Phase::Leaving).await;
    // Drained or not, the answer says how far it has come.
    let _ = time::timeout(wait, process.drained()).await;
    Json(leaving(&process)).into_response()
}

/// Who may take the instance out may read its metrics on the same port.
#[cfg(feature = "metrics")]
async fn metrics(State(process): State<Arc<Process>>, request: Request) -> Response {
    let Some(metrics) = &process.settings.metrics else { return StatusCode::NOT_FOUND.into_response() };
    match refusal(&process, request.headers()) {
        Some(refusal) => refusal,
        None => metrics.answer(request.method()).into_response(),
    }
}

fn leaving(process: &Process) -> Leaving {
    let over = process.progress.borrow().lame_duck_is_over;
    let since = process.asked.since().filter(|_| !over);
    let left = since.map_or(Duration::ZERO, |since| {
        (since + process.settings.pace.left_within()).saturating_duration_since(Instant::now())
    });
    Leaving {
        phase: process.lifecycle.phase().as_str(),
        in_flight: process.in_flight.count(),
        left_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
        untold: process.callers.untold(),
    }
}

/// What is answered to who lacks the token.
fn refusal(process: &Process, headers: &HeaderMap) -> Option<Response> {
    let token = process.settings.offline_token.as_ref()?;
    (!is_authorized(token, headers)).then(|| {
        let answer = problem(StatusCode::UNAUTHORIZED, "`Authorization: Bearer TOKEN` is needed");
        ([(header::WWW_AUTHENTICATE, "Bearer")], answer).into_response()
    })
}

fn is_authorized(token: &Token, headers: &HeaderMap) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    given.and_then(|given| given.strip_prefix("Bearer ")).is_some_and(|given| token.is(given))
}

/// `500ms`, `30s` or `30` for seconds, at most [`WAIT_MAX`].
fn parse_wait(text: &str) -> Option<Duration> {
    let wait = match text.strip_suffix("ms") {
        Some(millis) => Duration::from_millis(millis.parse().ok()?),
        None => Duration::from_secs(text.strip_suffix('s').unwrap_or(text).parse().ok()?),
    };
    (wait <= WAIT_MAX).then_some(wait)
}

fn problem(status: StatusCode, error: &'static str) -> Response {
    (status, Json(Problem { error })).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::serve::process::Progress;
    use crate::provider::serve::settings::ProviderBuilder;
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt as _;

    fn process(builder: ProviderBuilder) -> Arc<Process> {
        builder.build().unwrap().into_process()
    }

    fn orders() -> ProviderBuilder {
        ProviderBuilder::new(Some("orders"))
    }

    async fn ask(routes: Router, method: &str, path: &str, token: Option<&str>) -> (StatusCode, String) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header("authorization", token);
        }
        let answer = routes.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), 1024).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readiness_follows_the_phases_and_says_what_it_waits_for() {
        let process = process(orders());
        let ask = |path: &'static str| ask(readiness_routes(process.clone()), "GET", path, None);
        process.progress.send_modify(|progress| {
            progress.waiting_for = Some("the registry");
            progress.error = Some("it is away".to_owned());
        });
        let starting =
            r#"{"ready":false,"phase":"starting","waiting_for":"the registry","error":"it is away"}"#;
        assert_eq!(ask("/readiness").await, (StatusCode::INTERNAL_SERVER_ERROR, starting.to_owned()));
        process.lifecycle.serve();
        let serving = r#"{"ready":true,"phase":"serving"}"#;
        assert_eq!(ask("/health").await, (StatusCode::OK, serving.to_owned()));
        process.progress.send_modify(|progress| *progress = Progress::default());
        process.lifecycle.leave();
        let leaving = r#"{"ready":false,"phase":"leaving","waiting_for":null,"error":null}"#;
        assert_eq!(ask("/readiness").await, (StatusCode::INTERNAL_SERVER_ERROR, leaving.to_owned()));
        assert_eq!(ask("/livez").await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn what_does_not_exist_and_what_is_not_meant_are_told_apart() {
        let process = process(orders());
        let (status, said) = ask(readiness_routes(process.clone()), "GET", "/ready", None).await;
        assert_eq!((status, said.contains("/readiness")), (StatusCode::NOT_FOUND, true));
        let (status, said) = ask(readiness_routes(process.clone()), "POST", "/livez", None).await;
        assert_eq!((status, said.contains("GET /readiness")), (StatusCode::METHOD_NOT_ALLOWED, true));
        let (status, said) = ask(offline_routes(process.clone()), "DELETE", "/offline", None).await;
        assert_eq!((status, said.contains("GET or POST")), (StatusCode::METHOD_NOT_ALLOWED, true));
        let (status, said) = ask(offline_routes(process.clone()), "GET", "/offline?wait=soon", None).await;
        assert_eq!((status, said.contains("wait=30s")), (StatusCode::BAD_REQUEST, true));
        for slip in ["?wiat=1s", "?wait=1s&wait=2s", "?wait=61s", "?wait="] {
            let uri = format!("/offline{slip}");
            let (status, said) = ask(offline_routes(process.clone()), "GET", &uri, None).await;
            assert_eq!((status, said.contains("wait=30s")), (StatusCode::BAD_REQUEST, true), "{slip}");
        }
        let (status, _) = ask(offline_routes(process.clone()), "HEAD", "/offline", None).await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(process.asked.since(), None, "nothing was ordered");
    }

    #[tokio::test]
    async fn only_who_has_the_token_orders_the_instance_out() {
        let process = process(orders().offline_token("0123456789abcdef"));
        process.lifecycle.leave();
        let ask =
            |token: Option<&'static str>| ask(offline_routes(process.clone()), "POST", "/offline", token);
        for wrong in [None, Some("0123456789abcdef"), Some("Bearer "), Some("Bearer 0123456789abcdeF")] {
            assert_eq!(ask(wrong).await.0, StatusCode::UNAUTHORIZED);
        }
        assert_eq!(process.asked.since(), None);
        assert_eq!(ask(Some("Bearer 0123456789abcdef")).await.0, StatusCode::OK);
        assert!(process.asked.since().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn an_order_is_answered_when_drained_or_when_its_time_is_up() {
        let process = process(orders());
        process.lifecycle.leave();
        let ask = || ask(offline_routes(process.clone()), "GET", "/offline?wait=4s", None);
        let start = Instant::now();
        let early = r#"{"phase":"leaving","in_flight":0,"left_ms":6000,"untold":0}"#;
        assert_eq!(ask().await, (StatusCode::OK, early.to_owned()));
        assert_eq!(start.elapsed(), Duration::from_secs(4));
        process.progress.send_modify(|progress| progress.lame_duck_is_over = true);
        let drained = r#"{"phase":"leaving","in_flight":0,"left_ms":0,"untold":0}"#;
        assert_eq!(ask().await, (StatusCode::OK, drained.to_owned()));
        assert_eq!(start.elapsed(), Duration::from_secs(4));
    }

    #[test]
    fn a_wait_has_a_unit_and_a_bound() {
        assert_eq!(parse_wait("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse_wait("60s"), Some(Duration::from_secs(60)));
        assert_eq!(parse_wait("30"), Some(Duration::from_secs(30)));
        for bad in ["", "61", "61s", "60001ms", "-1s", "-1", "1m", "s", "30 s"] {
            assert_eq!(parse_wait(bad), None, "{bad}");
        }
    }
}
