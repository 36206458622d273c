//! A registry that speaks TLS, met by a client that does not.
//!
//! It answers by an alert of TLS. Read as HTTP/2 that is a frame of a size that nobody allows, or an end in the
//! middle of something, and nobody understands either. The first byte tells it apart.

use super::failure::Failure;
use crate::naming::BoxError;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// First byte of an alert. HTTP/1 begins with a letter, and HTTP/2 with the length of a frame, of which this
/// would be more than 1 MiB.
const ALERT: u8 = 21;

/// Watches for an alert in place of an answer.
pub(super) fn watch<I>(io: I) -> (Watched<I>, Alert) {
    let alert = Alert::default();
    (Watched { io, begun: false, unwritten: None, alert: alert.clone() }, alert)
}

/// Whether an alert came first: a level, because who reads it knows nothing of who asks.
#[derive(Clone, Debug, Default)]
pub(super) struct Alert(Arc<AtomicBool>);

/// A connection that is watched.
#[derive(Debug)]
pub(super) struct Watched<I> {
    io: I,
    /// Whether something has been read.
    begun: bool,
    /// Why nothing can be written any more, while it is not known yet what came before.
    unwritten: Option<io::Error>,
    alert: Alert,
}

/// The other side speaks TLS, and this one does not.
#[derive(Debug)]
struct WantsTls;

impl Alert {
    /// Why nothing that can be read came back.
    pub(super) fn explain(&self, error: BoxError) -> BoxError {
        if self.came() { WantsTls.into() } else { error }
    }

    /// Why the first question failed.
    pub(super) fn explain_failure(&self, failure: Failure) -> Failure {
        if self.came() { Failure::broken("beginning HTTP/2", WantsTls) } else { failure }
    }

    fn came(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl fmt::Display for WantsTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "it speaks TLS, and this client does not (`NacosBuilder::tls` or GRACEFUL_REGISTRY_TLS_CA)",
        )
    }
}

impl std::error::Error for WantsTls {}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let first = buf.filled().get(before).copied();
        self.note(first);
        Poll::Ready(Ok(()))
    }
}

impl<I> Watched<I> {
    fn note(&mut self, first: Option<u8>) {
        if !self.begun {
            self.begun = true;
            self.alert.0.store(first == Some(ALERT), Ordering::Release);
        }
    }
}

impl<I: AsyncRead + Unpin> Watched<I> {
    /// Who cannot write any more would not read any more either: looks first at what has come before that.
    fn look_back(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if !self.begun
            && let Poll::Ready(Err(error)) = written
        {
            let mut first = [0];
            let mut buf = ReadBuf::new(&mut first);
            if Pin::new(&mut self.io).poll_read(cx, &mut buf).is_pending() {
                self.unwritten = Some(error);
                return Poll::Pending; // What has ended can be read to its end: it wakes.
            }
            self.note(buf.filled().first().copied());
            return Poll::Ready(Err(error));
        }
        written
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = match self.unwritten.take() {
            Some(error) => Poll::Ready(Err(error)),
            None => Pin::new(&mut self.io).poll_write(cx, buf),
        };
        self.look_back(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = match self.unwritten.take() {
            Some(error) => Poll::Ready(Err(error)),
            None => Pin::new(&mut self.io).poll_write_vectored(cx, bufs),
        };
        self.look_back(cx, written)
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_test::io::Builder;

    #[tokio::test]
    async fn an_alert_is_told_from_what_can_be_read_and_only_as_the_first_word() {
        for (read, came) in [
            (&[ALERT, 3, 3, 0, 2, 2, 70][..], true),
            (b"HTTP/1.1 200 OK", false),
            (&[0, 0, 18, 4, 0], false),
            (&[0, ALERT, ALERT], false),
            (&[], false),
        ] {
            let (mut io, alert) = watch(read);
            let first = io.read_u8().await;
            let _ = io.read_to_end(&mut Vec::new()).await;
            assert_eq!((first.ok(), alert.came()), (read.first().copied(), came), "{read:?}");
            let said = alert.explain("broken".into()).to_string();
            assert_eq!(said.starts_with("it speaks TLS"), came, "{said}");
        }
    }

    #[tokio::test]
    async fn an_alert_is_seen_by_who_learns_only_from_writing_that_the_other_side_has_gone() {
        let gone = io::ErrorKind::BrokenPipe.into();
        let (mut io, alert) = watch(Builder::new().write_error(gone).read(&[ALERT]).build());
        assert!(io.write_u8(0).await.is_err() && alert.came());
    }
}
