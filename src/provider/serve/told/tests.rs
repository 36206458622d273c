//! Who is told when, by the requests and flushes of real services.

use super::*;
use http::HeaderValue;
use std::convert::Infallible;
use std::future::ready;
use tower::{ServiceExt as _, service_fn};

fn wire() -> Arc<Wire> {
    Arc::new(Wire::new(None))
}

fn callers() -> Callers {
    Callers::new(Duration::from_secs(3))
}

/// Calls on `wire`; the answer carries the tag if `tagged`, and says that its connection ends.
async fn call(callers: &Callers, wire: &Arc<Wire>, caller: Option<u64>, tagged: bool) {
    call_at(callers, wire, caller, tagged, "/").await;
}

async fn call_at(callers: &Callers, wire: &Arc<Wire>, caller: Option<u64>, tagged: bool, path: &str) {
    let inner = service_fn(move |_| {
        let mut response = Response::new(());
        if tagged {
            response.headers_mut().insert(OFFLINE, HeaderValue::from_static("\"10.0.0.7:80\";epoch=1"));
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        ready(Ok::<_, Infallible>(response))
    });
    let mut request = Request::get(path).body(()).unwrap();
    if let Some(id) = caller {
        request
            .headers_mut()
            .insert(CALLER, CallerTag { id, app: "storefront".to_owned(), notice: None }.to_value());
    }
    callers.follow(wire, ProbePaths::default(), inner).oneshot(request).await.unwrap();
}

#[tokio::test]
async fn a_caller_is_told_once_a_tagged_answer_has_gone_out() {
    let (callers, wire) = (callers(), wire());
    call(&callers, &wire, Some(7), false).await;
    wire.flush();
    assert_eq!(callers.untold(), 1, "the answer had no tag");
    call(&callers, &wire, Some(7), true).await;
    assert_eq!(callers.untold(), 1, "the answer is still queued");
    wire.flush();
    assert_eq!(callers.untold(), 0);
    call(&callers, &wire, Some(7), true).await;
    assert_eq!(callers.untold(), 0, "who knows does not forget");
}

#[tokio::test]
async fn a_process_is_told_on_any_of_its_connections_and_outlives_them() {
    let (callers, first, second) = (callers(), wire(), wire());
    call(&callers, &first, Some(7), false).await;
    first.close();
    assert_eq!(callers.untold(), 1);
    call(&callers, &second, Some(7), true).await;
    second.close();
    assert_eq!(callers.untold(), 0);
}

#[tokio::test]
async fn a_caller_without_a_name_is_its_connection() {
    let (callers, first, second) = (callers(), wire(), wire());
    call(&callers, &first, None, false).await;
    call(&callers, &second, None, false).await;
    assert_eq!(callers.untold(), 2);
    first.close();
    assert_eq!(callers.untold(), 1);
    call(&callers, &second, None, true).await; // Enters the book as another connection, and is told.
    second.flush();
    assert_eq!(callers.untold(), 1);
}

#[tokio::test]
async fn who_does_not_read_tags_is_told_by_the_end_of_its_connection() {
    let inner = service_fn(async |_| Response::builder().header(OFFLINE, "\"10.0.0.7:80\"").body(()));
    for (version, caller, untold) in
        [(Version::HTTP_11, false, 1), (Version::HTTP_2, false, 0), (Version::HTTP_11, true, 0)]
    {
        let (callers, wire) = (callers(), wire());
        let mut request = Request::builder().version(version).body(()).unwrap();
        if caller {
            request.headers_mut().insert(CALLER, HeaderValue::from_static("\"9f86d081884c7d65\""));
        }
        callers.follow(&wire, ProbePaths::default(), inner).oneshot(request).await.unwrap();
        wire.flush();
        assert_eq!(callers.untold(), untold, "{version:?}, governed: {caller}");
    }
}

#[tokio::test]
async fn a_connection_that_was_upgraded_calls_no_more() {
    let (callers, wire) = (callers(), wire());
    let inner = service_fn(async |_| Response::builder().status(101).body(()));
    let upgrade = Request::get("/").body(()).unwrap();
    callers.follow(&wire, ProbePaths::default(), inner).oneshot(upgrade).await.unwrap();
    assert_eq!(callers.untold(), 0);
}

#[tokio::test]
async fn who_has_not_called_within_the_cache_time_is_forgotten() {
    let (callers, wire) = (callers(), wire());
    call(&callers, &wire, Some(7), false).await;
    for _ in 0..3 {
        callers.tick();
        assert_eq!(callers.untold(), 1);
    }
    callers.tick();
    assert_eq!(callers.untold(), 0);
}

#[tokio::test]
async fn a_caller_is_remembered_from_its_last_call_on() {
    let (callers, wire) = (callers(), wire());
    let inner = service_fn(async |_| Ok::<_, Infallible>(Response::new(())));
    let service = callers.follow(&wire, ProbePaths::default(), inner);
    for _ in 0..5 {
        service.clone().oneshot(Request::new(())).await.unwrap();
        callers.tick();
        callers.tick();
        assert_eq!(callers.untold(), 1);
    }
}

#[tokio::test]
async fn probes_are_no_callers() {
    let (callers, wire) = (callers(), wire());
    call_at(&callers, &wire, None, false, "/livez").await;
    assert_eq!(callers.untold(), 0);
}
