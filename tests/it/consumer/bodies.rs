//! What becomes of bodies when a request is sent again.

use super::*;

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
        while serving.calls() == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(refusing.calls(), 1);
        sender.send(Ok(Frame::data("whole".into()))).await.unwrap();
        drop(sender);
        let answer = call.await.unwrap().unwrap();
        assert_eq!(answer.body().instance(), &serving_seldom);
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "half, whole");
    }
}
