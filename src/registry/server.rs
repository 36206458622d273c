//! The registry as a whole: two ports over one hub.

use super::access::{Access, prepare};
use super::data_dir::DataDir;
use super::error::Error;
use super::hub::Hub;
use super::settings::Settings;
use super::storage::{Embedded, Memory, Storage, StorageError};
use super::tls::{self, Tls};
use super::{clerk, grpc, http, udp};
use crate::provider::serve::server::{self, Accepted, Bounds, Handling, Wire};
use crate::provider::serve::systemd;
use std::future::pending;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

/// How often another HTTP port is tried when any will do, but its gRPC port is taken.
const PORTS_TRIED: usize = 16;

/// A registry that has its ports: connections wait in them until [`Registry::serve`] takes them.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use tower_graceful::registry::{Registry, Settings};
/// let registry = Registry::bind(Settings { http_port: 0, ..Settings::default() }).await?;
/// assert_eq!(registry.grpc_addr().port(), registry.http_addr().port() + 1000);
/// registry.serve(std::future::ready(())).await; // Until Ctrl-C, say: here until at once.
/// # Ok::<(), tower_graceful::registry::Error>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct Registry {
    http: TcpListener,
    grpc: TcpListener,
    /// Where datagrams are sent from, and answered to.
    datagrams: UdpSocket,
    http_addr: SocketAddr,
    grpc_addr: SocketAddr,
    hub: Arc<Hub>,
    access: Arc<Access>,
    bounds: Bounds,
    metadata_kept_for: Duration,
    empty_services_kept_for: Duration,
    closed_within: Duration,
    tell_systemd: bool,
    storage: Box<dyn Storage>,
    tls: Option<Arc<Tls>>,
    /// Held until the end.
    _data_dir: Option<DataDir>,
}

impl Registry {
    /// Takes the data directory with all that is in it, and the ports.
    ///
    /// # Errors
    /// When a setting is wrong, or something that it names cannot be had; the error says which.
    pub async fn bind(settings: Settings) -> Result<Self, Error> {
        settings.check()?;
        let tls = settings.tls.clone().map(Tls::open).transpose()?.map(Arc::new);
        let data_dir = settings.data_dir.as_deref().map(DataDir::lock).transpose()?;
        let hub = Hub::new(settings.clock.clone(), settings.limits()).with_allowance(settings.allowance());
        let hub = Arc::new(hub);
        if tls.is_some() {
            hub.audience().ears().close();
        }
        let storage = open(settings.data_dir.as_deref(), &hub)?;
        admit_first(&settings, &*storage, &hub).await?;
        let access = Arc::new(Access::new(hub.clone(), &settings)?);
        let ((http, http_addr), (grpc, grpc_addr)) = listen_both(&settings).await?;
        let datagrams = datagram_socket(settings.bind).await?;
        #[cfg(feature = "console")]
        hub.is_at(super::hub::Whereabouts {
            http: http_addr,
            grpc: grpc_addr,
            tls: tls.is_some(),
            data_dir: settings.data_dir.as_ref().map(|path| path.display().to_string()),
        });
        let bounds = Bounds {
            connections: settings.connections_max,
            connections_per_address: settings.connections_per_address_max,
            head_bytes: settings.head_bytes_max,
            handling: Handling::AtOnce, // Nearly all requests take microseconds, and wait for nothing.
            refusals: hub.metrics().at_the_door.clone(),
        };
        let Settings { metadata_kept_for, empty_services_kept_for, .. } = settings;
        Ok(Self {
            closed_within: settings.closed_within,
            tell_systemd: settings.tell_systemd,
            metadata_kept_for,
            empty_services_kept_for,
            http,
            grpc,
            datagrams,
            http_addr,
            grpc_addr,
            hub,
            access,
            bounds,
            storage,
            tls,
            _data_dir: data_dir,
        })
    }

