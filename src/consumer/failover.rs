//! Sends to another instance what was surely never applied, and once what is idempotent.
//!
//! A request that met no connection, that its connection gave back, or that a provider's layers refused
//! without calling the handler (503 with `graceful-refused`) can be sent again whatever its method; see
//! [`classify`](super::classify) for the list. What may have been applied (the connection broke, or no answer
//! came in time) is sent once more when it is idempotent: GET, HEAD, OPTIONS, TRACE, PUT and DELETE are (RFC
//! 9110, 9.2.2), and what [`FailoverLayer::with_idempotent`] or a mark on the request ([`Idempotent`]) says.
//! What was being handled is never sent twice, nor is a request whose answer has begun.
//!
//! - A retry goes to an instance that has not been tried yet, be it one put aside, as long as there is one.
//! - The body is recorded as it passes, up to 64 KiB; past that a request is not retried. Answers are never
//!   held back: the first one that is no refusal is passed on as it comes.
//! - Tries are bounded, and retries have a budget that all clones share: when a whole fleet refuses, the load
//!   must not multiply. It is looked at on retries only.
//! - When retries are used up, the last failure is passed on: the 503, or the error, which then says why the
//!   request was not repeated.

mod budget;

use super::balance::ResponseBody;
use super::classify::{Applied, Cause, cause};
use super::endpoints::{Endpoint, Tried};
use super::error::{InstanceError, NotAgain};
use super::goodbye::take_refusal;
use super::replay::{Recording, ReplayBody};
use crate::naming::BoxError;
use crate::observe::ConsumerEvent;
use budget::Budget;
use http::{Request, Response, request};
use http_body::Body;
use pin_project_lite::pin_project;
use std::error::Error;
use std::fmt;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tower_layer::Layer;
use tower_service::Service;

