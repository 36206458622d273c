use super::*;
use crate::consumer::{Balance, GracefulClientLayer, NeverApplied, NoInstance};
use crate::model::Instance;
use crate::naming::Snapshots;
use crate::naming::header::{REFUSED, REFUSED_TRUE};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Full};
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use tokio_test::{assert_pending, task};
use tower::ServiceExt;

/// How an instance takes what it is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    Answers,
    /// Reads the first frame of the body, then says that nothing was applied.
    Never,
    /// 503 with our mark, body unread.
    Refuses,
    /// 503 of its own.
    Overloaded,
    Torn,
    Silent,
}

/// What instances were sent, in order: their ports and the bodies, as far as they were read.
type Log = Arc<Mutex<Vec<(u16, Bytes)>>>;

#[derive(Clone)]
struct Scripted {
    port: u16,
    manner: Manner,
    log: Log,
}

type Answer = Result<Response<Full<Bytes>>, BoxError>;

impl Service<Request<ReplayBody<Full<Bytes>>>> for Scripted {
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReplayBody<Full<Bytes>>>) -> Self::Future {
        let Self { port, manner, log } = self.clone();
        Box::pin(async move {
            let mut body = request.into_body();
            let read = match manner {
                Manner::Refuses => Bytes::new(),
                Manner::Never => {
                    body.frame().await.transpose()?.and_then(|f| f.into_data().ok()).unwrap_or_default()
                }
                Manner::Answers | Manner::Overloaded | Manner::Torn | Manner::Silent => {
                    body.collect().await?.to_bytes()
                }
            };
            log.lock().unwrap().push((port, read));
            let answer = Response::builder();
            match manner {
                Manner::Answers => Ok(answer.body(Full::from("done"))?),
                Manner::Never => Err(NeverApplied::new("connection refused").into()),
                Manner::Refuses => {
                    Ok(answer.status(503).header(REFUSED, REFUSED_TRUE).body(Full::from("not yet"))?)
                }
                Manner::Overloaded => Ok(answer.status(503).body(Full::from("busy"))?),
                Manner::Torn => Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into()),
                Manner::Silent => std::future::pending().await,
            }
        })
    }
}

fn fleet(manners: &[Manner]) -> (Log, Balance<Scripted>) {
    let log = Log::default();
    let instances =
        (1..).zip(manners).map(|(port, _)| Instance::new(format!("10.0.0.7:{port}").parse().unwrap()));
    let snapshots = Snapshots::fixed("orders".parse().unwrap(), instances.collect());
    let (manners, shared) = (manners.to_vec(), log.clone());
    let balance = Balance::new(snapshots, move |instance| {
        let port = instance.address().port() - 1; // At port 0 nobody is chosen.
        Scripted { port, manner: manners[usize::from(port)], log: shared.clone() }
    });
    (log, balance)
}

fn post(body: &'static str) -> Request<Full<Bytes>> {
    Request::post("/orders").header("id", "7").body(Full::from(body)).unwrap()
}

fn put(body: &'static str) -> Request<Full<Bytes>> {
    Request::put("/orders/7").body(Full::from(body)).unwrap()
}

fn tries(tries: u32) -> FailoverLayer {
    FailoverLayer::new().with_tries(NonZeroU32::new(tries).unwrap())
}

#[tokio::test]
async fn what_was_never_applied_is_applied_once_by_another() {
    for failing in [Manner::Never, Manner::Refuses] {
        for seed in 0..20 {
            fastrand::seed(seed);
            let (log, balance) = fleet(&[failing, failing, Manner::Answers]);
            let answer = FailoverLayer::new().layer(balance).oneshot(post("one book")).await.unwrap();
            assert_eq!(answer.body().instance().address().port(), 3);
            let log = log.lock().unwrap();
            assert_eq!(log.last(), Some(&(2, "one book".into())));
            let mut met: Vec<u16> = log.iter().map(|(port, _)| *port).collect();
            met.sort_unstable();
            met.dedup();
            assert_eq!(met.len(), log.len(), "nobody is tried twice: {log:?}");
        }
    }
}

#[tokio::test]
async fn what_may_have_been_applied_is_not_sent_twice() {
    let (log, balance) = fleet(&[Manner::Torn, Manner::Torn]);
    let error = FailoverLayer::new().layer(balance).oneshot(post("one book")).await.unwrap_err();
    assert_eq!(log.lock().unwrap().len(), 1);
    assert!(error.is::<InstanceError>() && error.to_string().ends_with("and is not idempotent"), "{error}");
}

