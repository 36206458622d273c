//! The way in: what a provider does until it serves, and how a start ends that must not be.

use super::*;
use tower_graceful::Nacos;

#[tokio::test]
async fn a_provider_refuses_until_it_is_listed_and_says_what_it_waits_for() {
    let registry = Moody::new(Mood::Away);
    let builder = orders().registry(registry.clone()).metadata("zone", "a");
    let running = start_with(builder, registry.naming.clone(), hello()).await;
    let mut client = running.http1().await;
    let refused = client.get("/").await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()[REFUSED], "?1");
    assert_eq!(refused.headers()[header::RETRY_AFTER], "1");
    assert_eq!(client.get("/livez").await.status(), StatusCode::OK);
    while registry.asked.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(MS).await;
    }
    let (status, said) = running.ready().await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    let waiting =
        r#"{"ready":false,"phase":"starting","waiting_for":"the registry to take the registration","#;
    assert!(said.starts_with(waiting) && said.contains("connection refused"), "{said}");

    registry.mood.send_replace(Mood::Well);
    running.handle.reached(Phase::Serving).await;
    assert_eq!(running.ready().await, (StatusCode::OK, r#"{"ready":true,"phase":"serving"}"#.to_owned()));
    assert_eq!(text(client.get("/").await).await, "hello");
    let listed = running.listed().await.unwrap();
    assert!(listed.is_governed() && listed.epoch().is_some());
    assert_eq!(listed.metadata.get("zone"), Some("a"));
    assert_eq!(WarmUp::from_metadata(&listed.metadata), Some(WarmUp::default()));

    drop(client); // Open, it would be a caller that has not been told.
    running.shutdown.shut_down();
    assert!(running.report().await.is_clean());
}

#[tokio::test]
async fn a_provider_says_that_the_registry_does_not_let_it_in() {
    let port = listen().await;
    let address = port.local_addr().unwrap();
    let closed = Router::new().fallback(async || (StatusCode::FORBIDDEN, "unknown user!"));
    let gate = tokio::spawn(axum::serve(port, closed).into_future());
    let nacos = Nacos::builder(&address.to_string()).user("orders", "guessed").connect().unwrap();
    let running = start_with(orders().registry(nacos), InProcess::new(), hello()).await;
    let said = format!("the registry at {address} does not let user ");
    let shown = async {
        loop {
            let (status, body) = running.ready().await;
            assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
            if body.contains(&said) && body.contains("unknown user!") {
                return body;
            }
            tokio::time::sleep(MS).await;
        }
    };
    let body = tokio::time::timeout(FAR, shown).await.unwrap();
    assert!(!body.contains("guessed"), "{body}");
    running.shutdown.abort();
    running.report().await;
    gate.abort();
}

#[tokio::test]
async fn the_first_real_request_starts_the_warm_up_once_the_registry_hears_of_it() {
    let (clock, hand) = Clock::manual(UnixMillis::new(1_000));
    let registry = Moody::new(Mood::Well);
    let builder = orders().registry(registry.clone()).clock(clock);
    let running = start_with(builder, registry.naming.clone(), hello()).await;
    running.handle.reached(Phase::Serving).await;
    assert_eq!(running.listed().await.unwrap().epoch(), Some(UnixMillis::new(1_000)));

    registry.mood.send_replace(Mood::Away);
    hand.set(UnixMillis::new(2_000));
    let mut client = running.http1().await;
    assert_eq!(text(client.get("/livez").await).await, "alive");
    hand.set(UnixMillis::new(3_000));
    assert_eq!(text(client.get("/").await).await, "hello");
    hand.set(UnixMillis::new(4_000));
    while registry.asked.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(MS).await;
    }
    registry.mood.send_replace(Mood::Well);
    let warming = running.listed_when(|instance| instance.metadata.get(key::WARM_UP_START).is_some()).await;
    assert_eq!(warming.metadata.get(key::WARM_UP_START), Some("3000"));
    drop(client);
    running.shutdown.shut_down();
    assert!(running.report().await.is_clean());
}

#[tokio::test]
async fn a_warm_up_that_registration_starts_is_in_the_registration() {
    let curve = WarmUp::default().with_clock(WarmUpClock::Registration).unwrap();
    let (clock, _) = Clock::manual(UnixMillis::new(7));
    let running = serve(orders().warm_up(curve).clock(clock), hello()).await;
    assert_eq!(running.listed().await.unwrap().metadata.get(key::WARM_UP_START), Some("7"));
    running.shutdown.abort();
    running.report().await;
}

#[tokio::test]
async fn without_a_registry_a_provider_is_ready_at_once_and_leaves_as_well() {
    let builder = orders().without_offline();
    let provider = builder.build().unwrap();
    let (handle, shutdown) = (provider.handle(), provider.shutdown_handle());
    let serving = tokio::spawn(provider.serve(listen().await, hello()));
    handle.reached(Phase::Serving).await;
    assert_eq!(handle.bound().await.unwrap().offline, None);
    shutdown.shut_down();
    assert!(serving.await.unwrap().unwrap().is_clean());
}

#[tokio::test]
async fn a_signal_during_the_start_ends_it() {
    let registry = Moody::new(Mood::Away);
    let running = start_with(orders().registry(registry.clone()), registry.naming.clone(), hello()).await;
    running.shutdown.shut_down();
    assert_eq!(running.handle.reached(Phase::Serving).await, Phase::Leaving);
    assert!(running.report().await.is_clean());
    assert_eq!(
        registry.deregistered.load(Ordering::SeqCst),
        1,
        "what may have been registered is taken back"
    );
}

#[tokio::test]
async fn a_registration_that_can_never_be_is_an_error() {
    let registry = Moody::new(Mood::NeverAgain);
    let provider = orders().registry(registry).build().unwrap();
    let error = provider.serve(listen().await, hello()).await.unwrap_err();
    assert!(matches!(error, ServeError::Registration(naming::Error::Invalid { .. })), "{error}");
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_names_the_setting() {
    let taken = listen().await;
    let address = taken.local_addr().unwrap();
    for (builder, setting) in [
        (orders().readiness_bind(address), "readiness_bind"),
        (orders().offline_bind(address), "offline_bind"),
    ] {
        let provider = builder.build().unwrap();
        let handle = provider.handle();
        let error = provider.serve(listen().await, hello()).await.unwrap_err().to_string();
        assert!(error.contains(setting) && error.contains(&address.to_string()), "{error}");
        assert_eq!((handle.phase(), handle.bound().await), (Phase::Stopped, None));
    }
}
