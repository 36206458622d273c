//! The two methods of the protocol, on one HTTP/2 transport.

use super::connection::{Session, Transport};
use super::dispatch::dispatch;
use crate::protocol::MESSAGE_BYTES_MAX;
use crate::protocol::Payload;
use crate::registry::hub::Hub;
use http::{Request, Response};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::watch;
use tonic::codegen::BoxFuture;
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;

/// The API as one client sees it, made for each transport.
#[derive(Clone, Debug)]
pub(crate) struct Service(Arc<Transport>);

impl Service {
    /// For the transport from `peer`; its stream ends once `closing` is true.
    pub(crate) fn new(hub: Arc<Hub>, peer: SocketAddr, closing: watch::Receiver<bool>) -> Self {
        Self(Arc::new(Transport::new(hub, peer, closing)))
    }
}

impl<B> tower_service::Service<Request<B>> for Service
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<tonic::codegen::StdError> + Send,
    B::Data: Send,
{
    type Response = Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let transport = self.0.clone();
        match request.uri().path() {
            "/Request/request" => Box::pin(async move { Ok(unary(transport, request).await) }),
            "/BiRequestStream/requestBiStream" => {
                Box::pin(async move { Ok(stream(transport, request).await) })
            }
            path => {
                let unknown = Status::unimplemented(format!("there is no method {path}"));
                Box::pin(async move { Ok(unknown.into_http()) })
            }
        }
    }
}

fn grpc() -> tonic::server::Grpc<ProstCodec<Payload, Payload>> {
    tonic::server::Grpc::new(ProstCodec::default()).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

async fn unary<B>(transport: Arc<Transport>, request: Request<B>) -> Response<tonic::body::Body>
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<tonic::codegen::StdError> + Send,
{
    let answer = tower::service_fn(move |request: tonic::Request<Payload>| {
        let transport = transport.clone();
        async move { Ok::<_, Status>(tonic::Response::new(dispatch(&transport, &request.into_inner()).await)) }
    });
    grpc().unary(answer, request).await
}

async fn stream<B>(transport: Arc<Transport>, request: Request<B>) -> Response<tonic::body::Body>
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<tonic::codegen::StdError> + Send,
{
    let open = tower::service_fn(move |request: tonic::Request<Streaming<Payload>>| {
        let opened = Session::open(transport.clone(), request.into_inner());
        async move { opened.map(tonic::Response::new) }
    });
    grpc().streaming(open, request).await
}
