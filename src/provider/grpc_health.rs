//! Answers gRPC's own health protocol from the phase of the process.
//!
//! Probes of Kubernetes (`grpc:`) and clients that check health themselves ask for it. `SERVING` while the
//! process serves, `NOT_SERVING` before and from leaving on, for the whole server (the empty name) and for
//! each service that was named. A service nobody has named is `NOT_FOUND` to `Check` and `SERVICE_UNKNOWN`
//! to `Watch`.
//!
//! A `Watch` ends after it has said that the process leaves: one that stayed open would hold up the end.
//!
//! ```
//! # #[cfg(feature = "serve")] {
//! use tonic::service::Routes;
//! use tower_graceful::provider::{GrpcHealth, Provider};
//! let provider = Provider::builder("greeter").build()?;
//! let health = GrpcHealth::new(provider.handle().lifecycle().clone()).with_service("greeter.Greeter");
//! let routes = Routes::new(health); // And `.add_service(..)` what it is the health of.
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::Lifecycle;
use crate::model::Phase;
use crate::naming::BoxFuture;
use http_body::Body;
use std::convert::Infallible;
use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::watch;
use tonic::codegen::tokio_stream::Stream;
use tonic::server::{Grpc, NamedService, ServerStreamingService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower_service::Service;

/// `grpc.health.v1.Health` for a process. See the [module docs](self).
#[derive(Clone, Debug)]
pub struct GrpcHealth {
    lifecycle: Lifecycle,
    services: Arc<[Box<str>]>,
}

impl GrpcHealth {
    /// Follows `lifecycle`.
    pub fn new(lifecycle: Lifecycle) -> Self {
        Self { lifecycle, services: Arc::new([]) }
    }

    /// Answers for this service as well, such as `greeter.Greeter`.
    #[must_use]
    pub fn with_service(self, name: &str) -> Self {
        let services = self.services.iter().cloned().chain([name.into()]).collect();
        Self { services, ..self }
    }

    fn knows(&self, service: &str) -> bool {
        service.is_empty() || self.services.iter().any(|known| **known == *service)
    }
}

/// Whom the question is about; the empty name is the whole server.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Question {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Answer {
    #[prost(enumeration = "ServingStatus", tag = "1")]
    status: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
enum ServingStatus {
    Unknown = 0,
    Serving = 1,
    NotServing = 2,
    ServiceUnknown = 3,
}

impl From<Phase> for ServingStatus {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Serving => Self::Serving,
            Phase::Starting | Phase::Leaving | Phase::Stopped => Self::NotServing,
        }
    }
}

impl From<ServingStatus> for Answer {
    fn from(status: ServingStatus) -> Self {
        Self { status: status.into() }
    }
}

impl NamedService for GrpcHealth {
    const NAME: &'static str = "grpc.health.v1.Health";
}

impl<B> Service<http::Request<B>> for GrpcHealth
where
    B: Body<Error: Into<tonic::codegen::StdError> + Send> + Send + 'static,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let health = self.clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::default());
            Ok(match request.uri().path() {
                "/grpc.health.v1.Health/Check" => grpc.unary(health, request).await,
                "/grpc.health.v1.Health/Watch" => grpc.server_streaming(health, request).await,
                _ => Status::unimplemented("health is checked or watched").into_http(),
            })
        })
    }
}

impl UnaryService<Question> for GrpcHealth {
    type Response = Answer;
    type Future = BoxFuture<'static, Result<Response<Answer>, Status>>;

    fn call(&mut self, request: Request<Question>) -> Self::Future {
        let answer = if self.knows(&request.get_ref().service) {
            Ok(Response::new(ServingStatus::from(self.lifecycle.phase()).into()))
        } else {
            Err(Status::not_found("nobody has named this service"))
        };
        Box::pin(ready(answer))
    }
}

impl ServerStreamingService<Question> for GrpcHealth {
    type Response = Answer;
    type ResponseStream = Answers;
    type Future = BoxFuture<'static, Result<Response<Answers>, Status>>;

