//! Measures how long requests take, each for its API, and refuses those that are too many.

use super::openapi::apis;
use super::respond::Exceeded;
use super::weighed::{Weighed, Weight};
use crate::registry::bound::Bound;
use crate::registry::large::Large;
use crate::registry::metrics::{Api, Metrics, UnderWay};
use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use std::collections::HashMap;
use std::convert::Infallible;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};
use tokio::time::Instant;
use tower_service::Service;

/// The methods of each path, with their places in [`apis`].
static BY_PATH: LazyLock<HashMap<String, Vec<(Method, usize)>>> = LazyLock::new(|| {
    let mut by_path = HashMap::<_, Vec<_>>::new();
    for (place, (method, path)) in apis().enumerate() {
        by_path.entry(path).or_default().push((method, place));
    }
    by_path
});

/// What is answered however many requests are under way: a registry that is busy is neither dead nor to be
/// kept from telling that it is busy.
pub(super) const PROBES: [&str; 7] = [
    "/livez",
    "/readyz",
    "/metrics",
    "/nacos/v1/console/health/liveness",
    "/nacos/v1/console/health/readiness",
    "/nacos/v3/admin/core/state/liveness",
    "/nacos/v3/admin/core/state/readiness",
];

/// What is said where a large body found no room; the words are those of a large message.
const NO_ROOM: &str = "too many bytes in large messages and bodies are under way: try again";

/// Which API a request is for; the place after the last one where there is none.
fn api(method: &Method, path: &str) -> Api {
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    let methods = BY_PATH.get(path).into_iter().flatten();
    let place = methods.clone().find(|(own, _)| own == method).map(|(_, place)| *place);
    Api::Http(place.unwrap_or_else(|| BY_PATH.values().map(Vec::len).sum()))
}

/// The API on one connection, measured, with a bound for the requests that are under way and for the bytes of
/// their large bodies.
#[derive(Clone, Debug)]
pub(in crate::registry) struct Measured<S> {
    inner: S,
    metrics: Arc<Metrics>,
    large: Large,
    requests_max: usize,
}

impl<S> Measured<S> {
    /// Measures `inner`, which gets no request while `requests_max` are under way in the registry.
    pub(in crate::registry) fn new(
        inner: S,
        metrics: Arc<Metrics>,
        large: Large,
        requests_max: usize,
    ) -> Self {
        Self { inner, metrics, large, requests_max }
    }
}

impl<S, B, R> Service<Request<B>> for Measured<S>
where
    S: Service<Request<Weighed<B>>, Response = Response<R>, Error = Infallible>,
    B: http_body::Body,
{
    type Response = Response<Body<R>>;
    type Error = Infallible;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (api, since) = (api(request.method(), request.uri().path()), Instant::now());
        let max = if PROBES.contains(&request.uri().path()) { usize::MAX } else { self.requests_max };
        match self.metrics.begin(max) {
            Some(under_way) => {
                let (head, body) = request.into_parts();
                let (body, weight) = Weighed::new(body, &self.large);
                let inner = self.inner.call(Request::from_parts(head, body));
                ResponseFuture::Answered { inner, weight, under_way, api, since }
            }
            None => ResponseFuture::Refused { max },
        }
    }
}

pin_project! {
    /// Response future of [`Measured`].
    #[derive(Debug)]
    #[project = ResponseFutureProjection]
    pub(in crate::registry) enum ResponseFuture<F> {
        Answered {
            #[pin]
            inner: F,
            weight: Option<Weight>,
            under_way: UnderWay,
            api: Api,
            since: Instant,
        },
        Refused { max: usize },
    }
}

