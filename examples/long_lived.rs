//! What does not end by itself when its process is told to go: a WebSocket, and events without an end.
//!
//! ```console
//! $ GRACEFUL_DRAIN_TIMEOUT=15 cargo run --features full --example long_lived
//! listening on 127.0.0.1:40123
//! $ websocat ws://127.0.0.1:40123/talk
//! $ curl -N 127.0.0.1:40123/news
//! $ curl -N 127.0.0.1:40123/ticks
//! ```
//!
//! Now press Ctrl-C. For 10 s at most they go on as before, for the process waits whether anybody calls who has
//! not heard; then it drains. The WebSocket says goodbye with the code 1001, and the news end, for both look at
//! `ProviderHandle::draining`. The ticks do not: they go on until the deadline, and are cut. The report, the
//! last line, counts them, and the exit code is 3; without them it is 0.

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::{Stream, StreamExt};
use std::convert::Infallible;
use std::error::Error;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::net::TcpListener;
use tower_graceful::model::Phase;
use tower_graceful::provider::{Provider, ProviderHandle, Report};

/// How often something happens.
const EVERY: Duration = Duration::from_millis(100);

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the example shows what it does")]
async fn main() -> Result<Report, Box<dyn Error>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let any_port = (Ipv4Addr::LOCALHOST, 0).into();
    let provider = Provider::builder("long-lived").readiness_bind(any_port).offline_bind(any_port).build()?;
    let handle = provider.handle();
    let router = Router::new()
        .route("/talk", get(talk))
        .route("/news", get(news))
        .route("/ticks", get(async || Sse::new(events())))
        .with_state(handle.clone());
    let said = async {
        if handle.reached(Phase::Serving).await == Phase::Serving {
            println!("listening on {address}");
        }
    };
    let (report, ()) = tokio::join!(provider.serve(listener, router), said);
    let report = report?;
    println!("{report}");
    Ok(report)
}

async fn talk(upgrade: WebSocketUpgrade, State(provider): State<ProviderHandle>) -> Response {
    upgrade.on_upgrade(async move |socket| echo_until_draining(socket, &provider).await).into_response()
}

/// Says what it is told, and goodbye.
async fn echo_until_draining(mut socket: WebSocket, provider: &ProviderHandle) {
    let _ = socket.send(Message::text("hello")).await; // Who has gone hears nothing.
    loop {
        tokio::select! {
            heard = socket.recv() => match heard {
                Some(Ok(message)) => _ = socket.send(message).await,
                Some(Err(_)) | None => return,
            },
            () = provider.draining() => break,
        }
    }
    let goodbye = CloseFrame { code: close_code::AWAY, reason: "".into() };
    let _ = socket.send(Message::Close(Some(goodbye))).await;
    while let Some(Ok(_)) = socket.recv().await {} // Until the other end has said it too.
}

/// Events until the process drains.
async fn news(State(provider): State<ProviderHandle>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(events().take_until(async move { provider.draining().await }))
}

fn events() -> impl Stream<Item = Result<Event, Infallible>> {
    let numbers = tokio_stream::StreamExt::throttle(futures_util::stream::iter(1_u64..), EVERY);
    numbers.map(|number| Ok(Event::default().data(number.to_string())))
}
