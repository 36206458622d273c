//! Many services in one process, under paused time.

use super::*;
use crate::consumer::balance::{BalanceLayer, ResponseBody};
use crate::consumer::{BoxError, NoInstance, ReplayBody};
use crate::model::{Instance, ServiceKey};
use crate::naming::{BoxFuture, Error, InProcess, Register, Snapshots, Subscribe};
use http::{Request, Response};
use std::future::{Ready, ready};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;
use tower::util::ServiceFn;
use tower::{Layer, Service, ServiceExt, service_fn};

/// A registry that counts subscriptions, holds them back while it has no permits, and may refuse them.
#[derive(Clone, Debug)]
struct Registry {
    naming: InProcess,
    subscribed: Arc<AtomicUsize>,
    permits: Arc<Semaphore>,
    refused: &'static str,
}

impl Registry {
    async fn with(services: impl IntoIterator<Item = &str>) -> Self {
        let naming = InProcess::new();
        for (number, service) in services.into_iter().enumerate() {
            let instance = Instance::new(format!("10.0.0.{number}:80").parse().unwrap());
            naming.register(&service.parse().unwrap(), &instance).await.unwrap();
        }
        let permits = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        Self { naming, subscribed: Arc::default(), permits, refused: "" }
    }

    fn subscribed(&self) -> usize {
        self.subscribed.load(Ordering::Relaxed)
    }
}

impl Subscribe for Registry {
    fn subscribe<'a>(&'a self, service: &'a ServiceKey) -> BoxFuture<'a, Result<Snapshots, Error>> {
        Box::pin(async move {
            self.subscribed.fetch_add(1, Ordering::Relaxed);
            self.permits.acquire().await.unwrap().forget();
            if service.name.as_str() == self.refused {
                return Err(Error::Refused { code: 403, message: "not for you".into() });
            }
            self.naming.subscribe(service).await
        })
    }
}

type Answer = Result<Response<String>, BoxError>;
type Client = fn(Request<ReplayBody<String>>) -> Ready<Answer>;

/// Answers with the URI that would be dialled.
fn client() -> ServiceFn<Client> {
    service_fn(|request| ready(Ok(Response::new(request.uri().to_string()))))
}

fn get(uri: &str) -> Request<String> {
    Request::get(uri).body(String::new()).unwrap()
}

/// Where a request for `uri` would go.
async fn dialled<S>(services: &GracefulClients<S>, uri: &str) -> Result<String, BoxError>
where
    GracefulClients<S>: Service<Request<String>, Response = Response<ResponseBody<String>>, Error = BoxError>,
{
    let answer = services.clone().oneshot(get(uri)).await?;
    Ok(answer.body().get_ref().clone())
}

fn reason(error: &BoxError) -> &Reason {
    error.downcast_ref::<Unresolved>().unwrap().reason()
}

#[tokio::test]
async fn the_host_says_which_service_is_called() {
    let registry = Registry::with(["orders", "payments"]).await;
    let services = GracefulClients::new(registry.clone(), client());
    for _ in 0..3 {
        assert_eq!(dialled(&services, "http://orders/7?a=b").await.unwrap(), "http://10.0.0.0:80/7?a=b");
        assert_eq!(dialled(&services, "http://payments:8080/").await.unwrap(), "http://10.0.0.1:80/");
    }
    assert_eq!(registry.subscribed(), 2);
}

