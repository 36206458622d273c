//! A provider and its listeners: one, several of different kinds, or none.

use super::GracefulLayer;
use super::app::App;
use super::error::ServeError;
use super::hooks::Hook;
use super::listen::Listen;
use super::oneself::Inside;
use super::process::Process;
use super::report::Report;
use super::run::{self, Provider};
use super::server::{self, Bounds, no_handshake, serve_through};
use super::wire::{Accepted, Wire};
use crate::naming::BoxFuture;
use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::{fmt, io};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tower_layer::Layer as _;

/// A [`Provider`] and what it listens on; made by [`Provider::server`].
///
/// All listeners share one lifecycle, one count of requests, one set of callers and one deadline: the
/// provider is a lame duck on all of them until the last caller of any has been told. With none it is a
/// worker, which registers only under an address that it was told to
/// [`advertise`](super::ProviderBuilder::advertise), and whose end waits for its tasks.
///
/// ```no_run
/// use tower_graceful::provider::Provider;
/// # async fn run(acceptor: tokio_rustls_acceptor::TlsAcceptor) -> Result<(), Box<dyn std::error::Error>> {
/// use tokio::net::{TcpListener, UnixListener};
/// let router = axum::Router::new().route("/", axum::routing::get(async || "hello"));
///
/// let report = Provider::builder("orders").build()?
///     .server()
///     .listen(TcpListener::bind("0.0.0.0:8080").await?, router.clone())
///     .listen_through(
///         TcpListener::bind("0.0.0.0:8443").await?,
///         move |stream| acceptor.accept(stream), // A `TlsAcceptor` of tokio-rustls, for instance.
///         router.clone(),
///     )
///     .listen(UnixListener::bind("/run/orders.sock")?, router)
///     .run()
///     .await?;
/// println!("{report}");
/// # Ok(()) }
/// # /// What the example needs of tokio-rustls.
/// # mod tokio_rustls_acceptor {
/// #     pub struct TlsAcceptor;
/// #     impl TlsAcceptor {
/// #         pub fn accept<IO>(&self, stream: IO) -> std::future::Ready<std::io::Result<IO>> { std::future::ready(Ok(stream)) }
/// #     }
/// #     impl Clone for TlsAcceptor { fn clone(&self) -> Self { Self } }
/// # }
/// ```
#[must_use = "`run` serves"]
pub struct Server {
    provider: Provider,
    doors: Vec<Box<dyn Door>>,
    hooks: Vec<Hook>,
}

impl Server {
    pub(super) fn new(provider: Provider) -> Self {
        Self { provider, doors: Vec::new(), hooks: Vec::new() }
    }

    /// Serves `app` on `listener` as well. The first one with an IP address is where consumers are sent.
    pub fn listen(self, listener: impl Listen, app: impl App) -> Self {
        self.listen_through(listener, no_handshake, app)
    }

    /// As [`listen`](Self::listen), speaking HTTP over what `handshake` makes of each connection: TLS, a
    /// line that tells the client's address, or whatever comes before HTTP.
    ///
    /// Handshakes of different connections do not wait for each other. One that fails, or takes longer than
    /// 10 s, closes its connection.
    pub fn listen_through<L, F, Opened, T>(self, listener: L, handshake: F, app: impl App) -> Self
    where
        L: Listen,
        F: Fn(Accepted<L>) -> Opened + Send + Sync + 'static,
        Opened: Future<Output = io::Result<T>> + Send + 'static,
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let service = app.into_service();
        self.open(listener, handshake, move |_| service.clone())
    }

    /// As [`listen`](Self::listen), with an app of its own for each connection, made by `app` from the
    /// address of the other end (a Unix socket has none): for handlers that want to know it.
    ///
    /// ```no_run
    /// use axum::{Extension, Router, extract::ConnectInfo, routing::get};
    /// use std::net::SocketAddr;
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tower_graceful::provider::Provider;
    /// # let (provider, listener) = (Provider::builder("orders").build()?, tokio::net::TcpListener::bind("127.0.0.1:0").await?);
    /// let router: Router = Router::new()
    ///     .route("/", get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| format!("hello {peer}")));
    /// let with_peer = move |peer: Option<SocketAddr>| {
    ///     router.clone().layer(Extension(ConnectInfo(peer.expect("TCP"))))
    /// };
    /// provider.server().listen_each(listener, with_peer).run().await?;
    /// # Ok(()) }
    /// ```
    pub fn listen_each<A: App>(
        self,
        listener: impl Listen,
        app: impl FnMut(Option<SocketAddr>) -> A + Send + 'static,
    ) -> Self {
        self.open(listener, no_handshake, app)
    }

    /// Has `work` done when connections and tasks have ended, before [`run`](Self::run) returns: close a
    /// pool, flush a log. What is named later is done first. It shares the deadline of all; what it did not
    /// suffice for is named in the [`Report`] with this `name`.
    ///
    /// ```
    /// # use tower_graceful::provider::Server;
    /// # fn last(server: Server) -> Server {
    /// server
    ///     .on_stopped("log", async { /* Flushed last: the pool may still log. */ })
    ///     .on_stopped("pool", async { /* Closed first. */ })
    /// # }
    /// ```
    pub fn on_stopped(
        mut self,
        name: impl Into<Cow<'static, str>>,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        self.hooks.push(Hook { name: name.into(), work: Box::pin(work) });
        self
    }

    fn open<L, F, Opened, T, A>(
        mut self,
        listener: L,
        handshake: F,
        app: impl FnMut(Option<SocketAddr>) -> A + Send + 'static,
    ) -> Self
    where
        L: Listen,
        F: Fn(Accepted<L>) -> Opened + Send + Sync + 'static,
        Opened: Future<Output = io::Result<T>> + Send + 'static,
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        A: App,
    {
        self.doors.push(Box::new(Opening { listener, handshake: Arc::new(handshake), app }));
        self
    }

    /// Serves from the first request to the last; returns when all is over.
    ///
    /// SIGTERM and SIGINT are this provider's from here on, for the rest of the process, unless it was built
    /// [`without_signals`](super::ProviderBuilder::without_signals).
    ///
    /// # Errors
    /// When a port is taken or a setting cannot be right here, before anything is registered; or when the
    /// registry says that it will never take this registration. A registry that is away is no error: the
    /// start waits for it, and readiness says so.
    ///
    /// # Cancel safety
    /// Dropping the future cuts every connection and leaves the registration to its lease.
    pub async fn run(self) -> Result<Report, ServeError> {
        // The whole process is a large value, and those who call this hold it in theirs.
        Box::pin(run::run(self.provider, Doors(self.doors), self.hooks)).await
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<_> = self.doors.iter().map(|door| door.address()).collect();
        let hooks: Vec<_> = self.hooks.iter().map(|hook| &hook.name).collect();
        f.debug_struct("Server")
            .field("provider", &self.provider)
            .field("doors", &addresses)
            .field("hooks", &hooks)
            .finish()
    }
}

