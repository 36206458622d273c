//! Sends what was surely never applied to another instance.
//!
//! A request that met no connection, that its connection gave back, or that a provider's layers refused
//! without calling the handler (503 with `graceful-refused`) can be sent again whatever its method; see
//! [`classify`](super::classify) for the list. Whatever may have been applied is not sent twice.
//!
//! - A retry goes to an instance that has not been tried yet, be it one put aside, as long as there is one.
//! - The body is recorded as it passes, up to 64 KiB; past that a request is not retried. Answers are never
//!   held back: the first one that is no refusal is passed on as it comes.
//! - Tries are bounded, and retries have a budget that all clones share: when a whole fleet refuses, the load
//!   must not multiply. It is looked at on retries only.
//! - When retries are used up, the last failure is passed on: the error, or the 503.

use super::balance::ResponseBody;
use super::classify::{Applied, applied};
use super::endpoints::{Endpoint, Tried};
use super::error::InstanceError;
use super::goodbye::take_refusal;
use super::replay::{Recording, ReplayBody};
use crate::naming::BoxError;
use http::{Request, Response, request};
use http_body::Body;
use pin_project_lite::pin_project;
use std::error::Error;
use std::fmt;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

/// Tells the class of an error that is not one of hyper's.
type Classifier = dyn Fn(&(dyn Error + 'static)) -> Applied + Send + Sync;

/// Retries on another instance. See the [module docs](self). Goes around [`Balance`](super::Balance), or
/// around [`Goodbye`](super::Goodbye) around that.
#[derive(Clone, Debug)]
pub struct FailoverLayer {
    settings: Settings,
}

#[derive(Clone)]
struct Settings {
    tries: NonZeroU32,
    classifier: Option<Arc<Classifier>>,
    budget: Arc<Budget>,
}

impl FailoverLayer {
    /// One instance that is down and one that is leaving may both be met before one that serves.
    const TRIES: NonZeroU32 = NonZeroU32::new(3).expect("3 is not 0");

    /// Retries within 3 tries, what [`applied`] calls [`Applied::Never`].
    pub fn new() -> Self {
        Self { settings: Settings { tries: Self::TRIES, classifier: None, budget: Arc::new(Budget::new()) } }
    }

    /// How often a request is sent at most, the first time included. Default 3; 1 turns retries off.
    #[must_use]
    pub fn with_tries(mut self, tries: NonZeroU32) -> Self {
        self.settings.tries = tries;
        self
    }

    /// What tells whether a failed request was applied, instead of [`applied`]: for clients whose errors that
    /// does not know. It is given the source of an [`InstanceError`].
    #[must_use]
    pub fn with_classifier(
        mut self,
        classifier: impl Fn(&(dyn Error + 'static)) -> Applied + Send + Sync + 'static,
    ) -> Self {
        self.settings.classifier = Some(Arc::new(classifier));
        self
    }
}

impl Default for FailoverLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for FailoverLayer {
    type Service = Failover<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Failover { inner, settings: Arc::new(self.settings.clone()) }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failover").field("tries", &self.tries).finish_non_exhaustive()
    }
}

/// Service made by [`FailoverLayer`].
#[derive(Clone, Debug)]
pub struct Failover<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S, B, R> Service<Request<B>> for Failover<S>
where
    S: Service<Request<ReplayBody<B>>, Response = Response<ResponseBody<R>>> + Clone,
    S::Error: Into<BoxError>,
    B: Body,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (head, body) = request.into_parts();
        let (recording, body) = Recording::new(body);
        let answer = self.inner.call(Request::from_parts(head.clone(), body));
        let settings = self.settings.clone();
        let retry = Retry { head, recording, tried: Tried::default(), settings };
        ResponseFuture { inner: self.inner.clone(), retry: Some(retry), stage: Stage::Sent { answer } }
    }
}

pin_project! {
    /// Response future of [`Failover`].
    pub struct ResponseFuture<S, B>
    where
        S: Service<Request<ReplayBody<B>>>,
    {
        inner: S,
        retry: Option<Retry<B>>,
        #[pin]
        stage: Stage<S::Future, B>,
    }
}

pin_project! {
    #[project = Projected]
    enum Stage<F, B> {
        Sent { #[pin] answer: F },
        /// The service may not be ready for another try.
        Again { request: Option<Request<ReplayBody<B>>> },
    }
}

/// What another try needs.
struct Retry<B> {
    head: request::Parts,
    recording: Recording<B>,
    tried: Tried,
    settings: Arc<Settings>,
}

impl<S, B, R> Future for ResponseFuture<S, B>
where
    S: Service<Request<ReplayBody<B>>, Response = Response<ResponseBody<R>>>,
    S::Error: Into<BoxError>,
    B: Body,
{
    type Output = Result<S::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.stage.as_mut().project() {
                Projected::Again { request } => {
                    ready!(this.inner.poll_ready(cx)).map_err(Into::into)?;
                    let request = request.take().expect("sent once");
                    Stage::Sent { answer: this.inner.call(request) }
                }
                Projected::Sent { answer } => {
                    let outcome = ready!(answer.poll(cx)).map_err(Into::into);
                    let retry = this.retry.as_mut().expect("polled after it was ready");
                    let (outcome, failed) = retry.judge(outcome);
                    let Some(request) = failed.and_then(|endpoint| retry.again(endpoint)) else {
                        if let Some(retry) = this.retry.take() {
                            retry.recording.stop();
                        }
                        return Poll::Ready(outcome);
                    };
                    Stage::Again { request: Some(request) }
                }
            };
            this.stage.set(next);
        }
    }
}