#[tokio::test(start_paused = true)]
async fn calls_that_come_at_once_subscribe_once() {
    let mut registry = Registry::with(["orders"]).await;
    registry.permits = Arc::new(Semaphore::new(0));
    let services = GracefulClients::new(registry.clone(), client());
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..10 {
        calls.spawn(services.clone().oneshot(get("http://orders/")));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    registry.permits.add_permits(1);
    for answer in calls.join_all().await {
        assert!(answer.is_ok());
    }
    assert_eq!(registry.subscribed(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_everybodys_who_waited_and_is_asked_for_again_by_the_next() {
    let mut registry = Registry::with([]).await;
    registry.permits = Arc::new(Semaphore::new(0));
    registry.refused = "orders";
    let services = GracefulClients::new(registry.clone(), client());
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..10 {
        calls.spawn(services.clone().oneshot(get("http://orders/")));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    registry.permits.add_permits(10);
    for answer in calls.join_all().await {
        let error = answer.unwrap_err();
        assert!(matches!(reason(&error), Reason::Registry { source: Error::Refused { code: 403, .. }, .. }));
    }
    assert_eq!(registry.subscribed(), 1);
    dialled(&services, "http://orders/").await.unwrap_err();
    assert_eq!(registry.subscribed(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_leaves_the_subscription_to_the_next_in_line() {
    let mut registry = Registry::with(["orders"]).await;
    registry.permits = Arc::new(Semaphore::new(0));
    let services = GracefulClients::new(registry.clone(), client());
    let mut first = tokio_test::task::spawn(services.clone().oneshot(get("http://orders/")));
    tokio_test::assert_pending!(first.poll());
    let mut second = tokio_test::task::spawn(services.clone().oneshot(get("http://orders/")));
    tokio_test::assert_pending!(second.poll());
    drop(first);
    assert!(second.is_woken());
    registry.permits.add_permits(1);
    assert!(second.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_list_that_does_not_come_is_not_waited_for_longer_than_the_bound() {
    let mut registry = Registry::with(["orders"]).await;
    registry.permits = Arc::new(Semaphore::new(0));
    let services = GracefulClients::new(registry, client());
    let started = tokio::time::Instant::now();
    let error = dialled(&services, "http://orders/").await.unwrap_err();
    assert_eq!(started.elapsed(), Duration::from_secs(5));
    assert!(matches!(reason(&error), Reason::TooLate { .. }), "{error}");
}

#[tokio::test]
async fn what_is_no_service_takes_no_room() {
    let one = NonZeroUsize::MIN;
    let registry = Registry::with(["orders"]).await;
    let services = GracefulClientsLayer::new(registry.clone()).with_services_max(one).layer(client());
    let error = dialled(&services, "/orders").await.unwrap_err();
    assert!(matches!(reason(&error), Reason::NoHost), "{error}");
    let long = format!("http://{}/", "x".repeat(513));
    for uri in ["http://10.0.0.7:8080/", "http://[::1]/", &long] {
        let error = dialled(&services, uri).await.unwrap_err();
        assert!(matches!(reason(&error), Reason::NotAService { .. }), "{error}");
        assert!(error.to_string().len() < 300, "{error}");
    }
    assert_eq!(registry.subscribed(), 0);
    dialled(&services, "http://orders/").await.unwrap();
}

#[tokio::test]
async fn groups_and_namespaces_are_given_by_a_function_of_the_host() {
    let registry = Registry::with(["shop@@orders", "test##shop@@orders"]).await;
    let layer = GracefulClientsLayer::new(registry.clone()).with_service_of(|host| {
        let (name, namespace) = host.split_once('.').unwrap_or((host, ""));
        Ok(format!("{namespace}##shop@@{name}").parse()?)
    });
    let services = layer.layer(client());
    assert_eq!(dialled(&services, "http://orders/").await.unwrap(), "http://10.0.0.0:80/");
    assert_eq!(dialled(&services, "http://orders.test/").await.unwrap(), "http://10.0.0.1:80/");
    assert_eq!(dialled(&services, "http://orders.public/").await.unwrap(), "http://10.0.0.0:80/");
    assert_eq!(registry.subscribed(), 2, "one service under two hosts is subscribed to once");
}

#[tokio::test]
async fn services_past_the_bound_are_refused_unless_others_have_nobody() {
    let two = NonZeroUsize::new(2).unwrap();
    let registry = Registry::with(["orders", "payments", "users"]).await;
    let at_once = |snapshots| BalanceLayer::new(snapshots).with_wait(Duration::ZERO).into();
    let layer = GracefulClientsLayer::new(registry).with_services_max(two).with_stack(at_once);
    let services = layer.layer(client());
    dialled(&services, "http://orders/").await.unwrap();
    let error = dialled(&services, "http://ordres/").await.unwrap_err();
    assert!(error.downcast_ref::<NoInstance>().is_some(), "{error}");
    dialled(&services, "http://payments/").await.unwrap();
    let error = dialled(&services, "http://users/").await.unwrap_err();
    assert_eq!(error.to_string(), "no room for public##DEFAULT_GROUP@@users: 2 services are in use");
    dialled(&services, "http://orders/").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn services_that_nobody_calls_are_given_up_when_another_is_called() {
    let registry = Registry::with(["orders", "payments", "users", "books"]).await;
    let services = GracefulClients::new(registry.clone(), client());
    let five_minutes = Duration::from_secs(300);
    for host in ["orders", "payments"] {
        dialled(&services, &format!("http://{host}/")).await.unwrap();
    }
    tokio::time::sleep(five_minutes).await;
    dialled(&services, "http://users/").await.unwrap(); // Both were used since the start.
    tokio::time::sleep(five_minutes).await;
    dialled(&services, "http://orders/").await.unwrap();
    dialled(&services, "http://books/").await.unwrap();
    assert_eq!(registry.subscribed(), 4);
    dialled(&services, "http://orders/").await.unwrap();
    assert_eq!(registry.subscribed(), 4);
    dialled(&services, "http://payments/").await.unwrap();
    assert_eq!(registry.subscribed(), 5);
}

#[tokio::test]
async fn each_instance_can_have_a_client_that_knows_its_service() {
    let registry = Registry::with(["orders", "payments"]).await;
    let services = GracefulClientsLayer::new(registry).over(|service, instance| {
        let told = format!("{} at {}", service.name, instance.address());
        service_fn(move |_: Request<_>| {
            let told = told.clone();
            async move { Ok::<_, BoxError>(Response::new(told)) }
        })
    });
    assert_eq!(dialled(&services, "http://payments/").await.unwrap(), "payments at 10.0.0.1:80");
}

#[cfg(feature = "tonic")]
#[tokio::test]
async fn tonic_clients_are_told_in_their_own_words() {
    let mut registry = Registry::with([]).await;
    registry.refused = "orders";
    let services = GracefulClients::new(registry, client());
    for (uri, code, words) in [
        ("http://orders/", tonic::Code::Unavailable, "not for you"),
        ("http://10.0.0.7/", tonic::Code::InvalidArgument, "10.0.0.7"),
    ] {
        let status = tonic::Status::from_error(dialled(&services, uri).await.unwrap_err());
        assert_eq!(status.code(), code);
        assert!(status.message().contains(words), "{}", status.message());
    }
}
