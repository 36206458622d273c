//! A provider of the matrix: orders over HTTP, or greetings over gRPC.

use super::common::goods::{CHUNKS_MAX, SLOW_MS_MAX};
use super::common::ledger::Ledger;
use super::common::serving;
use super::common::{BoxError, plain, routes};
use super::greeter::{Greeter, GreeterServer, Greeting, Name};
use super::scenario::Protocol;
use axum::Router;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_stream::StreamExt;
use tonic::Status;
use tonic::codegen::BoxStream;
use tonic::service::Routes;

/// The service that is replaced.
pub const SERVICE: &str = "orders";
/// What many have in the place of all that follows the signal here: a sleep, and the hope that it is long enough.
const BLIND_SLEEP: Duration = Duration::from_secs(2);
/// Streamed greetings take their time.
const GREETED_EVERY: Duration = Duration::from_millis(10);

#[derive(clap::Args, Debug)]
pub struct ProviderFlags {
    #[command(flatten)]
    pub serving: serving::Flags,
    #[arg(long, value_enum)]
    protocol: Protocol,
    /// On plain axum: deregister at the signal, sleep, then shut down gracefully.
    #[arg(long)]
    blind: bool,
}

/// Serves until it is told to go; 0 when nothing had to be cut then, or when it is blind.
///
/// # Errors
/// When a port is taken, or the registry's address is not valid.
pub async fn run(flags: &ProviderFlags) -> Result<ExitCode, BoxError> {
    let ProviderFlags { serving: flags, protocol, blind } = flags;
    let listener = TcpListener::bind(flags.listen).await?;
    let listen = listener.local_addr()?;
    let ledger = Ledger::default();
    let router = match protocol {
        // One server for both versions: the client's first bytes decide.
        Protocol::Http1 | Protocol::Http2 => routes::router(listen, flags.release.clone(), &ledger),
        Protocol::Grpc => greeters(listen, &ledger),
    };
    if *blind {
        return plain::serve(flags, SERVICE, listener, router, &ledger, BLIND_SLEEP).await;
    }

    let nacos = flags.nacos(SERVICE)?;
    let provider = flags.provider(SERVICE, &nacos).notice(true).build()?;
    flags.serve(provider, listener, router, Some(&ledger), nacos).await
}

fn greeters(instance: SocketAddr, ledger: &Ledger) -> Router {
    ledger.noting(Routes::new(GreeterServer::new(Friendly { instance })).into_axum_router())
}

/// Greets everyone: at once, after a while, or often.
struct Friendly {
    instance: SocketAddr,
}

impl Friendly {
    fn greeting(&self, name: &str) -> Greeting {
        Greeting { words: words(name), instance: self.instance.to_string() }
    }
}

/// What whoever gives this name is greeted with.
pub fn words(name: &str) -> String {
    format!("Hello, {name}!")
}

impl Greeter for Friendly {
    /// A single greeting takes `times` milliseconds.
    async fn greet(&self, Name { name, times }: Name) -> Result<Greeting, Status> {
        let ms = bounded(times, SLOW_MS_MAX)?;
        if ms > 0 {
            sleep(Duration::from_millis(ms)).await;
        }
        Ok(self.greeting(&name))
    }

    fn greet_often(&self, Name { name, times }: Name) -> Result<BoxStream<Greeting>, Status> {
        let greetings: Vec<_> = (0..bounded(times, CHUNKS_MAX)?).map(|_| Ok(self.greeting(&name))).collect();
        Ok(Box::pin(tokio_stream::iter(greetings).throttle(GREETED_EVERY)))
    }
}

fn bounded(times: u32, max: u64) -> Result<u64, Status> {
    let refusal = || Status::invalid_argument(format!("times={times}: accepted is 0 to {max}"));
    Some(u64::from(times)).filter(|times| *times <= max).ok_or_else(refusal)
}
