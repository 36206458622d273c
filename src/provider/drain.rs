//! Counts the requests under way, each until its answer's body has ended.
//!
//! A request counts from the call until its body is dropped, whether it was sent, broke or was never
//! polled; a future that is dropped uncounts its request too. Probes ([`ProbePaths`]) do not count: they
//! would look like traffic that never stops.
//!
//! The count says when traffic has stopped, not that all bytes have left: a server drops a body when its
//! last frame is queued. What ends a process is the end of its connections.
//!
//! ```
//! use tower_graceful::provider::{DrainLayer, InFlight};
//! let in_flight = InFlight::new();
//! let app = axum::Router::<()>::new().layer(DrainLayer::new(in_flight.clone()));
//! assert_eq!(in_flight.count(), 0);
//! ```

use super::ProbePaths;
use super::under_way::{UnderWay, Waits};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use tokio::sync::Notify;
use tower_layer::Layer;
use tower_service::Service;

/// The requests under way; a clone is the same count.
#[derive(Clone, Default)]
pub struct InFlight(Arc<Counts>);

#[derive(Default)]
struct Counts {
    begun: AtomicU64,
    ended: AtomicU64,
    /// Who waits in [`InFlight::idle`]: while nobody does, the end of a request wakes nobody.
    waiting: AtomicUsize,
    idle: Notify,
    /// What those that take long are called, where somebody will ask.
    names: Option<UnderWay>,
}

impl InFlight {
    /// Nothing under way.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing under way, and what takes long will be asked for by its name.
    #[cfg(feature = "serve")]
    pub(super) fn named() -> Self {
        Self(Arc::new(Counts { names: Some(UnderWay::default()), ..Counts::default() }))
    }

    /// The names of those that take long, where somebody will ask.
    pub(super) fn names(&self) -> Option<&UnderWay> {
        self.0.names.as_ref()
    }

    /// Requests under way.
    pub fn count(&self) -> u64 {
        // In this order the difference is never negative.
        let ended = self.0.ended.load(Ordering::SeqCst);
        self.begun() - ended
    }

    /// Requests that ever began.
    pub fn begun(&self) -> u64 {
        self.0.begun.load(Ordering::SeqCst)
    }

    /// Waits for a moment at which nothing is under way.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn idle(&self) {
        let _waiting = Waiting::new(&self.0);
        loop {
            let woken = self.0.idle.notified();
            if self.count() == 0 {
                return;
            }
            woken.await;
        }
    }

    /// One more is under way.
    fn begin(&self) {
        self.0.begun.fetch_add(1, Ordering::SeqCst);
    }

    /// One that was under way has ended.
    pub(super) fn end(&self) {
        self.0.ended.fetch_add(1, Ordering::SeqCst);
        // Who waits was counted before it looked at the counts: either it saw this end, or it is seen here.
        if self.0.waiting.load(Ordering::SeqCst) > 0 {
            self.0.idle.notify_waiters();
        }
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InFlight").field(&self.count()).finish()
    }
}

struct Waiting<'a>(&'a Counts);

impl<'a> Waiting<'a> {
    fn new(counts: &'a Counts) -> Self {
        counts.waiting.fetch_add(1, Ordering::SeqCst);
        Self(counts)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One request under way: it counts until this is dropped.
#[derive(Debug)]
pub struct Guard(InFlight);

impl Waits for Guard {}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Counts requests. See the [module docs](self).
#[derive(Clone, Debug)]
pub struct DrainLayer {
    in_flight: InFlight,
    probes: ProbePaths,
}

impl DrainLayer {
    /// Counts into `in_flight`.
    pub fn new(in_flight: InFlight) -> Self {
        Self { in_flight, probes: ProbePaths::default() }
    }

    /// The same layer with other probes that do not count. Default [`ProbePaths::default`].
    #[must_use]
    pub fn with_probes(self, probes: ProbePaths) -> Self {
        Self { probes, ..self }
    }

    /// Counts the request for `path`, unless it is a probe, and says whether it did: then it must also end.
    pub(super) fn count(&self, path: &str) -> bool {
        let counts = !self.probes.contains(path);
        if counts {
            self.in_flight.begin();
        }
        counts
    }

    /// What requests are counted into.
    pub(super) fn in_flight(&self) -> &InFlight {
        &self.in_flight
    }
}

impl<S> Layer<S> for DrainLayer {
    type Service = Drain<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Drain { inner, drain: Arc::new(self.clone()) }
    }
}

/// Service made by [`DrainLayer`].
#[derive(Clone, Debug)]
pub struct Drain<S> {
    inner: S,
    drain: Arc<DrainLayer>,
}

impl<S, B, ResB> Service<Request<B>> for Drain<S>
where
    S: Service<Request<B>, Response = Response<ResB>>,
{
    type Response = Response<ResponseBody<ResB>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let counts = self.drain.count(request.uri().path());
        let guard = counts.then(|| Guard(self.drain.in_flight.clone()));
        ResponseFuture { inner: self.inner.call(request), guard }
    }
}

pin_project! {
    /// Response future of [`Drain`].
    #[derive(Debug)]
    pub struct ResponseFuture<F> { #[pin] inner: F, guard: Option<Guard> }
}

impl<F: Future<Output = Result<Response<B>, E>>, B, E> Future for ResponseFuture<F> {
    type Output = Result<Response<ResponseBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        let guard = this.guard.take();
        Poll::Ready(Ok(response.map(|inner| ResponseBody::new(inner, guard))))
    }
}

