//! An instance's life as our client lives it with our registry, over real sockets.

use crate::registry::{Running, SOON};
use axum::Router;
use axum::body::Body;
use axum::routing::get;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, ServiceExt};
use tower_graceful::client::Nacos;
use tower_graceful::consumer::{BalanceLayer, GracefulClientLayer, NoInstance, http_client};
use tower_graceful::model::{Instance, Metadata, Phase, ServiceKey, Snapshot};
use tower_graceful::naming::{Error, Register, Snapshots};
use tower_graceful::provider::Provider;

fn orders() -> ServiceKey {
    "orders".parse().unwrap()
}

fn instance(port: u16) -> Instance {
    Instance::new(format!("10.0.0.7:{port}").parse().unwrap())
}

fn client_of(registry: &Running) -> Nacos {
    Nacos::builder(&registry.http.to_string()).app("storefront").connect().unwrap()
}

async fn until(snapshots: &mut Snapshots, condition: impl FnMut(&Snapshot) -> bool) {
    let waited = timeout(SOON, snapshots.wait_for(condition)).await;
    assert!(waited.is_ok(), "still {snapshots:?}");
}

fn lists(snapshot: &Snapshot, ports: &[u16]) -> bool {
    snapshot.instances().iter().map(|instance| instance.address().port()).eq(ports.iter().copied())
}

#[tokio::test]
async fn an_instance_comes_changes_and_goes_before_the_eyes_of_its_consumers() {
    let registry = Running::start().await;
    let (provider, consumer) = (client_of(&registry), client_of(&registry));
    let mut seen = consumer.subscribe("orders").await.unwrap();
    assert!(seen.latest().instances().is_empty(), "nobody has registered it yet");

    provider.register(&orders(), &instance(1)).await.unwrap();
    until(&mut seen, |list| lists(list, &[1])).await;

    let warm = instance(1).with_metadata(Metadata::from_iter([("graceful.warmup.start", "1")]));
    provider.register(&orders(), &warm).await.unwrap();
    until(&mut seen, |list| list.instances() == [warm.clone()]).await;

    provider.register(&orders(), &instance(2)).await.unwrap();
    until(&mut seen, |list| lists(list, &[1, 2])).await;

    provider.deregister(&orders(), &instance(1).key).await.unwrap();
    until(&mut seen, |list| lists(list, &[2])).await;
    provider.deregister(&orders(), &instance(2).key).await.unwrap();
    let fresh = client_of(&registry);
    assert!(fresh.subscribe("orders").await.unwrap().latest().instances().is_empty());
    for client in [provider, consumer, fresh] {
        client.close(SOON).await.unwrap();
    }
    registry.stop().await;
}