    fn call(&mut self, request: Request<Question>) -> Self::Future {
        let known = self.knows(&request.get_ref().service);
        Box::pin(ready(Ok(Response::new(Answers::new(known, self.lifecycle.phases())))))
    }
}

/// What one `Watch` is told: the status now, and each change.
struct Answers {
    known: bool,
    last: Option<ServingStatus>,
    /// Absent once the process leaves.
    next: Option<BoxFuture<'static, (Phase, watch::Receiver<Phase>)>>,
}

impl Answers {
    fn new(known: bool, mut phases: watch::Receiver<Phase>) -> Self {
        let now = *phases.borrow_and_update();
        Self { known, last: None, next: Some(Box::pin(ready((now, phases)))) }
    }
}

impl Stream for Answers {
    type Item = Result<Answer, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let Some(next) = &mut self.next else { return Poll::Ready(None) };
            let (phase, phases) = ready!(next.as_mut().poll(cx));
            self.next = (phase < Phase::Leaving).then(|| Box::pin(change(phases)) as _);
            let status = if self.known { phase.into() } else { ServingStatus::ServiceUnknown };
            if self.last.replace(status) != Some(status) {
                return Poll::Ready(Some(Ok(status.into())));
            }
        }
    }
}

async fn change(mut phases: watch::Receiver<Phase>) -> (Phase, watch::Receiver<Phase>) {
    // Nobody steps a lifecycle any more that nobody holds.
    let phase = if phases.changed().await.is_ok() { *phases.borrow_and_update() } else { Phase::Stopped };
    (phase, phases)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ServingStatus::{NotServing, ServiceUnknown, Serving};
    use tokio_test::{assert_pending, assert_ready, task};
    use tonic::Code;

    fn question(service: &str) -> Request<Question> {
        Request::new(Question { service: service.to_owned() })
    }

    async fn check(health: &GrpcHealth, service: &str) -> Result<ServingStatus, Code> {
        let answer = UnaryService::call(&mut health.clone(), question(service)).await;
        answer.map(|answer| answer.into_inner().status()).map_err(|status| status.code())
    }

    #[tokio::test]
    async fn a_check_follows_the_phase_for_the_services_that_were_named() {
        let lifecycle = Lifecycle::new();
        let health = GrpcHealth::new(lifecycle.clone()).with_service("greeter.Greeter");
        assert_eq!(check(&health, "").await, Ok(NotServing));
        lifecycle.serve();
        assert_eq!(check(&health, "").await, Ok(Serving));
        assert_eq!(check(&health, "greeter.Greeter").await, Ok(Serving));
        assert_eq!(check(&health, "greeter").await, Err(Code::NotFound));
        lifecycle.leave();
        assert_eq!(check(&health, "greeter.Greeter").await, Ok(NotServing));
    }

    #[tokio::test]
    async fn a_watch_is_told_of_changes_and_ends_when_the_process_leaves() {
        let lifecycle = Lifecycle::new();
        let watch = async |service| {
            let mut health = GrpcHealth::new(lifecycle.clone());
            let stream = ServerStreamingService::call(&mut health, question(service)).await.unwrap();
            task::spawn(stream.into_inner())
        };
        let (mut all, mut other) = (watch("").await, watch("other").await);
        let said = |stream: &mut task::Spawn<Answers>| {
            let next = stream.enter(|cx, stream| stream.poll_next(cx));
            next.map(|next| next.map(|answer| answer.unwrap().status()))
        };
        assert_eq!(assert_ready!(said(&mut all)), Some(NotServing));
        assert_eq!(assert_ready!(said(&mut other)), Some(ServiceUnknown));
        assert_pending!(said(&mut all));
        lifecycle.serve();
        assert!(all.is_woken());
        assert_eq!(assert_ready!(said(&mut all)), Some(Serving));
        assert_pending!(said(&mut all));
        assert_pending!(said(&mut other));
        lifecycle.leave();
        assert_eq!(assert_ready!(said(&mut all)), Some(NotServing));
        assert_eq!(assert_ready!(said(&mut all)), None);
        assert_eq!(assert_ready!(said(&mut other)), None);
    }
}
