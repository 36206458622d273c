//! Wire forms of the Nacos protocols, without I/O, shared by the client and the registry.
//!
//! Over gRPC everything travels in one envelope, [`Payload`], whose type name says which JSON message its
//! body holds; the messages stand in [`message`]. Result codes stand in [`code`], and the forms of instances
//! and services, which HTTP and gRPC share, in [`entity`]. The parameters of the HTTP API stand in [`form`], its
//! bodies in [`reply`]. Lists that are sent many times are [`written`] once; clients of version 1 get them as
//! datagrams too.

pub(crate) mod code;
#[cfg(feature = "registry")]
pub(crate) mod datagram;
pub(crate) mod entity;
pub(crate) mod form;
mod lenient;
pub(crate) mod message;
mod payload;
pub(crate) mod reply;
pub(crate) mod report;
pub(crate) mod written;

pub(crate) use payload::{ACCESS_TOKEN, Payload, Unreadable};

/// Where clients look for the gRPC port: this far above the HTTP port.
pub(crate) const GRPC_PORT_OFFSET: u16 = 1000;
/// As large as a message may be, on either side: what Nacos allows.
pub(crate) const MESSAGE_BYTES_MAX: usize = 10 * 1024 * 1024;
