//! Counts the bytes of large bodies while they and their requests are under way: as many of them as there may be
//! requests would fill any memory.

use crate::registry::large::{LARGE_FROM, Large, Room};
use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What the body of one request takes, given back when this and the body are dropped.
#[derive(Clone, Debug)]
pub(super) struct Weight(Arc<Mutex<Weighing>>);

#[derive(Debug)]
struct Weighing {
    room: Room,
    refused: bool,
}

impl Weight {
    /// The weight of a body that may become large; nothing where it says that it does not.
    fn of<B: Body>(body: &B, large: &Large) -> Option<Self> {
        let small = body.size_hint().upper().is_some_and(|most| most <= LARGE_FROM as u64);
        (!small).then(|| Self(Arc::new(Mutex::new(Weighing { room: large.room(), refused: false }))))
    }

    /// Whether the body found no room.
    pub(super) fn was_refused(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).refused
    }

    fn grow_to(&self, bytes: usize) -> bool {
        let mut weighing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let there_is = weighing.room.grow_to(bytes);
        weighing.refused |= !there_is;
        there_is
    }
}

/// There was no room for a body; [`Weight::was_refused`] tells whoever answers.
#[derive(Debug, thiserror::Error)]
#[error("there is no room for the body")]
struct NoRoom;

pin_project! {
    /// A body that finds room for what comes of it, or fails.
    #[derive(Debug)]
    pub(in crate::registry) struct Weighed<B> {
        #[pin]
        inner: B,
        bytes: usize,
        weight: Option<Weight>,
    }
}

impl<B: Body> Weighed<B> {
    /// Weighs `inner`; whoever answers holds on to the weight until then.
    pub(super) fn new(inner: B, large: &Large) -> (Self, Option<Weight>) {
        let weight = Weight::of(&inner, large);
        (Self { inner, bytes: 0, weight: weight.clone() }, weight)
    }
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>>> Body for Weighed<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        let frame = ready!(this.inner.poll_frame(cx)).transpose().map_err(Into::into)?;
        if let (Some(weight), Some(data)) = (this.weight, frame.as_ref().and_then(Frame::data_ref)) {
            *this.bytes += data.remaining();
            if !weight.grow_to(*this.bytes) {
                return Poll::Ready(Some(Err(NoRoom.into())));
            }
        }
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Full, StreamBody};

    #[tokio::test]
    async fn a_large_body_takes_room_until_its_request_is_answered_and_a_small_one_none() {
        let large = Large::new(1);
        let mut others = large.room();
        assert!(others.grow_to(128 * 1024 * 1024 - 2 * LARGE_FROM));
        let full = |bytes: usize| Full::new(Bytes::from(vec![b'x'; bytes]));
        let (small, weight) = Weighed::new(full(LARGE_FROM), &large);
        assert!(weight.is_none() && small.collect().await.is_ok());

        let (first, weight) = Weighed::new(full(2 * LARGE_FROM), &large);
        assert_eq!(first.collect().await.unwrap().to_bytes().len(), 2 * LARGE_FROM);
        let pieces = || {
            let piece = Bytes::from(vec![b'x'; LARGE_FROM]);
            let pieces = [piece.clone(), piece].map(|piece| Ok::<_, BoxError>(Frame::data(piece)));
            StreamBody::new(futures_util::stream::iter(pieces))
        };
        let (second, refused) = Weighed::new(pieces(), &large);
        assert!(second.collect().await.is_err() && refused.as_ref().unwrap().was_refused());
        assert!(!weight.as_ref().unwrap().was_refused());
        drop((weight, refused));
        assert!(Weighed::new(pieces(), &large).0.collect().await.is_ok());
    }
}
