//! A provider on plain axum, for comparison: what a careful team has today.
//!
//! It registers, and takes itself off the list at the signal; then it may sleep, in the hope that everyone has
//! heard of it meanwhile; then axum's own graceful shutdown closes the port and waits for the requests under
//! way. Of this crate there is the client of the registry, and the count of what was executed.

use super::ledger::Ledger;
use super::line::Ready;
use super::serving::{Flags, close};
use super::{BoxError, interrupted};
use axum::Router;
use axum::routing::get;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tower_graceful::client::Nacos;
use tower_graceful::model::{Instance, InstanceKey, ServiceKey};
use tower_graceful::naming::Register;

/// Serves `router` as an instance of `service` until it is told to go, and for `sleep` longer.
///
/// # Errors
/// When the registry cannot be reached, or nobody reads what this process says.
pub async fn serve(
    flags: &Flags,
    service: &str,
    listener: TcpListener,
    router: Router,
    ledger: &Ledger,
    sleep: Duration,
) -> Result<ExitCode, BoxError> {
    let listen = listener.local_addr()?;
    let (nacos, service) = (flags.nacos(service)?, service.parse::<ServiceKey>()?);
    let instance = Instance::new(listen.into());
    nacos.register(&service, &instance).await?;

    let left = leave(nacos.clone(), service, instance.key, sleep);
    let serving = axum::serve(listener, with_readiness(router)).with_graceful_shutdown(left);
    let ready = async { Some(Ready { readiness: Some(listen), ..Ready::at(listen) }) };
    flags.told(ready, Some(ledger), serving.into_future()).await??;
    close(nacos).await;
    Ok(ExitCode::SUCCESS)
}

/// Resolves after the signal, once the instance has been off the list for `nap`.
async fn leave(nacos: Nacos, service: ServiceKey, instance: InstanceKey, nap: Duration) {
    if let Err(error) = interrupted().await {
        tracing::error!(%error, "signals cannot be heard");
    }
    if let Err(error) = nacos.deregister(&service, &instance).await {
        tracing::warn!(%error, "still listed");
    }
    sleep(nap).await;
}

/// The same router, always ready.
pub fn with_readiness(router: Router) -> Router {
    Router::new().route("/readiness", get(async || "ready\n")).merge(router)
}
