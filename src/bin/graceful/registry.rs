//! `graceful registry`: the registry, in the foreground.

use super::Failure;
use clap::Args;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tower_graceful::registry::{Error, Registry, Settings, TlsFiles};

/// Runs the registry in the foreground until SIGTERM or SIGINT.
///
/// It speaks Nacos' protocols: clients of Nacos register, discover and subscribe with it unchanged. Once it
/// is ready it prints one line with its addresses to stdout.
#[derive(Args)]
pub(super) struct Arguments {
    /// Address to listen on; one that other machines can reach needs --no-auth.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1", env = "GRACEFUL_REGISTRY_BIND")]
    bind: IpAddr,

    /// Port of the HTTP API; 0 takes any.
    #[arg(long, value_name = "PORT", default_value_t = 8848, env = "GRACEFUL_REGISTRY_HTTP_PORT")]
    http_port: u16,

    /// Port of the gRPC API; 0 takes any [default: the HTTP port + 1000, where clients look for it].
    #[arg(long, value_name = "PORT", env = "GRACEFUL_REGISTRY_GRPC_PORT")]
    grpc_port: Option<u16>,

    /// Directory that belongs to this registry alone while it runs, made if it is absent. It holds what must
    /// be there after a restart: persistent instances, services that were created, what operators set
    /// [default: none; then these are lost with the process].
    #[arg(long, value_name = "DIR", env = "GRACEFUL_REGISTRY_DATA_DIR")]
    data_dir: Option<PathBuf>,

    /// PEM file with the certificate of this registry and those between it and the root: both ports speak TLS
    /// then, and nothing else. These files may be replaced while it runs [default: none, no TLS].
    #[arg(long, value_name = "FILE", requires = "tls_key", env = "GRACEFUL_REGISTRY_TLS_CERT")]
    tls_cert: Option<PathBuf>,

    /// PEM file with the private key of the certificate.
    #[arg(long, value_name = "FILE", requires = "tls_cert", env = "GRACEFUL_REGISTRY_TLS_KEY")]
    tls_key: Option<PathBuf>,

    /// PEM file with the roots by which clients must have a certificate, on both ports [default: none, and no
    /// client is asked].
    #[arg(long, value_name = "FILE", requires = "tls_cert", env = "GRACEFUL_REGISTRY_TLS_CLIENT_CA")]
    tls_client_ca: Option<PathBuf>,

    /// Let everyone who reaches the ports read and change everything.
    #[arg(long, env = "GRACEFUL_REGISTRY_NO_AUTH")]
    no_auth: bool,

    /// Longest metadata of an instance, keys and values together, in characters.
    #[arg(long, value_name = "N", default_value_t = Settings::default().metadata_chars_max,
        env = "GRACEFUL_REGISTRY_METADATA_CHARS_MAX")]
    metadata_chars_max: usize,

    /// Seconds for which what operators set on an instance is kept after the instance is gone.
    #[arg(long, value_name = "S", default_value_t = Settings::default().metadata_kept_for.as_secs(),
        env = "GRACEFUL_REGISTRY_METADATA_KEPT_SECONDS")]
    metadata_kept_seconds: u64,

    /// Seconds for which a service that nobody created by name is remembered after its last instance.
    #[arg(long, value_name = "S", default_value_t = Settings::default().empty_services_kept_for.as_secs(),
        env = "GRACEFUL_REGISTRY_EMPTY_SERVICES_KEPT_SECONDS")]
    empty_services_kept_seconds: u64,

    /// Connections that each port serves at once.
    #[arg(long, value_name = "N", default_value_t = Settings::default().connections_max,
        env = "GRACEFUL_REGISTRY_CONNECTIONS_MAX")]
    connections_max: usize,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let (certificate, key) = (arguments.tls_cert, arguments.tls_key);
    let tls = certificate.zip(key).map(|(certificate, key)| TlsFiles {
        certificate,
        key,
        client_ca: arguments.tls_client_ca,
    });
    let settings = Settings {
        bind: arguments.bind,
        http_port: arguments.http_port,
        grpc_port: arguments.grpc_port,
        data_dir: arguments.data_dir,
        tls,
        no_auth: arguments.no_auth,
        metadata_chars_max: arguments.metadata_chars_max,
        metadata_kept_for: Duration::from_secs(arguments.metadata_kept_seconds),
        empty_services_kept_for: Duration::from_secs(arguments.empty_services_kept_seconds),
        connections_max: arguments.connections_max,
        ..Settings::default()
    };
    let runtime = runtime::Builder::new_multi_thread().enable_all().build().map_err(could_not)?;
    runtime.block_on(serve(settings))
}

async fn serve(settings: Settings) -> Result<(), Failure> {
    // Before anything slow: a signal during the start counts too.
    let signals = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
    let [terminate, interrupt] = signals;
    let (terminate, interrupt) = (terminate.map_err(could_not)?, interrupt.map_err(could_not)?);
    let over = if settings.tls.is_some() { ", over TLS" } else { "" };
    let registry = Registry::bind(settings).await.map_err(refused)?;
    let (http, grpc) = (registry.http_addr(), registry.grpc_addr());
    // Nobody need listen to it: a closed stdout is no reason to stop.
    let _ = writeln!(io::stdout(), "registry ready: http {http}, grpc {grpc}{over}");
    registry.serve(signalled(terminate, interrupt)).await;
    tracing::info!("registry stopped");
    Ok(())
}

async fn signalled(mut terminate: Signal, mut interrupt: Signal) {
    tokio::select! {
        _ = terminate.recv() => tracing::info!("terminating"),
        _ = interrupt.recv() => tracing::info!("interrupted"),
    }
}

/// A setting that can never work is wrong usage; one that the machine does not allow may work tomorrow.
fn refused(error: Error) -> Failure {
    let wrong = matches!(error, Error::Open { .. } | Error::NoGrpcPort { .. });
    let code = if wrong { Failure::WRONG_USAGE } else { Failure::COULD_NOT };
    Failure { code, error: error.into() }
}

fn could_not(error: io::Error) -> Failure {
    Failure { code: Failure::COULD_NOT, error: error.into() }
}
