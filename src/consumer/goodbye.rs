//! Takes the offline tag off answers and puts their sender aside, so that it gets no further request.
//!
//! A registry tells consumers seconds later that an instance leaves; its own answer tells them at once. A tag
//! with a fade takes its sender out bit by bit: it serves on while its weight falls in a straight line. The
//! first tag of an instance also asks the registry for its list. The judgement holds until the registry has
//! been seen without that incarnation, or for 60 s after the fade; a stale list does not overrule it, and
//! another epoch at the same address is welcome at once. When everyone has been put aside, the last ones
//! standing are used all the same.
//!
//! A tag counts when it names the epoch of the instance that was called. Where the registry knows no epoch
//! for that, it counts when it names its address, or one that the registry does not know (behind NAT or DNS
//! an instance may know itself under another). Every other tag is ignored and counted: it speaks of someone
//! else, as one does that a proxying service let through;
//! [`Balance::ignored_tags`](super::Balance::ignored_tags) has their number.
//!
//! Whether it counts or not, the tag goes no further; nor does the word of a provider's layers that it has
//! refused a request, which [`Failover`](super::Failover) learns from the answer's body.

use super::balance::ResponseBody;
use super::heard;
use crate::naming::header::OFFLINE;
use http::Response;
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tower_layer::Layer;
use tower_service::Service;

/// Puts instances aside that say they leave. See the [module docs](self). Goes around
/// [`Balance`](super::Balance).
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct GoodbyeLayer;

impl GoodbyeLayer {
    /// A layer that listens.
    pub const fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for GoodbyeLayer {
    type Service = Goodbye<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Goodbye { inner }
    }
}

/// Service made by [`GoodbyeLayer`].
#[derive(Clone, Debug)]
pub struct Goodbye<S> {
    inner: S,
}

impl<S: Service<Req, Response = Response<ResponseBody<B>>>, Req, B> Service<Req> for Goodbye<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        ResponseFuture { inner: self.inner.call(request) }
    }
}

pin_project! {
    /// Response future of [`Goodbye`].
    #[derive(Debug)]
    pub struct ResponseFuture<F> { #[pin] inner: F }
}

impl<F: Future<Output = Result<Response<ResponseBody<B>>, E>>, B, E> Future for ResponseFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut response = ready!(self.project().inner.poll(cx))?;
        if response.headers().contains_key(OFFLINE) {
            let endpoint = response.body().endpoint().clone();
            heard::goodbye(response.headers_mut(), &endpoint);
        }
        let refused = take_refusal(&mut response);
        response.body_mut().set_refusal(refused);
        Poll::Ready(Ok(response))
    }
}

/// Takes the word of a provider's layers off an answer; `true` when they refused the request.
pub(super) fn take_refusal<B>(response: &mut Response<ResponseBody<B>>) -> bool {
    heard::refusal(response.status(), response.headers_mut()) || response.body().is_refusal()
}

#[cfg(test)]
mod tests;
