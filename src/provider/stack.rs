//! The provider's layers in their one right order.
//!
//! Each of them is a service of its own, and here the four are one: every layer moves what it passes on, a
//! request and a future of some hundred bytes each, and counts a reference for each request, which is more
//! work than what the layers decide. What they decide is written once, with each of them.

use super::drain::{DrainLayer, InFlight, ResponseBody};
use super::gate::{self, GateLayer};
use super::offline::{self, OfflineLayer};
use super::under_way::{Name, Waits};
use super::warmup::{FirstRequest, WarmUpLayer};
use super::{Lifecycle, ProbePaths};
use crate::Clock;
use crate::model::ServiceKey;
use crate::naming::header::OfflineTag;
use crate::observe::{Observer, Observers, Role, Witness};
use http::{Request, Response};
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower_layer::Layer;
use tower_service::Service;

/// `drain(offline(gate(warmup(inner))))`.
///
/// Counting comes first, so that refused requests count as traffic: who still calls must be known. The tag
/// goes onto refusals too. And the gate stands before the warm-up, because a refused request warms nothing.
///
/// Under `Provider::serve` the layers are in place. Alone, under `axum::serve` or tonic,
/// they do all that an answer can do, and miss what only a server can: connections without requests are
/// not told (no GOAWAY until the server shuts down), a request in the buffer of a closing connection or in
/// the port's queue can be lost, nobody knows which callers have been told, and the phases are yours to
/// step.
///
/// ```
/// use tower_graceful::provider::{GracefulLayer, Lifecycle};
/// use tower_graceful::{model::UnixMillis, naming::header::OfflineTag};
/// let lifecycle = Lifecycle::new();
/// let tag = OfflineTag::new("10.0.0.7:8080".parse()?, UnixMillis::new(1_732_060_800_000));
/// let graceful = GracefulLayer::new(lifecycle.clone(), &tag);
/// let in_flight = graceful.in_flight().clone();
/// let app = axum::Router::<()>::new().layer(graceful);
/// lifecycle.serve();
/// // On a signal: `lifecycle.leave()`, wait until consumers have heard, then `in_flight.idle().await`.
/// # Ok::<(), tower_graceful::model::InvalidAddress>(())
/// ```
#[derive(Clone, Debug)]
pub struct GracefulLayer {
    lifecycle: Lifecycle,
    offline: OfflineLayer,
    in_flight: InFlight,
    first_request: FirstRequest,
    probes: ProbePaths,
    warm_up_ignored: Option<ProbePaths>,
    gated: bool,
    witness: Option<Witness>,
}

impl GracefulLayer {
    /// Follows `lifecycle`; `tag` names this instance.
    pub fn new(lifecycle: Lifecycle, tag: &OfflineTag) -> Self {
        Self {
            offline: OfflineLayer::new(lifecycle.clone(), tag),
            lifecycle,
            in_flight: InFlight::new(),
            first_request: FirstRequest::new(Clock::system()),
            probes: ProbePaths::default(),
            warm_up_ignored: None,
            gated: true,
            witness: None,
        }
    }

    /// The same stack with a gate (default) or without: then requests are handled as soon as they come.
    #[must_use]
    pub fn with_gate(self, gated: bool) -> Self {
        Self { gated, ..self }
    }

    /// The same stack with other probes. Default [`ProbePaths::default`].
    #[must_use]
    pub fn with_probes(self, probes: ProbePaths) -> Self {
        Self { probes, ..self }
    }

    /// The same stack with other paths that do not start the warm-up. Default: the probes.
    #[must_use]
    pub fn with_warm_up_ignored(self, paths: ProbePaths) -> Self {
        Self { warm_up_ignored: Some(paths), ..self }
    }

    /// The same stack counting into `in_flight`. Default a count of its own.
    #[must_use]
    pub fn with_in_flight(self, in_flight: InFlight) -> Self {
        Self { in_flight, ..self }
    }

