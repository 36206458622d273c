//! Balances reqwest, which is no tower service: with `pick` and `finish` instead of layers.
//!
//! ```console
//! $ cargo run --features full --example reqwest
//! 127.0.0.1:36021 could not be reached: another one is tried
//! Ada: order 0
//! ...
//! Bob leaves, and goes on serving
//! Bob: order 10
//! Ada: order 11
//! ```
//!
//! Three instances are listed: two serve, in this process, and one is gone. No request is lost to the one
//! that is gone; the one that leaves gets one request more at most, whose answer says so.

use axum::Router;
use axum::extract::Path;
use axum::routing::post;
use std::error::Error;
use tokio::net::TcpListener;
use tower_graceful::consumer::balance::{Balance, Pick};
use tower_graceful::consumer::classify::{Applied, applied, is_connect};
use tower_graceful::model::{Instance, UnixMillis, key};
use tower_graceful::naming::header::OfflineTag;
use tower_graceful::naming::{InProcess, Register, Subscribe};
use tower_graceful::provider::{GracefulLayer, Lifecycle};

/// One instance that is down and one that is leaving may both be met before one that serves.
const TRIES: usize = 3;

type BoxError = Box<dyn Error + Send + Sync>;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the example shows what it does")]
async fn main() -> Result<(), BoxError> {
    let naming = InProcess::new();
    provider("Ada", &naming).await?;
    let bob = provider("Bob", &naming).await?;
    let gone = TcpListener::bind(("127.0.0.1", 0)).await?.local_addr()?;
    naming.register(&"orders".parse()?, &Instance::new(gone.into())).await?;

    // Nothing is kept for an instance: reqwest has a pool of its own, by address.
    let orders = Balance::new(naming.subscribe(&"orders".parse()?).await?, |_| ());
    let client = reqwest::Client::new();
    for number in 0..20 {
        if number == 10 {
            println!("Bob leaves, and goes on serving");
            bob.leave();
        }
        println!("{}", order(&client, &orders, number).await?);
    }
    Ok(())
}

/// Places an order. A POST is sent again only when it was surely not applied.
#[expect(clippy::print_stdout, reason = "the example shows what it does")]
async fn order(client: &reqwest::Client, orders: &Balance<()>, number: u32) -> Result<String, BoxError> {
    let mut tried: Vec<Pick<()>> = Vec::new();
    loop {
        let pick = orders.pick_other(&tried)?;
        let mut request = client.post(pick.uri(&format!("/orders/{number}"))?.to_string()).build()?;
        orders.introduce(&pick, request.headers_mut());
        let last = tried.len() + 1 == TRIES;
        match client.execute(request).await {
            Ok(mut answer) => {
                // It may say that it leaves, or that its handler was not called.
                let refused = pick.finish(answer.status(), answer.headers_mut());
                if last || !refused {
                    let body = answer.error_for_status()?.text().await?;
                    drop(pick); // Until here the call counted as in flight.
                    return Ok(body);
                }
            }
            Err(error) => {
                if is_connect(&error) {
                    pick.unreachable(); // Whoever picks now picks another, until a trial succeeds.
                }
                if last || applied(&error) != Applied::Never {
                    return Err(error.into());
                }
                println!("{} could not be reached: another one is tried", pick.instance().address());
            }
        }
        tried.push(pick);
    }
}

/// Serves orders until the process ends, and registers where.
async fn provider(name: &'static str, naming: &InProcess) -> Result<Lifecycle, BoxError> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let (address, epoch) = (listener.local_addr()?.into(), UnixMillis::new(u64::from(name.as_bytes()[0])));
    let (lifecycle, tag) = (Lifecycle::new(), OfflineTag::new(address, epoch));
    let place = async move |Path(number): Path<u32>| format!("{name}: order {number}");
    let router = Router::new().route("/orders/{number}", post(place));
    let router = router.layer(GracefulLayer::new(lifecycle.clone(), &tag));

    let metadata = [(key::EPOCH, epoch.to_string()), (key::VERSION, env!("CARGO_PKG_VERSION").to_owned())];
    let instance = Instance::new(tag.address).with_metadata(metadata.into_iter().collect());
    tokio::spawn(async move { axum::serve(listener, router).await });
    naming.register(&"orders".parse()?, &instance).await?;
    lifecycle.serve();
    Ok(lifecycle)
}
