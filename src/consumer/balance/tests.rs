mod health;

use super::*;
use crate::consumer::{HeaderTimeout, InstanceError, NoConnection, NoInstance};
use crate::model::{Instance, Metadata, Snapshot, UnixMillis, Weight, key};
use crate::naming::BoxError;
use crate::naming::header::{CALLER, CallerTag};
use crate::naming::{Publisher, Snapshots};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, assert_ready_ok, task};
use tower::service_fn;
use tower_layer::Layer;
use tower_service::Service;

fn instance(port: u16, epoch: u64) -> Instance {
    let metadata = [(key::EPOCH, epoch.to_string()), (key::VERSION, "1".to_owned())];
    Instance::new(format!("10.0.0.7:{port}").parse().unwrap()).with_metadata(Metadata::from_iter(metadata))
}

fn publish(publisher: &Publisher, revision: u64, instances: &[Instance]) {
    publisher.publish(Snapshot::new("orders".parse().unwrap(), revision, instances.to_vec()));
}

fn fixed(instances: &[Instance]) -> Snapshots {
    Snapshots::fixed("orders".parse().unwrap(), instances.to_vec())
}

/// One instance's service: answers with its port once it is open; a gate that is closed is not ready.
#[derive(Clone)]
struct Gated {
    port: u16,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    open: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
}

impl Gate {
    fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
        self.waiting.lock().unwrap().drain(..).for_each(Waker::wake);
    }
}

impl Service<Request<()>> for Gated {
    type Response = Response<u16>;
    type Error = std::io::Error;
    type Future = std::future::Ready<Result<Response<u16>, std::io::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.gate.waiting.lock().unwrap().push(cx.waker().clone());
        if self.gate.open.load(Ordering::SeqCst) { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        std::future::ready(Ok(Response::new(self.port)))
    }
}

#[tokio::test]
async fn a_call_waits_for_its_instance_to_be_ready() {
    let gate = Arc::<Gate>::default();
    let inner = gate.clone();
    let mut balance = Balance::new(fixed(&[instance(1, 1)]), move |instance| Gated {
        port: instance.address().port(),
        gate: inner.clone(),
    });
    assert_ready_ok!(task::spawn(()).enter(|cx, _| balance.poll_ready(cx)));
    let mut call = task::spawn(balance.call(Request::new(())));
    assert_pending!(call.poll());
    gate.open();
    assert!(call.is_woken());
    assert_eq!(*assert_ready_ok!(call.poll()).body().get_ref(), 1);
}

#[tokio::test]
async fn who_leaves_while_a_call_waits_for_it_does_not_get_it() {
    let (publisher, snapshots) = Publisher::new("orders".parse().unwrap());
    publish(&publisher, 1, &[instance(1, 1)]);
    let gate = Arc::<Gate>::default();
    let inner = gate.clone();
    let mut balance = Balance::new(snapshots, move |instance| Gated {
        port: instance.address().port(),
        gate: inner.clone(),
    });
    let mut call = task::spawn(balance.call(Request::new(())));
    assert_pending!(call.poll());
    publish(&publisher, 2, &[instance(2, 2)]);
    gate.open();
    assert_eq!(*assert_ready_ok!(call.poll()).body().get_ref(), 2);
}

#[tokio::test]
async fn a_call_does_not_wait_for_an_instance_that_has_gone() {
    let (publisher, snapshots) = Publisher::new("orders".parse().unwrap());
    publish(&publisher, 1, &[instance(1, 1)]);
    let mut balance = Balance::new(snapshots, |instance| {
        let (port, gate) = (instance.address().port(), Arc::<Gate>::default());
        gate.open.store(port == 2, Ordering::SeqCst);
        Gated { port, gate }
    });
    let mut call = task::spawn(balance.call(Request::new(())));
    assert_pending!(call.poll());
    publish(&publisher, 2, &[instance(1, 1), instance(2, 2)]);
    assert!(call.is_woken());
    assert_pending!(call.poll());
    publish(&publisher, 3, &[instance(2, 2)]);
    assert!(call.is_woken());
    assert_eq!(*assert_ready_ok!(call.poll()).body().get_ref(), 2);
}

