//! Ends gRPC calls when their time is up.
//!
//! `tonic::Request::set_timeout` only writes the header `grpc-timeout`. Whoever is to act on it is tonic's own
//! `Channel` and its own server; neither is there when a client runs over this crate's stack and its provider
//! is an axum router. This layer is what a `Channel` does, and more: the time counts until the last message of
//! the answer, retries included.
//!
//! When it is up the caller gets `DeadlineExceeded`, and the call is dropped, which ends its handler on the
//! provider. The header itself passes through. Calls without it are not touched.
//!
//! ```
//! # let snapshots = tower_graceful::naming::Snapshots::fixed("greeter".parse()?, Vec::new());
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # let _entered = runtime.enter();
//! use tonic_health::pb::health_client::HealthClient;
//! use tower::ServiceBuilder;
//! use tower_graceful::consumer::{DeadlineLayer, GracefulClientLayer};
//! # #[cfg(feature = "http-client")] {
//! let stack = ServiceBuilder::new()
//!     .layer(DeadlineLayer::new())
//!     .layer(GracefulClientLayer::new(snapshots))
//!     .service(tower_graceful::http_client_h2());
//! let mut client = HealthClient::new(stack); // Any client that tonic generates.
//! let mut request = tonic::Request::new(tonic_health::pb::HealthCheckRequest::default());
//! request.set_timeout(std::time::Duration::from_millis(200));
//! let answer = client.check(request);
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::naming::BoxError;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Sleep, sleep};
use tonic::Status;
use tower_layer::Layer;
use tower_service::Service;

/// Ends calls that carry `grpc-timeout` after that time. See the [module docs](self). Goes outside
/// [`GracefulClientLayer`](super::GracefulClientLayer).
#[derive(Clone, Copy, Debug, Default)]
pub struct DeadlineLayer(());

impl DeadlineLayer {
    /// A layer without settings: each call brings its own.
    pub const fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Deadline { inner }
    }
}

/// Service made by [`DeadlineLayer`].
#[derive(Clone, Debug)]
pub struct Deadline<S> {
    inner: S,
}

impl<S, B, R> Service<Request<B>> for Deadline<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let timer = granted(request.headers()).map(Timer::new);
        ResponseFuture { inner: self.inner.call(request), timer }
    }
}

/// The time that a call is granted.
#[derive(Debug)]
struct Timer {
    granted: Duration,
    up: Pin<Box<Sleep>>,
}

impl Timer {
    fn new(granted: Duration) -> Self {
        Self { granted, up: Box::pin(sleep(granted)) }
    }

    /// Ready with the error of the call when its time is up.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<BoxError> {
        let Self { granted, up } = self;
        let message = || format!("the call took longer than the {granted:?} it was given");
        up.as_mut().poll(cx).map(|()| Status::deadline_exceeded(message()).into())
    }
}

/// What `grpc-timeout` grants: 1 to 8 digits and a unit. Nothing when there is none, or one that does not read.
fn granted(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    let number = digits.parse::<u32>().ok().filter(|_| digits.len() <= 8 && !digits.starts_with('+'))?;
    let one = match unit {
        "H" => Duration::from_secs(60 * 60),
        "M" => Duration::from_secs(60),
        "S" => Duration::from_secs(1),
        "m" => Duration::from_millis(1),
        "u" => Duration::from_micros(1),
        "n" => Duration::from_nanos(1),
        _ => return None,
    };
    Some(one * number)
}

pin_project! {
    /// Response future of [`Deadline`].
    #[derive(Debug)]
    pub struct ResponseFuture<F> { #[pin] inner: F, timer: Option<Timer> }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<ResponseBody<R>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(answer) = this.inner.poll(cx) {
            let timer = this.timer.take();
            let body = |inner| ResponseBody { inner: Some(inner), timer };
            return Poll::Ready(answer.map(|answer| answer.map(body)).map_err(Into::into));
        }
        // Whoever gets the error drops this future, and the call with it.
        this.timer.as_mut().map_or(Poll::Pending, |timer| timer.poll(cx).map(Err))
    }
}