/// The outcome of a try, and who it was that never applied the request.
type Judged<R> = (Result<Response<ResponseBody<R>>, BoxError>, Option<Arc<Endpoint>>);

impl<B: Body> Retry<B> {
    fn judge<R>(&self, outcome: Result<Response<ResponseBody<R>>, BoxError>) -> Judged<R> {
        match outcome {
            Ok(mut answer) => {
                let refused = take_refusal(&mut answer);
                let endpoint = refused.then(|| answer.body().endpoint().clone());
                (Ok(answer), endpoint)
            }
            Err(error) => {
                // Only a call to an instance can do better elsewhere; that there is none does not change.
                let failed = error.downcast_ref::<InstanceError>();
                let endpoint =
                    failed.filter(|failed| self.never_applied(failed)).map(InstanceError::endpoint);
                let endpoint = endpoint.cloned();
                (Err(error), endpoint)
            }
        }
    }

    fn never_applied(&self, failed: &InstanceError) -> bool {
        let class = match (&self.settings.classifier, failed.source()) {
            (Some(classifier), Some(source)) => classifier(source),
            _ => applied(failed),
        };
        class == Applied::Never
    }

    /// The request once more, for anyone but those tried; nothing when it is to fail.
    fn again(&mut self, failed: Arc<Endpoint>) -> Option<Request<ReplayBody<B>>> {
        self.tried.0.push(failed);
        if self.tried.0.len() >= self.settings.tries.get() as usize {
            return None;
        }
        let body = self.settings.budget.spend().then(|| self.recording.again())??;
        let mut request = Request::from_parts(self.head.clone(), body);
        request.extensions_mut().insert(self.tried.clone());
        tracing::debug!(tried = ?self.tried.0, "a request that was not applied goes to another instance");
        Some(request)
    }
}

impl<S, B> fmt::Debug for ResponseFuture<S, B>
where
    S: Service<Request<ReplayBody<B>>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tried = self.retry.as_ref().map(|retry| &retry.tried.0);
        f.debug_struct("ResponseFuture").field("tried", &tried).finish_non_exhaustive()
    }
}

/// Retries that may be made: a bucket that time fills, looked at without a lock.
struct Budget {
    created: Instant,
    /// When the bucket will be full again, in nanoseconds from `created` on.
    full_ns: AtomicU64,
}

impl Budget {
    /// What a busy consumer sends to one instance of its fleet, should that one be gone altogether.
    const PER_SECOND: u64 = 1000;

    /// A second's worth at once: a restart fails everything that is under way in the same instant.
    const BURST: u64 = 1000;

    fn new() -> Self {
        Self { created: Instant::now(), full_ns: AtomicU64::new(0) }
    }

    fn spend(&self) -> bool {
        let now_ns = u64::try_from(self.created.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let spent = |full_ns| after_one_more(full_ns, now_ns);
        self.full_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spent).is_ok()
    }
}

/// When the bucket is full again if one more is taken now; nothing when it is empty.
fn after_one_more(full_ns: u64, now_ns: u64) -> Option<u64> {
    const EACH_NS: u64 = 1_000_000_000 / Budget::PER_SECOND;
    let full_ns = full_ns.max(now_ns).saturating_add(EACH_NS);
    (full_ns - now_ns <= Budget::BURST * EACH_NS).then_some(full_ns)
}

#[cfg(test)]
mod tests;
