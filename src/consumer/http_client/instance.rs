//! A client for each instance, which knows it by the name of its service.

use super::builder;
use super::connector::{Connector, Route};
#[cfg(feature = "tls")]
use super::tls::{ClientConfig, ServerName, Tls, server_name};
use crate::consumer::uri::{at, authority};
use crate::model::{Address, Instance};
#[cfg(feature = "tls")]
use crate::naming::BoxError;
use http::uri::{Authority, InvalidUri, Scheme};
use http::{Request, Response, Uri};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use std::fmt;
#[cfg(unix)]
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower_service::Service;

/// An HTTP client of one instance: it dials the instance, and speaks to it in the name of its service.
///
/// [`GracefulClientLayer::over`](crate::consumer::GracefulClientLayer::over) takes one for each instance.
/// Unlike the one client for all, it keeps apart where a connection leads to and what the request is for:
/// the provider sees the service's name in `Host` (HTTP/1.1) or `:authority` (HTTP/2), and with TLS its
/// certificate is checked for that name. That name is
///
/// 1. what [`authority`](InstanceClientBuilder::authority) was given, or
/// 2. the authority of the request's URI (`http://orders/7`), or
/// 3. the instance's address, for a URI that is a path only.
///
/// Otherwise it is like [`http_client`](crate::consumer::http_client): a pool of connections, idle ones kept
/// for 4 s, TCP without delay, and a connection, its TLS handshake included, that is not made within 1 s
/// fails. One that cannot be made, or not with that name, was never used: failover goes elsewhere.
///
/// ```
/// # let snapshots = tower_graceful::naming::Snapshots::fixed("orders".parse()?, Vec::new());
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # let _entered = runtime.enter();
/// use tower::Service;
/// use tower_graceful::consumer::{GracefulClientLayer, InstanceClient};
/// let settings = InstanceClient::builder().authority("orders.internal")?.http2();
/// let mut orders = GracefulClientLayer::new(snapshots).over(move |instance| settings.build(instance));
/// let answer = orders.call(http::Request::new(String::new()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct InstanceClient<B> {
    client: legacy::Client<Connector, B>,
    scheme: Scheme,
    /// The name of the service, when it is the same for all requests.
    named: Option<Authority>,
    address: Authority,
}

impl InstanceClient<()> {
    /// Begins the settings of clients that have them in common.
    pub fn builder() -> InstanceClientBuilder {
        InstanceClientBuilder::default()
    }
}

/// Settings of [`InstanceClient`]s. Default: HTTP/1.1 over TCP, without TLS.
#[derive(Clone, Default)]
pub struct InstanceClientBuilder {
    authority: Option<Authority>,
    http2: bool,
    #[cfg(unix)]
    socket: Option<Arc<SocketOf>>,
    #[cfg(feature = "tls")]
    tls: Option<Arc<ClientConfig>>,
    #[cfg(feature = "tls")]
    server_name: Option<ServerName<'static>>,
}

/// Tells the path of the socket on which an instance listens, if it does.
#[cfg(unix)]
type SocketOf = dyn Fn(&Instance) -> Option<PathBuf> + Send + Sync;

impl InstanceClientBuilder {
    /// The name of the service, with a port if you like, for every request. Default: that of the request's
    /// URI; see [`InstanceClient`].
    ///
    /// # Errors
    /// When it is not `HOST` or `HOST:PORT`.
    pub fn authority(self, authority: &str) -> Result<Self, InvalidUri> {
        Ok(Self { authority: Some(authority.parse()?), ..self })
    }

    /// HTTP/2 only, without asking: what gRPC needs. Default: HTTP/1.1, or with TLS what the provider likes
    /// best of both.
    #[must_use]
    pub fn http2(self) -> Self {
        Self { http2: true, ..self }
    }

    /// The path of the Unix socket on which an instance listens; where there is none, its address is dialled.
    ///
    /// ```
    /// # use tower_graceful::consumer::InstanceClient;
    /// # use std::path::PathBuf;
    /// let settings = InstanceClient::builder()
    ///     .unix(|instance| instance.metadata.get("socket").map(PathBuf::from));
    /// ```
    #[cfg(unix)]
    #[must_use]
    pub fn unix(self, socket: impl Fn(&Instance) -> Option<PathBuf> + Send + Sync + 'static) -> Self {
        Self { socket: Some(Arc::new(socket)), ..self }
    }