impl<F: Future<Output = Result<Response<R>, Infallible>>, R> Future for ResponseFuture<F> {
    type Output = Result<Response<Body<R>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            ResponseFutureProjection::Answered { inner, weight, under_way, api, since } => {
                let response = ready!(inner.poll(cx))?;
                if weight.as_ref().is_some_and(Weight::was_refused) {
                    under_way.answered(*api, since.elapsed(), true);
                    under_way.refuse(Bound::LargeMessages);
                    return Poll::Ready(Ok(refused(NO_ROOM.into())));
                }
                under_way.answered(*api, since.elapsed(), !response.status().is_success());
                if let Some(bound) = exceeded(&response) {
                    under_way.refuse(bound);
                }
                Poll::Ready(Ok(response.map(|inner| Body::Answer { inner })))
            }
            ResponseFutureProjection::Refused { max } => {
                let words = format!("{max} requests are under way, and no more can be: try again");
                Poll::Ready(Ok(refused(words)))
            }
        }
    }
}

/// The bound that an answer says was exceeded.
fn exceeded<R>(response: &Response<R>) -> Option<Bound> {
    let too_large = (response.status() == StatusCode::PAYLOAD_TOO_LARGE).then_some(Bound::Body);
    too_large.or_else(|| response.extensions().get().map(|Exceeded(bound)| *bound))
}

fn refused<R>(words: String) -> Response<Body<R>> {
    let mut response = Response::new(Body::Words { words: Bytes::from(words) });
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

pin_project! {
    /// Response body of [`Measured`].
    #[derive(Debug)]
    #[project = BodyProjection]
    pub(in crate::registry) enum Body<R> {
        Answer { #[pin] inner: R },
        Words { words: Bytes },
    }
}

impl<R: http_body::Body<Data = Bytes>> http_body::Body for Body<R> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        match self.project() {
            BodyProjection::Answer { inner } => inner.poll_frame(cx),
            BodyProjection::Words { words } if words.is_empty() => Poll::Ready(None),
            BodyProjection::Words { words } => Poll::Ready(Some(Ok(Frame::data(mem::take(words))))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Answer { inner } => inner.is_end_stream(),
            Self::Words { words } => words.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Answer { inner } => inner.size_hint(),
            Self::Words { words } => SizeHint::with_exact(words.len() as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::large::LARGE_FROM;
    use http_body_util::{BodyExt, Full};

    #[test]
    fn a_request_is_for_one_api_or_for_none() {
        let places: Vec<Api> = apis().map(|(method, path)| api(&method, &path)).collect();
        assert!(places.iter().enumerate().all(|(place, api)| *api == Api::Http(place)), "{places:?}");
        let list = "/nacos/v1/ns/instance/list";
        assert_eq!(api(&Method::HEAD, list), api(&Method::GET, list));
        assert!(PROBES.iter().all(|path| BY_PATH.contains_key(*path)));
        let none = Api::Http(places.len());
        assert_eq!((api(&Method::PUT, list), api(&Method::GET, "/nowhere")), (none, none));
    }

    #[tokio::test]
    async fn a_large_body_without_room_is_answered_so_and_counted() {
        let (metrics, large) = (Arc::new(Metrics::new()), Large::new(1));
        let read = tower::service_fn(async |request: Request<Weighed<Full<Bytes>>>| {
            let read = request.into_body().collect().await;
            let status = if read.is_ok() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
            Ok::<_, Infallible>(Response::builder().status(status).body(Full::<Bytes>::default()).unwrap())
        });
        let mut measured = Measured::new(read, metrics.clone(), large.clone(), 10);
        let mut send = |bytes: usize| measured.call(Request::new(Full::new(Bytes::from(vec![b'x'; bytes]))));
        let mut others = large.room();
        assert!(others.grow_to(128 * 1024 * 1024));
        assert_eq!(send(LARGE_FROM).await.unwrap().status(), StatusCode::OK);
        let answer = send(LARGE_FROM + 1).await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()[RETRY_AFTER], "1");
        let words = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(words, NO_ROOM);
        assert_eq!(metrics.refused(Bound::LargeMessages), 1);
        drop(others);
        assert_eq!(send(LARGE_FROM + 1).await.unwrap().status(), StatusCode::OK);
    }
}
