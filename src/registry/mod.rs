//! An instance's life on the server: the registry, as a library.
//!
//! Whatever the wire form, HTTP or gRPC, a change takes one way: it becomes a `Command`; the `Hub`, which
//! owns everything, has the `Catalog` apply it, a pure function that answers with `Event`s; subscribers are
//! noted, and their connections' own tasks push the new list. Reads take a list that is made once for each
//! revision.
//!
//! Ephemeral instances live in memory: those of a connection go when it ends, those registered over HTTP when
//! their heartbeats stop. What must outlive the process (persistent instances, what is said of services, and
//! what operators set) is a `Write`: the `clerk` appends the `Fact`s that it comes to to a `Storage`, many
//! at a time, and only then does the catalog have them, and the caller an answer.
//!
//! [`Registry`] is all of it on two ports, as `graceful registry` runs it.

mod access;
mod bound;
mod catalog;
mod clerk;
mod command;
#[cfg(feature = "console")]
mod console;
mod data_dir;
mod deeds;
mod diagnosis;
mod error;
mod events;
mod expiry;
mod fact;
#[cfg(all(feature = "full", any(test, fuzzing)))]
pub(crate) mod fuzz;
mod grpc;
mod health;
mod http;
mod hub;
mod large;
mod ledger;
mod metrics;
mod names;
mod order;
mod overlay;
mod peer;
mod probe;
mod push;
mod query;
mod removals;
mod rollout;
mod senders;
mod server;
mod settings;
mod storage;
mod texts;
mod tls;
mod traffic;
mod udp;
mod verdict;
mod write;

pub use access::{Admin, Grant, InvalidUser, Password, Role, UserName, Users};
pub use error::Error;
pub use server::Registry;
pub use settings::Settings;
pub use tls::TlsFiles;
