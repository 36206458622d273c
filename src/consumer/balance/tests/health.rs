//! What becomes of calls to instances that cannot be connected to, and what a view shows.

use super::*;

/// A fleet whose instances can be connected to, or not, by their ports; it counts who is dialled.
#[derive(Clone, Default)]
pub(super) struct Net {
    down: Arc<Mutex<Vec<u16>>>,
    dialled: Arc<Mutex<Vec<u16>>>,
}

impl Net {
    pub(super) fn balance(&self, snapshots: Snapshots) -> Balance<Dialled> {
        let net = self.clone();
        Balance::new(snapshots, move |instance| Dialled { port: instance.address().port(), net: net.clone() })
    }

    /// How often a port was dialled since this was last asked.
    fn dialled(&self, port: u16) -> usize {
        self.dialled.lock().unwrap().drain(..).filter(|&dialled| dialled == port).count()
    }
}

#[derive(Clone)]
pub(super) struct Dialled {
    port: u16,
    net: Net,
}

impl Service<Request<()>> for Dialled {
    type Response = Response<u16>;
    type Error = BoxError;
    type Future = std::future::Ready<Result<Response<u16>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        let Self { port, net } = self;
        net.dialled.lock().unwrap().push(*port);
        let down = net.down.lock().unwrap().contains(port);
        std::future::ready(if down {
            Err(NoConnection::new("refused").into())
        } else {
            Ok(Response::new(*port))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_cannot_be_connected_to_costs_one_call_for_each_wait_and_returns_with_the_first_answer() {
    let net = Net::default();
    let mut balance = net.balance(fixed(&[instance(1, 1), instance(2, 2)]));
    net.down.lock().unwrap().push(1);
    for _ in 0..10_000 {
        let _ = balance.call(Request::new(())).await;
        advance(Duration::from_millis(10)).await;
    }
    // In 100 s: the first call, and trials after waits of 1, 2, 4, 8, 16 and 30 s, of which chance leaves half.
    let dialled = net.dialled(1);
    assert!((6..=10).contains(&dialled), "{dialled}");
    net.down.lock().unwrap().clear();
    advance(Duration::from_secs(30)).await;
    for _ in 0..1000 {
        balance.call(Request::new(())).await.unwrap();
    }
    assert!((400..600).contains(&net.dialled(1)));
}

#[tokio::test(start_paused = true)]
async fn the_only_instance_is_dialled_on_every_call_however_often_that_fails() {
    let net = Net::default();
    let mut balance = net.balance(fixed(&[instance(1, 1)]));
    net.down.lock().unwrap().push(1);
    for _ in 0..100 {
        let error = balance.call(Request::new(())).await.unwrap_err();
        assert!(error.is::<InstanceError>());
    }
    assert_eq!(net.dialled(1), 100);
    net.down.lock().unwrap().clear();
    balance.call(Request::new(())).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_service_that_cannot_connect_to_get_ready_is_put_aside_too() {
    #[derive(Clone)]
    struct Unready(u16);

    impl Service<Request<()>> for Unready {
        type Response = Response<()>;
        type Error = BoxError;
        type Future = std::future::Ready<Result<Response<()>, BoxError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(if self.0 == 1 { Err(NoConnection::new("refused").into()) } else { Ok(()) })
        }

        fn call(&mut self, _: Request<()>) -> Self::Future {
            std::future::ready(Ok(Response::new(())))
        }
    }
    let list = [instance(1, 1), instance(2, 2)];
    let mut balance = Balance::new(fixed(&list), |instance| Unready(instance.address().port()));
    let mut failed = 0;
    for _ in 0..1000 {
        failed += usize::from(balance.call(Request::new(())).await.is_err());
    }
    assert_eq!(failed, 1);
}

#[tokio::test(start_paused = true)]
async fn without_tower_a_pick_says_what_became_of_it() {
    let balance = Balance::new(fixed(&[instance(1, 1), instance(2, 2)]), |_| ());
    let port = |pick: &Pick<()>| pick.instance().address().port();
    let pick = std::iter::repeat_with(|| balance.pick().unwrap()).find(|pick| port(pick) == 1).unwrap();
    pick.unreachable();
    assert!((0..100).all(|_| port(&balance.pick().unwrap()) == 2));
    advance(Duration::from_secs(1)).await;
    let trial = balance.pick().unwrap();
    assert_eq!(port(&trial), 1);
    trial.finish(http::StatusCode::OK, &mut http::HeaderMap::new());
    assert!((0..100).any(|_| port(&balance.pick().unwrap()) == 1));
}

#[tokio::test(start_paused = true)]
async fn a_view_shows_each_instance_that_is_listed_with_its_state_and_cause() {
    let with = |port, entries: &[(&str, &str)]| {
        let metadata: Metadata = entries.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        Instance::new(format!("10.0.0.7:{port}").parse().unwrap()).with_metadata(metadata)
    };
    let list = [
        instance(1, 1),
        with(2, &[(key::WARM_UP, "100"), (key::WARM_UP_EXPONENT, "1"), (key::WARM_UP_START, "1")]),
        with(3, &[(key::LEAVING, "1;20")]),
        with(4, &[(key::LEAVING, "1;0")]),
        instance(5, 5),
        Instance { healthy: false, ..instance(6, 6) },
        Instance { enabled: false, ..instance(7, 7) },
        with(8, &[("zone", "far")]),
        with(9, &[(key::WARM_UP, "100")]),
    ];
    let (publisher, snapshots) = Publisher::new("orders".parse().unwrap());
    publish(&publisher, 1, &[]);
    let layer = BalanceLayer::new(snapshots).with_max_amplification(None).unwrap();
    let layer = layer.with_filter(|instance| instance.metadata.get("zone") != Some("far"));
    let balance = layer.over(|_| ());
    publish(&publisher, 2, &list);
    let pick = std::iter::repeat_with(|| balance.pick().unwrap());
    let refused = pick.take(1000).find(|pick| pick.instance().address().port() == 5).unwrap();
    refused.unreachable();
    advance(Duration::from_secs(10)).await;
    drop(std::iter::repeat_with(|| balance.pick().unwrap()).take(3).collect::<Vec<_>>()); // The trial is among them.
    let expected = [
        (State::Warm, 1.0, ""),
        (State::Warming, 0.1, "warm in 90.0s"),
        (State::Fading, 0.5, "leaves in 10.0s"),
        (State::Aside, 0.0, "leaves"),
        (State::Failing, 1.0, "no connection for 10.0s (failure 1); next trial in 10.0s"),
        (State::Unhealthy, 1.0, "unhealthy in the registry"),
        (State::Disabled, 1.0, "disabled in the registry"),
        (State::Outside, 0.0, "outside the balancer's subset"),
        (State::Warming, 0.01, "its warm-up has not begun"),
    ];
    let view = balance.view();
    let seen =
        view.instances.iter().map(|it| (it.state, (it.factor * 100.0).round() / 100.0, it.cause.as_str()));
    assert_eq!(seen.collect::<Vec<_>>(), expected);
    let shares: Vec<f64> = view.instances.iter().map(|it| (it.share * 161.0).round()).collect();
    assert_eq!(shares, [100.0, 10.0, 50.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    assert_eq!(view.instances[4].in_flight, 1, "the refused pick is still held");
    let (table, line) = (view.to_string(), "10.0.0.7:5 ");
    assert_eq!(table.lines().count(), 2 + list.len(), "{table}");
    let line = table.lines().find(|shown| shown.starts_with(line)).unwrap();
    let words: Vec<&str> = line.split_whitespace().take(7).collect();
    assert_eq!(words, ["10.0.0.7:5", "5", "1", "1.000", "0.00%", "1", "failing"]);
}

#[tokio::test(start_paused = true)]
async fn a_view_says_when_someone_is_used_for_want_of_better() {
    let net = Net::default();
    let mut balance = net.balance(fixed(&[instance(1, 1)]));
    net.down.lock().unwrap().push(1);
    let _ = balance.call(Request::new(())).await;
    let view = balance.view();
    assert_eq!((view.instances[0].state, view.instances[0].share), (State::Failing, 1.0));
    assert!(view.instances[0].cause.ends_with("; in use all the same, for nobody better is left"), "{view}");
}