pin_project! {
    /// The body of an answer, as long as its time is not up. Frames, trailers and errors pass through.
    #[derive(Debug)]
    pub struct ResponseBody<B> {
        // Absent once the time was up: the call ends then, and not when the caller looks away.
        #[pin]
        inner: Option<B>,
        timer: Option<Timer>,
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        if let Poll::Ready(frame) = inner.poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let up = this.timer.as_mut().map_or(Poll::Pending, |timer| timer.poll(cx));
        up.map(|error| {
            this.inner.set(None);
            Some(Err(error))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http_body_util::{BodyExt, StreamBody};
    use std::convert::Infallible;
    use std::sync::Arc;
    use tokio::sync::mpsc;
    use tokio::time::{Instant, advance};
    use tokio_stream::wrappers::ReceiverStream;
    use tokio_test::{assert_pending, assert_ready_err, task};
    use tonic::Code;
    use tower::service_fn;

    type Frames = StreamBody<ReceiverStream<Result<Frame<Bytes>, Infallible>>>;

    fn lasting(grpc_timeout: &str) -> Request<()> {
        Request::post("/").header("grpc-timeout", grpc_timeout).body(()).unwrap()
    }

    fn code(error: &BoxError) -> Code {
        error.downcast_ref::<Status>().unwrap().code()
    }

    #[test]
    fn a_timeout_reads_as_the_protocol_writes_it() {
        let granted = |value: &str| granted(lasting(value).headers());
        for (value, expected) in [
            ("0S", Duration::ZERO),
            ("2H", Duration::from_secs(7200)),
            ("3M", Duration::from_secs(180)),
            ("10S", Duration::from_secs(10)),
            ("82m", Duration::from_millis(82)),
            ("7u", Duration::from_micros(7)),
            ("99999999n", Duration::from_nanos(99_999_999)),
        ] {
            assert_eq!(granted(value), Some(expected), "{value}");
        }
        assert!(granted("99999999H").is_some());
        for bad in ["", "S", "10", "10s", "-1S", "+1S", "1.5S", "123456789S", "1é", " 1S"] {
            let value = http::HeaderValue::from_bytes(bad.as_bytes()).unwrap();
            let headers = HeaderMap::from_iter([("grpc-timeout".parse().unwrap(), value)]);
            assert_eq!(super::granted(&headers), None, "{bad}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_does_not_begin_in_time_ends_with_its_deadline() {
        let silent = service_fn(async |_: Request<()>| {
            std::future::pending::<Result<Response<Frames>, Infallible>>().await
        });
        let mut client = DeadlineLayer::new().layer(silent);
        let mut call = task::spawn(client.call(lasting("200m")));
        assert_pending!(call.poll());
        advance(Duration::from_millis(199)).await;
        assert_pending!(call.poll());
        advance(Duration::from_millis(2)).await;
        let error = assert_ready_err!(call.poll());
        assert_eq!(code(&error), Code::DeadlineExceeded);
        assert!(error.to_string().contains("200ms"), "{error}");

        let mut endless = task::spawn(client.call(Request::new(())));
        assert_pending!(endless.poll());
        advance(Duration::from_secs(100_000)).await;
        assert_pending!(endless.poll());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_with_its_deadline_and_lets_go_of_its_call_at_once() {
        let (sender, receiver) = mpsc::channel::<Result<Frame<Bytes>, Infallible>>(4);
        let receiver = Arc::new(std::sync::Mutex::new(Some(receiver)));
        let streams = service_fn(move |_: Request<()>| {
            let frames = StreamBody::new(ReceiverStream::new(receiver.lock().unwrap().take().unwrap()));
            std::future::ready(Ok::<_, Infallible>(Response::new(frames)))
        });
        let begun = Instant::now();
        let answer = DeadlineLayer::new().layer(streams).call(lasting("3S")).await.unwrap();
        let mut body = answer.into_body();
        sender.send(Ok(Frame::data(Bytes::from("one")))).await.unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!((code(&error), begun.elapsed().as_secs()), (Code::DeadlineExceeded, 3));
        assert!(sender.is_closed(), "the call is dropped although its body is held");
        assert!(body.frame().await.is_none() && body.is_end_stream());
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_in_time_passes_with_its_trailers() {
        let answers = service_fn(async |_: Request<()>| {
            let (sender, receiver) = mpsc::channel::<Result<Frame<Bytes>, Infallible>>(4);
            let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
            for frame in [Frame::data(Bytes::from("one")), Frame::trailers(trailers)] {
                sender.send(Ok(frame)).await.unwrap();
            }
            Ok::<_, Infallible>(Response::new(StreamBody::new(ReceiverStream::new(receiver))))
        });
        let answer = DeadlineLayer::new().layer(answers).call(lasting("1S")).await.unwrap();
        advance(Duration::from_secs(5)).await;
        let whole = answer.into_body().collect().await.unwrap();
        assert_eq!(whole.trailers().unwrap()["grpc-status"], "0");
        assert_eq!(whole.to_bytes(), "one");
    }
}
