//! An instance's life on the server: the registry, as a library.
//!
//! Whatever the wire form, HTTP or gRPC, a change takes one way: it becomes a `Command`; the `Hub`, which
//! owns everything, has the `Catalog` apply it, a pure function that answers with `Event`s; subscribers are
//! noted, and their connections' own tasks push the new list. Reads take a list that is made once for each
//! revision. Instances are ephemeral: those of a connection go when it ends, those registered over HTTP when
//! their heartbeats stop.
//!
//! [`Registry`] is all of it on two ports, as `graceful registry` runs it.

mod catalog;
mod command;
mod data_dir;
mod error;
mod expiry;
mod grpc;
mod http;
mod hub;
mod push;
mod query;
mod removals;
mod server;
mod settings;

pub use error::Error;
pub use server::Registry;
pub use settings::Settings;
