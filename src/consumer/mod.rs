//! A request going out.
//!
//! Newest snapshot -> weights at this moment -> one weighted pick -> that instance's service -> answer -> an
//! offline tag in the answer puts its sender aside; what was never applied, or is idempotent, goes to another
//! instance.
//!
//! [`GracefulClientLayer`] is the whole of it, around the client that you have. Its three layers are of use
//! alone as well: [`BalanceLayer`] chooses, [`GoodbyeLayer`] listens, [`FailoverLayer`] retries.

pub mod balance;
pub mod classify;
pub mod clients;
mod endpoints;
mod error;
pub mod failover;
pub mod goodbye;
#[cfg(feature = "http-client")]
mod http_client;
#[cfg(feature = "notice")]
pub mod notice;
mod pick;
mod replay;
mod stack;
#[cfg(feature = "tonic")]
mod tonic_channel;

pub use crate::naming::BoxError;
pub use balance::{Balance, BalanceLayer};
pub use classify::{Applied, Cause};
pub use clients::{GracefulClients, GracefulClientsLayer, Unresolved};
pub use endpoints::InvalidAmplification;
pub use error::{HeaderTimeout, InstanceError, NeverApplied, NoInstance};
pub use failover::{Failover, FailoverLayer, Idempotent};
pub use goodbye::{Goodbye, GoodbyeLayer};
#[cfg(feature = "http-client")]
pub use http_client::{
    Connector, InstanceClient, InstanceClientBuilder, Stream, http_client, http_client_h2,
};
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
