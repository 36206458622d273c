//! The JSON messages of the gRPC protocol.
//!
//! Every field may be absent or `null` on input, whatever the protocol says, because some client leaves it
//! out. On output nothing is ever `null`: optional fields that hold nothing are left out.

use super::code;
use super::entity::{ServiceInfo, WireInstance};
use super::lenient::null_as_default;
use super::written::written_or_whole;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A JSON message with the name of its class.
pub(crate) trait Message: Serialize + DeserializeOwned {
    /// What stands in `metadata.type` of its envelope.
    const KIND: &'static str;
}

/// A message that is answered, with the class of its answer.
pub(crate) trait Request: Message {
    type Response: Response;

    /// The id that the answer repeats; empty when the sender gave none.
    fn request_id(&self) -> &str;
}

/// An answer, with the fields that every answer has.
pub(crate) trait Response: Message + Default {
    /// Makes it the success that answers the request with this id.
    fn succeed(self, request_id: &str) -> Self;

    /// Makes it the failure that answers the request with this id.
    fn fail(self, request_id: &str, code: i32, message: impl fmt::Display) -> Self;

    /// The failure it reports, as code and words.
    fn failure(&self) -> Option<(i32, &str)>;
}

macro_rules! request {
    ($(#[$doc:meta])* $name:ident -> $response:ident, $module:literal {
        $($(#[$attr:meta])* $field:ident: $type:ty,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", default, expecting = "a JSON object")]
        pub(crate) struct $name {
            /// Headers of the request besides the envelope's; must be an object on output.
            #[serde(deserialize_with = "null_as_default")]
            pub(crate) headers: BTreeMap<String, String>,
            #[serde(deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
            pub(crate) request_id: String,
            #[serde(deserialize_with = "null_as_default")]
            pub(crate) module: String,
            $($(#[$attr])* #[serde(deserialize_with = "null_as_default")] pub(crate) $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    headers: BTreeMap::new(),
                    request_id: String::new(),
                    module: $module.to_owned(),
                    $($field: Default::default(),)*
                }
            }
        }

        impl Message for $name {
            const KIND: &'static str = stringify!($name);
        }

        impl Request for $name {
            type Response = $response;

            fn request_id(&self) -> &str {
                &self.request_id
            }
        }
    };
}

macro_rules! response {
    ($(#[$doc:meta])* $name:ident { $($(#[$attr:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", default, expecting = "a JSON object")]
        pub(crate) struct $name {
            #[serde(deserialize_with = "null_as_default")]
            pub(crate) result_code: i32,
            #[serde(deserialize_with = "null_as_default")]
            pub(crate) error_code: i32,
            #[serde(deserialize_with = "null_as_default")]
            pub(crate) success: bool,
            #[serde(deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
            pub(crate) message: String,
            #[serde(deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
            pub(crate) request_id: String,
            $($(#[$attr])* #[serde(deserialize_with = "null_as_default")] pub(crate) $field: $type,)*
        }

        impl Message for $name {
            const KIND: &'static str = stringify!($name);
        }

        impl Response for $name {
            fn succeed(self, request_id: &str) -> Self {
                let mut succeeded = self;
                (succeeded.result_code, succeeded.error_code, succeeded.success) = (code::SUCCESS, 0, true);
                succeeded.request_id = request_id.to_owned();
                succeeded
            }

            fn fail(self, request_id: &str, code: i32, message: impl fmt::Display) -> Self {
                let mut failed = self;
                (failed.result_code, failed.error_code, failed.success) = (code::SERVER_ERROR, code, false);
                (failed.request_id, failed.message) = (request_id.to_owned(), message.to_string());
                failed
            }

            fn failure(&self) -> Option<(i32, &str)> {
                (self.result_code != code::SUCCESS).then_some((self.error_code, &self.message))
            }
        }
    };
}

pub(super) use {request, response};

request! {
    /// First question on a new transport: who are you, and who am I?
    ServerCheckRequest -> ServerCheckResponse, "internal" {}
}
response! {
    ServerCheckResponse {
        connection_id: String,
        /// Promises a [`SetupAckRequest`] to clients that send an ability table.
        support_ability_negotiation: bool,
    }
}

request! {
    /// First message on the stream: makes the transport a connection. Never answered.
    ConnectionSetupRequest -> ErrorResponse, "internal" {
        client_version: String,
        tenant: String,
        labels: BTreeMap<String, String>,
        /// Present from Java 2.3 and Python 3 on, which then wait for a [`SetupAckRequest`].
        #[serde(skip_serializing_if = "Option::is_none")]
        ability_table: Option<BTreeMap<String, bool>>,
    }
}

request! {
    /// What the server can do; goes down the stream.
    SetupAckRequest -> SetupAckResponse, "internal" {
        ability_table: BTreeMap<String, bool>,
    }
}
response! { SetupAckResponse {} }

request! {
    /// A client's question whether its connection stands.
    HealthCheckRequest -> HealthCheckResponse, "internal" {}
}
response! { HealthCheckResponse {} }

request! {
    /// The server's question whether a silent client is there; goes down the stream.
    ClientDetectionRequest -> ClientDetectionResponse, "internal" {}
}
response! { ClientDetectionResponse {} }

request! {
    /// Asks a client to connect to another server; goes down the stream.
    ConnectResetRequest -> ConnectResetResponse, "internal" {
        /// Which one; without these two the client chooses.
        #[serde(skip_serializing_if = "String::is_empty")]
        server_ip: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        server_port: String,
    }
}
#[cfg(feature = "registry")]
impl ConnectResetRequest {
    /// Asks to connect to one server, or to any.
    pub(crate) fn to(server: Option<&crate::model::Address>) -> Self {
        let server_ip = server.map(|server| server.host().to_owned()).unwrap_or_default();
        let server_port = server.map(|server| server.port().to_string()).unwrap_or_default();
        Self { request_id: "0".to_owned(), server_ip, server_port, ..Self::default() }
    }
}
response! { ConnectResetResponse {} }

/// `type` of an [`InstanceRequest`] that registers.
pub(crate) const REGISTER: &str = "registerInstance";
/// `type` of an [`InstanceRequest`] that deregisters.
pub(crate) const DEREGISTER: &str = "deregisterInstance";
/// `type` of a [`BatchInstanceRequest`].
pub(crate) const BATCH_REGISTER: &str = "batchRegisterInstance";

request! {
    /// Registers the connection's instance of a service, or takes it off.
    InstanceRequest -> InstanceResponse, "naming" {
        namespace: String,
        service_name: String,
        group_name: String,
        r#type: String,
        instance: WireInstance,
    }
}
response! { InstanceResponse { r#type: String, } }

request! {
    /// Registers an instance that outlives the connection, or takes it off.
    PersistentInstanceRequest -> InstanceResponse, "naming" {
        namespace: String,
        service_name: String,
        group_name: String,
        r#type: String,
        instance: WireInstance,
    }
}

request! {
    /// Registers all the connection's instances of a service at once.
    BatchInstanceRequest -> BatchInstanceResponse, "naming" {
        namespace: String,
        service_name: String,
        group_name: String,
        r#type: String,
        instances: Vec<WireInstance>,
    }
}
response! { BatchInstanceResponse { r#type: String, } }

request! {
    /// Takes instances of the connection off a service, and is answered when the consumers that follow it know,
    /// or time is up. This crate's own: Nacos answers [`code::NO_HANDLER`].
    GracefulDeregisterRequest -> GracefulDeregisterResponse, "naming" {
        namespace: String,
        service_name: String,
        group_name: String,
        /// All that the connection goes on publishing there, mostly nothing.
        instances: Vec<WireInstance>,
        /// How long to wait for consumers, in milliseconds; 0 leaves it to the server.
        wait_ms: u64,
    }
}
response! {
    GracefulDeregisterResponse {
        /// Of the list without the instances.
        revision: u64,
        /// The `graceful.caller` of consumers that have acknowledged this list, on all their connections.
        told: Vec<String>,
        /// Consumers that have not.
        untold: Vec<UntoldCaller>,
    }
}

/// A consumer that follows a service and has not said that it knows a list of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct UntoldCaller {
    /// Its `graceful.caller`.
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) caller: String,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) app: String,
    /// Where its connection comes from.
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) address: String,
}

request! {
    /// Starts or ends the pushes about a service; answered with its present list.
    SubscribeServiceRequest -> SubscribeServiceResponse, "naming" {
        namespace: String,
        service_name: String,
        group_name: String,
        subscribe: bool,
        /// Comma list; empty means all.
        clusters: String,
    }
}
response! {
    SubscribeServiceResponse {
        #[serde(serialize_with = "written_or_whole")]
        service_info: ServiceInfo,
    }
}

request! {
    /// Asks for a service's list once.
    ServiceQueryRequest -> QueryServiceResponse, "naming" {
        namespace: String,
        service_name: String,
        group_name: String,
        cluster: String,
        /// Python's clients write `healthOnly`.
        #[serde(alias = "healthOnly")]
        healthy_only: bool,
    }
}
response! {
    QueryServiceResponse {
        #[serde(serialize_with = "written_or_whole")]
        service_info: ServiceInfo,
    }
}

request! {
    /// Asks for the names of a group's services, by pages from 1 on.
    ServiceListRequest -> ServiceListResponse, "naming" {
        namespace: String,
        group_name: String,
        page_no: u32,
        page_size: u32,
    }
}
response! {
    ServiceListResponse {
        count: usize,
        service_names: Vec<String>,
    }
}

request! {
    /// A service's new list; goes down the stream.
    NotifySubscriberRequest -> NotifySubscriberResponse, "naming" {
        namespace: String,
        service_name: String,
        group_name: String,
        #[serde(serialize_with = "written_or_whole")]
        service_info: ServiceInfo,
    }
}
response! { NotifySubscriberResponse {} }

response! {
    /// Any failure that has no answer of its own class.
    ErrorResponse {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_may_leave_out_everything_or_write_null() {
        let empty: SubscribeServiceRequest = serde_json::from_str("{}").unwrap();
        assert_eq!((empty.subscribe, empty.module.as_str()), (false, "naming"));
        let null =
            r#"{"headers":null,"requestId":null,"module":null,"namespace":null,"instance":null,"x":1}"#;
        assert_eq!(serde_json::from_str::<InstanceRequest>(null).unwrap().instance, WireInstance::default());
    }

    #[test]
    fn an_answer_has_its_three_codes_and_no_null() {
        let yes = serde_json::to_string(&HealthCheckResponse::default().succeed("7")).unwrap();
        assert_eq!(yes, r#"{"resultCode":200,"errorCode":0,"success":true,"requestId":"7"}"#);
        let no = ErrorResponse::default().fail("", code::UNREGISTERED, "Connection is unregistered.");
        assert_eq!(no.failure(), Some((301, "Connection is unregistered.")));
        let no = serde_json::to_string(&no).unwrap();
        let expected =
            r#"{"resultCode":500,"errorCode":301,"success":false,"message":"Connection is unregistered."}"#;
        assert_eq!(no, expected);
    }

    #[test]
    fn a_request_has_headers_and_module() {
        let json = serde_json::to_string(&ClientDetectionRequest::default()).unwrap();
        assert_eq!(json, r#"{"headers":{},"module":"internal"}"#);
    }

    #[test]
    fn an_ability_table_is_told_apart_from_none() {
        let read = |json| serde_json::from_str::<ConnectionSetupRequest>(json).unwrap().ability_table;
        assert_eq!(read("{}"), None);
        assert_eq!(read(r#"{"abilityTable":null}"#), None);
        assert_eq!(read(r#"{"abilityTable":{}}"#), Some(BTreeMap::new()));
    }
}
