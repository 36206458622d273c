//! Naming over the wire: registers and subscribes with Nacos' gRPC protocol, at this crate's registry or a
//! real Nacos.
//!
//! [`Nacos`] is a handle that [`Register`](crate::naming::Register)s instances and
//! [`Subscribe`](crate::naming::Subscribe)s to services. What it guarantees:
//!
//! - What the registry has acknowledged stays registered: after every reconnect it is registered again, each
//!   instance as it was last accepted. What was deregistered is never registered again, also when the
//!   registry was away at that moment or the registration was still on its way.
//! - A pushed list is acknowledged after readers see it. A lost connection keeps the last list, and an older
//!   list never replaces a newer one of the same connection.
//! - An order to forget an instance counts at once, an accident only while there are others; see below.
//! - A connection without an answer for 5 s and the request timeout is given up and made anew, after waits
//!   that grow from 0.1 s to 5 s and vary by chance.
//! - Of several servers the next is dialled at once when one is lost, in an order that differs from client to
//!   client; the waits are between rounds in which none was to be had.
//! - A token is renewed while it lives, and once for all when it is refused. Who cannot log in again keeps the
//!   connection, and with it what is registered.
//! - Every call ends in bounded time, also with a registry that is away, and no server makes this client
//!   hold more than a bounded number of lists of bounded size.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use tower_graceful::{client::Nacos, model::Instance, naming::Register};
//! let nacos = Nacos::builder("127.0.0.1:8848").app("storefront").connect()?;
//! let orders = nacos.subscribe("orders").await?;
//! println!("{} instances of orders", orders.latest().instances().len());
//! nacos.register(&"storefront".parse()?, &Instance::new("10.0.0.7:8080".parse()?)).await?;
//! nacos.close(Duration::from_secs(2)).await?;
//! # Ok(()) }
//! ```
//!
//! # Who is missing, and who is gone
//!
//! A registry that has just restarted knows nobody until its providers are back, so an instance that is
//! missing from its list may be well. This crate's registry says why an instance went; Nacos does not. What
//! becomes of one that is missing:
//!
//! | | others are listed | nobody is |
//! |---|---|---|
//! | the registry says `deregistered` or `disabled`, or this client took it off | gone | gone |
//! | it was listed before on this connection, or comes from a file | gone | kept for 60 s |
//! | it was listed on an earlier connection only | kept for 15 s | kept for 60 s |
//!
//! The time counts from the first such list of a connection; 60 s is [`NacosBuilder::keep_empty`], which
//! bounds the other too, and a later list can shorten it only. What went as `expired` or `connection-lost`,
//! or without any reason, follows the last two rows. One that a consumer has put aside, because its answer
//! was tagged, is kept on the list, but stays aside for as long as such a judgement holds (60 s).
//!
//! [`NacosBuilder::snapshot_files`] keeps the last list of each service on disk as well, for a process that
//! starts while the registry is away.
//!
//! # How it works
//!
//! A call changes `desired` at once, a pure value that knows what should be and what is; the one task of
//! the client, `worker`, makes a `connection` and lives through a `session` of it, again and again,
//! in which it asks `desired` what to send and tells it what came of it.

mod alert;
mod connection;
mod desired;
mod dial;
mod failure;
#[cfg(all(feature = "full", any(test, fuzzing)))]
pub(crate) mod fuzz;
mod incoming;
mod login;
mod nacos;
mod outgoing;
mod reports;
mod servers;
mod session;
mod settings;
mod shared;
mod snapshot_files;
#[cfg(feature = "tls")]
mod tls;
mod transport;
mod worker;

#[cfg(test)]
mod tests;

pub use nacos::Nacos;
pub use settings::NacosBuilder;
#[cfg(feature = "tls")]
pub use tls::{TlsConfig, TlsFiles};

use std::time::Duration;

/// How long one answer of the registry is waited for, unless [`NacosBuilder::request_timeout`] says
/// otherwise.
pub const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// How long instances are kept that are missing without an order, unless [`NacosBuilder::keep_empty`] says
/// otherwise: longer than the providers of a registry that has restarted take to come back.
pub const DEFAULT_KEEP_EMPTY: Duration = Duration::from_secs(60);
/// A registration or subscription waits this many request timeouts in all: long enough for a registry to
/// restart, short enough for a start script to notice.
pub const TRIES: u32 = 5;
/// A deregistration waits this many request timeouts in all: one for a registration that is on its way, and
/// one for itself. A process that leaves does not wait for a registry that is away.
pub const DEREGISTER_TRIES: u32 = 2;
/// How long [`leave`](crate::naming::Register::leave) has the registry wait for consumers: those that live
/// acknowledge a list in milliseconds, and nobody waits for long for one that hangs.
pub const TOLD_WITHIN: Duration = Duration::from_secs(2);
