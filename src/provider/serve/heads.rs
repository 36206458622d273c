//! Ends connections that keep us waiting for the head of a request.
//!
//! Hyper would do so with a timer that is set for each request and taken off again, which costs more than all
//! layers together. So hyper is given a timer that only notes that it waits ([`Waits`]), the connection's
//! [`Wire`] notes that the head has come, and the port looks at its connections now and then ([`Awaited`]).

use super::wire::Wire;
use hyper::rt::{Sleep, Timer};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

#[expect(clippy::disallowed_types, reason = "hyper asks its timers in these words")]
type RealInstant = std::time::Instant;

/// How long a request head may take to arrive: an end to connections that send a byte now and then. Hyper
/// counts the time between two requests in, so it is also how long an idle connection is kept: longer than
/// clients keep theirs (90 s in hyper and Go), because a request that crosses our closing is lost.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(95);
/// How often a port looks who has exceeded [`HEAD_TIMEOUT`]. Of a wait it sees the beginning up to one look late,
/// and the end as well: little beside the time itself, and seldom enough that looking at 100 000 connections
/// costs nothing to speak of.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The timer of one connection's heads: notes that a wait begins, and never rings.
#[derive(Debug)]
pub(super) struct Waits {
    wire: Arc<Wire>,
    /// Any moment: the deadline that hyper adds up is not looked at, and a clock costs time.
    opened: Instant,
}

impl Waits {
    pub(super) fn new(wire: Arc<Wire>) -> Self {
        Self { wire, opened: Instant::now() }
    }
}

impl Timer for Waits {
    fn sleep(&self, _: Duration) -> Pin<Box<dyn Sleep>> {
        self.wire.await_head();
        Box::pin(Silent)
    }

    fn sleep_until(&self, _: RealInstant) -> Pin<Box<dyn Sleep>> {
        self.sleep(HEAD_TIMEOUT)
    }

    fn now(&self) -> RealInstant {
        self.opened.into_std()
    }
}

/// Has no size, so that its box needs no memory.
struct Silent;

impl Future for Silent {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl Sleep for Silent {}

/// Which head a connection was seen to wait for, and since when.
#[derive(Debug)]
pub(super) struct Awaited {
    wire: Arc<Wire>,
    head: Option<u32>,
    since: Instant,
}

impl Awaited {
    pub(super) fn new(wire: Arc<Wire>) -> Self {
        Self { head: wire.awaited_head(), wire, since: Instant::now() }
    }

    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.wire.peer()
    }

    /// Looks at the connection, and says whether it has exceeded [`HEAD_TIMEOUT`].
    pub(super) fn is_overdue(&mut self, now: Instant) -> bool {
        let head = self.wire.awaited_head();
        if head.is_none() || head != self.head {
            (self.head, self.since) = (head, now);
        }
        head.is_some() && now - self.since >= HEAD_TIMEOUT
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::rt::Timer;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn opened() -> (Arc<Wire>, Awaited, Instant) {
        let wire = Arc::new(Wire::new(None));
        (wire.clone(), Awaited::new(wire), Instant::now())
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_whole_head_is_overdue_and_one_that_speaks_http2_is_not() {
        let half = &PREFACE[..4];
        for (bytes, overdue) in
            [(&b""[..], true), (b"GET / HTTP/1.1\r\nx: ", true), (half, true), (PREFACE, false)]
        {
            let (wire, mut awaited, start) = opened();
            wire.read(bytes);
            assert!(!awaited.is_overdue(start + HEAD_TIMEOUT - Duration::from_millis(1)));
            assert_eq!(awaited.is_overdue(start + HEAD_TIMEOUT), overdue, "{bytes:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_takes_as_long_as_it_takes_and_the_next_wait_is_its_own() {
        let (wire, mut awaited, mut now) = opened();
        let timer = Waits::new(wire.clone());
        wire.call();
        now += HEAD_TIMEOUT * 3;
        assert!(!awaited.is_overdue(now), "its handler works");
        let _rings = timer.sleep_until(timer.now());
        assert!(!awaited.is_overdue(now));
        assert!(!awaited.is_overdue(now + HEAD_TIMEOUT / 2));
        wire.call(); // Between two looks one request ended and the next wait began.
        let _rings = timer.sleep_until(timer.now());
        assert!(!awaited.is_overdue(now + HEAD_TIMEOUT));
        assert!(awaited.is_overdue(now + HEAD_TIMEOUT * 2));
    }
}
