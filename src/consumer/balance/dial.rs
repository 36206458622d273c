//! One instance behind a client that dials whatever the URI names.

use crate::consumer::uri::{at, authority};
use crate::model::Address;
use http::Request;
use http::uri::{Authority, Scheme};
use std::task::{Context, Poll};
use tower_service::Service;

/// Sends every request to one address over a client that all instances share. Made by
/// [`BalanceLayer`](super::BalanceLayer).
#[derive(Clone, Debug)]
pub struct Dial<C> {
    inner: C,
    authority: Authority,
}

impl<C> Dial<C> {
    pub(super) fn new(inner: C, address: &Address) -> Self {
        Self { inner, authority: authority(address) }
    }
}

impl<C: Service<Request<B>>, B> Service<Request<B>> for Dial<C> {
    type Response = C::Response;
    type Error = C::Error;
    type Future = C::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let uri = std::mem::take(request.uri_mut());
        *request.uri_mut() = at(Scheme::HTTP, self.authority.clone(), uri);
        self.inner.call(request)
    }
}
