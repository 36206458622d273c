//! The stack as its users and its four layers see it.

use super::*;
use crate::model::UnixMillis;
use crate::naming::header::{CALLER, OFFLINE, REFUSED};
use crate::observe::Outcome;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, Response, StatusCode, Version};
use http_body::Body;
use http_body_util::BodyExt as _;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex};
use tokio_test::{assert_pending, assert_ready_ok, task};
use tower::{ServiceBuilder, ServiceExt as _, service_fn};
use tower_test::mock;

fn tag() -> OfflineTag {
    OfflineTag::new("10.0.0.7:8080".parse().unwrap(), UnixMillis::new(1))
}

#[tokio::test]
async fn a_refused_request_counts_as_traffic_but_does_not_start_the_warm_up() {
    let lifecycle = Lifecycle::new();
    let layer = GracefulLayer::new(lifecycle.clone(), &tag());
    let service = layer.layer(service_fn(async |_| Ok::<_, Infallible>(Response::new(()))));
    let call = || service.clone().oneshot(Request::get("/").body(()).unwrap());

    let refused = call().await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()[REFUSED], "?1");
    assert_eq!((layer.in_flight().begun(), layer.first_request().moment()), (1, None));

    lifecycle.serve();
    assert_eq!(call().await.unwrap().status(), StatusCode::OK);
    assert!(layer.first_request().moment().is_some());
    lifecycle.leave();
    assert_eq!(call().await.unwrap().headers()[OFFLINE], tag().to_value());
}

#[tokio::test]
async fn what_only_the_warm_up_ignores_is_traffic_and_stands_behind_the_gate() {
    let lifecycle = Lifecycle::new();
    let layer = GracefulLayer::new(lifecycle.clone(), &tag())
        .with_warm_up_ignored(ProbePaths::default().with("/ping"));
    let service = layer.layer(service_fn(async |_| Ok::<_, Infallible>(Response::new(()))));
    let call = |path: &str| service.clone().oneshot(Request::get(path).body(()).unwrap());
    assert_eq!(call("/ping").await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    lifecycle.serve();
    assert_eq!(call("/ping").await.unwrap().status(), StatusCode::OK);
    assert_eq!((layer.in_flight().begun(), layer.first_request().moment()), (2, None));
    call("/pong").await.unwrap();
    assert!(layer.first_request().moment().is_some());
}

/// A handler that hears and says words of other hops, answers with the status that it is asked for, and
/// fails when that is none.
fn answer(request: Request<u16>) -> Ready<Result<Response<String>, &'static str>> {
    let (heard, status) = request.into_parts();
    let answer = Response::builder().status(status);
    let answer = answer.header(OFFLINE, "\"10.0.0.9:80\";epoch=1").header(REFUSED, "?1").header("age", "1");
    ready(answer.body(format!("{:?}", heard.headers)).map_err(|_| "broken"))
}

fn asked((path, version, status, grpc): (&str, Version, u16, bool)) -> Request<u16> {
    let kind = if grpc { "application/grpc" } else { "text/plain" };
    let asked = Request::post(path).version(version).header(CONTENT_TYPE, kind);
    asked.header(CALLER, "\"9f86d081884c7d65\"").body(status).unwrap()
}

