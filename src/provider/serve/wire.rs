//! What a server can know of a connection from outside: whether bytes are waiting to be read, and whether
//! what was answered has gone out.
//!
//! Hyper owns the stream, so the stream itself takes notes: a [`Tapped`] stream writes into the [`Wire`]
//! that its server keeps. Under it, closest to the system, an [`Accepted`] connection knows what nobody has
//! read yet. Between the two there may be a handshake and its cipher.

use super::listen::Listen;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::{fmt, io};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, mpsc};

/// Fewer bytes than this do not tell HTTP/1 from HTTP/2, whose preface has this length.
const PREFACE_BYTES: u64 = 24;
/// No method of HTTP/1 begins like the preface of HTTP/2.
const PREFACE_BEGINS: &[u8] = b"PRI ";

/// Notes on one connection, shared by its streams and whoever serves it.
#[derive(Debug)]
pub(crate) struct Wire {
    peer: Option<SocketAddr>,
    bytes_read: AtomicU64,
    flushes: AtomicU64,
    /// Waits for the head of a request so far, and their ends: odd while one is waited for. Only the task that
    /// serves the connection writes it.
    waits: AtomicU32,
    /// Whether it speaks HTTP/2, by its first bytes.
    http2: AtomicBool,
    /// Whether something of an HTTP/1 request was read after the last answer, and its handler was not called.
    mid_head: AtomicBool,
    closed: AtomicBool,
    /// While set, a read that would wait looks into the system's buffer first.
    peeking: AtomicBool,
    /// What the last look found.
    unread: AtomicBool,
    /// It is to be cut.
    hung_up: Notify,
}

impl Wire {
    pub(super) fn new(peer: Option<SocketAddr>) -> Self {
        Self {
            peer,
            bytes_read: AtomicU64::new(0),
            flushes: AtomicU64::new(0),
            waits: AtomicU32::new(1), // For the first one from the beginning.
            http2: AtomicBool::new(false),
            mid_head: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            peeking: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            hung_up: Notify::new(),
        }
    }

    /// Address of the other end, if it has one.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// How often everything that had been written went out. Grows after an answer was queued: the answer
    /// is on its way.
    pub(crate) fn flushes(&self) -> u64 {
        self.flushes.load(Ordering::Acquire)
    }

    /// Whether the connection has ended; an upgraded one lives on.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Has whoever serves the connection cut it.
    #[cfg(feature = "registry")] // Providers let theirs end.
    pub(crate) fn hang_up(&self) {
        self.hung_up.notify_one();
    }

    /// Resolves when the connection is to be cut.
    pub(super) async fn hung_up(&self) {
        self.hung_up.notified().await;
    }

    /// Notes that everything written so far went out.
    pub(super) fn flush(&self) {
        self.flushes.fetch_add(1, Ordering::Release);
    }

    /// Notes that the connection has ended.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Notes that the head of the next request is waited for.
    pub(super) fn await_head(&self) {
        self.count_wait(true);
    }

    /// Notes that a whole request head has come.
    pub(super) fn call(&self) {
        self.count_wait(false);
        set(&self.mid_head, false);
    }

    fn count_wait(&self, waits: bool) {
        let count = self.waits.load(Ordering::Relaxed);
        if is_odd(count) != waits {
            self.waits.store(count.wrapping_add(1), Ordering::Relaxed);
        }
    }

    /// Which head is waited for, if one is; the number is another for the next one. Over HTTP/2 only the preface
    /// is, because a connection without requests is asked whether it is there.
    pub(super) fn awaited_head(&self) -> Option<u32> {
        let speaks_http2 =
            self.http2.load(Ordering::Relaxed) && self.bytes_read.load(Ordering::Relaxed) >= PREFACE_BYTES;
        Some(self.waits.load(Ordering::Relaxed)).filter(|count| is_odd(*count) && !speaks_http2)
    }

    /// Notes what was read.
    pub(super) fn read(&self, bytes: &[u8]) {
        if self.bytes_read.fetch_add(bytes.len() as u64, Ordering::Relaxed) == 0 {
            set(&self.http2, bytes.starts_with(PREFACE_BEGINS));
        }
        set(&self.mid_head, !bytes.is_empty() && !self.http2.load(Ordering::Relaxed));
    }

    fn wrote(&self) {
        set(&self.mid_head, false);
    }

    /// Whether no head of a request has begun to come and not come whole, as far as reads and writes tell:
    /// a body that is read looks like one until its answer is written. Over HTTP/2 it is always so, because a
    /// frame that has begun is no reason to wait: the other end is told first, and may still finish it.
    pub(super) fn is_between_heads(&self) -> bool {
        !self.mid_head.load(Ordering::Relaxed)
    }

    /// From here on reads look for bytes that the runtime has not noticed yet: its readiness is stale until
    /// the next turn of its driver.
    pub(super) fn peek_from_now_on(&self) {
        self.peeking.store(true, Ordering::Relaxed);
    }

    /// Whether the other end has sent something, and all of it has been read.
    pub(super) fn has_read_all(&self) -> bool {
        self.bytes_read.load(Ordering::Relaxed) > 0 && !self.unread.load(Ordering::Relaxed)
    }
}

fn is_odd(count: u32) -> bool {
    count % 2 == 1
}

/// Reads first: the notes are shared by the threads that serve one HTTP/2 connection.
fn set(note: &AtomicBool, to: bool) {
    if note.load(Ordering::Relaxed) != to {
        note.store(to, Ordering::Relaxed);
    }
}

/// A connection as a listener accepted it: what a handshake is given to work on.
pub struct Accepted<L: Listen> {
    io: L::Io,
    wire: Arc<Wire>,
}

impl<L: Listen> Accepted<L> {
    pub(super) fn new(io: L::Io, wire: Arc<Wire>) -> Self {
        Self { io, wire }
    }

    /// The address of the other end, if it has one.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.wire.peer()
    }

    /// Looks into the system's buffer; a wake-up stands in for the one that the runtime has yet to give.
    fn look_for_unread(&self, cx: &Context<'_>) {
        let unread = L::has_unread(&self.io);
        self.wire.unread.store(unread, Ordering::Relaxed);
        if unread {
            cx.waker().wake_by_ref();
        }
    }
}

impl<L: Listen> fmt::Debug for Accepted<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted").field("peer", &self.peer()).finish_non_exhaustive()
    }
}

impl<L: Listen> AsyncRead for Accepted<L> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if read.is_ready() {
            self.wire.unread.store(false, Ordering::Relaxed);
        } else if self.wire.peeking.load(Ordering::Relaxed) {
            self.look_for_unread(cx);
        }
        read
    }
}

impl<L: Listen> AsyncWrite for Accepted<L> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// The stream over which HTTP is spoken, which takes notes.
#[derive(Debug)]
pub(super) struct Tapped<T> {
    stream: T,
    wire: Arc<Wire>,
    /// Held while the stream lives, even in the hands of an upgrade.
    _open: mpsc::Sender<Infallible>,
}

impl<T: AsyncRead + AsyncWrite> Tapped<T> {
    /// Wraps `stream` for hyper.
    pub(super) fn new(stream: T, wire: Arc<Wire>, open: mpsc::Sender<Infallible>) -> TokioIo<Self> {
        TokioIo::new(Self { stream, wire, _open: open })
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Tapped<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            self.wire.read(&buf.filled()[before..]);
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Tapped<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.wire.wrote();
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices))?;
        self.wire.wrote();
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.wire.flush();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<T> Drop for Tapped<T> {
    fn drop(&mut self) {
        self.wire.close();
    }
}
