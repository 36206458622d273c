//! The answer to one call.

use super::ResponseBody;
use crate::consumer::classify::is_connect;
use crate::consumer::endpoints::{Choice, Guard, Verdict};
use crate::consumer::error::InstanceError;
use crate::consumer::marks::HeaderTimeout;
use crate::naming::BoxError;
use crate::naming::BoxFuture;
use http::{Request, Response};
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep};
use tower_service::Service;

pin_project! {
    /// Response future of [`Balance`](super::Balance).
    pub struct ResponseFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        stage: Stage<S, B, S::Future>,
        header_timeout: Option<Duration>,
        // Made when the answer is first waited for: what is ready at once needs no timer.
        #[pin]
        timer: Option<Sleep>,
    }
}

pin_project! {
    #[project = Projected]
    pub(super) enum Stage<S, B, F> {
        /// There is no instance, or it is not ready.
        Waiting { chosen: BoxFuture<'static, Result<(Choice<S>, Request<B>), BoxError>> },
        /// The request has been handed over.
        Sent { guard: Option<Guard>, verdict: Verdict, #[pin] answer: F },
    }
}

impl<S: Service<Request<B>>, B> ResponseFuture<S, B> {
    #[inline]
    pub(super) fn new(stage: Stage<S, B, S::Future>, header_timeout: Option<Duration>) -> Self {
        Self { stage, header_timeout, timer: None }
    }
}

impl<S: Service<Request<B>>, B> Stage<S, B, S::Future> {
    /// Hands the request over to a service that is ready.
    #[inline]
    pub(super) fn send(choice: Choice<S>, request: Request<B>) -> Self {
        let Choice { guard, mut service, .. } = choice;
        let verdict = guard.endpoint().verdict();
        Self::Sent { guard: Some(guard), verdict, answer: service.call(request) }
    }
}

impl<S, B, R> Future for ResponseFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
{
    type Output = Result<Response<ResponseBody<R>>, BoxError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.stage.as_mut().project() {
                Projected::Waiting { chosen } => {
                    let (choice, request) = ready!(chosen.as_mut().poll(cx))?;
                    this.stage.set(Stage::send(choice, request));
                }
                Projected::Sent { guard, verdict, answer } => {
                    let answer = match answer.poll(cx) {
                        Poll::Ready(answer) => answer.map_err(Into::into),
                        Poll::Pending => Err(ready!(overdue(this.timer, *this.header_timeout, cx)).into()),
                    };
                    let guard = guard.take().expect("polled after it was ready");
                    return Poll::Ready(match answer {
                        Ok(answer) => {
                            guard.endpoint().answered(*verdict);
                            Ok(answer.map(|body| ResponseBody::new(body, guard)))
                        }
                        Err(source) => Err(failed(&guard, *verdict, source)),
                    });
                }
            }
        }
    }
}

/// Out of the way of answers, for it is rare and long.
#[cold]
#[inline(never)]
fn failed(guard: &Guard, verdict: Verdict, source: BoxError) -> BoxError {
    if is_connect(&*source) {
        guard.endpoint().unreachable(verdict);
    }
    InstanceError::new(guard.endpoint().clone(), source).into()
}

/// Pending until the answer has been waited for too long.
fn overdue(
    mut timer: Pin<&mut Option<Sleep>>,
    header_timeout: Option<Duration>,
    cx: &mut Context<'_>,
) -> Poll<HeaderTimeout> {
    let Some(after) = header_timeout else {
        return Poll::Pending;
    };
    if timer.is_none() {
        timer.set(Some(sleep(after)));
    }
    let Some(timer) = timer.as_pin_mut() else {
        return Poll::Pending;
    };
    timer.poll(cx).map(|()| HeaderTimeout { after })
}

impl<S: Service<Request<B>>, B> fmt::Debug for ResponseFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::Waiting { .. } => "waiting for an instance",
            Stage::Sent { .. } => "sent",
        };
        f.debug_tuple("ResponseFuture").field(&stage).finish()
    }
}
