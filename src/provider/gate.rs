//! Refuses requests until this process serves.
//!
//! The port is open before the registry knows of it, and may have been another process's a moment ago.
//! Whoever calls too early gets a 503 that says that nothing was done (`graceful-refused: ?1`) and when to
//! come back (`Retry-After: 1`), so that a consumer may send even a POST elsewhere. A gRPC client finds the
//! status `UNAVAILABLE` with this reason in the same answer. Probes pass
//! ([`ProbePaths`]). Once the process serves, the gate stays open; while it leaves, too. Of a process that
//! leaves before it has served it stays shut: the handler was never ready, and whoever calls has somewhere
//! else to go. A `graceful-refused` that a handler took over from its own backend goes no further: here, something *was*
//! done.
//!
//! ```
//! use tower_graceful::provider::{GateLayer, Lifecycle};
//! let lifecycle = Lifecycle::new();
//! let app = axum::Router::<()>::new().layer(GateLayer::new(lifecycle.clone()));
//! lifecycle.serve(); // From here on requests reach the router.
//! ```

use super::{Lifecycle, ProbePaths};
use crate::observe::{Outcome, Witness};
use crate::{model::Phase, naming::header};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tower_layer::Layer;
use tower_service::Service;

/// One second: a start is over soon, or takes longer than any one wait would be right for.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// A whole answer of gRPC: a status without messages.
const GRPC_UNAVAILABLE: [(HeaderName, HeaderValue); 3] = [
    (CONTENT_TYPE, HeaderValue::from_static("application/grpc")),
    (HeaderName::from_static("grpc-status"), HeaderValue::from_static("14")),
    (
        HeaderName::from_static("grpc-message"),
        HeaderValue::from_static("refused: this instance does not serve yet"),
    ),
];

/// Refuses requests until its lifecycle has come to [`Phase::Serving`]. See the [module docs](self).
#[derive(Clone, Debug)]
pub struct GateLayer {
    /// Absent in a gate that is always open.
    lifecycle: Option<Lifecycle>,
    probes: ProbePaths,
    /// Tells what became of each request, by the phase.
    witness: Option<(Lifecycle, Witness)>,
}

impl GateLayer {
    /// Follows `lifecycle`.
    pub fn new(lifecycle: Lifecycle) -> Self {
        Self { lifecycle: Some(lifecycle), probes: ProbePaths::default(), witness: None }
    }

    /// A gate that refuses nothing, for where the type has to stay the same.
    pub fn open() -> Self {
        Self { lifecycle: None, probes: ProbePaths::default(), witness: None }
    }

    /// The same gate with other probes that pass. Default [`ProbePaths::default`].
    #[must_use]
    pub fn with_probes(self, probes: ProbePaths) -> Self {
        Self { probes, ..self }
    }

    pub(super) fn with_witness(self, lifecycle: Lifecycle, witness: Witness) -> Self {
        Self { witness: Some((lifecycle, witness)), ..self }
    }

    /// Decides about a request for `path`, and tells of it.
    pub(super) fn refuses(&self, path: &str) -> bool {
        let Self { lifecycle, probes, witness } = self;
        let shut = lifecycle.as_ref().is_some_and(|lifecycle| !lifecycle.has_served());
        let refused = shut && !probes.contains(path);
        if let Some((lifecycle, witness)) = witness {
            witness.answered(|| (!probes.contains(path)).then(|| outcome(refused, lifecycle.phase())));
        }
        refused
    }
}

fn outcome(refused: bool, phase: Phase) -> Outcome {
    match phase {
        Phase::Starting if refused => Outcome::RefusedStarting,
        _ if refused => Outcome::RefusedLeaving,
        Phase::Starting | Phase::Serving => Outcome::Served,
        Phase::Leaving | Phase::Stopped => Outcome::AfterOffline,
    }
}

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Gate { inner, gate: Arc::new(self.clone()) }
    }
}

/// Service made by [`GateLayer`].
#[derive(Clone, Debug)]
pub struct Gate<S> {
    inner: S,
    gate: Arc<GateLayer>,
}

impl<S, B, ResB> Service<Request<B>> for Gate<S>
where
    S: Service<Request<B>, Response = Response<ResB>>,
    ResB: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let refused = self.gate.refuses(request.uri().path());
        let grpc = refused && is_grpc(request.headers());
        ResponseFuture { passed: (!refused).then(|| self.inner.call(request)), grpc }
    }
}

/// Whether the caller reads the status of its call from gRPC's own headers.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.is_some_and(|kind| kind.starts_with(b"application/grpc"))
}

pin_project! {
    /// Response future of [`Gate`].
    #[derive(Debug)]
    pub struct ResponseFuture<F> { #[pin] passed: Option<F>, grpc: bool }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Default,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(inner) = this.passed.as_pin_mut() else { return Poll::Ready(Ok(refusal(*this.grpc))) };
        Poll::Ready(Ok(pass(ready!(inner.poll(cx))?)))
    }
}

