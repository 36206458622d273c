//! The way out: what consumers, probes and operators see of it.

use super::*;

#[tokio::test]
async fn answers_of_a_leaving_provider_say_so_in_the_words_of_each_protocol() {
    let running = serve(orders().lame_duck_max(5000 * MS), hello()).await;
    let (mut old, mut new) = (running.http1().await, running.http2().await);
    assert!(!old.get("/").await.headers().contains_key(OFFLINE));
    assert!(!new.get("/").await.headers().contains_key(OFFLINE));
    running.shutdown.shut_down();
    running.handle.reached(Phase::Leaving).await;
    assert_eq!(running.ready().await.0, StatusCode::INTERNAL_SERVER_ERROR);

    let instance = &running.bound.instance;
    let tag = format!("\"{}\";epoch={};fade=0", instance.address(), instance.epoch().unwrap());
    let answer = old.get("/").await;
    assert_eq!(answer.headers()[OFFLINE], tag);
    assert_eq!(answer.headers()[header::CONNECTION], "close");
    assert_eq!(text(answer).await, "hello");
    let answer = new.get("/").await;
    assert_eq!(answer.headers()[OFFLINE], tag);
    assert!(!answer.headers().contains_key(header::CONNECTION));

    // GOAWAY without an error: the client's connection ends well, though its handle still lives.
    new.1.await.unwrap().unwrap();
    assert_eq!(running.listed().await, None);
    let report = running.report().await;
    assert!(report.is_clean() && report.untold_callers == 0, "{report}");
    assert_eq!(report.requests_after_signal, 2);
    assert!(report.lame_duck < 5000 * MS, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_request_is_lost_when_a_provider_leaves_under_load() {
    let running = serve(orders(), hello()).await;
    let answered = watch::Sender::new(0_u64);
    let mut clients = JoinSet::new();
    for caller in 1..=4 {
        clients.spawn(call_until_told(Client::Old(running.http1().await), caller, answered.clone()));
        clients.spawn(call_until_told(Client::New(running.http2().await), caller + 4, answered.clone()));
    }
    answered.subscribe().wait_for(|answered| *answered > 200).await.unwrap();
    running.shutdown.shut_down();
    clients.join_all().await;
    let report = running.report().await;
    assert!(report.is_clean() && report.untold_callers == 0, "{report}");
    assert!(report.lame_duck < 5000 * MS, "{report}");
}

enum Client {
    Old(Http1),
    New(Http2),
}

/// Calls as fast as it is answered, until an answer says that the provider leaves. Panics when a request is
/// lost.
async fn call_until_told(mut client: Client, caller: u64, answered: watch::Sender<u64>) {
    let caller = CallerTag { id: caller, app: "storefront".to_owned(), notice: None }.to_value();
    loop {
        let mut request = request("http://orders/");
        request.headers_mut().insert(CALLER, caller.clone());
        let answer = match &mut client {
            Client::Old(Http1(sender)) => sender.send_request(request).await.unwrap(),
            Client::New(Http2(sender, _)) => sender.send_request(request).await.unwrap(),
        };
        let told = answer.headers().contains_key(OFFLINE);
        assert_eq!(text(answer).await, "hello");
        answered.send_modify(|answered| *answered += 1);
        if told {
            return;
        }
    }
}

#[tokio::test]
async fn what_is_under_way_when_a_provider_leaves_is_answered() {
    let (router, arrived, release) = slow();
    let running = serve(orders(), router).await;
    let (mut old, mut new) = (running.http1().await, running.http2().await);
    let slow = tokio::spawn(async move { text(old.get("/slow").await).await });
    arrived.notified().await;
    let also_slow = tokio::spawn(async move { text(new.get("/slow").await).await });
    arrived.notified().await;
    assert_eq!(running.handle.in_flight(), 2);
    running.shutdown.shut_down();
    let drain = ask(running.bound.offline.unwrap(), "/offline?wait=100ms").await.1;
    assert!(drain.contains(r#""in_flight":2"#), "{drain}");
    release.notify_waiters();
    assert_eq!((slow.await.unwrap(), also_slow.await.unwrap()), ("slow".to_owned(), "slow".to_owned()));
    let report = running.report().await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.in_flight_at_signal, 2);
}

#[tokio::test]
async fn what_never_ends_is_cut_at_the_deadline_and_counted() {
    let endless = async || {
        let first = futures_util::stream::once(async { Ok::<_, Infallible>(Bytes::from_static(b"first")) });
        let endless = futures_util::stream::StreamExt::chain(first, futures_util::stream::pending());
        Body::from_stream(endless)
    };
    let builder = orders().lame_duck_max(100 * MS).drain_timeout(400 * MS);
    let running = serve(builder, hello().route("/endless", get(endless))).await;
    let mut half = TcpStream::connect(running.address()).await.unwrap();
    half.write_all(b"GET / HTTP/1.1\r\nhost: orders\r\nx-half").await.unwrap();
    let mut client = running.http1().await;
    let mut answer = client.get("/endless").await;
    answer.frame().await.unwrap().unwrap();
    running.shutdown.shut_down();
    assert!(answer.frame().await.unwrap().is_err());
    assert!(matches!(half.read(&mut [0; 1]).await, Ok(0) | Err(_)));
    let report = running.report().await;
    assert_eq!((report.cut_connections, report.is_clean()), (2, false));
    assert!(report.drain_time >= 400 * MS, "{report}");
}

#[tokio::test]
async fn a_rare_caller_is_waited_for_until_it_has_been_told() {
    let running = serve(orders(), hello()).await;
    let id = "\"9f86d081884c7d65\";app=\"storefront\"";
    let call = async |address| {
        let mut sender = handshake_http1(address).await;
        let mut request = request("/");
        request.headers_mut().insert(CALLER, id.parse().unwrap());
        sender.send_request(request).await.unwrap()
    };
    call(running.address()).await; // Its connection is gone; the process behind it will call again.
    running.shutdown.shut_down();
    // Eight times the quiet period without a request, and it is still waited for.
    let waiting = running.offline("?wait=400ms").await;
    assert!(waiting.contains(r#""phase":"leaving""#) && waiting.contains(r#""untold":1"#), "{waiting}");
    assert!(call(running.address()).await.headers().contains_key(OFFLINE));
    let report = running.report().await;
    assert!(report.is_clean() && report.untold_callers == 0, "{report}");
    assert!(400 * MS <= report.lame_duck && report.lame_duck < 10_000 * MS, "{report}");
}

#[tokio::test]
async fn a_caller_that_never_comes_back_is_waited_for_until_the_limit() {
    let running = serve(orders().lame_duck_max(300 * MS), hello()).await;
    let mut client = running.http2().await; // Without a name it is its connection.
    client.get("/").await;
    running.shutdown.shut_down();
    let report = running.report().await;
    assert!(report.lame_duck >= 300 * MS, "{report}");
    assert_eq!((report.untold_callers, report.is_clean()), (1, true));
}

#[tokio::test]
async fn who_is_ordered_offline_drains_and_stays_until_a_signal() {
    let running = serve(orders(), hello()).await;
    let drained = running.offline("?wait=10s").await;
    assert_eq!(drained, r#"{"phase":"leaving","in_flight":0,"left_ms":0,"untold":0}"#);
    assert_eq!(running.offline("").await, drained, "ordered again, nothing changes");
    assert_eq!(running.listed().await, None);
    let answer = running.http1().await.get("/").await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.headers().contains_key(OFFLINE));
    assert_eq!(running.ready().await.0, StatusCode::INTERNAL_SERVER_ERROR);
    running.shutdown.shut_down();
    let report = running.report().await;
    assert!(report.is_clean() && report.drain_time < 10_000 * MS, "{report}");
}

#[tokio::test]
async fn offline_ends_the_process_where_that_is_wanted() {
    let running = serve(orders().exit_after_offline(true), hello()).await;
    running.offline("").await;
    assert!(running.report().await.is_clean());
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let (router, arrived, _) = slow();
    let running = serve(orders(), router).await;
    let mut client = running.http1().await;
    let slow = tokio::spawn(async move { client.0.send_request(request("/slow")).await });
    arrived.notified().await;
    running.shutdown.shut_down();
    running.handle.reached(Phase::Leaving).await;
    running.shutdown.abort();
    let report = tokio::time::timeout(FAR, running.report()).await.unwrap();
    assert_eq!(report.cut_connections, 1);
    assert!(slow.await.unwrap().is_err());
}

#[tokio::test]
async fn a_registry_that_does_not_answer_holds_up_nothing() {
    let registry = Moody::new(Mood::Well);
    let builder = orders().registry(registry.clone()).lame_duck_max(200 * MS);
    let running = start_with(builder, registry.naming.clone(), hello()).await;
    running.handle.reached(Phase::Serving).await;
    registry.mood.send_replace(Mood::Deaf);
    running.shutdown.shut_down();
    let report = tokio::time::timeout(FAR, running.report()).await.unwrap();
    assert!(report.is_clean() && report.lame_duck >= 200 * MS, "{report}");
    assert!(report.drain_time < 1_500 * MS, "{report}");
}

#[tokio::test]
async fn words_for_one_hop_end_at_it() {
    let handler = async |headers: HeaderMap| {
        let seen = if headers.contains_key(CALLER) { "seen" } else { "not seen" };
        // As if taken over from an answer of its own backend.
        ([(OFFLINE, "\"10.0.0.9:80\";epoch=1"), (REFUSED, "?1")], seen)
    };
    let running = serve(orders(), Router::new().route("/", get(handler))).await;
    let mut request = request("/");
    request.headers_mut().insert(CALLER, "\"9f86d081884c7d65\"".parse().unwrap());
    let answer = running.http1().await.0.send_request(request).await.unwrap();
    assert!(!answer.headers().contains_key(OFFLINE) && !answer.headers().contains_key(REFUSED));
    assert_eq!(text(answer).await, "not seen");
    running.shutdown.abort();
    running.report().await;
}

#[tokio::test]
async fn a_registration_in_flight_ends_before_the_deregistration_begins() {
    let registry = Moody::new(Mood::Well);
    let running = start_with(orders().registry(registry.clone()), registry.naming.clone(), hello()).await;
    running.handle.reached(Phase::Serving).await;
    registry.mood.send_replace(Mood::Deaf);
    ask(running.address(), "/").await; // Starts the warm-up, which is written into the registration.
    while registry.asked.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(MS).await;
    }
    registry.mood.send_replace(Mood::Well); // For the next call; that one stays without an answer.
    running.shutdown.shut_down();
    while registry.deregistered.load(Ordering::SeqCst) < 1 {
        tokio::time::sleep(MS).await;
    }
    assert_eq!(registry.registering.load(Ordering::SeqCst), 0, "it would register the instance again");
    let naming = registry.naming.clone();
    assert!(running.report().await.is_clean());
    assert!(naming.subscribe(&service()).await.unwrap().latest().instances().is_empty());
}

#[tokio::test]
async fn an_answer_that_was_queued_reaches_a_slow_reader_whole() {
    const LENGTH: usize = 32 * 1024 * 1024;
    let long = Router::new().route("/", get(async || vec![b'x'; LENGTH]));
    let running = serve(orders().lame_duck_max(100 * MS), long).await;
    let mut client = TcpStream::connect(running.address()).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: orders\r\n\r\n").await.unwrap();
    client.readable().await.unwrap();
    while running.handle.in_flight() > 0 {
        tokio::task::yield_now().await; // The server drops a body when its last frame is queued.
    }
    running.shutdown.shut_down();
    running.handle.draining().await;
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert!(answer.len() > LENGTH && answer.ends_with(b"x"), "{} bytes came", answer.len());
    let report = running.report().await;
    assert!(report.is_clean(), "{report}");
}

#[tokio::test]
async fn an_http2_peer_that_never_answers_a_ping_is_cut_at_the_deadline() {
    let running = serve(orders().lame_duck_max(100 * MS).drain_timeout(300 * MS), hello()).await;
    let mut client = TcpStream::connect(running.address()).await.unwrap();
    let empty_settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    client.write_all(&empty_settings).await.unwrap();
    client.readable().await.unwrap();
    running.shutdown.shut_down();
    let report = tokio::time::timeout(FAR, running.report()).await.unwrap();
    assert_eq!((report.cut_connections, report.cut_requests), (1, 0), "{report}");
    assert!(report.drain_time >= 300 * MS, "{report}");
}

#[tokio::test]
async fn the_instance_is_taken_off_the_list_however_short_the_lame_duck_is() {
    for limit in [Duration::ZERO, 60 * MS, 200 * MS] {
        let running = serve(orders().lame_duck_max(limit), hello()).await;
        let mut rare = running.http1().await;
        rare.get("/").await; // It has not been told, and never will be.
        running.shutdown.shut_down();
        running.handle.reached(Phase::Stopped).await;
        assert_eq!(running.listed().await, None, "{limit:?}");
        let report = running.report().await;
        assert!(report.is_clean() && report.drain_time < 1_500 * MS, "{report}");
    }
}
