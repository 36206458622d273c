//! Calls of the gRPC API, and what goes up the stream of a client.

use super::super::grpc::Service;
use super::super::hub::Hub;
use super::{everyone, live};
use crate::protocol::Payload;
use crate::protocol::message::{
    ConnectionSetupRequest, HealthCheckRequest, InstanceRequest, Message as _, REGISTER, ServiceQueryRequest,
};
use bytes::{BufMut as _, Bytes, BytesMut};
use http::Request;
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use prost::Message as _;
use serde_json::Value;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tonic::codegen::tokio_stream::StreamExt as _;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tower::ServiceExt as _;

/// Messages of one input that are sent.
const MESSAGES_MAX: usize = 32;
/// Turns that other tasks get until they must have noticed that a client is gone.
const TURNS_MAX: usize = 1_000;
/// What stands before a message that goes up the stream, and does not ask for an answer.
const UP: u8 = b'>';

type Body = BoxBody<Bytes, Infallible>;

/// The body of a call, and of a stream, as it stands on the wire. What can be read as a message is written as
/// the same one.
pub(crate) fn call(input: &[u8]) {
    if let Ok(payload) = Payload::decode(input) {
        let again = Payload::decode(&*payload.encode_to_vec());
        assert_eq!(again.as_ref(), Ok(&payload));
    }
    live(async |hub| {
        let prefixed = prefixed(input);
        for body in [Bytes::copy_from_slice(input), prefixed] {
            for path in ["/Request/request", "/BiRequestStream/requestBiStream"] {
                let (service, _closing) = transport(&hub);
                let answer = send(service, path, Full::new(body.clone()).boxed()).await;
                // That a call failed is said in the head or in the trailers, and is no failure to answer it.
                let _ = answer.into_body().collect().await;
            }
        }
        let client = Client::connect(&hub).await;
        client.works().await;
    });
}

/// Messages of one client: a line each, the type and then the JSON; those that begin with `>` go up its
/// stream. Every other one is answered with a code, the client is served afterwards, and leaves nothing
/// behind when it goes.
pub(crate) fn session(input: &[u8]) {
    live(async |hub| {
        let client = Client::connect(&hub).await;
        let lines = input.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        for line in lines.take(MESSAGES_MAX) {
            let (up, line) = line.split_first().map_or((false, line), |(first, rest)| {
                if *first == UP { (true, rest) } else { (false, line) }
            });
            let end = line.iter().position(|&byte| byte == b' ').unwrap_or(line.len());
            let kind = String::from_utf8_lossy(&line[..end]);
            let payload = Payload::from_json(&kind, line.get(end + 1..).unwrap_or_default().to_vec());
            if up {
                client.tell(&payload).await;
            } else {
                client.ask(&payload).await;
            }
        }
        client.works().await;
        drop(client);
        for _ in 0..TURNS_MAX {
            if hub.counts().connections == 0 {
                break;
            }
            tokio::task::yield_now().await;
        }
        let counts = hub.counts();
        assert_eq!((counts.connections, counts.subscriptions), (0, 0), "left behind: {counts:?}");
    });
}

/// One transport that is set up.
struct Client {
    service: Service,
    stream: mpsc::Sender<Bytes>,
    _closing: watch::Sender<bool>,
}

impl Client {
    async fn connect(hub: &Arc<Hub>) -> Self {
        let (service, closing) = transport(hub);
        let (stream, sent) = mpsc::channel(MESSAGES_MAX);
        let body = StreamBody::new(ReceiverStream::new(sent).map(|bytes| Ok(Frame::data(bytes))));
        let answer = send(service.clone(), "/BiRequestStream/requestBiStream", body.boxed()).await;
        // Reads what comes down, and acknowledges nothing.
        tokio::spawn(async move { answer.into_body().collect().await.map(drop) });
        let client = Self { service, stream, _closing: closing };
        client.tell(&Payload::new(&ConnectionSetupRequest::default())).await;
        client.succeeds(&Payload::new(&HealthCheckRequest::default())).await;
        client
    }

    async fn tell(&self, payload: &Payload) {
        self.stream.send(prefixed(&payload.encode_to_vec())).await.expect("the session reads its stream");
    }

    /// The answer's JSON.
    async fn ask(&self, payload: &Payload) -> Value {
        let body = Full::new(prefixed(&payload.encode_to_vec())).boxed();
        let answer = send(self.service.clone(), "/Request/request", body).await;
        let bytes = answer.into_body().collect().await.expect("answers come from memory").to_bytes();
        let answer = Payload::decode(bytes.slice(5..)).expect("an answer is a message");
        let said: Value = serde_json::from_slice(answer.json()).expect("an answer is JSON");
        assert!(said["resultCode"].is_i64() && said["errorCode"].is_i64(), "{said}");
        said
    }

    async fn succeeds(&self, payload: &Payload) -> Value {
        let said = self.ask(payload).await;
        assert_eq!(said["resultCode"], 200, "{said}");
        said
    }

    /// The client is connected, and can find what it registers.
    async fn works(&self) {
        self.succeeds(&Payload::new(&HealthCheckRequest::default())).await;
        let registration = format!(
            r#"{{"namespace":"witness","serviceName":"witness","type":"{REGISTER}","instance":{{"ip":"10.9.9.9","port":99}}}}"#
        );
        let said = self.ask(&Payload::from_json(InstanceRequest::KIND, registration)).await;
        if said["errorCode"] == crate::protocol::code::SERVER_ERROR {
            return; // There are as many instances as may be.
        }
        let query = r#"{"namespace":"witness","serviceName":"witness"}"#;
        let said = self.succeeds(&Payload::from_json(ServiceQueryRequest::KIND, query)).await;
        assert_eq!(said["serviceInfo"]["hosts"][0]["ip"], "10.9.9.9", "{said}");
    }
}

fn transport(hub: &Arc<Hub>) -> (Service, watch::Sender<bool>) {
    let (closing, heard) = watch::channel(false);
    (Service::new(everyone(hub), SocketAddr::from(([127, 0, 0, 1], 40_000)), None, heard), closing)
}

async fn send(
    service: Service,
    path: &str,
    body: Body,
) -> http::Response<impl http_body::Body<Data = Bytes, Error = tonic::Status> + Send + 'static + use<>> {
    let request = Request::post(path).header("content-type", "application/grpc").body(body);
    let Ok(answer) = service.oneshot(request.expect("a path")).await;
    answer
}

/// A message with what gRPC puts before it.
fn prefixed(message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    bytes.extend_from_slice(message);
    bytes.freeze()
}
