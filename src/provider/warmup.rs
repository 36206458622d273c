//! Notices the first real request, which starts the warm-up.
//!
//! Caches fill and code compiles when requests come, not when a process is registered: an instance that
//! nobody called for a minute is as cold as it was. So the clock starts with the first request that the
//! handler sees once the process serves. Probes ([`ProbePaths`]) are not real requests.
//!
//! ```
//! use tower_graceful::{Clock, provider::{FirstRequest, Lifecycle, WarmUpLayer}};
//! let (lifecycle, first) = (Lifecycle::new(), FirstRequest::new(Clock::system()));
//! let app = axum::Router::<()>::new().layer(WarmUpLayer::new(lifecycle, first.clone()));
//! assert_eq!(first.moment(), None);
//! ```

use super::{Lifecycle, ProbePaths};
use crate::Clock;
use crate::model::{Phase, UnixMillis};
use http::Request;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::SetOnce;
use tower_layer::Layer;
use tower_service::Service;

/// The moment of the first real request; a clone is the same moment.
#[derive(Clone, Debug)]
pub struct FirstRequest {
    clock: Clock,
    came: Arc<SetOnce<Came>>,
}

#[derive(Debug)]
struct Came {
    at: UnixMillis,
    path: Box<str>,
}

impl FirstRequest {
    /// It has not come yet; when it does, `clock` says when.
    pub fn new(clock: Clock) -> Self {
        Self { clock, came: Arc::default() }
    }

    /// When it came; nothing if it has not.
    pub fn moment(&self) -> Option<UnixMillis> {
        self.came.get().map(|came| came.at)
    }

    /// What it asked for, without the query; nothing if it has not come.
    pub fn path(&self) -> Option<&str> {
        self.came.get().map(|came| &*came.path)
    }

    /// Waits for it, and says when it came.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn comes(&self) -> UnixMillis {
        self.came.wait().await.at
    }

    fn came_for(&self, path: &str) {
        // Of two that come at the same moment one is the first; the other is refused here.
        let _ = self.came.set(Came { at: self.clock.now(), path: path.into() });
    }
}

/// Notices the first real request. See the [module docs](self).
#[derive(Clone, Debug)]
pub struct WarmUpLayer {
    lifecycle: Lifecycle,
    first: FirstRequest,
    probes: ProbePaths,
}

impl WarmUpLayer {
    /// Tells `first` of the first request that comes when `lifecycle` is beyond [`Phase::Starting`].
    pub fn new(lifecycle: Lifecycle, first: FirstRequest) -> Self {
        Self { lifecycle, first, probes: ProbePaths::default() }
    }

    /// The same layer with other probes that start nothing. Default [`ProbePaths::default`].
    #[must_use]
    pub fn with_probes(self, probes: ProbePaths) -> Self {
        Self { probes, ..self }
    }

    /// One atomic load once the first request has come.
    pub(super) fn notice(&self, path: &str) {
        if !self.first.came.initialized()
            && self.lifecycle.phase() != Phase::Starting
            && !self.probes.contains(path)
        {
            self.first.came_for(path);
        }
    }
}

impl<S> Layer<S> for WarmUpLayer {
    type Service = WarmUp<S>;

    fn layer(&self, inner: S) -> Self::Service {
        WarmUp { inner, layer: Arc::new(self.clone()) }
    }
}

/// Service made by [`WarmUpLayer`].
#[derive(Clone, Debug)]
pub struct WarmUp<S> {
    inner: S,
    layer: Arc<WarmUpLayer>,
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for WarmUp<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.layer.notice(request.uri().path());
        self.inner.call(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::time::Duration;
    use tokio_test::{assert_pending, assert_ready_eq, task};
    use tower::{ServiceExt as _, service_fn};

    #[tokio::test]
    async fn the_first_real_request_of_a_serving_process_starts_the_clock_once() {
        let (clock, hand) = Clock::manual(UnixMillis::new(1_000));
        let (lifecycle, first) = (Lifecycle::new(), FirstRequest::new(clock));
        let service = WarmUpLayer::new(lifecycle.clone(), first.clone())
            .with_probes(ProbePaths::default().with("/ping"))
            .layer(service_fn(async |_| Ok::<_, Infallible>(())));
        let call = |path: &str| service.clone().oneshot(Request::get(path).body(()).unwrap());
        let mut comes = task::spawn(first.comes());

        call("/").await.unwrap(); // Too early: the process is not registered.
        lifecycle.serve();
        call("/ping").await.unwrap();
        call("/grpc.health.v1.Health/Check").await.unwrap();
        assert_pending!(comes.poll());

        call("/buy?x=1").await.unwrap();
        assert!(comes.is_woken());
        hand.advance(Duration::from_secs(1));
        call("/").await.unwrap();
        assert_ready_eq!(comes.poll(), UnixMillis::new(1_000));
        assert_eq!((first.moment(), first.path()), (Some(UnixMillis::new(1_000)), Some("/buy")));
    }
}
