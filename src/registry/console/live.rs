//! A page as a stream: sent anew whenever it has changed, looked at now and then.
//!
//! Nothing waits in a queue: the next state is only looked for when the last one has been taken, so a slow
//! reader gets fewer states, and a dead one none.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use http_body::Frame;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Streams at once: each tab that is open has one, and a page is rendered for it every second.
pub(super) const STREAMS_MAX: usize = 128;
/// After so long without a change the stream says that it lives: proxies end what is silent for longer, and the
/// page tells people that it is cut off.
const SILENT_MAX: Duration = Duration::from_secs(15);
/// After how many milliseconds a browser connects again.
const RETRY_MS: u32 = 2000;
/// How long whoever finds no place is asked to wait, in seconds.
const FULL_RETRY_S: &str = "15";

/// A state of a page: what stands in `<main>`, and the moment of which it is.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) main: String,
    /// As people read it.
    pub(super) at: String,
}

/// Gives the page as it is now; nothing when it is not to be shown any more.
pub(super) type Look = Box<dyn FnMut() -> Option<Shown> + Send>;

/// The stream of a page, for a reader that has the state `last` already.
pub(super) fn stream(
    places: &Arc<Semaphore>,
    end: impl Future<Output = ()> + Send + 'static,
    headers: &HeaderMap,
    (every, look): (Duration, Look),
) -> Response {
    let Ok(place) = places.clone().try_acquire_owned() else {
        let full = "as many pages are followed as may be: this one is not, until it is loaded again\n";
        return (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, FULL_RETRY_S)], full).into_response();
    };
    let last = headers.get("last-event-id").and_then(|id| u64::from_str_radix(id.to_str().ok()?, 16).ok());
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let live =
        Live { end: Box::pin(end), ticks, look, last, silent: Duration::ZERO, begun: false, _place: place };
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")];
    (headers, Body::new(live)).into_response()
}

/// The body of the answer.
struct Live {
    /// Resolves when the registry ends, which waits for no reader.
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
    ticks: Interval,
    look: Look,
    /// The id of the state that the reader has.
    last: Option<u64>,
    /// How long nothing has been sent.
    silent: Duration,
    begun: bool,
    _place: OwnedSemaphorePermit,
}

impl Live {
    /// What is to be sent of a state, if anything.
    fn next(&mut self, shown: &Shown) -> Option<String> {
        let mut hasher = DefaultHasher::new(); // With fixed keys: a state has the same id in every process.
        shown.main.hash(&mut hasher);
        let id = hasher.finish();
        let mut text = String::new();
        if !std::mem::replace(&mut self.begun, true) {
            let _ = write!(text, "retry: {RETRY_MS}\n\n"); // Writing to text does not fail.
        }
        if self.last.replace(id) == Some(id) {
            self.silent += self.ticks.period();
            if self.silent >= SILENT_MAX {
                self.silent = Duration::ZERO;
                let _ = write!(text, "event: still\ndata: {}\n\n", shown.at);
            }
        } else {
            self.silent = Duration::ZERO;
            let _ = write!(text, "id: {id:016x}\nevent: state\ndata: {}\n", shown.at);
            // A stream's lines end with either: what stands in a value must not end one of ours.
            shown.main.split(['\n', '\r']).for_each(|line| {
                let _ = writeln!(text, "data: {line}");
            });
            text.push('\n');
        }
        (!text.is_empty()).then_some(text)
    }
}

impl http_body::Body for Live {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            if self.end.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            ready!(self.ticks.poll_tick(cx));
            let Some(shown) = (self.look)() else { return Poll::Ready(None) };
            if let Some(text) = self.next(&shown) {
                return Poll::Ready(Some(Ok(Frame::data(text.into()))));
            }
        }
    }
}
