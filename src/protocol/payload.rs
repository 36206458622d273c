//! The envelope of every gRPC message.
//!
//! Written by hand from the field numbers, so that no code generator runs at build.

use super::message::Message;
use bytes::Bytes;
use std::collections::HashMap;

/// The header by which a request shows that its sender has logged in.
pub(crate) const ACCESS_TOKEN: &str = "accessToken";

/// Envelope: what kind of message, and the message as JSON.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Payload {
    #[prost(message, optional, tag = "2")]
    pub(crate) metadata: Option<Metadata>,
    #[prost(message, optional, tag = "3")]
    pub(crate) body: Option<Any>,
}

/// Kind of a message, and what is said about it.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Metadata {
    /// Name of the message's class: `InstanceRequest`.
    #[prost(string, tag = "3")]
    pub(crate) kind: String,
    #[prost(map = "string, string", tag = "7")]
    pub(crate) headers: HashMap<String, String>,
    /// What the client believes its address to be; the transport knows better.
    #[prost(string, tag = "8")]
    pub(crate) client_ip: String,
}

/// `google.protobuf.Any`, used as a plain carrier of JSON.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Any {
    #[prost(string, tag = "1")]
    pub(crate) type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) value: Bytes,
}

/// A payload that does not hold the message it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("expected a payload of type {expected}, got {kind:?}")]
    Kind { expected: &'static str, kind: String },
    #[error("the body of {kind} is not valid JSON for it")]
    Json { kind: &'static str, source: serde_json::Error },
}

impl Payload {
    /// The envelope around `message`.
    pub(crate) fn new<M: Message>(message: &M) -> Self {
        let json = serde_json::to_vec(message).expect("messages have string keys and finite numbers only");
        Self::from_json(M::KIND, json)
    }

    /// The envelope around a message of type `kind` that is JSON already.
    pub(crate) fn from_json(kind: &str, json: impl Into<Bytes>) -> Self {
        let metadata = Metadata { kind: kind.to_owned(), ..Metadata::default() };
        Self { metadata: Some(metadata), body: Some(Any { type_url: String::new(), value: json.into() }) }
    }

    /// The same with a header.
    pub(crate) fn with_header(mut self, name: &str, value: &str) -> Self {
        self.metadata.get_or_insert_default().headers.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Name of the message's class; empty when the envelope has none.
    pub(crate) fn kind(&self) -> &str {
        self.metadata.as_ref().map_or("", |metadata| &metadata.kind)
    }

    /// The JSON text; an absent body reads as an object without fields.
    pub(crate) fn json(&self) -> &[u8] {
        match &self.body {
            Some(body) if !body.value.is_empty() => &body.value,
            _ => b"{}",
        }
    }

    /// Reads the message.
    pub(crate) fn read<M: Message>(&self) -> Result<M, Unreadable> {
        if self.kind() != M::KIND {
            return Err(Unreadable::Kind { expected: M::KIND, kind: self.kind().to_owned() });
        }
        serde_json::from_slice(self.json()).map_err(|source| Unreadable::Json { kind: M::KIND, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::{HealthCheckRequest, ServerCheckRequest};
    use prost::Message as _;

    #[test]
    fn the_field_numbers_are_those_of_the_protocol() {
        let payload = Payload::from_json("ServerCheckRequest", "{}");
        let written = payload.encode_to_vec();
        assert_eq!(written[..4], [0x12, 0x14, 0x1a, 0x12]); // Field 2, 20 bytes; in it field 3, 18 bytes.
        assert_eq!(written[22..], [0x1a, 0x04, 0x12, 0x02, b'{', b'}']); // Field 3; in it field 2.
        assert_eq!(Payload::decode(&*written).unwrap(), payload);
    }

    #[test]
    fn a_payload_of_another_kind_is_not_read() {
        let payload = Payload::new(&ServerCheckRequest::default());
        assert!(payload.read::<ServerCheckRequest>().is_ok());
        assert!(matches!(payload.read::<HealthCheckRequest>(), Err(Unreadable::Kind { .. })));
        assert!(Payload { body: None, ..payload }.read::<ServerCheckRequest>().is_ok());
    }
}
