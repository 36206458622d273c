//! The body of an answer, which knows whose it is.

use crate::consumer::endpoints::{Endpoint, Guard};
use crate::model::Instance;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

pin_project! {
    /// The body of an answer from one instance: counts as a call in flight until it is dropped. Frames,
    /// trailers and errors pass through.
    #[derive(Debug)]
    pub struct ResponseBody<B> {
        #[pin]
        inner: B,
        guard: Guard,
        refused: bool,
    }
}

impl<B> ResponseBody<B> {
    #[inline]
    pub(super) fn new(inner: B, guard: Guard) -> Self {
        Self { inner, guard, refused: false }
    }

    /// The instance that answers, as it was registered when it was first seen.
    pub fn instance(&self) -> &Instance {
        self.guard.endpoint().instance()
    }

    /// The body itself.
    pub fn get_ref(&self) -> &B {
        &self.inner
    }

    pub(in crate::consumer) fn endpoint(&self) -> &Arc<Endpoint> {
        self.guard.endpoint()
    }

    /// Whether the provider's layers refused the request without calling its handler.
    pub(in crate::consumer) fn is_refusal(&self) -> bool {
        self.refused
    }

    pub(in crate::consumer) fn set_refusal(&mut self, refused: bool) {
        self.refused = refused;
    }
}

impl<B: Body> Body for ResponseBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.project().inner.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
