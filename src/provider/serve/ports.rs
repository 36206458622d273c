//! The ports beside the application's, from bind to end.

use super::error::ServeError;
use super::manage;
use super::process::{Bound, Process};
use super::server::{self, Bounds};
use super::settings::{Port, Settings};
use crate::model::{Instance, Phase};
use axum::Router;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time;

/// How long they may take to end, once the application has.
const PORTS_END_MAX: Duration = Duration::from_secs(1);

/// The ports beside the application's.
pub(super) struct Ports {
    readiness: Option<TcpListener>,
    offline: Option<TcpListener>,
    metrics: Option<TcpListener>,
}

impl Ports {
    /// Binds them; what is beside the application is on its address, or on this machine's own if it has none.
    pub(super) async fn bind(
        settings: &Settings,
        application: Option<SocketAddr>,
    ) -> Result<Self, ServeError> {
        let beside = application.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |application| application.ip());
        Ok(Self {
            readiness: bind("readiness_bind", settings.readiness, beside).await?,
            offline: bind("offline_bind", settings.offline, beside).await?,
            metrics: bind("metrics_bind", settings.metrics_port, beside).await?,
        })
    }

    /// Says where everything is.
    pub(super) fn announce(&self, process: &Process, addresses: Vec<SocketAddr>, instance: Instance) {
        let at = |port: &Option<TcpListener>| port.as_ref().and_then(|port| port.local_addr().ok());
        let (readiness, offline) = (at(&self.readiness), at(&self.offline));
        let metrics = at(&self.metrics);
        #[cfg(feature = "metrics")]
        let metrics = metrics.or_else(|| offline.filter(|_| process.settings.metrics.is_some()));
        tracing::info!(?addresses, ?readiness, ?offline, ?metrics, instance = %instance.address(), "bound");
        let bound = Bound { addresses, readiness, offline, metrics, instance };
        process.progress.send_modify(|progress| progress.bound = Some(bound));
    }

    /// Serves them until the provider has stopped.
    pub(super) async fn serve(self, process: &Arc<Process>) {
        let readiness = serve_port(self.readiness, manage::readiness_routes(process.clone()), process);
        let offline = serve_port(self.offline, manage::offline_routes(process.clone()), process);
        #[cfg(feature = "metrics")]
        let metrics = async {
            if let Some(metrics) = &process.settings.metrics {
                serve_port(self.metrics, manage::metrics_routes(metrics), process).await;
            }
        };
        #[cfg(not(feature = "metrics"))]
        let metrics = std::future::ready(());
        tokio::join!(readiness, offline, metrics);
    }
}

async fn bind(setting: &'static str, port: Port, beside: IpAddr) -> Result<Option<TcpListener>, ServeError> {
    let address = match port {
        Port::Off => return Ok(None),
        Port::At(address) => address,
        Port::Beside(port) => SocketAddr::new(beside, port),
    };
    let bound = TcpListener::bind(address).await;
    bound.map(Some).map_err(|source| ServeError::Bind { setting, address, source })
}

async fn serve_port(listener: Option<TcpListener>, routes: Router, process: &Process) {
    let Some(listener) = listener else { return };
    let stopped = async { _ = process.lifecycle.reached(Phase::Stopped).await };
    let cut = async { time::sleep(PORTS_END_MAX).await }; // Counts from its first poll: the stop.
    server::serve(listener, Bounds::default(), |_| routes.clone(), stopped, cut).await;
}
