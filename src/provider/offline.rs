//! Marks every answer of an instance that is leaving, so that consumers stop choosing it.
//!
//! A registry tells consumers seconds later; the answer to their own request tells them at once. An answer
//! to HTTP/1 also says `connection: close`, which every client understands, and which lets it end its
//! connection before the process does; under HTTP/2 the server's GOAWAY does that. The layer never refuses
//! or delays a request, nor changes an error.
//!
//! A tag with a fade says how much of it is left, and connections stay open until it is over: callers that
//! take their load elsewhere bit by bit go on calling.
//!
//! The words between consumer and provider are for one hop: the request's `graceful-caller` ends here, and
//! a `graceful-offline` that a handler took over from its own backend goes no further.
//!
//! ```
//! use tower_graceful::provider::{Lifecycle, OfflineLayer};
//! use tower_graceful::{model::UnixMillis, naming::header::OfflineTag};
//! let lifecycle = Lifecycle::new();
//! let tag = OfflineTag::new("10.0.0.7:8080".parse()?, UnixMillis::new(1_732_060_800_000));
//! let app = axum::Router::<()>::new().layer(OfflineLayer::new(lifecycle.clone(), &tag));
//! lifecycle.leave(); // From here on every answer carries the header `graceful-offline`.
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::Lifecycle;
use crate::model::Phase;
use crate::naming::header::{self, CALLER, OFFLINE, OfflineTag};
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tower_layer::Layer;
use tower_service::Service;

const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// Marks answers while its lifecycle is in [`Phase::Leaving`]. See the [module docs](self).
#[derive(Clone, Debug)]
pub struct OfflineLayer {
    lifecycle: Lifecycle,
    /// What is said while the instance fades, with what is left of it.
    fading: OfflineTag,
    /// What is said then.
    tag: HeaderValue,
}

impl OfflineLayer {
    /// Follows `lifecycle`, which clones of the layer and of its services share; `tag` names this instance,
    /// and its fade begins when the instance leaves.
    pub fn new(lifecycle: Lifecycle, tag: &OfflineTag) -> Self {
        let at_once = OfflineTag { fade: Duration::ZERO, ..tag.clone() };
        Self { lifecycle, fading: tag.clone(), tag: at_once.to_value() }
    }

    /// Marks an answer while this instance leaves, and takes the mark of another off; `closes` is what its
    /// request was [received](receive) with. To be called with the answer, not with the request: one under
    /// way when leaving begins is marked too.
    pub(super) fn mark<B>(&self, response: &mut Response<B>, closes: bool) {
        let upgrades = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        header::remove(headers, &OFFLINE);
        if self.lifecycle.phase() == Phase::Leaving {
            let fade = self.fade_left();
            if !fade.is_zero() {
                headers.insert(OFFLINE, OfflineTag { fade, ..self.fading.clone() }.to_value());
                return;
            }
            headers.insert(OFFLINE, self.tag.clone());
            if closes && !upgrades {
                headers.insert(CONNECTION, CLOSE);
            }
        }
    }

    /// What is left of the fade, in whole seconds: a caller must not believe that it is over before it is.
    fn fade_left(&self) -> Duration {
        let faded = self.lifecycle.leaving_for().unwrap_or(Duration::MAX);
        let left = self.fading.fade.saturating_sub(faded);
        Duration::from_secs(left.as_secs() + u64::from(left.subsec_nanos() > 0))
    }
}

impl<S> Layer<S> for OfflineLayer {
    type Service = Offline<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Offline { inner, layer: Arc::new(self.clone()) }
    }
}

/// Service made by [`OfflineLayer`].
#[derive(Clone, Debug)]
pub struct Offline<S> {
    inner: S,
    layer: Arc<OfflineLayer>,
}

impl<S, B, ResB> Service<Request<B>> for Offline<S>
where
    S: Service<Request<B>, Response = Response<ResB>>,
{
    type Response = S::Response;
    type Error = S::Error; // Passed through: axum asks for `Infallible`.
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let closes = receive(&mut request);
        ResponseFuture { inner: self.inner.call(request), layer: self.layer.clone(), closes }
    }
}

/// Takes off a request what was said to this hop, and says whether its answer may end its connection.
pub(super) fn receive<B>(request: &mut Request<B>) -> bool {
    header::remove(request.headers_mut(), &CALLER);
    // The request's version: an answer's own says nothing about its connection.
    request.version() <= Version::HTTP_11
}

