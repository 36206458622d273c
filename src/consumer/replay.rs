//! Records a request's body as it passes, up to a bound, so that it can be sent again.
//!
//! HTTP clients poll a body as they send the head, so a request that was refused has nearly always lost a
//! part of its body. A [`Recording`] keeps that part; the next attempt sends it first and goes on with what
//! the source has not given yet, so a stream that was half sent continues. A body that passes the bound is no
//! longer recorded, and cannot be sent again.

use super::BoxError;
use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Data and trailers that are kept of one body: most requests whole, and no great burden times the requests
/// under way.
pub(super) const RECORDED_BYTES_MAX: usize = 64 * 1024;

/// Frames that are kept of one body, for empty ones weigh nothing.
const RECORDED_FRAMES_MAX: usize = 1024;

/// A request's body in one attempt of [`Failover`](super::Failover): what was recorded of it, then the rest of
/// its source. As soon as there is another attempt, this one fails: an end would pass off a part as the whole.
pub struct ReplayBody<B> {
    /// Nothing for a body that was empty from the start.
    tape: Option<Arc<Mutex<Tape<B>>>>,
    attempt: u32,
    /// How many frames of the recording this attempt has sent.
    sent: usize,
}

/// The means to send a body again.
pub(super) struct Recording<B> {
    tape: Option<Arc<Mutex<Tape<B>>>>,
}

struct Tape<B> {
    source: B,
    ended: bool,
    frames: Vec<Recorded>,
    bytes: usize,
    /// Why no more is recorded, and the body cannot be sent again.
    stopped: Option<Stopped>,
    attempt: u32,
    /// Who waits for the source: the attempt of now.
    waiting: Option<Waker>,
}

#[derive(Clone)]
enum Recorded {
    Data(Bytes),
    Trailers(HeaderMap),
}

/// Why a body cannot be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    TooLong,
    Failed,
    Answered,
}

/// The error of an attempt that another has replaced.
#[derive(Debug)]
struct Superseded;

impl<B: Body> Recording<B> {
    /// The recording of `source`, and its first attempt.
    pub(super) fn new(source: B) -> (Self, ReplayBody<B>) {
        if source.is_end_stream() {
            return (Self { tape: None }, ReplayBody { tape: None, attempt: 0, sent: 0 });
        }
        let tape = Arc::new(Mutex::new(Tape {
            source,
            ended: false,
            frames: Vec::new(),
            bytes: 0,
            stopped: None,
            attempt: 0,
            waiting: None,
        }));
        (Self { tape: Some(tape.clone()) }, ReplayBody { tape: Some(tape), attempt: 0, sent: 0 })
    }

    /// Whether the body can be sent again, as far as it has been read by now.
    pub(super) fn is_whole(&self) -> Result<(), Stopped> {
        self.tape.as_ref().and_then(|tape| lock(tape).stopped).map_or(Ok(()), Err)
    }

    /// Another attempt, after which the one before fails.
    pub(super) fn again(&self) -> Result<ReplayBody<B>, Stopped> {
        let Some(shared) = &self.tape else {
            return Ok(ReplayBody { tape: None, attempt: 0, sent: 0 });
        };
        let mut tape = lock(shared);
        if let Some(stopped) = tape.stopped {
            return Err(stopped);
        }
        tape.attempt += 1;
        let (attempt, waiting) = (tape.attempt, tape.waiting.take());
        drop(tape);
        if let Some(waiting) = waiting {
            waiting.wake(); // The attempt before learns that it is over.
        }
        Ok(ReplayBody { tape: Some(shared.clone()), attempt, sent: 0 })
    }

    /// Ends the recording and forgets it: an answer has come, so the body is sent once.
    pub(super) fn stop(self) {
        if let Some(tape) = &self.tape {
            lock(tape).stopped = Some(Stopped::Answered);
        }
    }
}

