//! A client of the gRPC API as the SDKs are: one transport, unary calls, one stream on which pushes come.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::Request;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tower_graceful::BoxError;

/// Windows of flow control, in bytes: what Java's SDK gives.
const WINDOW: u32 = 1024 * 1024;

/// The protocol's envelope.
#[derive(Clone, PartialEq, prost::Message)]
struct Payload {
    #[prost(message, optional, tag = "2")]
    metadata: Option<Metadata>,
    #[prost(message, optional, tag = "3")]
    body: Option<Any>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Metadata {
    #[prost(string, tag = "3")]
    kind: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

type Body = BoxBody<Bytes, Infallible>;

/// A client that is set up. Its transport ends when it and its [`Pushes`] are dropped, or when it is cut.
pub(crate) struct Client {
    requests: SendRequest<Body>,
    stream: UnboundedSender<Bytes>,
    transport: AbortHandle,
}

/// What the registry sends by itself.
pub(crate) struct Pushes {
    body: Incoming,
    buffer: BytesMut,
    answers: UnboundedSender<Bytes>,
}

/// How a client's connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Fin,
    Rst,
}

impl Client {
    pub(crate) async fn open(address: SocketAddr, end: End) -> Result<(Self, Pushes), BoxError> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        if end == End::Rst {
            socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO))?;
        }
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2.initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW);
        let (mut requests, connection) = http2.handshake(TokioIo::new(stream)).await?;
        let transport = tokio::spawn(connection).abort_handle();
        let (sender, receiver) = unbounded_channel::<Bytes>();
        let frames = UnboundedReceiverStream::new(receiver).map(|bytes| Ok(Frame::data(bytes)));
        sender.send(setup()?)?;
        let request = request("/BiRequestStream/requestBiStream", StreamBody::new(frames).boxed())?;
        // The answer's head may come with the first message only, which is a push.
        let body = requests.send_request(request).await?.into_body();
        let pushes = Pushes { body, buffer: BytesMut::new(), answers: sender.clone() };
        let mut client = Self { requests, stream: sender, transport };
        client.ask("HealthCheckRequest", &json!({})).await?;
        Ok((client, pushes))
    }

    /// Asks, and returns the text of an answer that is a success.
    pub(crate) async fn ask(&mut self, kind: &str, body: &Value) -> Result<Bytes, BoxError> {
        let text = self.send(message(kind, body)?).await?;
        // In the first bytes or the last ones, as the registry likes it; a list may lie between them.
        let success = br#""resultCode":200"#;
        let near = [&text[..text.len().min(256)], &text[text.len().saturating_sub(256)..]];
        if near.iter().all(|part| !part.windows(success.len()).any(|bytes| bytes == success)) {
            return Err(format!("{kind} was refused: {}", String::from_utf8_lossy(&text)).into());
        }
        Ok(text)
    }

    /// Sends a [`message`], and returns the text of the answer.
    pub(crate) async fn send(&mut self, message: Bytes) -> Result<Bytes, BoxError> {
        let request = request("/Request/request", Full::new(message).boxed())?;
        let answer = self.requests.send_request(request).await?.into_body().collect().await?.to_bytes();
        let answer = answer.get(5..).map(|_| answer.slice(5..)).ok_or("an answer without a message")?;
        Ok(Payload::decode(answer)?.body.unwrap_or_default().value)
    }

    /// Cuts the connection.
    pub(crate) fn cut(self) {
        self.transport.abort();
        drop(self.stream);
    }
}

impl Pushes {
    /// The next message; nothing at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<(String, Bytes)>, BoxError> {
        loop {
            if let Some(head) = self.buffer.first_chunk::<5>() {
                let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
                if self.buffer.len() >= 5 + length {
                    let message = self.buffer.split_to(5 + length).freeze().slice(5..);
                    let Payload { metadata, body } = Payload::decode(message)?;
                    return Ok(Some((metadata.unwrap_or_default().kind, body.unwrap_or_default().value)));
                }
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            if let Ok(data) = frame?.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }

    /// Answers a message.
    pub(crate) fn answer(&self, kind: &str, request_id: &str) -> Result<(), BoxError> {
        let body = json!({"resultCode": 200, "errorCode": 0, "success": true, "requestId": request_id});
        Ok(self.answers.send(message(kind, &body)?)?)
    }
}

fn request(path: &str, body: Body) -> Result<Request<Body>, http::Error> {
    let request = Request::post(format!("http://registry{path}"));
    request.header("content-type", "application/grpc").header("te", "trailers").body(body)
}

/// The message that makes a connection of a transport.
pub(crate) fn setup() -> Result<Bytes, serde_json::Error> {
    let words = json!({"clientVersion": "bench", "labels": {"source": "sdk", "module": "naming"}});
    message("ConnectionSetupRequest", &words)
}

/// The envelope around `body`, with the five bytes that gRPC puts before it.
pub(crate) fn message(kind: &str, body: &Value) -> Result<Bytes, serde_json::Error> {
    let metadata = Some(Metadata { kind: kind.to_owned() });
    let payload = Payload { metadata, body: Some(Any { value: serde_json::to_vec(body)?.into() }) };
    let mut message = BytesMut::new();
    message.put_u8(0);
    message.put_u32(u32::try_from(payload.encoded_len()).unwrap_or(u32::MAX));
    message.extend_from_slice(&payload.encode_to_vec());
    Ok(message.freeze())
}