pin_project! {
    /// Response future of [`Offline`].
    #[derive(Debug)]
    pub struct ResponseFuture<F> { #[pin] inner: F, layer: Arc<OfflineLayer>, closes: bool }
}

impl<F: Future<Output = Result<Response<B>, E>>, B, E> Future for ResponseFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        this.layer.mark(&mut response, *this.closes);
        Poll::Ready(Ok(response))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::ready;
    use tokio_test::task;
    use tower::{ServiceExt as _, service_fn};
    use tower_test::mock;

    const TAG: &str = "\"10.0.0.7:8080\";epoch=1;fade=0";

    fn request(version: Version) -> Request<()> {
        Request::builder().version(version).body(()).unwrap()
    }

    fn layer() -> (Lifecycle, OfflineLayer) {
        let lifecycle = Lifecycle::new();
        lifecycle.serve();
        (
            lifecycle.clone(),
            OfflineLayer::new(lifecycle, &OfflineTag::from_value(&HeaderValue::from_static(TAG)).unwrap()),
        )
    }

    #[tokio::test]
    async fn an_answer_under_way_when_leaving_begins_is_tagged() {
        let (lifecycle, layer) = layer();
        let (inner, mut handler) = mock::pair::<_, Response<()>>();
        handler.allow(1);
        let mut answer = task::spawn(layer.layer(inner).oneshot(request(Version::HTTP_11)));
        assert!(answer.poll().is_pending());
        let (_, respond) = handler.next_request().await.unwrap();
        lifecycle.leave();
        respond.send_response(Response::new(()));
        let answer = answer.await.unwrap();
        assert_eq!(answer.headers()[OFFLINE], TAG);
        assert_eq!(answer.headers()[CONNECTION], "close");
    }

    #[tokio::test]
    async fn only_http1_is_told_to_close_and_an_upgrade_is_not() {
        let (lifecycle, layer) = layer();
        lifecycle.leave();
        for (version, status, closes) in [
            (Version::HTTP_10, 200, true),
            (Version::HTTP_11, 200, true),
            (Version::HTTP_2, 200, false),
            (Version::HTTP_11, 101, false),
        ] {
            // The answer's own version is always HTTP/1.1, as handlers leave it.
            let inner = service_fn(move |_| ready(Response::builder().status(status).body(())));
            let answer = layer.layer(inner).oneshot(request(version)).await.unwrap();
            assert_eq!(answer.headers().contains_key(CONNECTION), closes, "{version:?} {status}");
            assert_eq!(answer.headers()[OFFLINE], TAG);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn while_an_instance_fades_its_answers_say_how_much_is_left_and_close_nothing() {
        let (lifecycle, _) = layer();
        let fading = TAG.replace("fade=0", "fade=20");
        let tag = OfflineTag::from_value(&HeaderValue::from_str(&fading).unwrap()).unwrap();
        let layer = OfflineLayer::new(lifecycle.clone(), &tag);
        let inner = service_fn(async |_| Ok::<_, std::convert::Infallible>(Response::new(())));
        let service = layer.layer(inner);
        lifecycle.leave();
        for (wait_ms, fade, closes) in [
            (0, "fade=20", false),
            (10_500, "fade=10", false),
            (9_000, "fade=1", false),
            (500, "fade=0", true),
        ] {
            tokio::time::advance(Duration::from_millis(wait_ms)).await;
            let answer = service.clone().oneshot(request(Version::HTTP_11)).await.unwrap();
            assert_eq!(answer.headers()[OFFLINE], TAG.replace("fade=0", fade));
            assert_eq!(answer.headers().contains_key(CONNECTION), closes, "{fade}");
        }
    }

    #[tokio::test]
    async fn who_never_served_has_no_load_to_hand_over() {
        let lifecycle = Lifecycle::new();
        let tag = OfflineTag::from_value(&HeaderValue::from_static(TAG)).unwrap();
        let tag = OfflineTag { fade: Duration::from_secs(20), ..tag };
        let inner = service_fn(async |_| Ok::<_, std::convert::Infallible>(Response::new(())));
        lifecycle.leave();
        let layer = OfflineLayer::new(lifecycle, &tag);
        let answer = layer.layer(inner).oneshot(request(Version::HTTP_11)).await.unwrap();
        assert_eq!(answer.headers()[OFFLINE], TAG);
    }

    #[tokio::test]
    async fn words_of_other_hops_go_no_further() {
        let (_, layer) = layer();
        let inner = service_fn(async |request: Request<()>| {
            assert!(!request.headers().contains_key(CALLER));
            Response::builder().header(OFFLINE, "\"10.0.0.9:80\";epoch=1").body(())
        });
        let mut asked = request(Version::HTTP_11);
        asked.headers_mut().insert(CALLER, HeaderValue::from_static("\"9f86d081884c7d65\""));
        let answer = layer.layer(inner).oneshot(asked).await.unwrap();
        assert!(answer.headers().is_empty());
    }

    #[tokio::test]
    async fn an_error_passes_as_it_is() {
        let (_, layer) = layer();
        let inner = service_fn(async |_| Err::<Response<()>, _>("broken"));
        assert_eq!(layer.layer(inner).oneshot(request(Version::HTTP_2)).await.unwrap_err(), "broken");
    }
}