impl<B: Body + Unpin> Body for ReplayBody<B>
where
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let Some(tape) = &this.tape else {
            return Poll::Ready(None);
        };
        let mut tape = lock(tape);
        if tape.attempt != this.attempt {
            return Poll::Ready(Some(Err(Superseded.into())));
        }
        if let Some(frame) = tape.frames.get(this.sent).cloned() {
            this.sent += 1;
            tape.forget_if_stopped(&mut this.sent);
            return Poll::Ready(Some(Ok(frame.into())));
        }
        let polled = tape.poll_source(cx);
        if let Poll::Ready(Some(Ok(_))) = polled {
            this.sent += 1;
            tape.forget_if_stopped(&mut this.sent);
        }
        polled.map_ok(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        let Some(tape) = &self.tape else {
            return true;
        };
        let tape = lock(tape);
        tape.attempt == self.attempt && self.sent >= tape.frames.len() && tape.has_ended()
    }

    fn size_hint(&self) -> SizeHint {
        let Some(tape) = &self.tape else {
            return SizeHint::with_exact(0);
        };
        let tape = lock(tape);
        let recorded = tape.frames.iter().skip(self.sent).map(Recorded::data_bytes).sum::<usize>() as u64;
        let rest = if tape.ended { SizeHint::with_exact(0) } else { tape.source.size_hint() };
        let mut hint = SizeHint::new();
        hint.set_lower(recorded.saturating_add(rest.lower()));
        if let Some(upper) = rest.upper() {
            hint.set_upper(recorded.saturating_add(upper));
        }
        hint
    }
}

impl<B: Body> Tape<B> {
    fn has_ended(&self) -> bool {
        self.ended || self.source.is_end_stream()
    }

    /// Drops what no attempt will read any more.
    fn forget_if_stopped(&mut self, sent: &mut usize) {
        if self.stopped.is_some() && *sent >= self.frames.len() {
            self.frames = Vec::new();
            *sent = 0;
        }
    }
}

impl<B: Body + Unpin> Tape<B>
where
    B::Error: Into<BoxError>,
{
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Recorded, BoxError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut self.source).poll_frame(cx);
        self.waiting = polled.is_pending().then(|| cx.waker().clone());
        polled.map(|frame| match frame.transpose() {
            Ok(None) => {
                self.ended = true;
                None
            }
            Ok(Some(frame)) => Recorded::of(frame).map(|frame| {
                self.record(&frame);
                Ok(frame)
            }),
            Err(error) => {
                self.stopped = Some(Stopped::Failed); // Another attempt would fail with it.
                Some(Err(error.into()))
            }
        })
    }

    fn record(&mut self, frame: &Recorded) {
        if self.stopped.is_some() {
            return;
        }
        self.bytes = self.bytes.saturating_add(frame.bytes());
        if self.bytes > RECORDED_BYTES_MAX || self.frames.len() == RECORDED_FRAMES_MAX {
            self.stopped = Some(Stopped::TooLong);
        } else {
            self.frames.push(frame.clone());
        }
    }
}

impl Recorded {
    /// Nothing for a kind of frame that HTTP has not got.
    fn of<D: Buf>(frame: Frame<D>) -> Option<Self> {
        match frame.into_data() {
            Ok(mut data) => Some(Self::Data(data.copy_to_bytes(data.remaining()))), // `Bytes` are not copied.
            Err(frame) => frame.into_trailers().ok().map(Self::Trailers),
        }
    }

    fn data_bytes(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            Self::Trailers(_) => 0,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            Self::Trailers(trailers) => {
                trailers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
            }
        }
    }
}

impl From<Recorded> for Frame<Bytes> {
    fn from(recorded: Recorded) -> Self {
        match recorded {
            Recorded::Data(data) => Self::data(data),
            Recorded::Trailers(trailers) => Self::trailers(trailers),
        }
    }
}

fn lock<B>(tape: &Mutex<Tape<B>>) -> MutexGuard<'_, Tape<B>> {
    // A panic can only have come from the source, which has then failed for its own attempt.
    tape.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { attempt, sent, .. } = self;
        f.debug_struct("ReplayBody").field("attempt", attempt).field("sent", sent).finish_non_exhaustive()
    }
}

impl<B> fmt::Debug for Recording<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording").finish_non_exhaustive()
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(
                f,
                "its body is over {} KiB or {RECORDED_FRAMES_MAX} frames",
                RECORDED_BYTES_MAX / 1024
            ),
            Self::Failed => f.write_str("its body failed"),
            Self::Answered => f.write_str("its answer has begun"),
        }
    }
}

impl fmt::Display for Superseded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request is being sent to another instance")
    }
}

impl std::error::Error for Superseded {}

#[cfg(test)]
mod tests;
