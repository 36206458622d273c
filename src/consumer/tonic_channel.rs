//! tonic's channels as services of single instances.

use crate::naming::BoxError;
use bytes::Bytes;
use http::Request;
use http_body::Body;
use std::task::{Context, Poll};
use tower_service::Service;

/// A tonic channel to one instance, for [`GracefulClientLayer::over`](super::GracefulClientLayer::over): a
/// channel takes tonic's own body only, this one takes any.
///
/// Use it where calls need what a channel has of its own, such as keep-alive or limits; without, an
/// `InstanceClient` or the one client of `http_client_h2()` does the same and boxes nothing. Make channels
/// that connect lazily: a connection that cannot be made then fails the calls that wait for it, as
/// [never applied](super::Applied::Never), and the next call tries anew; a channel of another kind is never
/// whole again. The connector of an `InstanceClient`'s settings brings a bound on the time to connect, TLS
/// in the name of the service, and Unix sockets; a channel's URI is what the provider sees as its name.
///
#[cfg_attr(feature = "http-client", doc = "```")]
#[cfg_attr(not(feature = "http-client"), doc = "```ignore")]
/// # let snapshots = tower_graceful::naming::Snapshots::fixed("greeter".parse()?, Vec::new());
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # let _entered = runtime.enter();
/// use tonic::transport::Channel;
/// use tower_graceful::consumer::{GracefulClientLayer, InstanceClient, TonicChannel};
/// let settings = InstanceClient::builder().http2();
/// let greeters = GracefulClientLayer::new(snapshots).over(move |instance| {
///     let endpoint = Channel::from_static("http://greeter.internal").tcp_nodelay(true);
///     TonicChannel::new(endpoint.connect_with_connector_lazy(settings.connector(instance)))
/// });
/// let client = tonic_health::pb::health_client::HealthClient::new(greeters);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct TonicChannel<C> {
    inner: C,
}

impl<C> TonicChannel<C> {
    /// Takes any body in front of `channel`.
    pub fn new(channel: C) -> Self {
        Self { inner: channel }
    }
}

impl<C, B> Service<Request<B>> for TonicChannel<C>
where
    C: Service<Request<tonic::body::Body>>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = C::Response;
    type Error = C::Error;
    type Future = C::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.inner.call(request.map(tonic::body::Body::new))
    }
}
