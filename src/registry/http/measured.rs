//! Measures how long requests take, each for its API.

use super::openapi::apis;
use crate::registry::metrics::{Api, Metrics, UnderWay};
use http::{Method, Request, Response};
use pin_project_lite::pin_project;
use std::collections::HashMap;
use std::convert::Infallible;
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

/// Which API a request is for; the place after the last one where there is none.
fn api(method: &Method, path: &str) -> Api {
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    let methods = BY_PATH.get(path).into_iter().flatten();
    let place = methods.clone().find(|(own, _)| own == method).map(|(_, place)| *place);
    Api::Http(place.unwrap_or_else(|| BY_PATH.values().map(Vec::len).sum()))
}

/// The API on one connection, measured.
#[derive(Clone, Debug)]
pub(in crate::registry) struct Measured<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

impl<S> Measured<S> {
    /// Measures `inner`.
    pub(in crate::registry) fn new(inner: S, metrics: Arc<Metrics>) -> Self {
        Self { inner, metrics }
    }
}

impl<S, B, R> Service<Request<B>> for Measured<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible>,
{
    type Response = Response<R>;
    type Error = Infallible;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (api, since) = (api(request.method(), request.uri().path()), Instant::now());
        let under_way = self.metrics.begin();
        ResponseFuture { inner: self.inner.call(request), under_way, api, since }
    }
}

pin_project! {
    /// Response future of [`Measured`].
    #[derive(Debug)]
    pub(in crate::registry) struct ResponseFuture<F> {
        #[pin]
        inner: F,
        under_way: UnderWay,
        api: Api,
        since: Instant,
    }
}

impl<F: Future<Output = Result<Response<R>, Infallible>>, R> Future for ResponseFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        let failed = !response.status().is_success();
        this.under_way.answered(*this.api, this.since.elapsed(), failed);
        Poll::Ready(Ok(response))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_for_one_api_or_for_none() {
        let places: Vec<Api> = apis().map(|(method, path)| api(&method, &path)).collect();
        assert!(places.iter().enumerate().all(|(place, api)| *api == Api::Http(place)), "{places:?}");
        let list = "/nacos/v1/ns/instance/list";
        assert_eq!(api(&Method::HEAD, list), api(&Method::GET, list));
        let none = Api::Http(places.len());
        assert_eq!((api(&Method::PUT, list), api(&Method::GET, "/nowhere")), (none, none));
    }
}