    /// The same stack whose first request is dated by `clock`. Default the system's.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { first_request: FirstRequest::new(clock), ..self }
    }

    /// The same stack, telling `observer` what becomes of each request to `service`. Default nobody. The rest
    /// of what a provider tells, `Provider::serve` does.
    #[must_use]
    pub fn with_observer(self, service: &ServiceKey, observer: impl Observer) -> Self {
        self.with_witness(Witness::new(Role::Provider, service, &Observers::from(observer)))
    }

    pub(super) fn with_witness(self, witness: Witness) -> Self {
        Self { witness: Some(witness), ..self }
    }

    /// The requests under way in all services of this layer and of its clones.
    pub fn in_flight(&self) -> &InFlight {
        &self.in_flight
    }

    /// When the first real request came.
    pub fn first_request(&self) -> &FirstRequest {
        &self.first_request
    }
}

impl<S> Layer<S> for GracefulLayer {
    type Service = Graceful<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let Self { lifecycle, offline, in_flight, first_request, probes, warm_up_ignored, gated, witness } =
            self.clone();
        let warm_up = WarmUpLayer::new(lifecycle.clone(), first_request)
            .with_probes(warm_up_ignored.unwrap_or_else(|| probes.clone()));
        let gate = if gated { GateLayer::new(lifecycle.clone()) } else { GateLayer::open() };
        let gate = gate.with_probes(probes.clone());
        let gate = match witness {
            Some(witness) => gate.with_witness(lifecycle, witness),
            None => gate,
        };
        let drain = DrainLayer::new(in_flight).with_probes(probes);
        Graceful { inner, layers: Arc::new(Layers { drain, offline, gate, warm_up }) }
    }
}

/// The four layers as the requests of one service share them.
#[derive(Debug)]
struct Layers {
    drain: DrainLayer,
    offline: OfflineLayer,
    gate: GateLayer,
    warm_up: WarmUpLayer,
}

/// Service made by [`GracefulLayer`]: what `Drain<Offline<Gate<WarmUp<S>>>>` does, with a request, a future
/// and an answer that are moved once instead of four times.
#[derive(Clone, Debug)]
pub struct Graceful<S> {
    inner: S,
    layers: Arc<Layers>,
}

impl<S, B, ResB> Service<Request<B>> for Graceful<S>
where
    S: Service<Request<B>, Response = Response<ResB>>,
    ResB: Default,
{
    type Response = Response<ResponseBody<ResB, Guard>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let layers = &*self.layers;
        let counts = layers.drain.count(request.uri().path());
        let is_named = counts && layers.drain.in_flight().names().is_some();
        let name = if is_named { Name::of(&request) } else { Name::None };
        let guard = Some(Guard { counts, name, layers: self.layers.clone() });
        let closes = offline::receive(&mut request);
        let refused = layers.gate.refuses(request.uri().path());
        let grpc = refused && gate::is_grpc(request.headers());
        let passed = if refused {
            None
        } else {
            layers.warm_up.notice(request.uri().path());
            Some(self.inner.call(request))
        };
        ResponseFuture { passed, guard, closes, grpc }
    }
}

/// One request under way in [`Graceful`]: it counts until this is dropped. Its answer needs the layers as well,
/// and one reference serves both.
#[derive(Debug)]
pub struct Guard {
    counts: bool,
    name: Name,
    layers: Arc<Layers>,
}

impl Waits for Guard {
    fn waits(&mut self) {
        if let Name::Kept(_) = self.name
            && let Some(names) = self.layers.drain.in_flight().names()
        {
            names.waits(&mut self.name);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Name::Written { .. } = self.name
            && let Some(names) = self.layers.drain.in_flight().names()
        {
            names.ends(&self.name);
        }
        if self.counts {
            self.layers.drain.in_flight().end();
        }
    }
}

pin_project! {
    /// Response future of [`Graceful`].
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin] passed: Option<F>,
        guard: Option<Guard>,
        closes: bool,
        grpc: bool,
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Default,
{
    type Output = Result<Response<ResponseBody<B, Guard>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = match this.passed.as_pin_mut() {
            Some(inner) => match inner.poll(cx) {
                Poll::Ready(answer) => gate::pass(answer?),
                Poll::Pending => {
                    this.guard.iter_mut().for_each(Waits::waits);
                    return Poll::Pending;
                }
            },
            None => gate::refusal(*this.grpc),
        };
        let guard = this.guard.take();
        if let Some(Guard { layers, .. }) = &guard {
            layers.offline.mark(&mut response, *this.closes);
        }
        Poll::Ready(Ok(response.map(|inner| ResponseBody::new(inner, guard))))
    }
}

#[cfg(test)]
mod tests;
