//! Orders: a provider that starts and leaves gracefully.
//!
//! ```console
//! $ cargo run --features full --example shop -- registry
//! $ cargo run --features full --example shop -- orders --registry 127.0.0.1:8848
//! {"ready":{"listen":"127.0.0.1:40123","readiness":"127.0.0.1:40124","offline":"127.0.0.1:40125"}}
//! ```
//!
//! `curl 127.0.0.1:40124/readiness` says 200 once it is listed. On Ctrl-C or SIGTERM it says 500, takes
//! itself off the list, answers all the same until nobody calls any more, and exits.

use super::common::BoxError;
use super::common::ledger::Ledger;
use super::common::routes::router;
use super::common::serving::Flags;
use std::process::ExitCode;
use tokio::net::TcpListener;

/// Serves orders until it is told to go; 0 when nothing had to be cut then.
///
/// # Errors
/// When a port is taken, or the registry's address is not valid.
pub async fn run(flags: &Flags) -> Result<ExitCode, BoxError> {
    let listener = TcpListener::bind(flags.listen).await?;
    let listen = listener.local_addr()?;
    let ledger = Ledger::default();
    let router = router(listen, flags.release.clone(), &ledger);

    let nacos = flags.nacos("orders")?;
    let provider = flags.provider("orders", &nacos).build()?;
    flags.serve(provider, listener, router, Some(&ledger), nacos).await
}
