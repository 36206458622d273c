//! Where the requests of an HTTP/2 connection are handled.

use hyper::rt::Executor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, Waker};

/// Who works on the requests of an HTTP/2 connection; over HTTP/1 it is always the connection's own task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Handling {
    /// A task for each request, so that several threads work for one connection.
    #[default]
    Apart,
    /// The connection's task, as far as a request gets without waiting: for handlers that take less time than
    /// it takes to make a task and to have it scheduled.
    #[cfg_attr(not(feature = "registry"), allow(dead_code, reason = "applications' handlers may compute"))]
    AtOnce,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Handling {
    fn execute(&self, request: F) {
        match self {
            Self::Apart => drop(tokio::spawn(request)),
            Self::AtOnce => at_once(request),
        }
    }
}

fn at_once(request: impl Future<Output = ()> + Send + 'static) {
    let mut request = Box::pin(request);
    // Nobody need hear of this waker: what waits is polled again, by the task that it becomes.
    let mut unheard = Context::from_waker(Waker::noop());
    // A panic ends its request and nothing else, as it does in a task.
    match catch_unwind(AssertUnwindSafe(|| request.as_mut().poll(&mut unheard))) {
        Ok(Poll::Ready(())) => {}
        Ok(Poll::Pending) => drop(tokio::spawn(request)),
        Err(_) => tracing::warn!("a handler panicked: its request is lost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::sync::{Notify, oneshot};
    use tokio::task::yield_now;

    #[tokio::test]
    async fn what_need_not_wait_is_done_when_it_is_given_and_what_must_is_done_later() {
        let (done, mut is_done) = oneshot::channel();
        Handling::AtOnce.execute(async move { done.send(()).unwrap() });
        assert!(is_done.try_recv().is_ok());
        let (go, (done, is_done)) = (Arc::new(Notify::new()), oneshot::channel());
        let waits = go.clone();
        Handling::AtOnce.execute(async move {
            waits.notified().await;
            done.send(()).unwrap();
        });
        go.notify_waiters(); // Heard although no task has polled it yet.
        is_done.await.unwrap();
    }

    #[tokio::test]
    async fn apart_nothing_is_done_before_the_connection_has_gone_on() {
        let (done, mut is_done) = oneshot::channel();
        Handling::Apart.execute(async move { done.send(()).unwrap() });
        assert!(is_done.try_recv().is_err());
        yield_now().await;
        assert!(is_done.try_recv().is_ok());
    }

    #[tokio::test]
    async fn a_panic_ends_its_request_alone() {
        Handling::AtOnce.execute(async { panic!("a handler's own") });
    }
}