#[tokio::test(start_paused = true)]
async fn instances_that_are_waited_for_in_turn_share_one_bound() {
    let (publisher, snapshots) = Publisher::new("orders".parse().unwrap());
    publish(&publisher, 1, &[instance(1, 1)]);
    let shut = |instance: &Instance| Gated { port: instance.address().port(), gate: Arc::default() };
    let layer = BalanceLayer::new(snapshots).with_header_timeout(Duration::from_secs(10));
    let mut balance = layer.over(shut);
    let mut call = task::spawn(balance.call(Request::new(())));
    for epoch in 2..=10 {
        assert_pending!(call.poll());
        advance(Duration::from_secs(1)).await;
        publish(&publisher, epoch, &[instance(1, epoch)]);
    }
    assert_pending!(call.poll());
    advance(Duration::from_secs(1)).await;
    let error = tokio_test::assert_ready_err!(call.poll());
    let causes = std::iter::successors(error.source(), |&error| error.source());
    assert_eq!(error.downcast_ref::<InstanceError>().unwrap().epoch(), Some(UnixMillis::new(10)));
    assert!(causes.into_iter().any(<dyn Error>::is::<HeaderTimeout>), "{error:?}");
}

#[derive(Clone, Debug)]
enum Step {
    /// A list with these: 0 is nobody at the address, otherwise the epoch.
    List([u64; 3]),
    Call,
    /// Lets the services at this port get ready, or none of them any more.
    Gate(u16, bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        prop::array::uniform3(0u64..=3).prop_map(Step::List),
        Just(Step::Call),
        (1u16..=3, any::<bool>()).prop_map(|(port, open)| Step::Gate(port, open)),
    ];
    prop::collection::vec(step, 1..60)
}

/// Ports and epochs, in the order in which calls were dispatched to them.
type Dispatched = Arc<Mutex<Vec<(u16, u64)>>>;

/// One incarnation's service, that all calls are written down of.
#[derive(Clone)]
struct Logged {
    gated: Gated,
    epoch: u64,
    log: Dispatched,
}

impl Service<Request<()>> for Logged {
    type Response = Response<(u16, u64)>;
    type Error = std::io::Error;
    type Future = std::future::Ready<Result<Self::Response, std::io::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), std::io::Error>> {
        self.gated.poll_ready(cx)
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        let who = (self.gated.port, self.epoch);
        self.log.lock().unwrap().push(who);
        std::future::ready(Ok(Response::new(who)))
    }
}

