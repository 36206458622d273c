//! A client of the gRPC protocol that says what it is told to say, to the letter, and hears everything: so a
//! test can be any SDK.

use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Streaming};
use tonic_prost::ProstCodec;

/// Longest wait for what is to come over loopback.
const SOON: Duration = Duration::from_secs(10);
/// Longest message: what the protocol allows.
const BYTES_MAX: usize = 64 * 1024 * 1024;

#[derive(Clone, PartialEq, prost::Message)]
struct Metadata {
    #[prost(string, tag = "3")]
    kind: String,
    #[prost(btree_map = "string, string", tag = "7")]
    headers: BTreeMap<String, String>,
    #[prost(string, tag = "8")]
    client_ip: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Payload {
    #[prost(message, optional, tag = "2")]
    metadata: Option<Metadata>,
    #[prost(message, optional, tag = "3")]
    body: Option<Any>,
}

/// A message by its type, with its JSON.
pub(crate) type Said = (String, Value);

/// One client on one transport.
pub(crate) struct Peer {
    grpc: Grpc<Channel>,
    outbound: Option<mpsc::Sender<Payload>>,
    inbound: Option<Streaming<Payload>>,
    /// Heard while something else was waited for.
    heard: VecDeque<Said>,
}

impl Peer {
    /// A transport on which nothing has been said.
    pub(crate) async fn connect(registry: SocketAddr) -> Self {
        let channel = Endpoint::from_shared(format!("http://{registry}")).unwrap().connect().await.unwrap();
        let grpc = Grpc::new(channel).max_decoding_message_size(BYTES_MAX);
        Self { grpc, outbound: None, inbound: None, heard: VecDeque::new() }
    }

    /// A client that is set up, without a table of abilities.
    pub(crate) async fn set_up(registry: SocketAddr) -> Self {
        let mut peer = Self::connect(registry).await;
        peer.open().await;
        peer.say("ConnectionSetupRequest", json!({"labels": {"source": "sdk", "module": "naming"}})).await;
        let (_, health) = peer.ask("HealthCheckRequest", json!({})).await;
        assert_eq!(health["resultCode"], json!(200), "{health}");
        peer
    }

    pub(crate) async fn open(&mut self) {
        self.grpc.ready().await.unwrap();
        let (outbound, receiver) = mpsc::channel(64);
        let path = http::uri::PathAndQuery::from_static("/BiRequestStream/requestBiStream");
        let codec = ProstCodec::<Payload, Payload>::default();
        let response = self.grpc.streaming(Request::new(ReceiverStream::new(receiver)), path, codec).await;
        (self.outbound, self.inbound) = (Some(outbound), Some(response.unwrap().into_inner()));
    }

    /// Says something on the stream.
    pub(crate) async fn say(&self, kind: &str, body: Value) {
        self.outbound.as_ref().unwrap().send(payload(kind, body.to_string().into_bytes())).await.unwrap();
    }

    /// Asks, and returns the type and the body of the answer.
    pub(crate) async fn ask(&mut self, kind: &str, body: Value) -> Said {
        self.ask_raw(kind, body.to_string().into_bytes()).await
    }

    pub(crate) async fn ask_raw(&mut self, kind: &str, body: Vec<u8>) -> Said {
        self.grpc.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static("/Request/request");
        let codec = ProstCodec::<Payload, Payload>::default();
        let answer = self.grpc.unary(Request::new(payload(kind, body)), path, codec).await;
        read(answer.unwrap().into_inner())
    }

    /// Asks something that must succeed.
    pub(crate) async fn succeed(&mut self, kind: &str, body: Value) -> Value {
        let (answered, body) = self.ask(kind, body).await;
        let codes = (&body["resultCode"], &body["errorCode"], &body["success"]);
        assert_eq!(codes, (&json!(200), &json!(0), &json!(true)), "{answered} {body}");
        body
    }

    /// What comes down the stream next; nothing at its end.
    pub(crate) async fn hear(&mut self) -> Option<Said> {
        if let Some(said) = self.heard.pop_front() {
            return Some(said);
        }
        let message = self.inbound.as_mut().unwrap().message();
        timeout(SOON, message).await.expect("nothing comes, nor an end").unwrap_or_default().map(read)
    }

    /// The next list that is pushed, acknowledged.
    pub(crate) async fn pushed(&mut self) -> Value {
        let list = self.pushed_unanswered().await;
        self.acknowledge(&list).await;
        list
    }

    pub(crate) async fn pushed_unanswered(&mut self) -> Value {
        let (kind, body) = self.hear().await.expect("the stream has ended");
        assert_eq!(kind, "NotifySubscriberRequest");
        assert!(body["headers"].is_object() && body["module"] == "naming", "{body}");
        body
    }

    pub(crate) async fn acknowledge(&self, push: &Value) {
        let answer = json!({"resultCode": 200, "errorCode": 0, "requestId": push["requestId"]});
        self.say("NotifySubscriberResponse", answer).await;
    }

    /// Hears lists until one has these ports.
    pub(crate) async fn pushed_until(&mut self, expected: &[u64]) -> Value {
        loop {
            let push = self.pushed().await;
            if ports(&push["serviceInfo"]) == expected {
                return push;
            }
        }
    }
}

/// The ports of a list, sorted.
pub(crate) fn ports(list: &Value) -> Vec<u64> {
    let hosts = list["hosts"].as_array().unwrap_or_else(|| panic!("no list: {list}"));
    let mut ports: Vec<_> = hosts.iter().map(|host| host["port"].as_u64().unwrap()).collect();
    ports.sort_unstable();
    ports
}

fn payload(kind: &str, value: Vec<u8>) -> Payload {
    let metadata = Metadata { kind: kind.to_owned(), ..Metadata::default() };
    Payload { metadata: Some(metadata), body: Some(Any { type_url: String::new(), value }) }
}

fn read(payload: Payload) -> Said {
    let body = payload.body.unwrap().value;
    (payload.metadata.unwrap().kind, serde_json::from_slice(&body).unwrap())
}
