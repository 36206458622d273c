//! Which recent callers know that we leave.
//!
//! A quiet moment says little about rare callers: one that calls every ten seconds is silent most of the
//! time, and its next request meets a closed port. So a leaving process waits until every caller of the
//! last while (the cache time) has been *told*: an answer with the offline tag was
//! queued for it, and its connection was flushed afterwards, or ended.
//!
//! A governed caller (`graceful-caller`) is its process, over all its connections. Any other caller is one
//! connection, and is done with when that ends; it does not read the tag, so under HTTP/1 it is told by
//! `connection: close`, which stands beside the tag once the instance has faded.
//!
//! While the process serves, a request costs a few atomic reads: time is a tick of about a second, and the
//! book of callers is opened only when a connection has a new tick or a new caller.

mod book;

use super::ProbePaths;
use super::counted::Counted;
use super::late::Late;
use super::wire::Wire;
#[cfg(feature = "notice")]
use crate::model::Address;
use crate::naming::header::{self, CALLER, CallerTag, OFFLINE};
use crate::observe::{LateCaller, RequestCounts};
use book::{Book, Caller};
use http::header::CONNECTION;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version};
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tower_service::Service;

/// How coarse the time is in which callers were seen.
pub(super) const TICK: Duration = Duration::from_secs(1);
/// The id of requests without `graceful-caller`.
const UNGOVERNED: u64 = 0;

/// The callers of this process; a clone is the same book.
#[derive(Clone, Debug)]
pub(super) struct Callers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Ticks since the start, from 1 on.
    now: AtomicU32,
    /// Number of the next connection.
    next: AtomicU64,
    book: Mutex<Book>,
    counted: Counted,
    late: Late,
}

impl Callers {
    /// Nobody has called. Who has not called for `cache_time` is forgotten.
    pub(super) fn new(cache_time: Duration) -> Self {
        let ticks = u32::try_from(cache_time.as_secs().div_ceil(TICK.as_secs())).unwrap_or(u32::MAX);
        let book = Mutex::new(Book::new(ticks));
        Self(Arc::new(Shared {
            now: AtomicU32::new(1),
            next: AtomicU64::new(0),
            book,
            counted: Counted::default(),
            late: Late::default(),
        }))
    }

    /// Time goes on: to be called once every [`TICK`].
    pub(super) fn tick(&self) {
        let now = self.0.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.book().forget_old(now);
    }

    /// These processes have said to somebody else that they know.
    pub(super) fn know(&self, ids: &[u64]) {
        let mut book = self.book();
        for id in ids {
            book.knows(Caller::Process(*id));
        }
    }

    /// How many recent callers have not been told.
    pub(super) fn untold(&self) -> usize {
        let now = self.0.now.load(Ordering::Relaxed);
        let mut book = self.book();
        book.forget_old(now);
        book.settle();
        book.untold()
    }

    /// Callers that do not know and have said where they take notices: id and address.
    #[cfg(feature = "notice")]
    pub(super) fn waiting_for_notice(&self) -> Vec<(u64, Address)> {
        self.book().waiting_for_notice()
    }

    /// The caller has answered its notice: that it knows, if it has `taken` it.
    #[cfg(feature = "notice")]
    pub(super) fn answered_notice(&self, id: u64, taken: bool) {
        self.book().answered_notice(Caller::Process(id), taken);
    }

    /// How many callers have answered a notice.
    pub(super) fn told_by_notice(&self) -> usize {
        self.book().told_by_notice()
    }

    /// Requests since the start: from callers with the consumer's layers, and from others.
    pub(super) fn requests(&self) -> (RequestCounts, RequestCounts) {
        self.0.counted.read()
    }

    /// Whoever calls from here on should not: it is noted who that is.
    pub(super) fn come_late_from_now_on(&self) {
        self.0.late.begin();
    }

    /// Who has come late since this was asked last.
    pub(super) fn take_late(&self) -> Vec<LateCaller> {
        self.0.late.take()
    }