#[tokio::test]
async fn an_answer_is_an_answer_even_to_what_is_idempotent() {
    let (log, balance) = fleet(&[Manner::Overloaded, Manner::Overloaded]);
    let answer = FailoverLayer::new().layer(balance).oneshot(put("one book")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(log.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_idempotent_is_repeated_once_and_elsewhere() {
    let (log, balance) = fleet(&[Manner::Torn; 5]);
    let error = tries(5).layer(balance).oneshot(put("one book")).await.unwrap_err();
    let log = log.lock().unwrap();
    assert!(matches!(**log, [(one, _), (other, _)] if one != other), "{log:?}");
    assert!(error.to_string().ends_with("has been repeated once"), "{error}");
}

#[tokio::test]
async fn a_mark_overrules_the_layers_rule_and_that_the_method() {
    let reads = |head: &request::Parts| head.uri.path() == "/reads";
    let marked = |request: Request<_>, mark| {
        let (mut head, body) = request.into_parts();
        head.extensions.insert(Idempotent(mark));
        Request::from_parts(head, body)
    };
    let to = |path: &str| {
        let mut request = post("one book");
        *request.uri_mut() = path.parse().unwrap();
        request
    };
    let (plain, ruled) = (FailoverLayer::new(), FailoverLayer::new().with_idempotent(reads));
    for (number, (layer, request, sent)) in [
        (&plain, post("one book"), 1),
        (&plain, put("one book"), 2),
        (&plain, marked(post("one book"), true), 2),
        (&plain, marked(put("one book"), false), 1),
        (&ruled, to("/reads"), 2),
        (&ruled, put("one book"), 1),
        (&ruled, marked(to("/reads"), false), 1),
        (&ruled, marked(post("one book"), true), 2),
    ]
    .into_iter()
    .enumerate()
    {
        let (log, balance) = fleet(&[Manner::Torn, Manner::Torn]);
        layer.layer(balance).oneshot(request).await.unwrap_err();
        assert_eq!(log.lock().unwrap().len(), sent, "case {number}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_got_no_answer_in_time_is_repeated_when_it_is_idempotent() {
    for (request, sent) in [(post("one book"), 1), (put("one book"), 2)] {
        let (log, balance) = fleet(&[Manner::Silent, Manner::Silent]);
        FailoverLayer::new().layer(balance).oneshot(request).await.unwrap_err();
        assert_eq!(log.lock().unwrap().len(), sent);
    }
}

#[test]
fn class_idempotency_and_tries_decide() {
    use Applied::{Begun, Never, Unknown};
    let three = NonZeroU32::new(3).unwrap();
    let sent = |times, repeated| Sent { times, repeated };
    for (applied, idempotent, sent, expected) in [
        (Never, false, sent(1, false), Ok(())),
        (Never, false, sent(2, false), Ok(())),
        (Never, false, sent(3, false), Err(NotAgain::Tries(3))),
        (Never, true, sent(1, false), Ok(())),
        (Never, true, sent(2, true), Ok(())),
        (Never, true, sent(3, true), Err(NotAgain::Tries(3))),
        (Unknown, false, sent(1, false), Err(NotAgain::NotIdempotent)),
        (Unknown, false, sent(3, false), Err(NotAgain::NotIdempotent)),
        (Unknown, true, sent(1, false), Ok(())),
        (Unknown, true, sent(2, false), Ok(())),
        (Unknown, true, sent(2, true), Err(NotAgain::Repeated)),
        (Unknown, true, sent(3, false), Err(NotAgain::Tries(3))),
        (Begun, false, sent(1, false), Err(NotAgain::Begun)),
        (Begun, true, sent(1, false), Err(NotAgain::Begun)),
    ] {
        let may = may_repeat(applied, idempotent, sent, three);
        assert_eq!(may, expected, "{applied:?}, {idempotent}, {} times", sent.times);
    }
}

#[tokio::test]
async fn when_tries_are_used_up_the_last_failure_is_passed_on() {
    for (allowed, instances, sent) in [(1, 3, 1), (2, 3, 2), (3, 5, 3), (3, 1, 3)] {
        let (log, balance) = fleet(&vec![Manner::Refuses; instances]);
        let answer = tries(allowed).layer(balance).oneshot(post("one book")).await.unwrap();
        assert_eq!(log.lock().unwrap().len(), sent);
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(!answer.headers().contains_key(REFUSED), "the mark is for the hop that reads it");
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "not yet");

        let (log, balance) = fleet(&vec![Manner::Never; instances]);
        let error = tries(allowed).layer(balance).oneshot(post("one book")).await.unwrap_err();
        assert_eq!(log.lock().unwrap().len(), sent);
        assert!(error.is::<InstanceError>());
    }
}

#[tokio::test]
async fn a_body_past_the_bound_is_not_retried() {
    let long: &'static str = "x".repeat(super::super::replay::RECORDED_BYTES_MAX + 1).leak();
    let (log, balance) = fleet(&[Manner::Never, Manner::Never]);
    let layer = FailoverLayer::new();
    let error = layer.layer(balance).oneshot(post(long)).await.unwrap_err();
    assert_eq!(log.lock().unwrap().len(), 1);
    assert!(error.to_string().contains("not repeated: its body is over 64 KiB"), "{error}");
    assert_eq!(layer.settings.budget.full_ns.load(Ordering::Relaxed), 0, "what is not made is not spent");

    let (_, balance) = fleet(&[Manner::Answers]);
    FailoverLayer::new().layer(balance).oneshot(post(long)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_repeated_costs_no_budget() {
    let long: &'static str = "x".repeat(super::super::replay::RECORDED_BYTES_MAX + 1).leak();
    let layer = FailoverLayer::new();
    let spent = || layer.settings.budget.full_ns.load(Ordering::Relaxed);
    for (manner, request, costs) in [
        (Manner::Never, post(long), false),
        (Manner::Torn, post("one book"), false),
        (Manner::Never, post("one book"), true),
    ] {
        let (_, balance) = fleet(&[manner, manner]);
        layer.layer(balance).oneshot(request).await.unwrap_err();
        assert_eq!(spent() > 0, costs);
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_budget_is_spent_the_error_says_so() {
    let layer = FailoverLayer::new();
    let (log, balance) = fleet(&[Manner::Never, Manner::Never]);
    while layer.settings.budget.spend() {}
    let error = layer.layer(balance).oneshot(post("one book")).await.unwrap_err();
    assert_eq!(log.lock().unwrap().len(), 1);
    assert!(error.to_string().contains("too many requests are being repeated"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn that_there_is_nobody_is_not_tried_again() {
    let (log, balance) = fleet(&[]);
    let error = FailoverLayer::new().layer(balance).oneshot(post("one book")).await.unwrap_err();
    assert!(error.is::<NoInstance>() && log.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_classifier_of_your_own_decides_instead() {
    let reset = |error: &(dyn Error + 'static)| {
        let mut chain = std::iter::successors(Some(error), |&error| error.source());
        if chain.any(<dyn Error>::is::<std::io::Error>) { Applied::Never } else { Applied::Unknown }
    };
    let (log, balance) = fleet(&[Manner::Torn, Manner::Torn, Manner::Torn]);
    FailoverLayer::new().with_classifier(reset).layer(balance).oneshot(post("a")).await.unwrap_err();
    assert_eq!(log.lock().unwrap().len(), 3);
    let (log, balance) = fleet(&[Manner::Never, Manner::Never]);
    FailoverLayer::new().with_classifier(reset).layer(balance).oneshot(post("a")).await.unwrap_err();
    assert_eq!(log.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_dropped_call_ends_the_try_that_is_under_way() {
    let (_, balance) = fleet(&[Manner::Silent]);
    let mut service = FailoverLayer::new().layer(balance.clone());
    let mut call = task::spawn(service.call(post("one book")));
    assert_pending!(call.poll());
    assert_eq!(balance.pick().unwrap().in_flight(), 2);
    drop(call);
    assert_eq!(balance.pick().unwrap().in_flight(), 1);
}

#[tokio::test]
async fn the_whole_stack_hears_the_goodbye_of_a_refusal() {
    let refusal = |instance: &Instance| {
        let leaving = instance.address().port() == 1;
        tower::service_fn(move |_: Request<ReplayBody<Full<Bytes>>>| {
            let answer = Response::builder().status(if leaving { 503 } else { 200 });
            let answer = if leaving {
                answer.header(REFUSED, "?1").header("graceful-offline", r#""10.0.0.7:1";epoch=1"#)
            } else {
                answer
            };
            std::future::ready(Ok::<_, BoxError>(answer.body(()).unwrap()))
        })
    };
    let instances = (1..3).map(|port| Instance::new(format!("10.0.0.7:{port}").parse().unwrap())).collect();
    let stack =
        GracefulClientLayer::new(Snapshots::fixed("orders".parse().unwrap(), instances)).over(refusal);
    for _ in 0..50 {
        let answer = stack.clone().oneshot(post("one book")).await.unwrap();
        assert_eq!(answer.body().instance().address().port(), 2);
        assert!(answer.headers().is_empty());
    }
}
