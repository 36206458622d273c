//! The greeter: what a code generator makes of this, written by hand so that no `protoc` is needed.
//!
//! ```proto
//! package greeter;
//! service Greeter {
//!     rpc Greet(Name) returns (Greeting);
//!     rpc GreetOften(Name) returns (stream Greeting);
//! }
//! message Name { string name = 1; uint32 times = 2; }
//! message Greeting { string words = 1; string instance = 2; }
//! ```
#![allow(unreachable_pub, dead_code, reason = "server and client each use their half")]

use http::uri::PathAndQuery;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::codegen::{BoxFuture, BoxStream, Bytes, Service, StdError, http};
use tonic::server::{NamedService, ServerStreamingService, UnaryService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

const GREET: &str = "/greeter.Greeter/Greet";
const GREET_OFTEN: &str = "/greeter.Greeter/GreetOften";

/// Whom to greet.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Name {
    #[prost(string, tag = "1")]
    pub name: String,
    /// How often, where greetings are streamed.
    #[prost(uint32, tag = "2")]
    pub times: u32,
}

/// A greeting, and who sends it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Greeting {
    #[prost(string, tag = "1")]
    pub words: String,
    #[prost(string, tag = "2")]
    pub instance: String,
}

/// Asks greeters; `T` carries the requests, for instance the layers of this crate over an HTTP/2 client.
#[derive(Clone, Debug)]
pub struct GreeterClient<T> {
    inner: tonic::client::Grpc<T>,
}

impl<T> GreeterClient<T>
where
    T: GrpcService<Body, Error: Into<StdError>>,
    T::ResponseBody: http_body::Body<Data = Bytes, Error: Into<StdError> + Send> + Send + 'static,
{
    pub fn new(inner: T) -> Self {
        Self { inner: tonic::client::Grpc::new(inner) }
    }

    pub async fn greet(&mut self, name: Name) -> Result<Response<Greeting>, Status> {
        self.ready().await?;
        let path = PathAndQuery::from_static(GREET);
        self.inner.unary(Request::new(name), path, ProstCodec::default()).await
    }

    pub async fn greet_often(&mut self, name: Name) -> Result<Response<Streaming<Greeting>>, Status> {
        self.ready().await?;
        let path = PathAndQuery::from_static(GREET_OFTEN);
        self.inner.server_streaming(Request::new(name), path, ProstCodec::default()).await
    }

    async fn ready(&mut self) -> Result<(), Status> {
        let ready = self.inner.ready().await;
        ready.map_err(|error| Status::unavailable(format!("not ready: {}", error.into())))
    }
}

/// Greets.
pub trait Greeter: Send + Sync + 'static {
    fn greet(&self, name: Name) -> impl Future<Output = Result<Greeting, Status>> + Send;

    fn greet_often(&self, name: Name) -> Result<BoxStream<Greeting>, Status>;
}

/// Serves a [`Greeter`].
#[derive(Debug)]
pub struct GreeterServer<T>(Arc<T>);

impl<T: Greeter> GreeterServer<T> {
    pub fn new(greeter: T) -> Self {
        Self(Arc::new(greeter))
    }
}

impl<T> Clone for GreeterServer<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> NamedService for GreeterServer<T> {
    const NAME: &'static str = "greeter.Greeter";
}

impl<T: Greeter> Service<http::Request<Body>> for GreeterServer<T> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::default());
            Ok(match request.uri().path() {
                GREET => grpc.unary(this, request).await,
                GREET_OFTEN => grpc.server_streaming(this, request).await,
                _ => Status::unimplemented("greeters greet").into_http(),
            })
        })
    }
}

impl<T: Greeter> UnaryService<Name> for GreeterServer<T> {
    type Response = Greeting;
    type Future = BoxFuture<Response<Greeting>, Status>;

    fn call(&mut self, request: Request<Name>) -> Self::Future {
        let greeter = self.0.clone();
        Box::pin(async move { greeter.greet(request.into_inner()).await.map(Response::new) })
    }
}

impl<T: Greeter> ServerStreamingService<Name> for GreeterServer<T> {
    type Response = Greeting;
    type ResponseStream = BoxStream<Greeting>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<Name>) -> Self::Future {
        let greeter = self.0.clone();
        Box::pin(async move { greeter.greet_often(request.into_inner()).map(Response::new) })
    }
}