    /// `inner` as the service of one connection, whose callers it enters into the book.
    pub(super) fn follow<S>(&self, wire: &Arc<Wire>, probes: ProbePaths, inner: S) -> Told<S> {
        let line = Line {
            callers: self.clone(),
            number: self.0.next.fetch_add(1, Ordering::Relaxed),
            wire: wire.clone(),
            last_caller: AtomicU64::new(UNGOVERNED),
            last_seen: AtomicU32::new(0),
        };
        Told { inner, line: Arc::new(line), probes }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Each change of the book is complete in itself; a panic elsewhere cannot leave it half made.
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection, as far as its callers go.
#[derive(Debug)]
struct Line {
    callers: Callers,
    number: u64,
    wire: Arc<Wire>,
    last_caller: AtomicU64,
    last_seen: AtomicU32,
}

impl Line {
    fn called_by(&self, id: u64, tag: Option<&HeaderValue>) {
        let now = self.callers.0.now.load(Ordering::Relaxed);
        let known =
            self.last_seen.load(Ordering::Relaxed) == now && self.last_caller.load(Ordering::Relaxed) == id;
        if !known {
            self.last_caller.store(id, Ordering::Relaxed);
            self.last_seen.store(now, Ordering::Relaxed);
            // Read whole once in a while; between them a call costs no more than its id.
            let notice = tag.and_then(CallerTag::from_value).and_then(|tag| tag.notice);
            self.callers.book().saw(self.caller(id), &self.wire, now, notice);
        }
    }

    fn called_late_by(&self, id: u64, tag: Option<&HeaderValue>, path: &str) {
        let app = || tag.and_then(CallerTag::from_value).map(|tag| tag.app).unwrap_or_default();
        let address = self.wire.peer().map(|peer| peer.ip().to_canonical());
        self.callers.0.late.called((id != UNGOVERNED).then_some(id), address, path, app);
    }

    fn queued_tag_for(&self, id: u64) {
        self.callers.book().queued(self.caller(id), &self.wire);
    }

    /// A connection that has become something else brings no more requests.
    fn switched_protocols(&self, id: u64) {
        if let caller @ Caller::Connection(_) = self.caller(id) {
            self.callers.book().forget(caller);
        }
    }

    fn caller(&self, id: u64) -> Caller {
        if id == UNGOVERNED { Caller::Connection(self.number) } else { Caller::Process(id) }
    }
}

/// Service made by [`Callers::follow`].
#[derive(Clone, Debug)]
pub(super) struct Told<S> {
    inner: S,
    line: Arc<Line>,
    probes: ProbePaths,
}

impl<S, B, ResB> Service<Request<B>> for Told<S>
where
    S: Service<Request<B>, Response = Response<ResB>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut caller = None;
        if !self.probes.contains(request.uri().path()) {
            let tag = header::find(request.headers(), &CALLER);
            let id = tag.and_then(CallerTag::id_in).unwrap_or(UNGOVERNED);
            self.line.called_by(id, tag);
            if self.line.callers.0.late.has_begun() {
                self.line.called_late_by(id, tag, request.uri().path());
            }
            let by_closing = id == UNGOVERNED && request.version() <= Version::HTTP_11;
            caller = Some(Asked::new(self.line.clone(), id, by_closing));
        }
        ResponseFuture { inner: self.inner.call(request), caller }
    }
}

/// Who waits for an answer; counted until this is dropped.
#[derive(Debug)]
struct Asked {
    line: Arc<Line>,
    id: u64,
    /// Whether it hears of our leaving only from the end of its connection.
    by_closing: bool,
    /// Whether no good answer has come.
    failed: bool,
}

impl Asked {
    fn new(line: Arc<Line>, id: u64, by_closing: bool) -> Self {
        line.callers.0.counted.start(line.number, id != UNGOVERNED);
        Self { line, id, by_closing, failed: true }
    }

    /// The answer has come.
    fn hears(mut self, status: StatusCode, headers: &HeaderMap) {
        self.failed = status.is_server_error();
        let says = |name: HeaderName| header::find(headers, &name).is_some();
        if status == StatusCode::SWITCHING_PROTOCOLS {
            self.line.switched_protocols(self.id);
        } else if says(OFFLINE) && (!self.by_closing || says(CONNECTION)) {
            self.line.queued_tag_for(self.id);
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.line.callers.0.counted.finish(self.line.number, self.id != UNGOVERNED, self.failed);
    }
}

pin_project! {
    /// Response future of [`Told`].
    #[derive(Debug)]
    pub(super) struct ResponseFuture<F> { #[pin] inner: F, caller: Option<Asked> }
}

impl<F: Future<Output = Result<Response<B>, E>>, B, E> Future for ResponseFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        if let Some(asked) = this.caller.take() {
            asked.hears(response.status(), response.headers());
        }
        Poll::Ready(Ok(response))
    }
}

#[cfg(test)]
mod tests;
