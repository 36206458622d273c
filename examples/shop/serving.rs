//! What orders and storefront have in common: their flags, and the line that says where they listen.

use super::ledger::Ledger;
use super::line::{Line, Ready, say};
use super::process::BoxError;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::SetOnce;
use tower_graceful::client::Nacos;
use tower_graceful::model::{InvalidWarmUp, WarmUp};
use tower_graceful::provider::ProviderHandle;

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
    /// Do without the layers of this crate, for comparison.
    #[arg(long)]
    pub plain: bool,
    /// Started by `release`: say what is executed, and end with the parent.
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
    Some(Ready { listen: bound.address, readiness: bound.readiness? })
}

/// Reads a warm-up by its window.
pub fn seconds(text: &str) -> Result<WarmUp, String> {
    let window = text.parse().ok().and_then(|number| Duration::try_from_secs_f64(number).ok());
    let window = window.ok_or("accepted is a number of seconds from 0 on")?;
    WarmUp::new(window).map_err(|error: InvalidWarmUp| error.to_string())
}
