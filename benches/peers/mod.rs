//! Whom the benchmarks compare with, over the same instances in memory.

#![allow(dead_code, reason = "each benchmark uses its part")]

use http::{Request, Response};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use tower::balance::p2c::Balance;
use tower::discover::ServiceList;
use tower::load::{CompleteOnResponse, PendingRequests};
use tower_service::Service;

/// An instance in memory, which answers at once.
#[derive(Clone, Debug)]
pub(crate) struct InMemory;

impl<B> Service<Request<B>> for InMemory {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        drop(black_box(request));
        ready(Ok(Response::new(())))
    }
}

/// tower's balancer, which chooses by the calls under way: the one that most Rust programs have.
pub(crate) type P2c = Balance<ServiceList<Vec<PendingRequests<InMemory>>>, Request<()>>;

pub(crate) fn p2c(n: usize) -> P2c {
    let services = vec![InMemory; n].into_iter();
    let services = services.map(|service| PendingRequests::new(service, CompleteOnResponse::default()));
    Balance::new(ServiceList::new::<Request<()>>(services.collect()))
}

/// One call of a service that is ready and answers at once, without a runtime.
pub(crate) fn call<S: Service<Request<B>>, B>(service: &mut S, request: Request<B>) {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    let answer = pin!(service.call(request));
    let Poll::Ready(answer) = answer.poll(&mut cx) else { panic!("an instance in memory answers at once") };
    drop(black_box(answer));
}

/// What one writes by hand: each in its turn, whatever its load and warmth.
#[derive(Debug)]
pub(crate) struct RoundRobin<S> {
    services: Vec<S>,
    next: AtomicUsize,
}

impl<S> RoundRobin<S> {
    pub(crate) fn new(services: Vec<S>) -> Self {
        Self { services, next: AtomicUsize::new(0) }
    }

    pub(crate) fn next(&self) -> &S {
        &self.services[self.next.fetch_add(1, Ordering::Relaxed) % self.services.len()]
    }
}
