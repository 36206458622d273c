//! A request going out.
//!
//! Newest snapshot -> weights at this moment -> one weighted pick -> that instance's service -> answer -> an
//! offline tag in the answer puts its sender aside; what was never applied, or is idempotent, goes to another
//! instance.
//!
//! [`GracefulClientLayer`] is the whole of it, around the client that you have. Its three layers are of use
//! alone as well: [`BalanceLayer`] chooses, [`GoodbyeLayer`] listens, [`FailoverLayer`] retries.
//!
//! # Under tonic
//!
//! With the feature `tonic` the same stack over an HTTP/2 client carries what tonic generates: unary calls and
//! streams in either direction, of which each stays with its instance to its end, also when that leaves
//! meanwhile. Every gRPC call is a POST, and whether it may be repeated is not written on it, so:
//!
//! | what happens | the call |
//! |---|---|
//! | no connection; refused by an instance that is starting; `REFUSED_STREAM` | goes to another instance, up to three tries. A stream that has begun to be sent goes on there, as long as no more than 64 KiB of it have passed |
//! | the connection is lost, or reset, with the call on it | fails: it may have been handled |
//! | the handler answers with a status, be it `UNAVAILABLE` | ends with that status: it was handled |
//! | a stream breaks after its first message | fails in its place |
//! | no instance at all | fails after the wait of [`BalanceLayer::with_wait`] |
//!
//! What fails before any instance had it is `Unavailable`, and its message names the reason and, where one was
//! tried, the instance. `DeadlineLayer` ends calls that carry a deadline; dropping a call ends its handler.

pub mod balance;
pub mod classify;
pub mod clients;
#[cfg(feature = "tonic")]
pub mod deadline;
mod endpoints;
mod error;
pub mod failover;
pub mod goodbye;
mod heard;
#[cfg(feature = "http-client")]
mod http_client;
mod marks;
#[cfg(feature = "notice")]
pub mod notice;
mod pick;
mod replay;
mod stack;
#[cfg(feature = "tonic")]
mod tonic_channel;
mod uri;

pub use crate::naming::BoxError;
pub use balance::{Balance, BalanceLayer};
pub use classify::{Applied, Cause};
pub use clients::{GracefulClients, GracefulClientsLayer, Unresolved};
#[cfg(feature = "tonic")]
pub use deadline::{Deadline, DeadlineLayer};
pub use endpoints::InvalidAmplification;
pub use error::{InstanceError, NoInstance};
pub use failover::{Failover, FailoverLayer, Idempotent};
pub use goodbye::{Goodbye, GoodbyeLayer};
#[cfg(feature = "http-client")]
pub use http_client::{
    Connector, InstanceClient, InstanceClientBuilder, InstanceStream, http_client, http_client_h2,
};
pub use marks::{HeaderTimeout, NeverApplied, NoConnection};
#[cfg(feature = "notice")]
pub use notice::{NoticePort, Notices};
pub use pick::Policy;
pub use replay::ReplayBody;
pub use stack::{GracefulClient, GracefulClientLayer};
/// The TLS library whose settings [`InstanceClientBuilder::tls`] takes.
#[cfg(feature = "tls")]
pub use tokio_rustls::rustls;
#[cfg(feature = "tonic")]
pub use tonic_channel::TonicChannel;