#[tokio::test]
async fn the_stack_does_what_its_layers_do_one_around_the_other() {
    let handler = || service_fn(answer as fn(_) -> _);
    for gated in [true, false] {
        let lifecycle = Lifecycle::new();
        let layer = GracefulLayer::new(lifecycle.clone(), &tag()).with_gate(gated);
        let (in_flight, first) = (InFlight::new(), FirstRequest::new(Clock::system()));
        let gate = if gated { GateLayer::new(lifecycle.clone()) } else { GateLayer::open() };
        let nested = ServiceBuilder::new()
            .layer(DrainLayer::new(in_flight.clone()))
            .layer(OfflineLayer::new(lifecycle.clone(), &tag()))
            .layer(gate)
            .layer(WarmUpLayer::new(lifecycle.clone(), first.clone()))
            .service(handler());
        let stack = layer.layer(handler());
        for step in
            [None, Some(Lifecycle::serve as fn(&_) -> bool), Some(Lifecycle::leave), Some(Lifecycle::stop)]
        {
            step.map(|step| step(&lifecycle));
            for request in requests() {
                let expected = nested.clone().oneshot(asked(request)).await;
                let found = stack.clone().oneshot(asked(request)).await;
                let counted = |in_flight: &InFlight| (in_flight.begun(), in_flight.count());
                assert_eq!(counted(layer.in_flight()), counted(&in_flight), "{request:?}");
                assert_eq!(layer.first_request().moment().is_some(), first.moment().is_some(), "{request:?}");
                assert_eq!(shown(found).await, shown(expected).await, "{request:?}");
                assert_eq!(counted(layer.in_flight()), counted(&in_flight), "{request:?}");
                assert_eq!(in_flight.count(), 0);
            }
        }
    }
}

fn requests() -> impl Iterator<Item = (&'static str, Version, u16, bool)> {
    let versions = [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2];
    let kinds = versions.into_iter().flat_map(|version| [200, 101, 503, 0].map(|status| (version, status)));
    kinds.flat_map(|(version, status)| {
        [("/livez", false), ("/", false), ("/", true)].map(|(path, grpc)| (path, version, status, grpc))
    })
}

/// All that a client can see of an answer.
async fn shown(answer: Result<Response<impl Body<Data = Bytes, Error = Infallible>>, &str>) -> String {
    match answer {
        Ok(answer) => {
            let (parts, body) = answer.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            format!("{} {:?} {body:?}", parts.status, parts.headers)
        }
        Err(error) => error.to_owned(),
    }
}

#[tokio::test]
async fn a_request_counts_until_its_body_or_its_future_is_dropped() {
    let (inner, mut handler) = mock::pair::<Request<()>, Response<String>>();
    let lifecycle = Lifecycle::new();
    lifecycle.serve();
    let layer = GracefulLayer::new(lifecycle, &tag());
    let service = layer.layer(inner);
    handler.allow(2);
    let mut given_up = task::spawn(service.clone().oneshot(Request::new(())));
    let mut answered = task::spawn(service.oneshot(Request::new(())));
    assert!(given_up.poll().is_pending() && answered.poll().is_pending());
    assert_eq!(layer.in_flight().count(), 2);
    drop(given_up);
    assert_eq!(layer.in_flight().count(), 1);
    let _given_up = handler.next_request().await;
    handler.next_request().await.unwrap().1.send_response(Response::default());
    let body = answered.await.unwrap().into_body();
    assert_eq!(layer.in_flight().count(), 1);
    drop(body);
    assert_eq!(layer.in_flight().count(), 0);
}

#[tokio::test]
async fn a_handler_that_panics_ends_its_request() {
    let lifecycle = Lifecycle::new();
    lifecycle.serve();
    let layer = GracefulLayer::new(lifecycle, &tag());
    let panics = |_| -> Ready<Result<Response<()>, Infallible>> { panic!("oh") };
    let request = layer.layer(service_fn(panics)).oneshot(Request::new(()));
    assert!(tokio::spawn(request).await.unwrap_err().is_panic());
    assert_eq!((layer.in_flight().begun(), layer.in_flight().count()), (1, 0));
}

#[tokio::test]
async fn a_request_is_held_back_while_the_handler_is_not_ready() {
    let (inner, mut handler) = mock::pair::<Request<()>, Response<()>>();
    let mut service = task::spawn(GracefulLayer::new(Lifecycle::new(), &tag()).layer(inner));
    handler.allow(0);
    assert_pending!(service.enter(|cx, mut service| service.poll_ready(cx)));
    handler.allow(1);
    assert!(service.is_woken());
    assert_ready_ok!(service.enter(|cx, mut service| service.poll_ready(cx)));
}

#[derive(Debug, Default)]
struct Outcomes(Mutex<Vec<Outcome>>);

