//! Graceful start and shutdown for Rust microservices.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "client")]
pub mod client;
mod clock;
#[cfg(feature = "consumer")]
pub mod consumer;
pub mod model;
pub mod naming;
#[cfg(feature = "protocol")]
#[cfg_attr(
    not(all(feature = "client", feature = "registry")),
    allow(
        dead_code,
        unused_imports,
        reason = "the client and the registry each use their half of the messages"
    )
)]
mod protocol;
#[cfg(feature = "provider")]
pub mod provider;
#[cfg(feature = "registry")]
pub mod registry;

pub use clock::{Clock, Hand};
