//! The client's one task: a connection, and after it the next.

use super::connection::Connection;
use super::session;
use super::settings::Settings;
use super::shared::Shared;
use super::transport::Dial;
use crate::naming::backoff;
use std::error::Error;
use std::sync::Arc;
use tokio::time::{Instant, sleep};

/// Keeps a connection until the client is closed and has taken off what it registered, or has no
/// connection to do so.
pub(super) async fn run<D: Dial>(shared: Arc<Shared>, dial: D, settings: Settings) {
    let _end = End(&shared);
    let mut attempt = 0;
    while !shared.is_closing() {
        let opened = tokio::select! {
            opened = Connection::open(&dial, &settings) => opened,
            () = shared.closing() => return,
        };
        let trouble = match opened {
            Ok(connection) => {
                tracing::info!(server.address = %settings.server, "connected to the registry");
                shared.connected(connection.caller().hears().clone());
                let since = Instant::now();
                let trouble = session::run(connection, &shared, &settings).await;
                if since.elapsed() >= backoff::LONGEST {
                    attempt = 0; // One that lasted: whatever ended it, this is a first failure.
                }
                trouble
            }
            Err(failure) => Some(failure),
        };
        if let Some(failure) = &trouble {
            let error = failure as &dyn Error;
            tracing::warn!(server.address = %settings.server, attempt, error, "no connection to the registry");
        }
        shared.disconnected(trouble);
        let wait = backoff::delay(attempt, fastrand::f64());
        attempt = attempt.saturating_add(1);
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
