//! The layers without the process around them, under other servers.

use super::greeter::{Friendly, GreeterClient, GreeterServer, anna};
use super::*;
use axum::http::HeaderName;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Code;
use tonic::metadata::MetadataMap;
use tower::{ServiceBuilder, ServiceExt as _};
use tower_http::compression::CompressionLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

#[tokio::test]
async fn the_layers_alone_work_under_plain_axum() {
    let lifecycle = Lifecycle::new();
    let tag = "\"10.0.0.7:8080\";epoch=1;fade=0";
    let epoch = UnixMillis::new(1);
    let graceful =
        GracefulLayer::new(lifecycle.clone(), &OfflineTag::new("10.0.0.7:8080".parse().unwrap(), epoch));
    let (listener, stop) = (listen().await, Arc::new(Notify::new()));
    let (address, stopped) = (listener.local_addr().unwrap(), stop.clone());
    let app = hello().layer(graceful.clone());
    let server = axum::serve(listener, app).with_graceful_shutdown(async move { stopped.notified().await });
    let server = tokio::spawn(server.into_future());
    let mut client = Http1(handshake_http1(address).await);
    assert_eq!(client.get("/").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    lifecycle.serve();
    assert_eq!(text(client.get("/").await).await, "hello");
    lifecycle.leave();
    let answer = client.get("/").await;
    assert_eq!(answer.headers()[OFFLINE], tag);
    assert_eq!(answer.headers()[header::CONNECTION], "close");
    assert_eq!(text(answer).await, "hello");
    graceful.in_flight().idle().await;
    stop.notify_one();
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_layers_alone_work_under_tonics_own_server() {
    let lifecycle = Lifecycle::new();
    let tag = OfflineTag::new("10.0.0.7:8080".parse().unwrap(), UnixMillis::new(1));
    let graceful = GracefulLayer::new(lifecycle.clone(), &tag);
    let in_flight = graceful.in_flight().clone();
    let (listener, stop) = (listen().await, Arc::new(Notify::new()));
    let (address, stopped) = (listener.local_addr().unwrap(), stop.clone());
    let server = tonic::transport::Server::builder()
        .layer(graceful)
        .add_service(GreeterServer::new(Friendly))
        .serve_with_incoming_shutdown(
            TcpListenerStream::new(listener),
            async move { stopped.notified().await },
        );
    let server = tokio::spawn(server);
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    let mut greeter = GreeterClient::new(channel.connect().await.unwrap());
    let refused = greeter.greet(anna()).await.unwrap_err();
    assert_eq!((refused.code(), word(refused.metadata(), &REFUSED)), (Code::Unavailable, Some("?1")));
    lifecycle.serve();
    let stream = greeter.greet_often(anna()).await.unwrap();
    assert_eq!(word(stream.metadata(), &OFFLINE), None);
    assert_eq!(in_flight.begun(), 2);
    lifecycle.leave();
    let answer = greeter.greet(anna()).await.unwrap();
    assert_eq!(word(answer.metadata(), &OFFLINE), Some("\"10.0.0.7:8080\";epoch=1;fade=0"));
    in_flight.idle().await;
    stop.notify_one();
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_other_layers_answer_inside_carries_the_tag_and_counts_to_its_last_byte() {
    let lifecycle = Lifecycle::new();
    let tag = OfflineTag::new("10.0.0.7:8080".parse().unwrap(), UnixMillis::new(1));
    let graceful = GracefulLayer::new(lifecycle.clone(), &tag);
    let in_flight = graceful.in_flight().clone();
    let router = Router::new()
        .route("/endless", get(pending::<()>))
        .route("/long", get(async || "long ".repeat(1_000)))
        .layer(
            ServiceBuilder::new()
                .layer(TraceLayer::new_for_http())
                .layer(graceful)
                .layer(CompressionLayer::new())
                .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, 20 * MS)),
        );
    lifecycle.serve();
    lifecycle.leave();
    let ask = |path: &str| {
        let request = Request::get(path).header("accept-encoding", "gzip").body(Body::empty()).unwrap();
        router.clone().oneshot(request)
    };
    let given_up = ask("/endless").await.unwrap();
    assert_eq!(given_up.status(), StatusCode::REQUEST_TIMEOUT);
    assert!(given_up.headers().contains_key(OFFLINE));
    drop(given_up);
    assert_eq!((in_flight.begun(), in_flight.count()), (1, 0));

    let compressed = ask("/long").await.unwrap();
    assert_eq!(compressed.headers()[header::CONTENT_ENCODING], "gzip");
    assert!(compressed.headers().contains_key(OFFLINE));
    assert_eq!(in_flight.count(), 1);
    compressed.into_body().collect().await.unwrap();
    assert_eq!(in_flight.count(), 0);
}

fn word<'a>(metadata: &'a MetadataMap, name: &HeaderName) -> Option<&'a str> {
    metadata.get(name.as_str()).map(|value| value.to_str().unwrap())
}