proptest! {
    /// However lists and readiness change between choice and dispatch.
    #[test]
    fn nobody_is_dispatched_to_who_has_gone_nor_under_the_name_of_another(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (publisher, snapshots) = Publisher::new("orders".parse().unwrap());
            let (gates, log) = ([(); 3].map(|()| Arc::<Gate>::default()), Dispatched::default());
            let (inner, shared) = (gates.clone(), log.clone());
            let mut balance = Balance::new(snapshots, move |instance| {
                let (port, epoch) = (instance.address().port(), instance.epoch().unwrap().as_u64());
                let gate = inner[usize::from(port) - 1].clone();
                Logged { gated: Gated { port, gate }, epoch, log: shared.clone() }
            });
            let (mut listed, mut revision, mut calls) = (Vec::new(), 0, Vec::new());
            for step in steps {
                match step {
                    Step::List(epochs) => {
                        listed = (1..).zip(epochs).filter(|(_, epoch)| *epoch > 0).collect();
                        let list: Vec<_> = listed.iter().map(|&(port, epoch)| instance(port, epoch)).collect();
                        revision += 1;
                        publish(&publisher, revision, &list);
                    }
                    Step::Call => calls.push(Some(task::spawn(balance.call(Request::new(()))))),
                    Step::Gate(port, true) => gates[usize::from(port) - 1].open(),
                    Step::Gate(port, false) => gates[usize::from(port) - 1].open.store(false, Ordering::SeqCst),
                }
                for place in &mut calls {
                    let Some(Poll::Ready(answer)) = place.as_mut().map(task::Spawn::poll) else {
                        continue;
                    };
                    *place = None;
                    let body = answer.unwrap().into_body();
                    let named = (body.instance().address().port(), body.instance().epoch().unwrap().as_u64());
                    prop_assert_eq!(&named, body.get_ref());
                }
                for dispatched in log.lock().unwrap().drain(..) {
                    prop_assert!(listed.contains(&dispatched), "{dispatched:?} of {listed:?}");
                }
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn an_error_names_the_instance_and_keeps_its_cause() {
    let mut balance = Balance::new(fixed(&[instance(1, 5)]), |_| {
        service_fn(async |_: Request<()>| Err::<Response<()>, _>(std::io::Error::other("torn")))
    });
    let error = balance.call(Request::new(())).await.unwrap_err();
    let error = error.downcast_ref::<InstanceError>().unwrap();
    assert_eq!(error.instance().address().port(), 1);
    assert_eq!(error.epoch(), Some(UnixMillis::new(5)));
    assert!(error.to_string().contains("10.0.0.7:1"), "{error}");
    let mut causes = std::iter::successors(error.source(), |&error| error.source());
    assert!(causes.any(|cause| cause.downcast_ref::<std::io::Error>().is_some()));
    assert_eq!(balance.pick().unwrap().in_flight(), 1, "only the pick itself");
}

#[tokio::test]
async fn a_call_is_in_flight_until_its_body_is_dropped_or_the_call_is() {
    let (answer, answered) = oneshot::channel();
    let answered = Arc::new(Mutex::new(Some(answered)));
    let mut balance = Balance::new(fixed(&[instance(1, 1)]), move |_| {
        let answered = answered.clone();
        service_fn(move |_: Request<()>| {
            let answered = answered.lock().unwrap().take();
            async move {
                match answered {
                    Some(answered) => Ok::<_, oneshot::error::RecvError>(Response::new(answered.await?)),
                    None => std::future::pending().await,
                }
            }
        })
    });
    let other = balance.clone();
    let in_flight = || other.pick().unwrap().in_flight() - 1;

    let mut call = task::spawn(balance.call(Request::new(())));
    assert_pending!(call.poll());
    assert_eq!(in_flight(), 1);
    let mut cancelled = task::spawn(balance.call(Request::new(())));
    assert_pending!(cancelled.poll());
    assert_eq!(in_flight(), 2, "clones count together");
    drop(cancelled);
    assert_eq!(in_flight(), 1);

    answer.send(Full::new(Bytes::from_static(b"hello"))).unwrap();
    let answer = assert_ready_ok!(call.poll());
    drop(call);
    assert_eq!(answer.body().instance().address().port(), 1);
    assert_eq!(in_flight(), 1, "the body has not ended");
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "hello");
    assert_eq!(in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn without_an_instance_a_call_waits_for_the_first_one() {
    let (publisher, snapshots) = Publisher::new("orders".parse().unwrap());
    let mut balance = Balance::new(snapshots, |_| {
        service_fn(async |_: Request<()>| Ok::<_, std::io::Error>(Response::new(())))
    });
    assert_eq!(balance.pick().unwrap_err().waited(), Duration::ZERO);
    let mut call = task::spawn(balance.call(Request::new(())));
    assert_pending!(call.poll());
    publish(&publisher, 1, &[Instance { enabled: false, ..instance(1, 1) }]);
    assert_pending!(call.poll());
    publish(&publisher, 2, &[instance(1, 1)]);
    assert!(call.is_woken());
    assert_ready_ok!(call.poll());
}

#[tokio::test(start_paused = true)]
async fn whoever_finds_nobody_asks_for_the_list_once() {
    let (publisher, snapshots) = Publisher::new("orders".parse().unwrap());
    let mut balance = health::Net::default().balance(snapshots);
    let mut call = task::spawn(balance.call(Request::new(())));
    assert_pending!(call.poll());
    tokio_test::assert_ready!(task::spawn(publisher.refresh_wanted()).poll());
    publish(&publisher, 1, &[]);
    assert!(call.is_woken());
    assert_pending!(call.poll());
    assert_pending!(task::spawn(publisher.refresh_wanted()).poll());
}

#[tokio::test(start_paused = true)]
async fn without_an_instance_a_call_fails_at_last_and_says_what_it_saw() {
    let (publisher, snapshots) = Publisher::new("orders".parse().unwrap());
    let balance = Balance::new(snapshots, |_| {
        service_fn(async |_: Request<()>| Ok::<_, std::io::Error>(Response::new(())))
    });
    let nobody = async || {
        let error = balance.clone().call(Request::new(())).await.unwrap_err();
        *error.downcast::<NoInstance>().unwrap()
    };
    let begun = Instant::now();
    let error = nobody().await;
    assert_eq!(begun.elapsed().as_secs(), 5);
    assert_eq!((error.waited().as_secs(), error.listed(), error.snapshot_age()), (5, 0, None));

    let mut list = vec![Instance { enabled: false, ..instance(1, 1) }, instance(0, 1)];
    list.extend((2..=6).map(|port| Instance { weight: Weight::NONE, ..instance(port, 1) }));
    publish(&publisher, 1, &list);
    advance(Duration::from_secs(2)).await;
    let error = nobody().await;
    assert_eq!((error.listed(), error.snapshot_age().unwrap().as_secs()), (7, 7));
    assert_eq!(error.service().name.as_str(), "orders");
    let said = "no instance of public##DEFAULT_GROUP@@orders takes traffic (waited 5s; the list is 7s \
                old and names 7, none in use; 10.0.0.7:0 is registered at port 0; 10.0.0.7:1 is disabled in the \
                registry; 10.0.0.7:2 is registered with weight 0; 10.0.0.7:3 is registered with weight 0; \
                10.0.0.7:4 is registered with weight 0; and 2 more)";
    assert_eq!(error.to_string(), said);
}

#[tokio::test(start_paused = true)]
async fn when_all_have_gone_before_a_retry_the_error_names_whom_it_was_sent_to() {
    let (publisher, snapshots) = Publisher::new("orders".parse().unwrap());
    publish(&publisher, 1, &[instance(1, 1)]);
    let publisher = Arc::new(publisher);
    let withdraw = move |_: &Instance| {
        let publisher = publisher.clone();
        service_fn(move |_: Request<_>| {
            publish(&publisher, 2, &[]);
            std::future::ready(Err::<Response<Full<Bytes>>, _>(BoxError::from(NoConnection::new("refused"))))
        })
    };
    let balance = Balance::new(snapshots, withdraw);
    let mut stack = crate::consumer::FailoverLayer::new().layer(balance);
    let error = stack.call(Request::new(Full::<Bytes>::default())).await.unwrap_err();
    let error = error.downcast::<NoInstance>().unwrap();
    assert_eq!(error.tried(), [instance(1, 1).address().clone()]);
    assert!(error.to_string().contains("tried 10.0.0.7:1 before; "), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_begin_ends_the_call_in_time() {
    let silent = |_: &Instance| {
        service_fn(|_: Request<()>| std::future::pending::<Result<Response<()>, std::io::Error>>())
    };
    let layer = BalanceLayer::new(fixed(&[instance(1, 1)]));
    let mut balance = layer.clone().with_header_timeout(Duration::from_secs(3)).over(silent);
    let begun = Instant::now();
    let error = balance.call(Request::new(())).await.unwrap_err();
    assert_eq!(begun.elapsed().as_secs(), 3);
    let error = error.downcast_ref::<InstanceError>().unwrap();
    let mut causes = std::iter::successors(error.source(), |&error| error.source());
    assert!(causes.any(|cause| cause.downcast_ref::<HeaderTimeout>().is_some()));

    let mut call = task::spawn(layer.with_header_timeout(None).over(silent).call(Request::new(())));
    assert_pending!(call.poll());
    advance(Duration::from_secs(1_000_000)).await;
    assert_pending!(call.poll());
}

#[tokio::test]
async fn governed_instances_learn_who_calls_and_others_do_not() {
    let ungoverned = Instance::new("10.0.0.7:2".parse().unwrap());
    for (instance, governed) in [(instance(1, 1), true), (ungoverned, false)] {
        let echo = |_: &Instance| {
            service_fn(async |request: Request<()>| {
                Ok::<_, std::io::Error>(Response::new(request.headers().get(CALLER).cloned()))
            })
        };
        let mut balance = BalanceLayer::new(fixed(&[instance])).with_app("storefront").over(echo);
        let mut request = Request::new(());
        request.headers_mut().insert(CALLER, HeaderValue::from_static("\"0000000000000001\""));
        let seen = balance.call(request).await.unwrap().body().get_ref().clone();
        let tag = seen.map(|seen| CallerTag::from_value(&seen).unwrap());
        assert_eq!(tag, governed.then(|| CallerTag::of_this_process("storefront")));
    }
}

#[tokio::test]
async fn over_one_client_the_uri_names_the_instance_and_the_host_is_yours() {
    let echo = service_fn(async |request: Request<()>| Ok::<_, std::io::Error>(Response::new(request)));
    let mut balance = BalanceLayer::new(fixed(&[instance(1, 1)])).layer(echo);
    let request = Request::get("/list?page=2").header("host", "orders").body(()).unwrap();
    let seen = balance.call(request).await.unwrap();
    assert_eq!(seen.body().get_ref().uri(), "http://10.0.0.7:1/list?page=2");
    assert_eq!(seen.body().get_ref().headers()["host"], "orders");
    let request = Request::get("http://orders/").body(()).unwrap();
    assert!(!balance.call(request).await.unwrap().body().get_ref().headers().contains_key("host"));
}

#[tokio::test]
async fn each_instance_has_one_service_until_it_is_replaced() {
    let (publisher, snapshots) = Publisher::new("orders".parse().unwrap());
    publish(&publisher, 1, &[instance(1, 1)]);
    let made = Arc::new(Mutex::new(Vec::new()));
    let list = made.clone();
    let balance = Balance::new(snapshots, move |instance| {
        list.lock().unwrap().push(instance.epoch().unwrap().as_u64());
    });
    for (revision, epoch) in [(2, 1), (3, 1), (4, 2)] {
        publish(&publisher, revision, &[instance(1, epoch)]);
        assert_eq!(balance.pick().unwrap().instance().epoch(), Some(UnixMillis::new(epoch)));
    }
    assert_eq!(*made.lock().unwrap(), [1, 2]);
}

#[test]
fn balancers_can_be_shared() {
    fn shares<T: Clone + Send + Sync + std::fmt::Debug>() {}
    fn sends<T: Send>() {}
    shares::<Balance<Gated>>();
    shares::<BalanceLayer>();
    sends::<ResponseFuture<Gated, ()>>();
}

#[test]
fn whoever_picks_by_hand_tries_another_and_says_who_calls() {
    let ungoverned = Instance::new("10.0.0.7:9".parse().unwrap());
    let instances = [instance(1, 1), instance(2, 2), ungoverned.clone()];
    let balance = Balance::new(fixed(&instances), |_| ());
    for _ in 0..20 {
        let mut tried = vec![balance.pick().unwrap()];
        tried.push(balance.pick_other(&tried).unwrap());
        tried.push(balance.pick_other(&tried).unwrap());
        let ports: BTreeSet<_> = tried.iter().map(|pick| pick.instance().address().port()).collect();
        assert_eq!(ports, BTreeSet::from([1, 2, 9]));
        assert!(balance.pick_other(&tried).is_ok(), "when all were tried, anyone is as good");
        for pick in &tried {
            let mut headers = HeaderMap::from_iter([(CALLER, HeaderValue::from_static("someone else"))]);
            balance.introduce(pick, &mut headers);
            let caller = headers.get(CALLER).map(|value| CallerTag::from_value(value).unwrap().id);
            let own = CallerTag::of_this_process("").id;
            assert_eq!(caller, (pick.instance() != &ungoverned).then_some(own));
        }
    }
}