/// An answer of the handler, without what it says about a refusal elsewhere.
pub(super) fn pass<B>(mut response: Response<B>) -> Response<B> {
    header::remove(response.headers_mut(), &header::REFUSED);
    response
}

/// The answer to whom the gate refuses.
pub(super) fn refusal<B: Default>(grpc: bool) -> Response<B> {
    let mut refusal = Response::new(B::default());
    *refusal.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    refusal.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
    refusal.headers_mut().insert(header::REFUSED, header::REFUSED_TRUE);
    if grpc {
        refusal.headers_mut().extend(GRPC_UNAVAILABLE);
    }
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_test::{assert_pending, assert_ready_ok, task};
    use tower::{ServiceExt as _, service_fn};
    use tower_test::mock;

    type Mock = mock::Mock<Request<()>, Response<String>>;

    fn get(path: &str) -> Request<()> {
        Request::get(path).body(()).unwrap()
    }

    #[tokio::test]
    async fn who_calls_too_early_is_told_that_nothing_was_done() {
        let (inner, mut handler): (Mock, _) = mock::pair();
        let gate = GateLayer::new(Lifecycle::new()).layer(inner);
        handler.allow(1);
        let refusal = gate.oneshot(get("/buy")).await.unwrap();
        assert_eq!(refusal.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refusal.headers()[header::REFUSED], "?1");
        assert_eq!(refusal.headers()[RETRY_AFTER], "1");
        assert!(refusal.body().is_empty());
        assert!(handler.next_request().await.is_none(), "the handler was called");
    }

    #[tokio::test]
    async fn a_grpc_client_reads_the_refusal_as_its_own_status() {
        let inner = service_fn(async |_: Request<()>| Ok::<_, std::io::Error>(Response::new(())));
        let gate = GateLayer::new(Lifecycle::new()).layer(inner);
        for (kind, status) in [("application/grpc+proto", Some("14")), ("application/json", None)] {
            let request = Request::post("/shop.Clerk/Buy").header(CONTENT_TYPE, kind).body(()).unwrap();
            let refusal = gate.clone().oneshot(request).await.unwrap();
            assert_eq!(refusal.status(), StatusCode::SERVICE_UNAVAILABLE);
            let told = refusal.headers().get("grpc-status").map(|told| told.to_str().unwrap());
            assert_eq!(told, status, "{kind}");
        }
    }

    #[tokio::test]
    async fn probes_pass_while_the_process_starts_and_everything_passes_afterwards() {
        let lifecycle = Lifecycle::new();
        let (inner, mut handler): (Mock, _) = mock::pair();
        let gate =
            GateLayer::new(lifecycle.clone()).with_probes(ProbePaths::default().with("/ping")).layer(inner);
        let answer = tokio::spawn(async move {
            while let Some((_, answer)) = handler.next_request().await {
                answer.send_response(Response::new("handled".to_owned()));
            }
        });
        for path in ["/ping", "/livez"] {
            assert_eq!(gate.clone().oneshot(get(path)).await.unwrap().body(), "handled");
        }
        for step in [Lifecycle::serve, Lifecycle::leave] {
            step(&lifecycle);
            assert_eq!(gate.clone().oneshot(get("/buy")).await.unwrap().body(), "handled");
        }
        drop(gate);
        answer.await.unwrap();
    }

    #[tokio::test]
    async fn a_process_that_leaves_before_it_has_served_lets_nobody_in() {
        let lifecycle = Lifecycle::new();
        let inner = service_fn(async |_| Ok::<_, std::io::Error>(Response::new(())));
        let gate = GateLayer::new(lifecycle.clone()).layer(inner);
        lifecycle.leave();
        let refusal = gate.clone().oneshot(get("/buy")).await.unwrap();
        assert_eq!(
            (refusal.status().as_u16(), &refusal.headers()[header::REFUSED]),
            (503, &header::REFUSED_TRUE)
        );
        assert_eq!(gate.oneshot(get("/livez")).await.unwrap().status(), 200);
    }

    #[tokio::test]
    async fn what_a_backend_of_the_handler_refused_is_not_refused_here() {
        let inner = service_fn(async |_: Request<()>| {
            Response::builder().status(503).header(header::REFUSED, header::REFUSED_TRUE).body(())
        });
        let answer = GateLayer::open().layer(inner).oneshot(get("/buy")).await.unwrap();
        assert_eq!(answer.status(), 503);
        assert!(answer.headers().is_empty());
    }

    #[tokio::test]
    async fn a_request_is_held_back_while_the_handler_is_not_ready() {
        let (inner, mut handler): (Mock, _) = mock::pair();
        let mut gate = task::spawn(GateLayer::open().layer(inner));
        handler.allow(0);
        assert_pending!(gate.enter(|cx, mut gate| gate.poll_ready(cx)));
        handler.allow(1);
        assert!(gate.is_woken());
        assert_ready_ok!(gate.enter(|cx, mut gate| gate.poll_ready(cx)));
        let answer = gate.call(get("/"));
        handler.next_request().await.unwrap().1.send_error("broken");
        assert_eq!(answer.await.unwrap_err().to_string(), "broken");
    }
}
