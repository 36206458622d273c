//! A consumer ends, or an instance is taken off its list: whoever waits for an answer gets it whole, though
//! every handle of the client is gone, or nobody lists the instance any more.

use super::raw::Broken;
use super::raw::frame::RST_STREAM;
use super::*;
use crate::registry;
use axum::body::Body;
use futures_util::stream::{StreamExt as _, once};
use tokio::sync::watch;
use tower_graceful::client::Nacos;

#[tokio::test]
async fn calls_under_way_outlive_the_last_handle() {
    for which in [0, 1] {
        let naming = InProcess::new();
        let (running, pieces) = held(&naming).await;
        let mut client = Vec::from(clients::<String>(&naming).await).swap_remove(which);
        let request = http::Request::get("/held").body(String::new()).unwrap();
        let answer = tokio::spawn(tower::Service::call(&mut client, request));
        drop(client);
        until(|| running.calls() > 0).await;
        drop(naming);
        pieces.send(Ok(Frame::data("first, ".into()))).await.unwrap();
        let body = answer.await.unwrap().unwrap().into_body();
        pieces.send(Ok(Frame::data("last".into()))).await.unwrap();
        drop(pieces);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "first, last");
    }
}

/// The next try needs the balancer, which the call holds on to.
#[tokio::test]
async fn a_call_under_way_is_retried_without_any_handle() {
    let naming = InProcess::new();
    let (refuse, refusal) = tokio::sync::watch::channel(false);
    let (took, taken) = tokio::sync::watch::channel(false);
    let broken = Broken::serving(http_client_h2(), move |connection| {
        let (mut refusal, took) = (refusal.clone(), took.clone());
        async move {
            let mut frames = connection.frames().await?;
            frames.request().await?;
            took.send_replace(true);
            refusal.wait_for(|refuse| *refuse).await.unwrap();
            frames.send(RST_STREAM, 0, 1, &[0, 0, 0, 7]).await?;
            frames.linger().await
        }
    })
    .await;
    naming.register(&orders(), &Instance::new(broken.addr.into())).await.unwrap();
    let working = Running::start(&naming, ANY, 1, echo()).await;
    working.seldom(&naming).await;

    let [_, mut http2] = clients(&naming).await;
    let request = http::Request::post("/echo").body("order".to_owned()).unwrap();
    let answer = tokio::spawn(tower::Service::call(&mut http2, request));
    until(|| *taken.borrow()).await;
    drop((http2, naming));
    refuse.send_replace(true);
    let answer = answer.await.unwrap().unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "order");
    assert_eq!(working.calls(), 1);
}

/// `/late` answers when that is released; `/half` begins at once, and goes on then.
fn slow(release: &watch::Sender<bool>) -> Router {
    let (late, half) = (release.clone(), release.clone());
    let released = async |release: watch::Sender<bool>| _ = release.subscribe().wait_for(|it| *it).await;
    let half = move || {
        let (first, half) = (Bytes::from("first, "), half.clone());
        let last = async move {
            released(half).await;
            Bytes::from("last")
        };
        let whole = once(std::future::ready(first)).chain(once(last));
        std::future::ready(Body::from_stream(whole.map(Ok::<_, Infallible>)))
    };
    let late = async move || {
        released(late).await;
        "first, last"
    };
    Router::new().route("/late", any(late)).route("/half", any(half))
}

async fn answer(client: AnyClient, path: &str) -> Result<Body, BoxError> {
    let request = http::Request::get(path).body(String::new()).unwrap();
    Ok(client.oneshot(request).await?.into_body())
}

/// Off the list an instance gets no new calls; those that it has are its own to finish.
#[tokio::test]
async fn calls_under_way_outlive_their_instance_on_the_list() {
    let naming = InProcess::new();
    for client in clients_of_all_kinds(&naming).await {
        let release = watch::Sender::new(false);
        let leaving = Running::start(&naming, ANY, 1, slow(&release)).await;
        let mut half = answer(client.clone(), "/half").await.unwrap();
        assert_eq!(half.frame().await.unwrap().unwrap().into_data().unwrap(), "first, ");
        let late = tokio::spawn(answer(client.clone(), "/late"));
        until(|| leaving.calls() == 2).await;

        naming.deregister(&orders(), &leaving.instance.key).await.unwrap();
        let stays = Running::start(&naming, ANY, 2, echo()).await;
        drop(answer(client, "/echo").await.unwrap()); // By the new list: what it has no use for has gone.
        assert_eq!((leaving.calls(), stays.calls()), (2, 1));
        release.send_replace(true);
        assert_eq!(half.collect().await.unwrap().to_bytes(), "last");
        let late = late.await.unwrap().unwrap();
        assert_eq!(late.collect().await.unwrap().to_bytes(), "first, last");
        naming.deregister(&orders(), &stays.instance.key).await.unwrap();
    }
}

/// Who ends says goodbye to its registry, and may still wait for answers then.
#[tokio::test(flavor = "multi_thread")]
async fn calls_under_way_outlive_the_connection_to_the_registry() {
    let registry = registry::Running::start().await;
    let nacos = || Nacos::builder(&registry.http.to_string()).connect().unwrap();
    let (provider, consumer) = (nacos(), nacos());
    let (running, pieces) = held(&InProcess::new()).await;
    provider.register(&orders(), &running.instance).await.unwrap();
    let client = GracefulClientLayer::new(consumer.subscribe("orders").await.unwrap()).layer(http_client());
    let request = http::Request::get("/held").body(String::new()).unwrap();
    let answer = tokio::spawn(client.oneshot(request));
    until(|| running.calls() > 0).await;
    pieces.send(Ok(Frame::data("first, ".into()))).await.unwrap();
    consumer.close(registry::SOON).await.unwrap();
    pieces.send(Ok(Frame::data("last".into()))).await.unwrap();
    drop(pieces);
    let body = answer.await.unwrap().unwrap().into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "first, last");
    provider.close(registry::SOON).await.unwrap();
    registry.stop().await;
}