    /// TLS, with the roots and the client certificate of `config`.
    ///
    /// Protocols are offered by ALPN, `h2` and `http/1.1` or only `h2`, unless `config` names some itself.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(self, config: impl Into<Arc<ClientConfig>>) -> Self {
        Self { tls: Some(config.into()), ..self }
    }

    /// The name, or the IP address, that certificates must be for, and that is asked for by SNI. Default:
    /// the host of what the provider sees as its name; see [`InstanceClient`].
    ///
    /// # Errors
    /// When it is not a DNS name or an IP address.
    #[cfg(feature = "tls")]
    pub fn server_name(self, name: &str) -> Result<Self, BoxError> {
        Ok(Self { server_name: Some(server_name(name)?), ..self })
    }

    /// A client of `instance`.
    pub fn build<B>(&self, instance: &Instance) -> InstanceClient<B>
    where
        B: Body + Send,
        B::Data: Send,
    {
        self.over(self.connector(instance), instance.address())
    }

    /// A client of whoever is at `address`, which no registry has to list: of a registry itself, above all.
    ///
    /// ```
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    /// # let _entered = runtime.enter();
    /// use tower::Service;
    /// use tower_graceful::consumer::InstanceClient;
    /// let mut registry = InstanceClient::builder().build_at(&"registry.internal:8848".parse()?);
    /// let answer = registry.call(http::Request::get("/readyz").body(String::new())?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn build_at<B>(&self, address: &Address) -> InstanceClient<B>
    where
        B: Body + Send,
        B::Data: Send,
    {
        self.over(self.connector_over(Self::route_to(address)), address)
    }

    fn over<B>(&self, connector: Connector, address: &Address) -> InstanceClient<B>
    where
        B: Body + Send,
        B::Data: Send,
    {
        let client = builder().http2_only(self.http2).build(connector);
        let (named, address) = (self.authority.clone(), authority(address));
        InstanceClient { client, scheme: self.scheme(), named, address }
    }

    /// The connector to `instance`, for a pool or a tonic channel of your own.
    pub fn connector(&self, instance: &Instance) -> Connector {
        self.connector_over(self.route(instance))
    }

    #[cfg_attr(not(feature = "tls"), expect(clippy::unused_self, reason = "TLS is all that it adds"))]
    fn connector_over(&self, route: Route) -> Connector {
        Connector {
            route,
            #[cfg(feature = "tls")]
            tls: self.tls.as_ref().map(|tls| Tls::new(tls.clone(), self.http2, self.server_name.clone())),
        }
    }

    fn route(&self, instance: &Instance) -> Route {
        #[cfg(unix)]
        if let Some(path) = self.socket.as_ref().and_then(|socket| socket(instance)) {
            return Route::Unix(path.into());
        }
        Self::route_to(instance.address())
    }

    fn route_to(address: &Address) -> Route {
        Route::tcp(at(Scheme::HTTP, authority(address), Uri::default()))
    }

    #[cfg_attr(not(feature = "tls"), expect(clippy::unused_self, reason = "without TLS there is only one"))]
    fn scheme(&self) -> Scheme {
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            return Scheme::HTTPS;
        }
        Scheme::HTTP
    }
}

impl<B> Service<Request<B>> for InstanceClient<B>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Incoming>;
    type Error = legacy::Error;
    type Future = legacy::ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), legacy::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let uri = std::mem::take(request.uri_mut());
        let name = self.named.as_ref().or_else(|| uri.authority()).unwrap_or(&self.address).clone();
        *request.uri_mut() = at(self.scheme.clone(), name, uri);
        self.client.request(request)
    }
}

impl<B> Clone for InstanceClient<B> {
    fn clone(&self) -> Self {
        let Self { client, scheme, named, address } = self;
        let (client, scheme) = (client.clone(), scheme.clone());
        Self { client, scheme, named: named.clone(), address: address.clone() }
    }
}

impl<B> fmt::Debug for InstanceClient<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, named, address, .. } = self;
        let named = named.as_ref().map(Authority::as_str);
        f.debug_struct("InstanceClient")
            .field("address", &address.as_str())
            .field("scheme", scheme)
            .field("authority", &named)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for InstanceClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstanceClientBuilder")
            .field("authority", &self.authority)
            .field("http2", &self.http2)
            .field("scheme", &self.scheme())
            .finish_non_exhaustive()
    }
}
