//! The two methods of the protocol, on one HTTP/2 transport.

use super::connection::{Session, Transport};
use super::dispatch::dispatch;
use super::unary::{self, Body};
use crate::protocol::Payload;
use crate::provider::serve::server::Wire;
use crate::registry::access::Access;
use crate::registry::bound::Bound;
use crate::registry::large::LARGE_FROM;
use http::{Request, Response};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;
use tonic::codegen::BoxFuture;
use tonic::{Code, Status, Streaming};
use tonic_prost::ProstCodec;

/// How long the message of a unary request may take to arrive: as a body over HTTP.
const MESSAGE_WITHIN: Duration = Duration::from_secs(10);
/// Bytes of a message down a client's stream: labels, once, and then acknowledgements. There may be as many of
/// them half-way here as there are connections.
const STREAM_MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// The API as one client sees it, made for each transport.
#[derive(Clone, Debug)]
pub(crate) struct Service(Arc<Transport>);

impl Service {
    /// For the transport from `peer`, over `wire` where a port serves it; its stream ends once `closing` is true.
    pub(crate) fn new(
        access: Arc<Access>,
        peer: SocketAddr,
        wire: Option<Arc<Wire>>,
        closing: watch::Receiver<bool>,
    ) -> Self {
        Self(Arc::new(Transport::new(access, peer, wire, closing)))
    }
}

impl<B> tower_service::Service<Request<B>> for Service
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<tonic::codegen::StdError> + Send,
    B::Data: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let transport = self.0.clone();
        match request.uri().path() {
            "/Request/request" => Box::pin(async move { Ok(answer(&transport, request).await) }),
            "/BiRequestStream/requestBiStream" => {
                Box::pin(async move { Ok(stream(transport, request).await.map(Body::Tonic)) })
            }
            path => {
                let unknown = Status::unimplemented(format!("there is no method {path}"));
                Box::pin(async move { Ok(failure(unknown)) })
            }
        }
    }
}

async fn answer<B>(transport: &Arc<Transport>, request: Request<B>) -> Response<Body>
where
    B: http_body::Body,
    B::Error: Into<tonic::codegen::StdError>,
{
    let (metrics, allowance) = (transport.hub().metrics(), transport.hub().allowance());
    let max = allowance.requests;
    // Before the message is read: what waits for its end takes memory.
    let Some(under_way) = metrics.begin(max) else {
        return failure(Status::resource_exhausted(format!(
            "{max} requests are under way, and no more can be"
        )));
    };
    let mut room = transport.hub().large().room(); // Given back with the answer.
    let read = unary::read(request.into_body(), allowance.message_bytes, &mut room);
    let late = || Err(Status::deadline_exceeded("the message did not arrive within 10 seconds"));
    let opened = match timeout(MESSAGE_WITHIN, read).await.unwrap_or_else(|_| late()) {
        Ok(message) if message.len() > LARGE_FROM => {
            transport.hub().large().apart(move || unary::open(message)).await
        }
        Ok(message) => unary::open(message),
        Err(status) => {
            if status.code() == Code::OutOfRange {
                under_way.refuse(Bound::Message);
            } else if status.code() == Code::ResourceExhausted {
                under_way.refuse(Bound::LargeMessages);
            }
            Err(status)
        }
    };
    match opened {
        Ok(payload) => unary::answer(&dispatch(transport, payload, &under_way).await),
        Err(status) => failure(status),
    }
}

async fn stream<B>(transport: Arc<Transport>, request: Request<B>) -> Response<tonic::body::Body>
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<tonic::codegen::StdError> + Send,
{
    let bytes_max = transport.hub().allowance().message_bytes.min(STREAM_MESSAGE_BYTES_MAX);
    let open = tower::service_fn(move |request: tonic::Request<Streaming<Payload>>| {
        let opened = Session::open(transport.clone(), request.into_inner());
        async move { opened.map(tonic::Response::new) }
    });
    let grpc = tonic::server::Grpc::new(ProstCodec::<Payload, Payload>::default());
    grpc.max_decoding_message_size(bytes_max).streaming(open, request).await
}

fn failure(status: Status) -> Response<Body> {
    status.into_http().map(Body::Tonic)
}