    /// Where the HTTP API is.
    pub fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// Where the gRPC API is.
    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc_addr
    }

    /// Serves until `shutdown` resolves, and then ends within [`Settings::closed_within`]: clients over gRPC
    /// are told to move, and have a second to do so; requests under way are answered, changes that wait to be
    /// stored are stored, and later ones are refused. No subscriber is told that the instances of ending
    /// connections are gone: they are not, only the registry is.
    ///
    /// # Cancel safety
    /// Dropping this cuts all connections, also while it ends.
    #[expect(clippy::missing_panics_doc, reason = "a TCP connection has an address at its other end")]
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let Self { _data_dir, storage, http, grpc, datagrams, hub, access, bounds, tls, .. } = self; // Dropped from the right to the left.
        let (empty_kept_for, said_kept_for) = (self.empty_services_kept_for, self.metadata_kept_for);
        let (closed_within, deadline) = (self.closed_within, OnceLock::new());
        let tell = |state: &str| {
            if self.tell_systemd {
                systemd::tell(state);
            }
        };
        tell("READY=1\nSTATUS=Serving");
        let (close, closing) = watch::channel(false);
        let closed = || {
            let mut closing = closing.clone();
            async move { _ = closing.wait_for(|closing| *closing).await }
        };
        let due = || *deadline.get_or_init(|| Instant::now() + closed_within);
        let cut = async || sleep_until(due()).await; // Asked for after `closed`.
        let moved = async {
            closed().await;
            let _ = timeout_at(due(), hub.deserted()).await; // GOAWAY comes after the word to move.
        };
        let routes = http::routes(hub.clone(), access.clone());
        let peer = |wire: &Wire| wire.peer().expect("a TCP connection has an address at its other end");
        let client = |wire: &Arc<Wire>| {
            grpc::Service::new(access.clone(), peer(wire), Some(wire.clone()), closing.clone())
        };
        let api = |wire: &Arc<Wire>| {
            let (metrics, allowance) = (hub.metrics().clone(), hub.allowance());
            let api = http::api(routes.clone(), access.clone(), peer(wire).ip(), allowance.body_bytes);
            http::Measured::new(api, metrics, hub.large().clone(), allowance.requests)
        };
        let door = tls.clone();
        let handshake = move |io: Accepted<TcpListener>| tls::shake_hands(door.clone(), io);
        let serve_http = server::serve_through(http, bounds.clone(), handshake.clone(), api, closed(), cut());
        let serve_grpc = server::serve_through(grpc, bounds, handshake, client, moved, cut());
        let follow_files = async {
            match &tls {
                Some(tls) => tls.follow().await,
                None => pending().await,
            }
        };
        let keep = async {
            let mut keep = pin!(clerk::keep(&hub, &*storage, closed()));
            tokio::select! {
                () = &mut keep => return,
                () = closed() => {}
            }
            if timeout_at(due(), keep).await.is_err() {
                tracing::warn!("changes that were not answered may not have been stored");
            }
        };
        let work = async {
            tokio::select! {
                () = hub.expire() => {}
                () = hub.check() => {}
                () = udp::push(&access, &datagrams) => {}
                () = hub.clean(empty_kept_for, said_kept_for) => {}
                () = follow_files => {}
                () = shutdown => {}
            }
            hub.freeze();
            due(); // Counts from here.
            let left = (closed_within + systemd::STOP_MARGIN).as_micros();
            tell(&format!("STOPPING=1\nSTATUS=Clients are told to move\nEXTEND_TIMEOUT_USEC={left}"));
            close.send_replace(true);
        };
        let (http_cut, grpc_cut, (), ()) =
            tokio::join!(Box::pin(serve_http), Box::pin(serve_grpc), keep, work);
        if http_cut + grpc_cut > 0 {
            tracing::warn!(http = http_cut, grpc = grpc_cut, "connections were cut: their time was up");
        }
    }
}

/// Opens the storage, and gives the hub what is in it.
fn open(data_dir: Option<&Path>, hub: &Hub) -> Result<Box<dyn Storage>, Error> {
    let Some(path) = data_dir else {
        tracing::warn!(
            "no --data-dir: persistent instances, what operators set, and users are lost when this process ends"
        );
        return Ok(Box::new(Memory));
    };
    let cannot = |source: StorageError| Error::Stored { path: path.to_owned(), source: source.into() };
    let storage = Embedded::open(path).map_err(cannot)?;
    let facts = storage.replay().map_err(cannot)?;
    tracing::info!(facts = facts.len(), "data directory read");
    hub.restore(facts);
    Ok(Box::new(storage))
}

/// Makes what users need and does not exist yet, and refuses to serve other machines without any.
async fn admit_first(settings: &Settings, storage: &dyn Storage, hub: &Hub) -> Result<(), Error> {
    let facts = prepare(&hub.accounts(), settings.admin.as_ref()).await?;
    let path = settings.data_dir.clone().unwrap_or_default();
    let appended = storage.append(&facts).await;
    appended.map_err(|source| Error::Stored { path, source: source.into() })?;
    hub.restore(facts);
    if settings.data_dir.is_none() && !hub.accounts().is_empty() {
        tracing::warn!(
            "no --data-dir: the key of all tokens is lost when this process ends, and each client has to log in again"
        );
    }
    settings.check_users(!hub.accounts().is_empty())
}

type Bound = (TcpListener, SocketAddr);

async fn listen_both(settings: &Settings) -> Result<(Bound, Bound), Error> {
    let mut tried = 1;
    loop {
        let http = listen("http-port", (settings.bind, settings.http_port).into()).await?;
        let grpc = match settings.grpc_port_for(http.1.port()) {
            Ok(port) => listen("grpc-port", (settings.bind, port).into()).await,
            Err(error) => Err(error),
        };
        match grpc {
            Ok(grpc) => return Ok((http, grpc)),
            // Any HTTP port will do, so another one may have a free port 1000 above it.
            Err(_) if settings.http_port == 0 && settings.grpc_port.is_none() && tried < PORTS_TRIED => {
                tried += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// A port of the system's choice: clients answer to wherever a datagram comes from.
async fn datagram_socket(bind: IpAddr) -> Result<UdpSocket, Error> {
    let address = SocketAddr::new(bind, 0);
    UdpSocket::bind(address).await.map_err(|source| Error::Listen { setting: "bind", address, source })
}

async fn listen(setting: &'static str, address: SocketAddr) -> Result<Bound, Error> {
    let cannot = |source| Error::Listen { setting, address, source };
    let listener = TcpListener::bind(address).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    Ok((listener, address))
}
