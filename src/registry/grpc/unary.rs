//! A unary call: one message comes, one goes.
//!
//! Clients register and ask with these, all of them, so they do without what tonic has ready for streams:
//! buffers of 8 KiB on both sides, and a box around everything that may vary.

use crate::protocol::Payload;
use crate::registry::large::Room;
use bytes::{Buf, BufMut as _, Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response};
use http_body::Frame;
use prost::Message as _;
use std::future::poll_fn;
use std::mem;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use tonic::Status;

/// Bytes before a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;
/// Headers in the envelope of a message: a token, and the little that clients say of themselves.
const HEADERS_MAX: usize = 256;

/// What goes back on either method.
#[derive(Debug)]
pub(crate) enum Body {
    /// The answer to a unary call, with its prefix.
    Message(Bytes),
    /// The answer has been sent, and that it is a success has not.
    Success,
    /// All has been sent.
    Sent,
    /// A stream, or a failure.
    Tonic(tonic::body::Body),
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if let Self::Tonic(body) = this {
            return Pin::new(body).poll_frame(cx);
        }
        let (frame, next) = match mem::replace(this, Self::Sent) {
            Self::Message(message) => (Frame::data(message), Self::Success),
            Self::Success => (Frame::trailers(success()), Self::Sent),
            Self::Sent | Self::Tonic(_) => return Poll::Ready(None),
        };
        *this = next;
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Message(_) | Self::Success => false,
            Self::Sent => true,
            Self::Tonic(body) => body.is_end_stream(),
        }
    }
}

/// Takes in the message of a call, which takes `room`.
///
/// # Errors
/// When it is too long or compressed, or is not the only one; when there is no room for it; or the call broke
/// off.
pub(super) async fn read<B>(body: B, bytes_max: usize, room: &mut Room) -> Result<Bytes, Status>
where
    B: http_body::Body,
    B::Error: Into<tonic::codegen::StdError>,
{
    let (mut body, mut read) = (pin!(body), Read::default());
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.map_err(|error| Status::from_error(error.into()))?;
        if let Ok(mut data) = frame.into_data() {
            read.take(data.copy_to_bytes(data.remaining()), bytes_max)?;
            if !room.grow_to(read.bytes().len()) {
                return Err(Status::resource_exhausted(
                    "there is no room for another large message: try again",
                ));
            }
        }
    }
    read.message()
}

/// Opens the envelope of a message.
///
/// # Errors
/// When it is none, or has more headers than anyone writes.
pub(super) fn open(message: Bytes) -> Result<Payload, Status> {
    let payload = Payload::decode(message).map_err(|error| Status::internal(error.to_string()))?;
    let headers = payload.metadata.as_ref().map_or(0, |metadata| metadata.headers.len());
    if headers > HEADERS_MAX {
        return Err(Status::invalid_argument(format!("{headers} headers: accepted are {HEADERS_MAX}")));
    }
    Ok(payload)
}