/// Tells the class of an error that is not one of hyper's.
type Classifier = dyn Fn(&(dyn Error + 'static)) -> Applied + Send + Sync;

/// Tells whether a request can be applied twice without harm.
type Idempotency = dyn Fn(&request::Parts) -> bool + Send + Sync;

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
    idempotent: Option<Arc<Idempotency>>,
    budget: Arc<Budget>,
}

impl FailoverLayer {
    /// One instance that is down and one that is leaving may both be met before one that serves.
    const TRIES: NonZeroU32 = NonZeroU32::new(3).expect("3 is not 0");

    /// Retries within 3 tries, with hyper's errors and the methods of RFC 9110.
    pub fn new() -> Self {
        let budget = Arc::new(Budget::new());
        Self { settings: Settings { tries: Self::TRIES, classifier: None, idempotent: None, budget } }
    }

    /// How often a request is sent at most, the first time included. Default 3; 1 turns retries off.
    #[must_use]
    pub fn with_tries(mut self, tries: NonZeroU32) -> Self {
        self.settings.tries = tries;
        self
    }

    /// What tells whether a failed request was applied, instead of [`applied`](super::classify::applied): for
    /// clients whose errors that does not know. It is given the source of an [`InstanceError`].
    #[must_use]
    pub fn with_classifier(
        mut self,
        classifier: impl Fn(&(dyn Error + 'static)) -> Applied + Send + Sync + 'static,
    ) -> Self {
        self.settings.classifier = Some(Arc::new(classifier));
        self
    }

    /// Which requests can be applied twice without harm, instead of those whose method is idempotent. A mark on
    /// the request, [`Idempotent`], overrules it. It is asked when a request has failed.
    ///
    /// All of gRPC is POST, so there the paths tell:
    ///
    /// ```
    /// use tower_graceful::consumer::FailoverLayer;
    /// let reads = ["/shop.Orders/Get", "/shop.Orders/List"];
    /// let failover = FailoverLayer::new().with_idempotent(move |head| reads.contains(&head.uri.path()));
    /// let nothing_is_repeated = FailoverLayer::new().with_idempotent(|_| false);
    /// ```
    #[must_use]
    pub fn with_idempotent(
        mut self,
        idempotent: impl Fn(&request::Parts) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.settings.idempotent = Some(Arc::new(idempotent));
        self
    }
}

/// A mark on one request, in its extensions: whether it can be applied twice without harm, whatever its method
/// and [`FailoverLayer::with_idempotent`] say.
///
/// ```
/// use tower_graceful::consumer::Idempotent;
/// let order = http::Request::post("/orders").header("idempotency-key", "8e03978e").extension(Idempotent(true));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idempotent(pub bool);

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
        let settings = self.settings.clone();
        if settings.tries == NonZeroU32::MIN {
            recording.stop(); // Nothing is kept of what is sent once.
            let answer = self.inner.call(Request::from_parts(head, body));
            return ResponseFuture { inner: self.inner.clone(), retry: None, stage: Stage::Sent { answer } };
        }
        let answer = self.inner.call(Request::from_parts(head.clone(), body));
        let retry = Some(Retry { head, recording, tried: Tried::default(), repeated: false, settings });
        ResponseFuture { inner: self.inner.clone(), retry, stage: Stage::Sent { answer } }
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
    /// Whether it has been sent again although it may have been applied.
    repeated: bool,
    settings: Arc<Settings>,
}

/// How a try failed.
struct Failure {
    endpoint: Arc<Endpoint>,
    cause: Cause,
    applied: Applied,
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
                    let mut outcome = ready!(answer.poll(cx)).map_err(Into::into);
                    let request = match this.retry {
                        None => {
                            outcome = outcome.map(unmarked);
                            None
                        }
                        Some(retry) => {
                            let failure = retry.failure(&mut outcome);
                            failure.and_then(|failure| retry.again(failure, &mut outcome))
                        }
                    };
                    let Some(request) = request else {
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

/// The mark of a refusal goes no further, also where nobody acts on it.
fn unmarked<B>(mut answer: Response<ResponseBody<B>>) -> Response<ResponseBody<B>> {
    take_refusal(&mut answer);
    answer
}

type Outcome<R> = Result<Response<ResponseBody<R>>, BoxError>;

impl<B: Body> Retry<B> {
    /// How the try failed, if another instance can do better; takes the word of a refusal off the answer.
    fn failure<R>(&self, outcome: &mut Outcome<R>) -> Option<Failure> {
        match outcome {
            Ok(answer) => take_refusal(answer).then(|| {
                let endpoint = answer.body().endpoint().clone();
                Failure { endpoint, cause: Cause::Refused, applied: Cause::Refused.applied() }
            }),
            Err(error) => {
                // Only a call to an instance can do better elsewhere; that there is none does not change.
                let failed = error.downcast_ref::<InstanceError>()?;
                let cause = cause(failed);
                let applied = match (&self.settings.classifier, failed.source()) {
                    (Some(classifier), Some(source)) => classifier(source),
                    _ => cause.applied(),
                };
                Some(Failure { endpoint: failed.endpoint().clone(), cause, applied })
            }
        }
    }

    /// The request once more, for anyone but those tried; nothing when it is to fail, and then the error says
    /// why.
    fn again<R>(&mut self, failure: Failure, outcome: &mut Outcome<R>) -> Option<Request<ReplayBody<B>>> {
        let Failure { endpoint, cause, applied } = failure;
        self.tried.0.push(endpoint.clone());
        let instance = endpoint.instance().address();
        match self.anew(applied) {
            Ok(request) => {
                endpoint.fleet().tell(&ConsumerEvent::Retried { instance, cause });
                Some(request)
            }
            Err(why) => {
                let because = format_args!("{why}");
                endpoint.fleet().tell(&ConsumerEvent::NotRetried { instance, cause, why: because });
                if let Some(failed) =
                    outcome.as_mut().err().and_then(|error| error.downcast_mut::<InstanceError>())
                {
                    failed.set_not_again(why);
                }
                None
            }
        }
    }

    fn anew(&mut self, applied: Applied) -> Result<Request<ReplayBody<B>>, NotAgain> {
        let sent = Sent { times: self.tried.0.len(), repeated: self.repeated };
        may_repeat(applied, self.settings.is_idempotent(&self.head), sent, self.settings.tries)?;
        self.recording.is_whole().map_err(NotAgain::Body)?; // Before it costs a part of the budget.
        if !self.settings.budget.spend() {
            return Err(NotAgain::Budget);
        }
        let body = self.recording.again().map_err(NotAgain::Body)?;
        self.repeated |= applied != Applied::Never;
        let mut request = Request::from_parts(self.head.clone(), body);
        request.extensions_mut().insert(self.tried.clone());
        Ok(request)
    }
}

impl Settings {
    fn is_idempotent(&self, head: &request::Parts) -> bool {
        match (head.extensions.get(), &self.idempotent) {
            (Some(&Idempotent(marked)), _) => marked,
            (None, Some(idempotent)) => idempotent(head),
            (None, None) => head.method.is_idempotent(),
        }
    }
}

/// How often a request has been sent.
#[derive(Clone, Copy)]
struct Sent {
    times: usize,
    /// Whether one of these times was a repetition of what may have been applied.
    repeated: bool,
}

/// Whether a request whose last try failed may be sent once more.
fn may_repeat(applied: Applied, idempotent: bool, sent: Sent, tries: NonZeroU32) -> Result<(), NotAgain> {
    match applied {
        Applied::Begun => Err(NotAgain::Begun),
        Applied::Unknown if !idempotent => Err(NotAgain::NotIdempotent),
        Applied::Unknown if sent.repeated => Err(NotAgain::Repeated),
        Applied::Never | Applied::Unknown if sent.times >= tries.get() as usize => {
            Err(NotAgain::Tries(tries.get()))
        }
        Applied::Never | Applied::Unknown => Ok(()),
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

#[cfg(test)]
mod tests;
