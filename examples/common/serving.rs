//! What all processes that serve have in common: their flags, their log, the line that says where they
//! listen, and the registry that they all need.

use super::BoxError;
use super::ledger::Ledger;
use super::line::{Line, Ready, say};
use super::process::leash;
use axum::Router;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitCode, Termination};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::SetOnce;
use tower_graceful::client::Nacos;
use tower_graceful::model::{InvalidWarmUp, WarmUp};
use tower_graceful::naming::Causes;
use tower_graceful::provider::{Bound, Provider, ProviderBuilder, ProviderHandle};
use tower_graceful::registry::{Registry, Settings, TlsFiles};
use tracing_subscriber::EnvFilter;

/// For a client to say goodbye to a registry that is there.
pub const CLOSE_MAX: Duration = Duration::from_secs(2);

/// Flags of a process that serves.
#[derive(clap::Args, Debug)]
pub struct Flags {
    /// Where to listen; port 0 is any free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// HTTP port of the registry.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8848")]
    pub registry: String,
    /// Names the release in every answer.
    #[arg(long, value_name = "LABEL", default_value = "v1")]
    pub release: String,
    /// Where `GET /readiness` is answered; port 0 is any free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub readiness: SocketAddr,
    /// Where `POST /offline` is answered; port 0 is any free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub offline: SocketAddr,
    /// Time until a new instance takes its full part of the work, in seconds; 0 is at once.
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = seconds)]
    pub warm_up: WarmUp,
    /// Started by a program: say what is executed, and end with the parent.
    #[arg(long, hide = true)]
    pub child: bool,
}

impl Flags {
    /// A client of the registry.
    ///
    /// # Errors
    /// When its address is not valid.
    pub fn nacos(&self, app: &str) -> Result<Nacos, BoxError> {
        Ok(Nacos::builder(&self.registry).app(app).connect()?)
    }

    /// The settings of a provider of `service` that registers with `nacos`, as these flags have them.
    pub fn provider(&self, service: &str, nacos: &Nacos) -> ProviderBuilder {
        Provider::builder(service)
            .registry(nacos.clone())
            .warm_up(self.warm_up)
            .readiness_bind(self.readiness)
            .offline_bind(self.offline)
    }

    /// Has `provider` serve `router` until it is told to go, and says goodbye to the registry; 0 when nothing
    /// had to be cut then. Says meanwhile what [`told`](Self::told) says.
    ///
    /// # Errors
    /// When a port is taken, the instance cannot be registered, or nobody reads what is said.
    pub async fn serve(
        &self,
        provider: Provider,
        listener: TcpListener,
        router: Router,
        ledger: Option<&Ledger>,
        nacos: Nacos,
    ) -> Result<ExitCode, BoxError> {
        let ready = bound(provider.handle());
        let report = self.told(ready, ledger, provider.serve(listener, router)).await??;
        close(nacos).await;
        Ok(report.report())
    }

    /// Awaits `serving`. Meanwhile says on standard output where it is reached, once that is known, and to
    /// a parent what `ledger` holds, to the last entry.
    ///
    /// # Errors
    /// When nobody reads that.
    pub fn told<T>(
        &self,
        ready: impl Future<Output = Option<Ready>>,
        ledger: Option<&Ledger>,
        serving: impl Future<Output = T>,
    ) -> impl Future<Output = Result<T, BoxError>> {
        let serving = Box::pin(serving); // All of a server is a lot to be moved about.
        let ledger = ledger.filter(|_| self.child);
        async move {
            let over = SetOnce::new();
            let serving = async {
                let output = serving.await;
                let _ = over.set(()); // Nobody else sets it.
                output
            };
            let telling = async {
                let Some(ready) = ready.await else { return Ok(()) };
                say(&Line::Ready(ready)).await?;
                match ledger {
                    Some(ledger) => ledger.tell_until(over.wait()).await,
                    None => Ok(()),
                }
            };
            let (output, told) = tokio::join!(serving, telling);
            told?;
            Ok(output)
        }
    }
}

/// Where a provider is reached; nothing when it ended before it was.
pub async fn bound(provider: ProviderHandle) -> Option<Ready> {
    let bound = provider.bound().await?;
    let (listen, Bound { readiness, offline, .. }) = (bound.address()?, bound);
    Some(Ready { readiness, offline, ..Ready::at(listen) })
}

/// Says goodbye to the registry; one that is away learns it from the end of the connection.
pub async fn close(nacos: Nacos) {
    if let Err(error) = nacos.close(CLOSE_MAX).await {
        tracing::warn!(error = %Causes(&error), "the registry has not heard that this process ends");
    }
}

/// Runs a service; its log goes to standard error, because programs read standard output. A child ends with
/// its parent.
///
/// # Errors
/// As `service`.
pub async fn served(
    child: bool,
    service: impl Future<Output = Result<ExitCode, BoxError>>,
) -> Result<ExitCode, BoxError> {
    if child {
        leash();
    }
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let ansi = io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(ansi).with_writer(io::stderr).init();
    service.await
}

/// Knows where the others are.
#[derive(Debug, clap::Args)]
pub struct RegistryFlags {
    /// Port of the HTTP API, 1000 below that of the gRPC API; 0 is any free one.
    #[arg(long, default_value_t = 8848)]
    pub http_port: u16,
    /// Directory with `registry.crt` and `registry.key`, by which both ports speak TLS, and with `data`, where
    /// users are.
    #[arg(long, value_name = "DIR")]
    pub secure: Option<PathBuf>,
    /// Started by a program: end with the parent.
    #[arg(long, hide = true)]
    pub child: bool,
}

/// The registry of this crate, without its program: one command builds and runs all that is needed.
///
/// # Errors
/// When a port is taken, or a file cannot be used.
pub async fn registry(flags: &RegistryFlags) -> Result<ExitCode, BoxError> {
    let secure = flags.secure.as_deref();
    let tls = secure.map(|directory| TlsFiles {
        certificate: directory.join("registry.crt"),
        key: directory.join("registry.key"),
        client_ca: None,
    });
    let data_dir = secure.map(|directory| directory.join("data"));
    let settings = Settings { http_port: flags.http_port, tls, data_dir, ..Settings::default() };
    let registry = Registry::bind(settings).await?;
    let ready = Ready { grpc: Some(registry.grpc_addr()), ..Ready::at(registry.http_addr()) };
    say(&Line::Ready(ready)).await?;
    registry.serve(async { super::interrupted().await.unwrap_or_default() }).await;
    Ok(ExitCode::SUCCESS)
}

/// Reads a warm-up by its window.
pub fn seconds(text: &str) -> Result<WarmUp, String> {
    let window = text.parse().ok().and_then(|number| Duration::try_from_secs_f64(number).ok());
    let window = window.ok_or("accepted is a number of seconds from 0 on")?;
    WarmUp::new(window).map_err(|error: InvalidWarmUp| error.to_string())
}