/// All listeners of a provider.
pub(super) struct Doors(Vec<Box<dyn Door>>);

impl Doors {
    /// Their IP addresses, in their order.
    pub(super) fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.0.iter().filter_map(|door| door.address().transpose()).collect()
    }

    /// Serves them all until the process is draining and every connection has ended, or was cut; says how
    /// many were. The first one serves those `inside` as well.
    pub(super) async fn serve(
        mut self,
        process: &Arc<Process>,
        layer: &GracefulLayer,
        inside: Option<Inside>,
    ) -> usize {
        let mut open = JoinSet::new();
        if let (Some(inside), Some(first)) = (inside, self.0.first_mut()) {
            open.spawn(first.serve_inside(inside, process.clone()));
        }
        for door in self.0 {
            open.spawn(door.serve(process.clone(), layer.clone()));
        }
        let mut cut = 0;
        while let Some(closed) = open.join_next().await {
            match closed {
                Ok(connections) => cut += connections,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic), // The application's own, from `listen_each`.
                    Err(error) => tracing::error!(%error, "a listener ended before its time"),
                },
            }
        }
        process.drains().await; // Without listeners nobody has waited for it yet.
        cut
    }
}

/// A listener and what is behind it, of whatever types.
trait Door: Send {
    fn address(&self) -> io::Result<Option<SocketAddr>>;

    fn serve(self: Box<Self>, process: Arc<Process>, layer: GracefulLayer) -> BoxFuture<'static, usize>;

    /// Serves calls of the process itself, past all layers. None of them is cut: they end with the start.
    fn serve_inside(&mut self, inside: Inside, process: Arc<Process>) -> BoxFuture<'static, usize>;
}

struct Opening<L, F, M> {
    listener: L,
    handshake: Arc<F>,
    app: M,
}

impl<L, F, Opened, T, M, A> Door for Opening<L, F, M>
where
    L: Listen,
    F: Fn(Accepted<L>) -> Opened + Send + Sync + 'static,
    Opened: Future<Output = io::Result<T>> + Send + 'static,
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    M: FnMut(Option<SocketAddr>) -> A + Send + 'static,
    A: App,
{
    fn address(&self) -> io::Result<Option<SocketAddr>> {
        self.listener.local_addr()
    }

    fn serve(self: Box<Self>, process: Arc<Process>, layer: GracefulLayer) -> BoxFuture<'static, usize> {
        let Self { listener, handshake, mut app } = *self;
        Box::pin(async move {
            let probes = process.settings.probes.clone();
            // The layers anew for each connection: what connections share is counted by other cores as well.
            let make = |wire: &Arc<Wire>| {
                let service = layer.layer(app(wire.peer()).into_service());
                process.callers.follow(wire, probes.clone(), service)
            };
            let handshake = move |io| handshake(io);
            serve_through(listener, Bounds::default(), handshake, make, process.drains(), process.cuts())
                .await
        })
    }

    fn serve_inside(&mut self, inside: Inside, process: Arc<Process>) -> BoxFuture<'static, usize> {
        // An app that wants to know who calls is told the address at which it is called itself.
        let service = (self.app)(self.listener.local_addr().ok().flatten()).into_service();
        Box::pin(async move {
            let make = move |_: &Arc<Wire>| service.clone();
            server::serve(inside, Bounds::default(), make, process.drains(), process.cuts()).await;
            0
        })
    }
}
