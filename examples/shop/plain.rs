//! The same shop without the layers of this crate: what a careful team has today, for comparison.
//!
//! Orders register and, at the signal, deregister with the same client; then axum's own graceful shutdown
//! closes the port and waits for the requests under way. The storefront reads the list once a second and
//! takes turns. Each part does its best, and requests are lost all the same: those that the storefront
//! sends to a closed port until it reads the list again.

use super::common::ledger::Ledger;
use super::common::line::Ready;
use super::common::plain::{self, with_readiness};
use super::common::serving::{Flags, close};
use super::common::{BoxError, interrupted, routes};
use super::storefront;
use axum::extract::Request;
use axum::http::Uri;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tower::ServiceExt;
use tower_graceful::consumer::http_client;
use tower_graceful::model::Address;
use tower_graceful::naming::Snapshots;

/// How often the storefront reads the list.
const READ_EVERY: Duration = Duration::from_secs(1);

/// Orders on plain axum.
///
/// # Errors
/// When the port is taken, or the registry cannot be reached.
pub async fn orders(flags: &Flags) -> Result<ExitCode, BoxError> {
    let listener = TcpListener::bind(flags.listen).await?;
    let ledger = Ledger::default();
    let router = routes::router(listener.local_addr()?, flags.release.clone(), &ledger);
    plain::serve(flags, "orders", listener, router, &ledger, Duration::ZERO).await
}

/// The storefront on plain axum.
///
/// # Errors
/// When the port is taken, or the registry cannot be reached.
pub async fn storefront(flags: &Flags) -> Result<ExitCode, BoxError> {
    let nacos = flags.nacos("storefront")?;
    let snapshots = nacos.subscribe("orders").await?;
    let list = List::default();
    list.read(&snapshots);
    let reading = tokio::spawn(list.clone().keep_reading(snapshots));
    let client = http_client();
    let orders = tower::service_fn(move |mut request: Request| {
        let (next, client) = (list.next(), client.clone());
        async move {
            *request.uri_mut() = uri_at(&next.ok_or("nobody is listed")?, request.uri())?;
            client.oneshot(request).await.map_err(BoxError::from)
        }
    });

    let listener = TcpListener::bind(flags.listen).await?;
    let listen = listener.local_addr()?;
    let signal = async { interrupted().await.unwrap_or_default() };
    let serving = axum::serve(listener, with_readiness(storefront::router(orders)));
    let serving = serving.with_graceful_shutdown(signal);
    let ready = async { Some(Ready { readiness: Some(listen), ..Ready::at(listen) }) };
    flags.told(ready, None, serving.into_future()).await??;
    reading.abort();
    close(nacos).await;
    Ok(ExitCode::SUCCESS)
}

/// The instances as they were when the list was last read, in turns.
#[derive(Clone, Default)]
struct List(Arc<(RwLock<Vec<Address>>, AtomicUsize)>);

impl List {
    async fn keep_reading(self, orders: Snapshots) {
        loop {
            sleep(READ_EVERY).await;
            self.read(&orders);
        }
    }

    fn read(&self, orders: &Snapshots) {
        let latest = orders.latest();
        let addresses = latest.instances().iter().map(|instance| instance.address().clone()).collect();
        *self.0.0.write().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    fn next(&self) -> Option<Address> {
        let addresses = self.0.0.read().unwrap_or_else(PoisonError::into_inner);
        let turn = self.0.1.fetch_add(1, Ordering::Relaxed);
        addresses.get(turn.checked_rem(addresses.len())?).cloned()
    }
}

/// The same path and query at `address`.
fn uri_at(address: &Address, uri: &Uri) -> Result<Uri, BoxError> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Ok(format!("http://{address}{path}").parse()?)
}
