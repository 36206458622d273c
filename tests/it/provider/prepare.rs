//! Before a provider registers: what it waits for, how it calls itself, and when it counts as ready.

use super::greeter::{Friendly, GreeterClient, GreeterServer, anna};
use super::*;
use tokio::sync::oneshot;
use tonic::service::Routes;
use tower_graceful::BoxError;
use tower_graceful::provider::Oneself;

/// What readiness says while it waits for `what`.
fn waiting(phase: &str, what: &str) -> (StatusCode, String) {
    let said = format!(r#"{{"ready":false,"phase":"{phase}","waiting_for":"{what}","error":null}}"#);
    (StatusCode::INTERNAL_SERVER_ERROR, said)
}

/// Asks for readiness until it says `what`.
async fn ready_says(running: &Running, what: &(StatusCode, String)) {
    let said = async { while running.ready().await != *what {} };
    tokio::time::timeout(FAR, said).await.unwrap_or_else(|_| panic!("readiness never says {what:?}"));
}

#[tokio::test]
async fn nobody_hears_of_a_provider_before_it_is_prepared() {
    let (loaded, has_loaded) = oneshot::channel::<()>();
    let running = start(orders().register_when(|_| has_loaded), hello()).await;
    ready_says(&running, &waiting("starting", "the application to be prepared")).await;
    assert_eq!(ask(running.address(), "/").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(running.listed().await, None);
    loaded.send(()).unwrap();
    assert_eq!(running.handle.reached(Phase::Serving).await, Phase::Serving);
    assert!(running.listed().await.is_some());
    assert_eq!(running.ready().await.0, StatusCode::OK);
    running.shutdown.shut_down();
    assert!(running.report().await.is_clean());
}

#[tokio::test]
async fn a_provider_calls_itself_past_the_gate_and_that_is_no_traffic() {
    let greetings = Arc::new(AtomicU64::new(0));
    let counted = greetings.clone();
    let router = hello().route(
        "/count",
        get(async move || {
            counted.fetch_add(1, Ordering::SeqCst);
        }),
    );
    let routes = Routes::from(router).add_service(GreeterServer::new(Friendly));
    let warm = async |oneself: Oneself| {
        assert_eq!(oneself.get("/none").await?, StatusCode::NOT_FOUND);
        let mut greeter = GreeterClient::new(oneself.clone());
        assert_eq!(greeter.greet(anna()).await?.into_inner().words, "Hello, Anna!");
        assert!(oneself.until_warm("/count").await? >= 20);
        Ok::<_, BoxError>(())
    };
    let naming = InProcess::new();
    let provider = orders().registry(naming.clone()).register_when(warm).build().unwrap();
    let (handle, shutdown) = (provider.handle(), provider.shutdown_handle());
    let serving = tokio::spawn(provider.serve(listen().await, routes));
    assert_eq!(handle.reached(Phase::Serving).await, Phase::Serving);
    assert!(greetings.load(Ordering::SeqCst) >= 20);
    let listed = naming.subscribe(&service()).await.unwrap().latest();
    assert_eq!(listed.instances()[0].metadata.get(key::WARM_UP_START), None);
    shutdown.shut_down();
    let report = serving.await.unwrap().unwrap();
    assert!(report.is_clean() && report.lame_duck < 5_000 * MS, "{report}");
}

#[tokio::test]
async fn a_provider_that_cannot_be_prepared_does_not_serve() {
    let fails = async |oneself: Oneself| oneself.until_warm("/none").await;
    let panics = async |_: Oneself| -> Result<(), BoxError> { panic!("no cache") };
    for (builder, why) in
        [(orders().register_when(fails), "404"), (orders().register_when(panics), "panicked")]
    {
        let naming = InProcess::new();
        let provider = builder.registry(naming.clone()).build().unwrap();
        let error = provider.serve(listen().await, hello()).await.unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(matches!(error, ServeError::Preparation(_)) && cause.contains(why), "{error}: {cause}");
        assert!(naming.subscribe(&service()).await.unwrap().latest().instances().is_empty());
    }
}

#[tokio::test]
async fn a_signal_while_a_provider_prepares_drops_what_it_waits_for() {
    let (kept, dropped) = oneshot::channel::<()>();
    let hangs = async move |_: Oneself| {
        let _kept = kept;
        pending::<Result<(), BoxError>>().await
    };
    let running = start(orders().register_when(hangs), hello()).await;
    ready_says(&running, &waiting("starting", "the application to be prepared")).await;
    running.shutdown.shut_down();
    assert!(running.report().await.is_clean());
    assert!(tokio::time::timeout(FAR, dropped).await.unwrap().is_err());
}

#[tokio::test]
async fn a_registration_can_be_delayed_and_a_signal_ends_the_delay() {
    let began = tokio::time::Instant::now();
    let running = start(orders().register_after(300 * MS), hello()).await;
    ready_says(&running, &waiting("starting", "the delay before the registration")).await;
    assert_eq!(running.listed().await, None);
    running.handle.reached(Phase::Serving).await;
    assert!(began.elapsed() >= 300 * MS);
    running.shutdown.shut_down();
    assert!(running.report().await.is_clean());

    let running = start(orders().register_after(Duration::from_secs(600)), hello()).await;
    ready_says(&running, &waiting("starting", "the delay before the registration")).await;
    running.shutdown.shut_down();
    assert!(tokio::time::timeout(FAR, running.report()).await.unwrap().is_clean());
}

#[tokio::test]
async fn readiness_can_wait_until_the_warm_up_is_over_while_requests_are_served() {
    let curve = WarmUp::new(300 * MS).unwrap();
    let running = serve(orders().warm_up(curve).ready_after_warm_up(true), hello()).await;
    ready_says(&running, &waiting("serving", "the first request, which starts the warm-up")).await;
    assert!(running.listed().await.is_some());
    assert_eq!(ask(running.address(), "/").await, (StatusCode::OK, "hello".to_owned()));
    let called = tokio::time::Instant::now();
    ready_says(&running, &waiting("serving", "the warm-up to end")).await;
    ready_says(&running, &(StatusCode::OK, r#"{"ready":true,"phase":"serving"}"#.to_owned())).await;
    assert!(called.elapsed() >= 200 * MS, "{:?}", called.elapsed());
    running.shutdown.shut_down();
    assert!(running.report().await.is_clean());
}

#[tokio::test]
async fn a_warm_up_that_an_operator_shortens_while_it_runs_is_over_the_sooner() {
    let by_registration = WarmUp::default().with_clock(WarmUpClock::Registration).unwrap();
    let running = serve(orders().warm_up(by_registration).ready_after_warm_up(true), hello()).await;
    ready_says(&running, &waiting("serving", "the warm-up to end")).await;
    // The registry lists the instance with the operator's word in place of its own.
    let listed = running.listed().await.unwrap();
    let metadata = listed.metadata.with(key::WARM_UP, 0.05);
    running.naming.register(&service(), &listed.with_metadata(metadata)).await.unwrap();
    ready_says(&running, &(StatusCode::OK, r#"{"ready":true,"phase":"serving"}"#.to_owned())).await;
    running.shutdown.shut_down();
    assert!(running.report().await.is_clean());
}

#[tokio::test]
async fn a_signal_during_the_warm_up_ends_a_provider_that_is_not_ready_yet() {
    let by_registration = WarmUp::default().with_clock(WarmUpClock::Registration).unwrap();
    for (curve, what) in [
        (WarmUp::default(), "the first request, which starts the warm-up"),
        (by_registration, "the warm-up to end"),
    ] {
        let running = serve(orders().warm_up(curve).ready_after_warm_up(true), hello()).await;
        ready_says(&running, &waiting("serving", what)).await;
        running.shutdown.shut_down();
        running.handle.reached(Phase::Leaving).await;
        assert!(tokio::time::timeout(FAR, running.report()).await.unwrap().is_clean());
    }
}

#[tokio::test]
async fn a_registry_that_refuses_may_change_its_mind_and_until_then_readiness_says_why() {
    let registry = Moody::new(Mood::Refusing);
    let running = start_with(orders().registry(registry.clone()), registry.naming.clone(), hello()).await;
    while registry.asked.load(Ordering::SeqCst) < 3 {
        tokio::time::sleep(MS).await;
    }
    let (status, said) = running.ready().await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(said.contains("no such namespace"), "{said}");
    assert_eq!(ask(running.address(), "/").await.0, StatusCode::SERVICE_UNAVAILABLE);
    registry.mood.send_replace(Mood::Well);
    assert_eq!(running.handle.reached(Phase::Serving).await, Phase::Serving);
    running.shutdown.shut_down();
    assert!(running.report().await.is_clean());
}

#[tokio::test]
async fn without_a_gate_requests_are_served_while_the_registry_is_away() {
    let registry = Moody::new(Mood::Away);
    let builder = orders().gate(false).registry(registry.clone());
    let running = start_with(builder, registry.naming.clone(), hello()).await;
    assert_eq!(ask(running.address(), "/").await, (StatusCode::OK, "hello".to_owned()));
    assert_eq!(running.ready().await.0, StatusCode::INTERNAL_SERVER_ERROR);
    registry.mood.send_replace(Mood::Well);
    running.handle.reached(Phase::Serving).await;
    let start = running.listed().await.unwrap().metadata.get(key::WARM_UP_START).map(str::to_owned);
    assert_eq!(start, None, "it came before anybody was sent here");
    running.shutdown.shut_down();
    assert!(running.report().await.is_clean());
}