#[tokio::test]
async fn a_refusal_comes_in_the_registrys_own_words() {
    let registry = Running::start().await;
    let builder = Nacos::builder(&registry.http.to_string()).metadata_chars_max(usize::MAX);
    let nacos = builder.connect().unwrap();
    let long = instance(1).with_metadata(Metadata::from_iter([("zone", "x".repeat(70_000))]));
    let refused = nacos.register(&orders(), &long).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Refused { code: 400, message } if message.contains("65536")),
        "{refused}"
    );
    nacos.register(&orders(), &instance(1)).await.unwrap();
    nacos.close(SOON).await.unwrap();
    registry.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_restarts_gets_back_what_it_had_and_consumers_notice_nothing() {
    let registry = Running::start().await;
    let http = registry.http;
    let (provider, consumer) = (client_of(&registry), client_of(&registry));
    provider.register(&orders(), &instance(1)).await.unwrap();
    provider.register(&orders(), &instance(2)).await.unwrap();
    let mut seen = consumer.subscribe("orders").await.unwrap();
    until(&mut seen, |list| lists(list, &[1, 2])).await;
    let mut all = seen.clone();
    let watching = tokio::spawn(async move {
        loop {
            let list = all.changed().await;
            assert!(lists(&list, &[1, 2]) || lists(&list, &[1, 2, 3]), "{list:?}");
        }
    });

    registry.stop().await;
    let registry = Running::start_on(http.port()).await;
    let fresh = client_of(&registry);
    let mut anew = fresh.subscribe("orders").await.unwrap();
    until(&mut anew, |list| lists(list, &[1, 2])).await;
    provider.register(&orders(), &instance(3)).await.unwrap();
    until(&mut anew, |list| lists(list, &[1, 2, 3])).await;
    until(&mut seen, |list| lists(list, &[1, 2, 3])).await;
    watching.abort();
    assert!(watching.await.is_err_and(|ended| ended.is_cancelled()), "no other list was ever seen");
    for client in [provider, consumer, fresh] {
        client.close(SOON).await.unwrap();
    }
    registry.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_one_of_two_registries_is_killed_its_clients_go_to_the_other() {
    let (one, other) = (Running::start().await, Running::start().await);
    let nacos = Nacos::builder(&format!("{},{}", one.http, other.http)).connect().unwrap();
    nacos.register(&orders(), &instance(1)).await.unwrap();
    let mut seen = nacos.subscribe("orders").await.unwrap();
    let list = "/instance/list?serviceName=orders";
    let at_one = one.send("GET", list, "").await.1.contains("10.0.0.7");
    let (lost, left) = if at_one { (one, other) } else { (other, one) };
    assert!(!left.send("GET", list, "").await.1.contains("10.0.0.7"), "it is at one of them");

    lost.kill().await;
    let listed = async {
        while !left.send("GET", list, "").await.1.contains("10.0.0.7") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, listed).await.expect("it is registered with the other");
    assert!(lists(&seen.latest(), &[1]), "{seen:?}");
    left.send("POST", "/instance?serviceName=orders&ip=10.0.0.7&port=2", "").await;
    until(&mut seen, |list| lists(list, &[1, 2])).await;
    nacos.close(SOON).await.unwrap();
    left.stop().await;
}

#[tokio::test]
async fn what_was_deregistered_while_the_registry_was_away_stays_away() {
    let registry = Running::start().await;
    let http = registry.http;
    let timeout = Duration::from_millis(200);
    let provider = Nacos::builder(&http.to_string()).request_timeout(timeout).connect().unwrap();
    provider.register(&orders(), &instance(1)).await.unwrap();
    provider.register(&"ledger".parse().unwrap(), &instance(1)).await.unwrap();
    registry.stop().await;
    let away = provider.deregister(&orders(), &instance(1).key).await;
    assert!(matches!(away, Err(Error::Unavailable { .. })), "{away:?}");

    let registry = Running::start_on(http.port()).await;
    let fresh = client_of(&registry);
    let mut ledger = fresh.subscribe("ledger").await.unwrap();
    until(&mut ledger, |list| lists(list, &[1])).await; // The provider is back.
    assert!(fresh.subscribe("orders").await.unwrap().latest().instances().is_empty());
    provider.close(SOON).await.unwrap();
    fresh.close(SOON).await.unwrap();
    registry.stop().await;
}

#[tokio::test]
async fn a_client_that_closes_or_is_dropped_takes_its_instances_with_it() {
    let registry = Running::start().await;
    let (closed, dropped, stays) = (client_of(&registry), client_of(&registry), client_of(&registry));
    for (client, port) in [(&closed, 1), (&dropped, 2), (&stays, 3)] {
        client.register(&orders(), &instance(port)).await.unwrap();
    }
    let mut seen = stays.subscribe("orders").await.unwrap();
    assert!(lists(&seen.latest(), &[1, 2, 3]));
    closed.close(SOON).await.unwrap();
    until(&mut seen, |list| lists(list, &[2, 3])).await;
    drop(dropped);
    until(&mut seen, |list| lists(list, &[3])).await;
    stays.close(SOON).await.unwrap();
    registry.stop().await;
}

/// A consumer loses its only instance by order of somebody else: soon enough that hardly a request is sent to
/// it any more, however few instances are left.
#[tokio::test(flavor = "multi_thread")]
async fn the_only_instance_is_gone_within_100_milliseconds_of_its_deregistration() {
    let registry = Running::start().await;
    let (provider, consumer) = (client_of(&registry), client_of(&registry));
    let mut seen = consumer.subscribe("orders").await.unwrap();
    let mut took = Vec::new();
    for round in 0..7 {
        provider.register(&orders(), &instance(1)).await.unwrap();
        until(&mut seen, |list| lists(list, &[1])).await;
        let began = Instant::now();
        provider.deregister(&orders(), &instance(1).key).await.unwrap();
        until(&mut seen, |list| lists(list, &[])).await;
        took.push(began.elapsed());

        let http = "/instance?serviceName=orders&ip=10.0.0.7&port=1";
        registry.send("POST", http, "").await;
        until(&mut seen, |list| lists(list, &[1])).await;
        let began = Instant::now();
        // In turn: taken off, and hidden.
        if round % 2 == 0 {
            registry.send("DELETE", http, "").await;
        } else {
            registry.send("POST", http, "enabled=false").await;
        }
        until(&mut seen, |list| lists(list, &[])).await;
        took.push(began.elapsed());
        registry.send("DELETE", http, "").await;
    }
    took.sort();
    let (median, longest) = (took[took.len() / 2], took[took.len() - 1]);
    println!("median {median:?}, longest {longest:?}");
    assert!(median < Duration::from_millis(100), "{took:?}"); // Others may hold up a few of them.
    for client in [provider, consumer] {
        client.close(SOON).await.unwrap();
    }
    registry.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_goes_to_the_only_instance_once_it_is_disabled() {
    let registry = Running::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = tokio::spawn(async move {
        axum::serve(listener, Router::new().route("/", get(async || "an order"))).await.unwrap();
    });
    let http = format!("/instance?serviceName=orders&ip=127.0.0.1&port={port}");
    registry.send("POST", &http, "").await;
    let consumer = client_of(&registry);
    let mut seen = consumer.subscribe("orders").await.unwrap();
    let balance = BalanceLayer::new(seen.clone()).with_wait(Duration::ZERO).layer(http_client());
    let ask = || balance.clone().oneshot(http::Request::get("http://orders/").body(Body::empty()).unwrap());
    assert!(ask().await.unwrap().status().is_success());

    registry.send("POST", &http, "enabled=false").await;
    until(&mut seen, |list| list.instances().is_empty()).await;
    let error = ask().await.unwrap_err();
    let nobody = error.downcast_ref::<NoInstance>().expect("nothing was sent");
    assert_eq!((nobody.service(), nobody.listed()), (&orders(), 0));
    assert!(nobody.snapshot_age().is_some_and(|age| age < SOON));
    let said = error.to_string();
    assert!(said.contains("@@orders") && said.contains("waited") && said.contains("old"), "{said}");

    registry.send("POST", &http, "enabled=true").await;
    until(&mut seen, |list| !list.instances().is_empty()).await;
    assert!(ask().await.unwrap().status().is_success());
    served.abort();
    consumer.close(SOON).await.unwrap();
    registry.stop().await;
}

/// The instance is registered over HTTP, and nobody sends heartbeats that would bring it back.
#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_killed_and_comes_back_with_nothing_empties_no_list() {
    let registry = Running::start().await;
    let port = registry.http.port();
    registry.send("POST", "/instance?serviceName=orders&ip=10.0.0.7&port=1", "").await;
    let consumer = client_of(&registry);
    let mut seen = consumer.subscribe("orders").await.unwrap();
    let first = seen.latest().revision();
    assert!(lists(&seen.latest(), &[1]));
    assert_eq!(seen.away_for(), None);
    registry.kill().await;
    let is_away = async {
        while seen.away_for().is_none() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(SOON, is_away).await.expect("readers of lists learn that the registry is away");

    let registry = Running::start_on(port).await;
    // The consumer has asked the registry that knows nobody, and heard so.
    until(&mut seen, |list| list.revision() > first).await;
    assert!(lists(&seen.latest(), &[1]), "{seen:?}");
    assert_eq!(seen.away_for(), None);
    let provider = client_of(&registry);
    provider.register(&orders(), &instance(2)).await.unwrap();
    until(&mut seen, |list| lists(list, &[1, 2])).await;
    registry.send("POST", "/instance?serviceName=orders&ip=10.0.0.7&port=1", "").await;
    registry.send("DELETE", "/instance?serviceName=orders&ip=10.0.0.7&port=1", "").await;
    until(&mut seen, |list| lists(list, &[2])).await;
    for client in [provider, consumer] {
        client.close(SOON).await.unwrap();
    }
    registry.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_starts_without_a_registry_from_what_its_last_process_knew() {
    let files = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("snapshot-files");
    let registry = Running::start().await;
    let http = registry.http;
    let start = || {
        let builder = Nacos::builder(&http.to_string()).snapshot_files(&files);
        builder.request_timeout(Duration::from_millis(200)).connect().unwrap()
    };
    let provider = client_of(&registry);
    provider.register(&orders(), &instance(1)).await.unwrap();
    let before = start();
    assert!(lists(&before.subscribe("orders").await.unwrap().latest(), &[1]));
    before.close(SOON).await.unwrap();
    provider.close(SOON).await.unwrap(); // Nobody told the file.
    registry.kill().await;

    let after = start();
    let began = Instant::now();
    let mut seen = after.subscribe("orders").await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(200) && lists(&seen.latest(), &[1]), "{seen:?}");
    let registry = Running::start_on(http.port()).await;
    let provider = client_of(&registry);
    provider.register(&orders(), &instance(2)).await.unwrap();
    until(&mut seen, |list| lists(list, &[2])).await;
    for client in [provider, after] {
        client.close(SOON).await.unwrap();
    }
    registry.stop().await;
    std::fs::remove_dir_all(files).unwrap();
}

#[tokio::test]
async fn a_provider_does_not_wait_for_a_rare_caller_that_has_acknowledged_its_going() {
    let registry = Running::start().await;
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let builder = Provider::builder("orders").registry(client_of(&registry)).without_signals();
    let builder = builder.readiness_bind(any).offline_bind(any).quiet_period(Duration::from_millis(50));
    let provider = builder.build().unwrap();
    let (handle, shutdown) = (provider.handle(), provider.shutdown_handle());
    let router = Router::new().route("/", get(async || "hello"));
    let serving = tokio::spawn(provider.serve(TcpListener::bind(any).await.unwrap(), router));
    handle.reached(Phase::Serving).await;

    let consumer = client_of(&registry);
    let mut seen = consumer.subscribe("orders").await.unwrap();
    let orders = GracefulClientLayer::new(seen.clone()).layer(http_client());
    let request = http::Request::get("http://orders/").body(Body::empty()).unwrap();
    let answer = timeout(SOON, orders.oneshot(request)).await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    drop(answer);
    shutdown.shut_down();
    let report = serving.await.unwrap().unwrap();
    assert_eq!(report.untold_callers, 0, "{report}");
    assert!(report.lame_duck < Duration::from_secs(5), "it never called again: {report}");
    until(&mut seen, |list| list.instances().is_empty()).await;
}