pin_project! {
    /// Response body of [`Drain`]: the answer's own, whose request counts until this is dropped, and the
    /// guard with it.
    #[derive(Debug)]
    pub struct ResponseBody<B, G = Guard> { #[pin] inner: B, guard: Option<G> }
}

impl<B, G> ResponseBody<B, G> {
    pub(super) fn new(inner: B, guard: Option<G>) -> Self {
        Self { inner, guard }
    }
}

impl<B: Body, G: Waits> Body for ResponseBody<B, G> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = this.inner.as_mut().poll_frame(cx);
        if let Some(guard) = this.guard
            && !matches!(frame, Poll::Ready(None | Some(Err(_))))
            && !this.inner.is_end_stream()
        {
            guard.waits();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B: Default, G> Default for ResponseBody<B, G> {
    /// A body that belongs to no request: what layers around this one answer with.
    fn default() -> Self {
        Self { inner: B::default(), guard: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::HeaderMap;
    use http_body_util::{BodyExt as _, Full};
    use std::convert::Infallible;
    use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task};
    use tower::{ServiceExt as _, service_fn};
    use tower_test::mock;

    fn get(path: &str) -> Request<()> {
        Request::get(path).body(()).unwrap()
    }

    fn drain<S>(inner: S) -> (InFlight, Drain<S>) {
        let in_flight = InFlight::new();
        (in_flight.clone(), DrainLayer::new(in_flight).layer(inner))
    }

    #[tokio::test]
    async fn a_request_counts_until_its_body_is_dropped() {
        let (in_flight, service) =
            drain(service_fn(async |_| Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("ok"))))));
        let answer = service.clone().oneshot(get("/"));
        let mut body = answer.await.unwrap().into_body();
        assert_eq!(body.size_hint().exact(), Some(2));
        body.frame().await.unwrap().unwrap();
        assert!(body.is_end_stream());
        assert_eq!((in_flight.count(), in_flight.begun()), (1, 1));
        let mut idle = task::spawn(in_flight.idle());
        assert_pending!(idle.poll());
        drop(body);
        assert!(idle.is_woken());
        assert_ready!(idle.poll());
        // The body of an answer to HEAD, or of a 204, is never polled.
        drop(service.oneshot(get("/")).await.unwrap());
        assert_eq!((in_flight.count(), in_flight.begun()), (0, 2));
    }

    #[tokio::test]
    async fn a_dropped_future_and_an_error_end_their_request() {
        let (inner, mut handler) = mock::pair::<_, Response<()>>();
        let (in_flight, service) = drain(inner);
        handler.allow(2);
        let mut first = task::spawn(service.clone().oneshot(get("/")));
        let mut second = task::spawn(service.oneshot(get("/")));
        assert!(first.poll().is_pending() && second.poll().is_pending());
        assert_eq!(in_flight.count(), 2);
        drop(first);
        assert_eq!(in_flight.count(), 1);
        let _gone = handler.next_request().await;
        handler.next_request().await.unwrap().1.send_error("broken");
        assert_eq!(second.await.unwrap_err().to_string(), "broken");
        assert_eq!(in_flight.count(), 0);
    }

    #[tokio::test]
    async fn a_handler_that_panics_ends_its_request() {
        let (in_flight, service) =
            drain(service_fn(async |_| -> Result<Response<()>, Infallible> { panic!("oh") }));
        let handled = tokio::spawn(service.oneshot(get("/"))).await;
        assert!(handled.unwrap_err().is_panic());
        assert_eq!(in_flight.count(), 0);
    }

    #[tokio::test]
    async fn a_probe_does_not_count() {
        let (inner, mut handler) = mock::pair::<_, Response<()>>();
        let (in_flight, service) = drain(inner);
        handler.allow(1);
        let mut probe = task::spawn(service.oneshot(get("/livez?verbose")));
        assert_pending!(probe.poll());
        assert_eq!((in_flight.count(), in_flight.begun()), (0, 0));
    }

    #[tokio::test]
    async fn a_request_is_held_back_while_the_handler_is_not_ready() {
        let (inner, mut handler) = mock::pair::<Request<()>, Response<()>>();
        let (in_flight, service) = drain(inner);
        let mut service = task::spawn(service);
        handler.allow(0);
        assert_pending!(service.enter(|cx, mut service| service.poll_ready(cx)));
        handler.allow(1);
        assert!(service.is_woken());
        assert_ready_ok!(service.enter(|cx, mut service| service.poll_ready(cx)));
        assert_eq!(in_flight.count(), 0);
    }

    #[tokio::test]
    async fn trailers_pass() {
        let trailers: HeaderMap = [("grpc-status", "0")]
            .into_iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        let sent = trailers.clone();
        let (_, service) = drain(service_fn(move |_| {
            let sent = sent.clone();
            let body = Full::new(Bytes::from("ok")).with_trailers(async move { Some(Ok(sent)) });
            async { Ok::<_, Infallible>(Response::new(body)) }
        }));
        let body = service.oneshot(get("/")).await.unwrap().into_body();
        assert_eq!(body.collect().await.unwrap().trailers(), Some(&trailers));
    }
}
