//! What a provider serves.

use crate::naming::BoxError;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tower_service::Service;

/// Whatever answers HTTP requests: implemented for every clonable `Service` of them.
///
/// Among these are an [`axum::Router`], the `Routes` of tonic and each service that it generates, and a
/// `tower::ServiceBuilder` stack around a function. Each connection gets a clone.
///
/// gRPC and plain HTTP on one port are one router: `Routes::from(router).add_service(grpc)`.
///
/// ```
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower_graceful::provider::App;
///
/// fn is_an_app(_: impl App) {}
///
/// is_an_app(axum::Router::new());
/// is_an_app(tonic::service::Routes::from(axum::Router::new()));
/// is_an_app(tower::service_fn(async |_: Request<hyper::body::Incoming>| {
///     Ok::<_, std::convert::Infallible>(Response::new(Full::<bytes::Bytes>::from("hello")))
/// }));
/// ```
pub trait App: Send + 'static {
    /// The body of its answers; the default body is what a refusal carries.
    type Body: Body<Data: Send, Error: Into<BoxError>> + Default + Send + 'static;
    /// Why it does not answer; its connection is broken off then.
    type Error: Into<BoxError>;
    /// What answers.
    type Service: Service<Request<Incoming>, Response = Response<Self::Body>, Error = Self::Error, Future: Send>
        + Clone
        + Send
        + 'static;

    /// The service itself.
    fn into_service(self) -> Self::Service;
}

impl<S, B> App for S
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Default + Send + 'static,
{
    type Body = B;
    type Error = S::Error;
    type Service = S;

    fn into_service(self) -> S {
        self
    }
}
