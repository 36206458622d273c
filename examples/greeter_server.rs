//! A gRPC server that starts and leaves gracefully.
//!
//! ```console
//! $ cargo run --release --features full --bin graceful -- registry
//! $ cargo run --features full --example greeter_server
//! listening on 127.0.0.1:40123
//! ```
//!
//! Start two, run `greeter_client`, and stop one of them: the client does not notice. It is tonic's own
//! code behind `Provider::serve`, which serves tonic's routes like any service of HTTP requests.

mod greeter;

use clap::Parser;
use greeter::{Greeter, GreeterServer, Greeting, Name};
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_stream::StreamExt;
use tonic::Status;
use tonic::codegen::BoxStream;
use tonic::server::NamedService;
use tonic::service::Routes;
use tower_graceful::client::Nacos;
use tower_graceful::model::WarmUp;
use tower_graceful::provider::{GrpcHealth, Provider, Report};

/// A name is greeted no more often than this at a time.
const TIMES_MAX: u32 = 1_000;
/// Streamed greetings take their time.
const GREETED_EVERY: Duration = Duration::from_millis(10);

/// A gRPC server that starts and leaves gracefully.
#[derive(Parser)]
struct Flags {
    /// HTTP port of the registry.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8848")]
    registry: String,
    /// Where to listen; port 0 is any free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the example shows what it does")]
async fn main() -> Result<Report, Box<dyn Error>> {
    let flags = Flags::parse();
    let listener = TcpListener::bind(flags.listen).await?;
    let instance = listener.local_addr()?;
    println!("listening on {instance}");

    let nacos = Nacos::builder(&flags.registry).app("greeter").connect()?;
    let any_port = (Ipv4Addr::LOCALHOST, 0).into(); // Two servers may run on one machine.
    let provider = Provider::builder("greeter")
        .registry(nacos)
        .warm_up(WarmUp::NONE)
        .readiness_bind(any_port)
        .offline_bind(any_port)
        .build()?;
    let health = GrpcHealth::new(provider.handle().lifecycle().clone())
        .with_service(<GreeterServer<Friendly> as NamedService>::NAME);
    let routes = Routes::new(GreeterServer::new(Friendly { instance })).add_service(health);
    Ok(provider.serve(listener, routes).await?)
}

/// Greets everyone.
struct Friendly {
    instance: SocketAddr,
}

impl Friendly {
    fn greeting(&self, words: String) -> Greeting {
        Greeting { words, instance: self.instance.to_string() }
    }
}

impl Greeter for Friendly {
    async fn greet(&self, Name { name, .. }: Name) -> Result<Greeting, Status> {
        Ok(self.greeting(format!("Hello, {name}!")))
    }

    fn greet_often(&self, Name { name, times }: Name) -> Result<BoxStream<Greeting>, Status> {
        if times > TIMES_MAX {
            return Err(Status::invalid_argument(format!("times={times}: accepted is 0 to {TIMES_MAX}")));
        }
        let greetings: Vec<_> =
            (1..=times).map(|n| Ok(self.greeting(format!("Hello for the {n}. time, {name}!")))).collect();
        Ok(Box::pin(tokio_stream::iter(greetings).throttle(GREETED_EVERY)))
    }
}
