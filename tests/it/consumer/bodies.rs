//! What becomes of bodies when a request is sent again.

use super::raw::frame::{DATA, RST_STREAM};
use super::raw::{Broken, End, Frames, Seen, send, served_after};
use super::*;
use http_body_util::Full;
use std::io;
use tower_graceful::consumer::FailoverLayer;

/// A gate that is closed answers before the body has come; the rest of it goes to someone else.
#[tokio::test]
async fn a_stream_that_was_refused_half_sent_continues_elsewhere() {
    for which in [0, 1] {
        let naming = InProcess::new();
        let refuse = async || (StatusCode::SERVICE_UNAVAILABLE, [(REFUSED, REFUSED_TRUE)]).into_response();
        let refusing = Running::start(&naming, ANY, 1, Router::new().fallback(refuse)).await;
        let serving = Running::start(&naming, ANY, 2, echo()).await;
        let serving_seldom = serving.seldom(&naming).await;
        let client = clients(&naming).await;
        let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Frame<Bytes>, Infallible>>(1);
        let body = StreamBody::new(ReceiverStream::new(receiver));
        let request = http::Request::post("/echo").body(body).unwrap();
        let call = tokio::spawn(client[which].clone().oneshot(request));

        sender.send(Ok(Frame::data("half, ".into()))).await.unwrap();
        until(|| serving.calls() > 0).await;
        assert_eq!(refusing.calls(), 1);
        sender.send(Ok(Frame::data("whole".into()))).await.unwrap();
        drop(sender);
        let answer = call.await.unwrap().unwrap();
        assert_eq!(answer.body().instance(), &serving_seldom);
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "half, whole");
    }
}

/// How a connection goes on that has taken the head of a request and a part of its body.
type Breaks = fn(Frames) -> std::pin::Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

#[tokio::test]
async fn a_stream_that_broke_half_sent_continues_elsewhere_with_its_trailers() {
    let refuses: Breaks = |mut frames| {
        Box::pin(async move {
            frames.send(RST_STREAM, 0, 1, &[0, 0, 0, 7]).await?;
            frames.linger().await
        })
    };
    let hangs_up: Breaks = |_| Box::pin(std::future::ready(Ok(())));
    for (method, breaks) in [("POST", refuses), ("PUT", hangs_up)] {
        let naming = InProcess::new();
        let broken = Broken::serving(http_client_h2(), move |connection| async move {
            let mut frames = connection.frames().await?;
            frames.request().await?;
            frames.pass(DATA).await?;
            breaks(frames).await
        })
        .await;
        naming.register(&orders(), &Instance::new(broken.addr.into())).await.unwrap();
        let working = Running::start(&naming, ANY, 1, echo()).await;
        working.seldom(&naming).await;
        let [_, http2] = clients(&naming).await;

        let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Frame<Bytes>, Infallible>>(1);
        let body = StreamBody::new(ReceiverStream::new(receiver));
        let request = http::Request::builder().method(method).uri("/echo").body(body).unwrap();
        let call = tokio::spawn(http2.oneshot(request));
        sender.send(Ok(Frame::data("half, ".into()))).await.unwrap();
        until(|| working.calls() > 0).await;
        sender.send(Ok(Frame::data("whole".into()))).await.unwrap();
        let trailers = http::HeaderMap::from_iter([("sum".parse().unwrap(), "11".parse().unwrap())]);
        sender.send(Ok(Frame::trailers(trailers.clone()))).await.unwrap();
        drop(sender);
        let echoed = call.await.unwrap().unwrap().into_body().collect().await.unwrap();
        assert_eq!(echoed.trailers(), Some(&trailers));
        assert_eq!(echoed.to_bytes(), "half, whole");
    }
}

#[tokio::test]
async fn a_body_within_the_bound_is_sent_again_and_one_beyond_is_not_and_the_error_says_so() {
    const BOUND: usize = 64 * 1024;
    let send_twice = async |len: usize| {
        let breaking =
            Broken::serving(http_client(), async |mut connection| connection.request().await).await;
        let request = http::Request::put("/echo").body(Full::from(vec![b'x'; len])).unwrap();
        send(breaking, FailoverLayer::new(), request).await
    };
    let (seen, _) = send_twice(BOUND).await;
    assert_eq!(seen, served_after(1));
    let (seen, error) = send_twice(BOUND + 1).await;
    assert_eq!(seen, Seen { broken: 1, working: 0, end: End::Failed });
    let error = error.unwrap().to_string();
    assert!(error.ends_with("was not repeated: its body is over 64 KiB or 1024 frames"), "{error}");
}

#[tokio::test]
async fn an_answer_is_passed_on_as_it_comes() {
    for which in [0, 1] {
        let naming = InProcess::new();
        let (_running, pieces) = held(&naming).await;
        let client = clients::<String>(&naming).await;
        let request = http::Request::get("/held").body(String::new()).unwrap();
        let mut body = client[which].clone().oneshot(request).await.unwrap().into_body();
        for piece in ["first", "second"] {
            pieces.send(Ok(Frame::data(piece.into()))).await.unwrap(); // The next one is not even made.
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), piece);
        }
        drop(pieces);
        assert!(body.collect().await.unwrap().to_bytes().is_empty());
    }
}
