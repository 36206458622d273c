//! What balancing, and the provider's layers, ask of the heap in one call: nothing.
//!
//! Benchmarks time; what can be counted is counted here.

use allocation_counter::measure;
use http::{HeaderValue, Request, Response};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use tower::{Layer, Service};
use tower_graceful::consumer::{Balance, BalanceLayer, GoodbyeLayer};
use tower_graceful::model::{Instance, Metadata, UnixMillis, key};
use tower_graceful::naming::Snapshots;
use tower_graceful::naming::header::OfflineTag;
use tower_graceful::observe::Metrics;
use tower_graceful::provider::{GracefulLayer, Lifecycle};

/// Answers at once, and without a word.
#[derive(Clone)]
struct Silent;

impl Service<Request<()>> for Silent {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Ok(Response::new(())))
    }
}

fn fleet(governed: bool) -> Snapshots {
    let entries: &[(&str, &str)] = if governed { &[(key::VERSION, "0.1.0"), (key::EPOCH, "5")] } else { &[] };
    let metadata = Metadata::from_iter(entries.to_vec());
    let instance = |port: u16| Instance::new(format!("10.0.0.7:{port}").parse().unwrap());
    let instances = (1..=10).map(|port| instance(port).with_metadata(metadata.clone()));
    Snapshots::fixed("orders".parse().unwrap(), instances.collect())
}

/// A request as HTTP clients see it, with a header or two.
fn request() -> Request<()> {
    let mut request = Request::get("/orders/7?full=true").body(()).unwrap();
    request.headers_mut().insert("accept", HeaderValue::from_static("*/*"));
    request.headers_mut().insert("user-agent", HeaderValue::from_static("storefront"));
    request
}

/// The allocations of calls by clones of `service`; the first one may warm up.
fn allocations<S: Service<Request<()>> + Clone>(service: &S) -> u64 {
    let requests: Vec<_> = (0..100).map(|_| request()).collect();
    let mut call = |request| {
        let mut service = service.clone();
        let answer = pin!(service.call(request));
        assert!(answer.poll(&mut Context::from_waker(Waker::noop())).is_ready());
    };
    call(request());
    measure(|| requests.into_iter().for_each(&mut call)).count_total
}

#[test]
fn a_call_through_the_balancer_asks_the_heap_for_nothing() {
    for governed in [false, true] {
        let one_each = Balance::new(fleet(governed), |_| Silent);
        assert_eq!(allocations(&one_each), 0, "governed: {governed}");
        let over_one = BalanceLayer::new(fleet(governed)).layer(Silent);
        assert_eq!(allocations(&over_one), 0, "over one client, governed: {governed}");
        assert_eq!(
            allocations(&GoodbyeLayer::new().layer(over_one)),
            0,
            "with goodbye, governed: {governed}"
        );
    }
}

#[test]
fn a_choice_asks_the_heap_for_nothing() {
    let balance = Balance::new(fleet(true), |_| ());
    balance.pick().unwrap();
    let choices = || (0..100).for_each(|_| drop(balance.pick()));
    assert_eq!(measure(choices).count_total, 0);
    assert_eq!(measure(|| assert!(balance.sample(|_| ()).is_ok())).count_total, 0);
}

#[test]
fn metrics_of_a_choice_ask_the_heap_for_nothing() {
    let layer = BalanceLayer::new(fleet(true)).with_observer(Metrics::alone());
    let balance = layer.over(|_| ());
    balance.pick().unwrap();
    let choices = || (0..100).for_each(|_| drop(balance.pick()));
    assert_eq!(measure(choices).count_total, 0);
}

#[test]
fn a_request_through_the_layers_of_a_provider_asks_the_heap_for_nothing() {
    let lifecycle = Lifecycle::new();
    let tag = OfflineTag::new("10.0.0.7:8080".parse().unwrap(), UnixMillis::new(5));
    let layers = GracefulLayer::new(lifecycle.clone(), &tag);
    let observed = layers.clone().with_observer(&"orders".parse().unwrap(), Metrics::alone());
    lifecycle.serve();
    assert_eq!(allocations(&layers.layer(Silent)), 0);
    assert_eq!(allocations(&observed.layer(Silent)), 0, "observed");
}