impl Observer for Outcomes {
    fn answered(&self, outcome: Outcome) {
        self.0.lock().unwrap().push(outcome);
    }
}

#[tokio::test]
async fn what_becomes_of_each_request_is_told_and_probes_are_none() {
    for gated in [true, false] {
        let (lifecycle, told) = (Lifecycle::new(), Arc::<Outcomes>::default());
        let layer = GracefulLayer::new(lifecycle.clone(), &tag()).with_gate(gated);
        let service = layer
            .with_observer(&"orders".parse().unwrap(), told.clone())
            .layer(service_fn(async |_| Ok::<_, Infallible>(Response::new(()))));
        let call = |path| service.clone().oneshot(Request::get(path).body(()).unwrap());
        for step in [None, Some(Lifecycle::serve as fn(&_) -> bool), Some(Lifecycle::leave)] {
            step.map(|step| step(&lifecycle));
            call("/").await.unwrap();
            call("/livez").await.unwrap();
        }
        let first = if gated { Outcome::RefusedStarting } else { Outcome::Served };
        assert_eq!(told.0.lock().unwrap()[..], [first, Outcome::Served, Outcome::AfterOffline]);
    }
}

#[tokio::test]
async fn a_start_that_is_broken_off_refuses_and_tells_of_it() {
    let (lifecycle, told) = (Lifecycle::new(), Arc::<Outcomes>::default());
    let layer = GracefulLayer::new(lifecycle.clone(), &tag());
    let service = layer
        .with_observer(&"orders".parse().unwrap(), told.clone())
        .layer(service_fn(async |_| Ok::<_, Infallible>(Response::new(()))));
    lifecycle.leave();
    let refusal = service.oneshot(Request::get("/").body(()).unwrap()).await.unwrap();
    assert!(refusal.headers().contains_key(REFUSED) && refusal.headers().contains_key(OFFLINE));
    assert_eq!(told.0.lock().unwrap()[..], [Outcome::RefusedLeaving]);
}

#[tokio::test]
async fn without_a_gate_requests_are_handled_before_the_process_serves() {
    let layer = GracefulLayer::new(Lifecycle::new(), &tag()).with_gate(false);
    let service = layer.layer(service_fn(async |_| Ok::<_, Infallible>(Response::new(()))));
    let answer = service.oneshot(Request::get("/").body(()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(layer.first_request().moment(), None);
}

/// A body whose end is not in sight.
#[cfg(feature = "serve")]
#[derive(Debug, Default)]
struct Endless;

#[cfg(feature = "serve")]
impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(http_body::Frame::data(Bytes::from_static(b"more")))))
    }
}

#[cfg(feature = "serve")]
#[tokio::test]
async fn what_takes_long_has_a_name_until_its_body_has_ended() {
    let lifecycle = Lifecycle::new();
    lifecycle.serve();
    let layer = GracefulLayer::new(lifecycle, &tag()).with_in_flight(InFlight::named());
    let in_flight = layer.in_flight().clone();
    let names = || in_flight.names().unwrap().oldest(tokio::time::Instant::now(), 9).len();
    let streams = layer.layer(service_fn(async |_| Ok::<_, Infallible>(Response::new(Endless))));
    let answer = streams.oneshot(Request::get("/export").body(()).unwrap()).await.unwrap();
    assert_eq!(names(), 0, "it may be at its end soon");
    let mut body = answer.into_body();
    body.frame().await.unwrap().unwrap();
    body.frame().await.unwrap().unwrap();
    assert_eq!(names(), 1);
    drop(body);
    assert_eq!(names(), 0);

    let waits = layer
        .layer(service_fn(|_: Request<()>| std::future::pending::<Result<Response<Endless>, Infallible>>()));
    let mut call = task::spawn(waits.oneshot(Request::get("/report").body(()).unwrap()));
    assert_pending!(call.poll());
    assert_eq!((names(), in_flight.count()), (1, 1));
    drop(call);
    assert_eq!((names(), in_flight.count()), (0, 0));
}
