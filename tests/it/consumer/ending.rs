//! A consumer ends: whoever holds an answer gets it, though every handle of the client is gone.

use super::raw::Broken;
use super::raw::frame::RST_STREAM;
use super::*;

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
