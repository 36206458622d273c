//! The client's one task: a connection, and after it the next.

use super::connection::Connection;
use super::dial::Dial;
use super::failure::Failure;
use super::login::Login;
use super::reports::Reports;
use super::servers::Turns;
use super::session;
use super::settings::Settings;
use super::shared::Shared;
use crate::naming::backoff;
use std::error::Error;
use std::sync::Arc;
use tokio::time::{Instant, sleep};

/// Keeps a connection until the client is closed and has taken off what it registered, or has no
/// connection to do so.
pub(super) async fn run(
    shared: Arc<Shared>,
    reports: Option<Arc<Reports>>,
    dial: Arc<dyn Dial>,
    settings: Settings,
) {
    let _end = End(&shared);
    let login = Arc::new(Login::new(settings.credentials.clone(), dial.clone(), settings.request_timeout));
    let mut turns = Turns::new(&settings.servers, &mut fastrand::Rng::new());
    while !shared.is_closing() {
        let server = turns.server().clone();
        let opened = tokio::select! {
            opened = Connection::open(&*dial, &server, &login, &settings) => opened,
            () = shared.closing() => return,
        };
        let trouble = match opened {
            Ok(connection) => {
                tracing::info!(server.address = %server.grpc, "connected to the registry");
                shared.connected(connection.caller().hears().clone());
                let reports = reports.as_deref();
                reports.into_iter().for_each(Reports::connected);
                let since = Instant::now();
                let trouble = session::run(connection, &shared, reports, &settings).await;
                if since.elapsed() >= backoff::LONGEST {
                    turns.lasted();
                }
                trouble
            }
            Err(failure) => Some(failure),
        };
        if let Some(failure) = &trouble {
            let (failures, error) = (turns.failures(), failure as &dyn Error);
            tracing::warn!(server.address = %server.grpc, failures, error, "no connection to the registry");
        }
        let refused = trouble.as_ref().is_some_and(Failure::is_shut_out);
        shared.disconnected(trouble);
        let wait = turns.pass(refused, fastrand::f64());
        tokio::select! {
            () = sleep(wait) => {}
            () = shared.closing() => {}
        }
    }
}

/// Tells the calls that wait when the task ends, in whatever way.
struct End<'a>(&'a Shared);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}
