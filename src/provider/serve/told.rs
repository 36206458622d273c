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

use super::ProbePaths;
use super::counted::Counted;
use super::late::Late;
use super::wire::Wire;
use crate::model::Address;
use crate::naming::header::{self, CALLER, CallerTag, OFFLINE};
use crate::observe::{LateCaller, RequestCounts};
use http::header::CONNECTION;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version};
use pin_project_lite::pin_project;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tower_service::Service;

/// How coarse the time is in which callers were seen.
pub(super) const TICK: Duration = Duration::from_secs(1);
/// More callers than this are not told apart: about 1 MB of memory. One that finds no room counts as never
/// told, so that forgetting it cannot end the wait too early.
const CALLERS_MAX: usize = 10_000;
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
            if let Some(entry) = book.callers.get_mut(&Caller::Process(*id)) {
                entry.knows = Knows::All;
            }
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
        self.book().told_by_notice
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
            self.callers.book().callers.remove(&caller);
        }
    }

    fn caller(&self, id: u64) -> Caller {
        if id == UNGOVERNED { Caller::Connection(self.number) } else { Caller::Process(id) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Caller {
    Process(u64),
    Connection(u64),
}

/// Who called when, and who knows.
#[derive(Debug)]
struct Book {
    callers: HashMap<Caller, Entry>,
    /// In ticks.
    remembered_for: u32,
    /// When a caller last found no room.
    crowded_out: Option<u32>,
    /// Callers that answered a notice.
    told_by_notice: usize,
}

#[derive(Debug)]
struct Entry {
    last_seen: u32,
    /// The connection it last called on.
    wire: Arc<Wire>,
    /// Where it takes notices, if anywhere.
    notice: Option<Address>,
    /// Whether it has answered a notice, be it by refusing it: it is sent no other.
    #[cfg(feature = "notice")]
    answered: bool,
    knows: Knows,
}

#[derive(Debug)]
enum Knows {
    Nothing,
    /// As soon as this connection has been flushed more often than this, or has ended.
    Soon {
        wire: Arc<Wire>,
        flushes: u64,
    },
    All,
}

impl Book {
    fn new(remembered_for: u32) -> Self {
        Self { callers: HashMap::new(), remembered_for, crowded_out: None, told_by_notice: 0 }
    }

    #[cfg(feature = "notice")]
    fn waiting_for_notice(&self) -> Vec<(u64, Address)> {
        let waiting = self.callers.iter().filter_map(|(caller, entry)| match (caller, &entry.notice) {
            (Caller::Process(id), Some(at)) if !entry.answered && !matches!(entry.knows, Knows::All) => {
                Some((*id, at.clone()))
            }
            (Caller::Process(_) | Caller::Connection(_), _) => None,
        });
        waiting.collect()
    }

    #[cfg(feature = "notice")]
    fn answered_notice(&mut self, caller: Caller, taken: bool) {
        self.told_by_notice += usize::from(taken);
        if let Some(entry) = self.callers.get_mut(&caller) {
            entry.answered = true;
            if taken {
                entry.knows = Knows::All;
            }
        }
    }

    fn saw(&mut self, caller: Caller, wire: &Arc<Wire>, now: u32, notice: Option<Address>) {
        if let Some(entry) = self.callers.get_mut(&caller) {
            entry.last_seen = now;
            entry.wire = wire.clone();
            entry.notice = notice;
        } else if self.callers.len() < CALLERS_MAX {
            let entry = Entry {
                last_seen: now,
                wire: wire.clone(),
                notice,
                #[cfg(feature = "notice")]
                answered: false,
                knows: Knows::Nothing,
            };
            self.callers.insert(caller, entry);
        } else {
            self.crowded_out = Some(now);
        }
    }

    fn queued(&mut self, caller: Caller, wire: &Arc<Wire>) {
        if let Some(entry) = self.callers.get_mut(&caller)
            && matches!(entry.knows, Knows::Nothing)
        {
            entry.knows = Knows::Soon { wire: wire.clone(), flushes: wire.flushes() };
        }
    }

    /// Looks which queued answers have gone out meanwhile. A flush that was under way when the answer was
    /// queued may count as its own; the quiet period that follows is a thousand times longer than that.
    fn settle(&mut self) {
        for Entry { knows, .. } in self.callers.values_mut() {
            if let Knows::Soon { wire, flushes } = knows
                && (wire.flushes() > *flushes || wire.is_closed())
            {
                *knows = Knows::All;
            }
        }
    }

    fn forget_old(&mut self, now: u32) {
        // A connection may have seen the next tick already.
        let is_recent = |seen: u32| now.saturating_sub(seen) <= self.remembered_for;
        self.callers.retain(|caller, entry| {
            let gone = matches!(caller, Caller::Connection(_)) && entry.wire.is_closed();
            is_recent(entry.last_seen) && !gone
        });
        self.crowded_out = self.crowded_out.filter(|seen| is_recent(*seen));
    }

    fn untold(&self) -> usize {
        let untold = self.callers.values().filter(|entry| !matches!(entry.knows, Knows::All)).count();
        untold + usize::from(self.crowded_out.is_some())
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
mod tests {
    use super::*;
    use http::HeaderValue;
    use std::convert::Infallible;
    use std::future::ready;
    use tower::{ServiceExt as _, service_fn};

    fn wire() -> Arc<Wire> {
        Arc::new(Wire::new(None))
    }

    fn callers() -> Callers {
        Callers::new(Duration::from_secs(3))
    }

    /// Calls on `wire`; the answer carries the tag if `tagged`, and says that its connection ends.
    async fn call(callers: &Callers, wire: &Arc<Wire>, caller: Option<u64>, tagged: bool) {
        call_at(callers, wire, caller, tagged, "/").await;
    }

    async fn call_at(callers: &Callers, wire: &Arc<Wire>, caller: Option<u64>, tagged: bool, path: &str) {
        let inner = service_fn(move |_| {
            let mut response = Response::new(());
            if tagged {
                response.headers_mut().insert(OFFLINE, HeaderValue::from_static("\"10.0.0.7:80\";epoch=1"));
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            ready(Ok::<_, Infallible>(response))
        });
        let mut request = Request::get(path).body(()).unwrap();
        if let Some(id) = caller {
            request
                .headers_mut()
                .insert(CALLER, CallerTag { id, app: "storefront".to_owned(), notice: None }.to_value());
        }
        callers.follow(wire, ProbePaths::default(), inner).oneshot(request).await.unwrap();
    }

    #[tokio::test]
    async fn a_caller_is_told_once_a_tagged_answer_has_gone_out() {
        let (callers, wire) = (callers(), wire());
        call(&callers, &wire, Some(7), false).await;
        wire.flush();
        assert_eq!(callers.untold(), 1, "the answer had no tag");
        call(&callers, &wire, Some(7), true).await;
        assert_eq!(callers.untold(), 1, "the answer is still queued");
        wire.flush();
        assert_eq!(callers.untold(), 0);
        call(&callers, &wire, Some(7), true).await;
        assert_eq!(callers.untold(), 0, "who knows does not forget");
    }

    #[tokio::test]
    async fn a_process_is_told_on_any_of_its_connections_and_outlives_them() {
        let (callers, first, second) = (callers(), wire(), wire());
        call(&callers, &first, Some(7), false).await;
        first.close();
        assert_eq!(callers.untold(), 1);
        call(&callers, &second, Some(7), true).await;
        second.close();
        assert_eq!(callers.untold(), 0);
    }

    #[tokio::test]
    async fn a_caller_without_a_name_is_its_connection() {
        let (callers, first, second) = (callers(), wire(), wire());
        call(&callers, &first, None, false).await;
        call(&callers, &second, None, false).await;
        assert_eq!(callers.untold(), 2);
        first.close();
        assert_eq!(callers.untold(), 1);
        call(&callers, &second, None, true).await; // Enters the book as another connection, and is told.
        second.flush();
        assert_eq!(callers.untold(), 1);
    }

    #[tokio::test]
    async fn who_does_not_read_tags_is_told_by_the_end_of_its_connection() {
        let inner = service_fn(async |_| Response::builder().header(OFFLINE, "\"10.0.0.7:80\"").body(()));
        for (version, caller, untold) in
            [(Version::HTTP_11, false, 1), (Version::HTTP_2, false, 0), (Version::HTTP_11, true, 0)]
        {
            let (callers, wire) = (callers(), wire());
            let mut request = Request::builder().version(version).body(()).unwrap();
            if caller {
                request.headers_mut().insert(CALLER, HeaderValue::from_static("\"9f86d081884c7d65\""));
            }
            callers.follow(&wire, ProbePaths::default(), inner).oneshot(request).await.unwrap();
            wire.flush();
            assert_eq!(callers.untold(), untold, "{version:?}, governed: {caller}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_was_upgraded_calls_no_more() {
        let (callers, wire) = (callers(), wire());
        let inner = service_fn(async |_| Response::builder().status(101).body(()));
        let upgrade = Request::get("/").body(()).unwrap();
        callers.follow(&wire, ProbePaths::default(), inner).oneshot(upgrade).await.unwrap();
        assert_eq!(callers.untold(), 0);
    }

    #[tokio::test]
    async fn who_has_not_called_within_the_cache_time_is_forgotten() {
        let (callers, wire) = (callers(), wire());
        call(&callers, &wire, Some(7), false).await;
        for _ in 0..3 {
            callers.tick();
            assert_eq!(callers.untold(), 1);
        }
        callers.tick();
        assert_eq!(callers.untold(), 0);
    }

    #[tokio::test]
    async fn a_caller_is_remembered_from_its_last_call_on() {
        let (callers, wire) = (callers(), wire());
        let inner = service_fn(async |_| Ok::<_, Infallible>(Response::new(())));
        let service = callers.follow(&wire, ProbePaths::default(), inner);
        for _ in 0..5 {
            service.clone().oneshot(Request::new(())).await.unwrap();
            callers.tick();
            callers.tick();
            assert_eq!(callers.untold(), 1);
        }
    }

    #[cfg(feature = "notice")]
    #[test]
    fn who_takes_notices_is_sent_one_until_it_answers() {
        let (mut book, wire) = (Book::new(3), wire());
        let at = |port| Address::new("10.0.0.9", port).ok();
        book.saw(Caller::Process(7), &wire, 1, at(1));
        book.saw(Caller::Process(7), &wire, 1, at(2));
        book.saw(Caller::Process(8), &wire, 1, None);
        book.saw(Caller::Connection(1), &wire, 1, at(3));
        assert_eq!(book.waiting_for_notice(), [(7, at(2).unwrap())], "where it said last");
        assert_eq!(book.waiting_for_notice().len(), 1, "to be sent one is not to know");
        assert_eq!((book.untold(), book.told_by_notice), (3, 0));
        book.saw(Caller::Process(8), &wire, 1, at(4));
        book.answered_notice(Caller::Process(8), false);
        assert_eq!((book.untold(), book.told_by_notice), (3, 0), "it has refused");
        book.answered_notice(Caller::Process(7), true);
        assert_eq!(book.waiting_for_notice(), [], "who has answered is asked no more");
        assert_eq!((book.untold(), book.told_by_notice), (2, 1));
    }

    #[tokio::test]
    async fn probes_are_no_callers() {
        let (callers, wire) = (callers(), wire());
        call_at(&callers, &wire, None, false, "/livez").await;
        assert_eq!(callers.untold(), 0);
    }

    #[test]
    fn a_caller_that_finds_no_room_counts_as_untold() {
        let mut book = Book::new(3);
        let wire = wire();
        wire.flush();
        for id in 0..=CALLERS_MAX as u64 {
            book.saw(Caller::Process(id), &wire, 1, None);
            book.queued(Caller::Process(id), &wire);
        }
        wire.flush();
        book.settle();
        assert_eq!((book.callers.len(), book.untold()), (CALLERS_MAX, 1));
        book.forget_old(5);
        assert_eq!(book.untold(), 0);
    }
}