/// The answer to a call that is carried out.
pub(super) fn answer(payload: &Payload) -> Response<Body> {
    let length = payload.encoded_len();
    let mut message = BytesMut::with_capacity(PREFIX_BYTES + length);
    message.put_u8(0);
    // Lists of as many instances as there may be stay far below; a client refuses what is longer than it may be.
    message.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    payload.encode_raw(&mut message);
    let mut response = Response::new(Body::Message(message.freeze()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

fn success() -> HeaderMap {
    HeaderMap::from_iter([(Status::GRPC_STATUS, HeaderValue::from_static("0"))])
}

/// What has come of a call.
#[derive(Debug)]
enum Read {
    /// Mostly all there is.
    Piece(Bytes),
    /// Of a call that comes in several pieces.
    Pieces(BytesMut),
}

impl Default for Read {
    fn default() -> Self {
        Self::Piece(Bytes::new())
    }
}

impl Read {
    fn take(&mut self, data: Bytes, bytes_max: usize) -> Result<(), Status> {
        match self {
            Self::Piece(first) if first.is_empty() => *first = data,
            Self::Piece(first) => {
                let mut pieces = BytesMut::from(&**first);
                pieces.extend_from_slice(&data);
                *self = Self::Pieces(pieces);
            }
            // Grows by doubling: a long message may come in as many pieces as it has bytes.
            Self::Pieces(pieces) => pieces.extend_from_slice(&data),
        }
        let found = self.bytes().len().saturating_sub(PREFIX_BYTES).max(self.announced().unwrap_or(0));
        if found > bytes_max {
            let words = format!("a message of {found} bytes or more: accepted are {bytes_max}");
            return Err(Status::out_of_range(words));
        }
        Ok(())
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Piece(bytes) => bytes,
            Self::Pieces(bytes) => bytes,
        }
    }

    /// Length of the message as its prefix has it.
    fn announced(&self) -> Option<usize> {
        let length = self.bytes().get(1..)?.first_chunk::<4>()?;
        usize::try_from(u32::from_be_bytes(*length)).ok()
    }

    fn message(self) -> Result<Bytes, Status> {
        match (self.bytes().first(), self.announced()) {
            (Some(0), Some(length)) if self.bytes().len() == PREFIX_BYTES + length => {}
            (Some(1..), _) => return Err(Status::internal("a compressed message: none was agreed on")),
            _ => return Err(Status::internal("a unary call has one whole message")),
        }
        let whole = match self {
            Self::Piece(bytes) => bytes,
            Self::Pieces(bytes) => bytes.freeze(),
        };
        Ok(whole.slice(PREFIX_BYTES..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::MESSAGE_BYTES_MAX;
    use crate::registry::large::Large;
    use http_body_util::{BodyExt as _, StreamBody};
    use tonic::Code;

    /// Reads a call that comes in these pieces.
    async fn read_pieces(pieces: &[&[u8]]) -> Result<Payload, Code> {
        let frames = pieces.iter().map(|piece| Ok::<_, Status>(Frame::data(Bytes::copy_from_slice(piece))));
        let frames: Vec<_> = frames.collect();
        let (body, mut room) =
            (StreamBody::new(tokio_stream::iter(frames)), Large::new(MESSAGE_BYTES_MAX).room());
        let message = read(body, MESSAGE_BYTES_MAX, &mut room).await;
        message.and_then(open).map_err(|status| status.code())
    }

    #[tokio::test]
    async fn an_answer_is_read_as_what_it_was_in_whatever_pieces_it_comes() {
        let payload = Payload::from_json("InstanceResponse", r#"{"resultCode":200}"#);
        let response = answer(&payload);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/grpc");
        let whole = response.into_body().collect().await.unwrap();
        assert_eq!(whole.trailers().unwrap()["grpc-status"], "0");
        let bytes = whole.to_bytes();
        for at in 0..=bytes.len() {
            let (first, second) = bytes.split_at(at);
            assert_eq!(read_pieces(&[first, second]).await.unwrap(), payload, "split at {at}");
        }
        let single: Vec<_> = bytes.chunks(1).collect();
        assert_eq!(read_pieces(&single).await.unwrap(), payload);
    }

    #[tokio::test]
    async fn what_is_not_one_whole_message_is_refused() {
        let bad: [&[&[u8]]; 6] = [
            &[],
            &[b"\0\0"],
            &[b"\0\0\0\0\x01"],
            &[b"\0\0\0\0\0+"],
            &[b"\x01\0\0\0\0"],
            &[b"\0\0\0\0\x01\x07"],
        ];
        for pieces in bad {
            assert_eq!(read_pieces(pieces).await.unwrap_err(), Code::Internal, "{pieces:?}");
        }
    }

    #[test]
    fn a_message_in_many_pieces_is_not_copied_with_each_of_them() {
        const WHOLE: usize = 1024 * 1024;
        let piece = Bytes::from_static(&[0; 64]);
        let allocated = allocation_counter::measure(|| {
            let mut read = Read::default();
            (0..WHOLE / piece.len()).for_each(|_| read.take(piece.clone(), WHOLE).unwrap());
            assert_eq!(read.bytes().len(), WHOLE);
        });
        assert!(allocated.bytes_total < 4 * WHOLE as u64, "{allocated:?}");
    }

    #[tokio::test]
    async fn a_message_that_is_too_long_is_refused_before_it_has_come() {
        let announced = [&[0], &11_000_000_u32.to_be_bytes()[..]].concat();
        assert_eq!(read_pieces(&[&announced]).await.unwrap_err(), Code::OutOfRange);
        let piece = vec![0; 1024 * 1024];
        let lying: Vec<&[u8]> = std::iter::repeat_n(&*piece, 12).collect();
        assert_eq!(read_pieces(&lying).await.unwrap_err(), Code::OutOfRange);
    }

    #[tokio::test]
    async fn a_large_message_is_refused_while_others_take_all_the_room() {
        let large = Large::new(MESSAGE_BYTES_MAX);
        let mut others = large.room();
        while others.grow_to(others.bytes() + MESSAGE_BYTES_MAX) {}
        let read = async |bytes: usize| {
            let frame = Ok::<_, Status>(Frame::data(Bytes::from(vec![0; bytes])));
            let body = StreamBody::new(tokio_stream::iter([frame]));
            read(body, MESSAGE_BYTES_MAX, &mut large.room()).await.unwrap_err().code()
        };
        assert_eq!(read(MESSAGE_BYTES_MAX).await, Code::ResourceExhausted);
        assert_eq!(read(1000).await, Code::Internal, "a short one is read, and found to be none");
        drop(others);
        assert_eq!(read(MESSAGE_BYTES_MAX).await, Code::Internal);
    }

    #[test]
    fn an_envelope_with_more_headers_than_anyone_writes_is_refused() {
        let with = |headers: usize| {
            let payload = Payload::from_json("InstanceRequest", "{}");
            let headers = 0..headers;
            headers.fold(payload, |payload, number| payload.with_header(&number.to_string(), ""))
        };
        assert!(open(with(HEADERS_MAX).encode_to_vec().into()).is_ok());
        let refused = open(with(HEADERS_MAX + 1).encode_to_vec().into()).unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
}
