//! A gRPC client that knows which greeters come and go.
//!
//! ```console
//! $ cargo run --features full --example greeter_client -- --calls 5
//! 127.0.0.1:40123: Hello, world! and 3 greetings more
//! ```
//!
//! It is tonic's own client code over the consumer layers of this crate; nothing is boxed. Without any
//! greeter it fails with `Unavailable` and says why.

mod greeter;

use clap::Parser;
use greeter::{GreeterClient, Name};
use std::error::Error;
use std::time::Duration;
use tokio::time::interval;
use tower::ServiceBuilder;
use tower_graceful::client::Nacos;
use tower_graceful::consumer::{GracefulClientLayer, http_client_h2};

/// A gRPC client that knows which greeters come and go.
#[derive(Parser)]
struct Flags {
    /// HTTP port of the registry.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8848")]
    registry: String,
    /// How often to ask.
    #[arg(long, default_value_t = 100)]
    calls: u32,
    /// Time between two calls, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the example shows what it does")]
async fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::parse();
    let nacos = Nacos::builder(&flags.registry).app("greeter-client").connect()?;
    let greeters = ServiceBuilder::new()
        .layer(GracefulClientLayer::new(nacos.subscribe("greeter").await?).with_app("greeter-client"))
        .service(http_client_h2());
    let mut client = GreeterClient::new(greeters);

    let mut every = interval(Duration::from_millis(flags.every));
    for _ in 0..flags.calls {
        every.tick().await;
        let name = Name { name: "world".to_owned(), times: 3 };
        let greeting = client.greet(name.clone()).await?.into_inner();
        let mut more = client.greet_often(name).await?.into_inner();
        let mut count = 0;
        while more.message().await?.is_some() {
            count += 1;
        }
        println!("{}: {} and {count} greetings more", greeting.instance, greeting.words);
    }
    Ok(())
}
