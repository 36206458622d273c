//! Ready-made HTTP clients for the consumer stack: hyper-util's pool, with what its own defaults lack.
//!
//! [`http_client`] is one client that dials whatever the URI names; [`InstanceClient`] is one for each
//! instance, which keeps the name of the service where the other puts the address, and so can speak TLS.

mod connector;
mod instance;
#[cfg(feature = "tls")]
mod tls;

pub use connector::{Connector, InstanceStream};
pub use instance::{InstanceClient, InstanceClientBuilder};

use http_body::Body;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Builder, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::time::Duration;

/// An address that has vanished answers nothing at all; within a data centre a second is long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Shorter than servers keep an idle connection (5 s by default in Node and Apache, 95 s in this crate): a
/// request sent while the server closes is lost, and nobody can tell whether it was applied.
const IDLE_MAX: Duration = Duration::from_secs(4);

/// A client for HTTP/1.1: idle connections are kept for 4 s, TCP does not delay small writes, and a connection
/// that cannot be made within 1 s fails. The request's body is whatever it is used with.
///
/// Each instance has connections of its own, which are told apart by the address that
/// [`BalanceLayer`](super::BalanceLayer) writes into the URI. Where the provider has to see the name of its
/// service, over TLS above all, and for Unix sockets, there is [`InstanceClient`].
///
/// ```
/// # let snapshots = tower_graceful::naming::Snapshots::fixed("orders".parse()?, Vec::new());
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # let _entered = runtime.enter();
/// use tower::{Service, ServiceBuilder};
/// use tower_graceful::consumer::{GracefulClientLayer, http_client};
/// let mut orders = ServiceBuilder::new().layer(GracefulClientLayer::new(snapshots)).service(http_client());
/// let answer = orders.call(http::Request::new(String::new()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn http_client<B>() -> Client<HttpConnector, B>
where
    B: Body + Send,
    B::Data: Send,
{
    builder().build(connector())
}

/// The same for HTTP/2 without TLS ("prior knowledge"), as gRPC uses it: one connection to each instance.
pub fn http_client_h2<B>() -> Client<HttpConnector, B>
where
    B: Body + Send,
    B::Data: Send,
{
    builder().http2_only(true).build(connector())
}

fn builder() -> Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new()).timer(TokioTimer::new()).pool_idle_timeout(IDLE_MAX);
    builder
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true); // Else the second HTTP/2 call of a connection waits 40 ms for an acknowledgement.
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector
}
