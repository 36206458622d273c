//! Instances that stay, go, and start, as requests meet them.

use super::*;

#[tokio::test]
async fn requests_are_spread_over_all_instances() {
    let naming = InProcess::new();
    let fleet = [
        Running::start(&naming, ANY, 1, echo()).await,
        Running::start(&naming, ANY, 2, echo()).await,
        Running::start(&naming, ANY, 3, echo()).await,
    ];
    for client in clients(&naming).await {
        let before = fleet.each_ref().map(Running::calls);
        for number in 0..300 {
            let body = format!("order {number}");
            assert_eq!(echoed(&client, &body).await.unwrap(), body);
        }
        for (running, before) in fleet.iter().zip(before) {
            let share = running.calls() - before;
            assert!((60..140).contains(&share), "{share} of 300");
        }
    }
}

/// The registry still lists it; every request is sent where it can be handled, whatever its method.
#[tokio::test]
async fn an_instance_that_is_gone_costs_no_request() {
    let naming = InProcess::new();
    let _stays = Running::start(&naming, ANY, 1, echo()).await;
    for client in clients(&naming).await {
        let gone = Running::start(&naming, ANY, 2, echo()).await.kill().await;
        for number in 0..50 {
            let body = format!("order {number}");
            assert_eq!(echoed(&client, &body).await.unwrap(), body);
        }
        naming.deregister(&orders(), &gone.key).await.unwrap();
    }
}

/// A port whose queue is full answers as an address does that has vanished: not at all. It does so for as long
/// as what is returned beside it lives.
#[cfg(target_os = "linux")]
async fn vanished() -> (Instance, impl Sized) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(ANY.into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let connect =
        || tokio::time::timeout(Duration::from_millis(500), tokio::net::TcpStream::connect(address));
    let mut queue = Vec::new();
    while let Ok(waits) = connect().await {
        queue.push(waits.unwrap());
    }
    (Instance::new(address.into()), (listener, queue))
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_instance_that_has_vanished_costs_a_second_and_no_request() {
    let naming = InProcess::new();
    let stays = Running::start(&naming, ANY, 1, echo()).await;
    stays.seldom(&naming).await;
    let (vanished, _queue) = vanished().await;
    naming.register(&orders(), &vanished).await.unwrap();
    let order = async |client: &AnyClient| {
        let began = tokio::time::Instant::now();
        let request = http::Request::post("/echo").body("order".to_owned()).unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(10), client.clone().oneshot(request));
        let answer = answer.await.expect("a connection that is not made is given up").unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "order");
        began.elapsed()
    };
    let second = Duration::from_secs(1);
    let calls = clients_of_all_kinds(&naming).await.map(async |client| {
        let took = order(&client).await;
        assert!(second <= took && took < 3 * second, "{took:?}");
        let next = order(&client).await;
        assert!(next < second, "it is put aside: {next:?}");
    });
    futures_util::future::join_all(calls).await;
    assert_eq!(stays.calls(), 8, "no order is given twice");
}

#[tokio::test]
async fn when_all_are_gone_the_error_names_the_instance() {
    let naming = InProcess::new();
    let gone = Running::start(&naming, ANY, 1, echo()).await.kill().await;
    for client in clients(&naming).await {
        let error = echoed(&client, "order").await.unwrap_err();
        assert_eq!(error.downcast_ref::<InstanceError>().unwrap().instance(), &gone);
    }
}

#[tokio::test]
async fn who_says_goodbye_gets_no_further_request_and_its_successor_does() {
    for which in [0, 1] {
        let naming = InProcess::new();
        let _stays = Running::start(&naming, ANY, 1, echo()).await;
        let leaving = Running::start(
            &naming,
            ANY,
            2,
            echo().layer(axum::middleware::map_response(|answer: Response| {
                std::future::ready(([(OFFLINE, r#""127.0.0.1:1";epoch=2;fade=0"#)], answer))
            })),
        )
        .await;
        let client = &clients(&naming).await[which];
        for _ in 0..50 {
            echoed(client, "order").await.unwrap();
        }
        assert_eq!(leaving.calls(), 1);

        let addr = leaving.instance.address().socket_addr().unwrap();
        leaving.kill().await;
        let successor = Running::start(&naming, addr, 3, echo()).await;
        for _ in 0..50 {
            echoed(client, "order").await.unwrap();
        }
        assert!(successor.calls() > 5, "{}", successor.calls());
    }
}

#[tokio::test]
async fn a_call_counts_as_in_flight_until_its_answer_has_been_read() {
    let naming = InProcess::new();
    let _running = Running::start(&naming, ANY, 1, echo()).await;
    let snapshots = naming.subscribe(&orders()).await.unwrap();
    let balance = tower_graceful::consumer::BalanceLayer::new(snapshots).layer(http_client());
    let in_flight = || balance.pick().unwrap().in_flight() - 1;
    let answer = balance
        .clone()
        .oneshot(http::Request::post("/echo").body("order".to_owned()).unwrap())
        .await
        .unwrap();
    assert_eq!(in_flight(), 1);
    answer.into_body().collect().await.unwrap();
    assert_eq!(in_flight(), 0);
}
