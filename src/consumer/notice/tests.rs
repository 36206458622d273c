use super::*;
use crate::consumer::{Balance, BalanceLayer};
use crate::model::{Instance, Metadata, Snapshot, UnixMillis, key};
use crate::naming::header::{CALLER, CallerTag};
use crate::naming::notice::{Notice, NoticeSecret};
use crate::naming::{Publisher, Snapshots};
use answer::{BODY_BYTES_MAX, BODY_WITHIN};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use service::Outcome;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::advance;
use tokio_test::{assert_pending, task};
use tower::{ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);

/// The instance at a port of one machine, and the notice that it will send.
fn one(port: u16, epoch: u64) -> (Instance, Notice) {
    let secret = NoticeSecret::random().unwrap();
    let instance = Instance::new(format!("10.0.0.7:{port}").parse().unwrap());
    let instance = instance.with_metadata(Metadata::from_iter([
        (key::VERSION, "0.1.0".to_owned()),
        (key::EPOCH, epoch.to_string()),
        (key::NOTICE, true.to_string()),
        (key::NOTICE_KEY, secret.key().to_string()),
    ]));
    let (service, address) = ("orders".parse().unwrap(), instance.address().clone());
    (instance, Notice::new(service, address, UnixMillis::new(epoch), secret))
}

fn list(service: &str, instances: &[Instance]) -> (Publisher, Snapshots) {
    let (publisher, snapshots) = Publisher::new(service.parse().unwrap());
    publisher.publish(Snapshot::new(service.parse().unwrap(), 1, instances.to_vec()));
    (publisher, snapshots)
}

fn notices() -> Notices {
    Notices::mounted("10.0.0.9:54299".parse().unwrap())
}

fn balance(notices: &Notices, snapshots: Snapshots) -> Balance<()> {
    BalanceLayer::new(snapshots).with_notices(notices).over(|_| ())
}

/// The ports that are chosen.
fn ports(balance: &Balance<()>) -> BTreeSet<u16> {
    (0..64).map(|_| balance.pick().unwrap().instance().address().port()).collect()
}

#[tokio::test]
async fn who_sends_a_notice_is_chosen_by_no_balancer_any_more_and_the_list_is_asked_for() {
    let (notices, (first, leaves), (second, _)) = (notices(), one(1, 5), one(2, 6));
    let (publisher, snapshots) = list("orders", &[first.clone(), second.clone()]);
    let both = [balance(&notices, snapshots.clone()), balance(&notices, snapshots)];
    let elsewhere = balance(&notices, list("books", &[first, second]).1);
    assert_eq!(both.each_ref().map(ports), [BTreeSet::from([1, 2]), BTreeSet::from([1, 2])]);

    assert_eq!(notices.hear(&leaves), Outcome::Applied);
    assert_eq!(both.each_ref().map(ports), [BTreeSet::from([2]), BTreeSet::from([2])]);
    assert_eq!(ports(&elsewhere), BTreeSet::from([1, 2]), "another service at the same address");
    publisher.refresh_wanted().await;
    assert_eq!((notices.applied(), notices.repeated(), notices.refused()), (1, 0, 0));
}

#[tokio::test]
async fn what_proves_nothing_changes_nothing_and_is_counted() {
    let (notices, (first, leaves), (second, other)) = (notices(), one(1, 5), one(2, 6));
    let (publisher, snapshots) = list("orders", &[first, second]);
    let balance = balance(&notices, snapshots);
    let forged = [
        Notice { secret: other.secret.clone(), ..leaves.clone() },
        Notice { epoch: UnixMillis::new(4), ..leaves.clone() },
        Notice { instance: other.instance.clone(), ..leaves.clone() },
        Notice { instance: "10.0.0.8:1".parse().unwrap(), ..leaves.clone() },
        Notice { service: "books".parse().unwrap(), ..leaves.clone() },
    ];
    for forged in &forged {
        assert_eq!(notices.hear(forged), Outcome::Refused, "{forged:?}");
    }
    assert_eq!(ports(&balance), BTreeSet::from([1, 2]));
    assert_pending!(task::spawn(publisher.refresh_wanted()).poll());
    assert_eq!((notices.applied(), notices.refused()), (0, 5));
}

#[tokio::test(start_paused = true)]
async fn a_notice_that_comes_again_changes_nothing() {
    let (notices, (first, leaves), (second, _)) = (notices(), one(1, 5), one(2, 6));
    let (_publisher, snapshots) = list("orders", &[first, second]);
    let balance = balance(&notices, snapshots);
    assert_eq!(notices.hear(&leaves), Outcome::Applied);
    advance(50 * SECOND).await;
    assert_eq!(notices.hear(&leaves), Outcome::Repeated);
    assert_eq!(notices.hear(&Notice { fade: 20 * SECOND, ..leaves.clone() }), Outcome::Repeated);
    assert_eq!(ports(&balance), BTreeSet::from([2]));
    advance(10 * SECOND).await;
    assert_eq!(ports(&balance), BTreeSet::from([1, 2]), "the first judgement holds for a minute, not longer");
    assert_eq!((notices.applied(), notices.repeated()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn who_fades_may_go_sooner_than_it_said() {
    let (notices, (first, leaves), (second, _)) = (notices(), one(1, 5), one(2, 6));
    let (_publisher, snapshots) = list("orders", &[first, second]);
    let balance = balance(&notices, snapshots);
    assert_eq!(notices.hear(&Notice { fade: Duration::MAX, ..leaves.clone() }), Outcome::Applied);
    assert_eq!(notices.hear(&Notice { fade: Duration::MAX, ..leaves.clone() }), Outcome::Repeated);
    assert_eq!(notices.hear(&Notice { fade: 20 * SECOND, ..leaves.clone() }), Outcome::Applied);
    assert_eq!(ports(&balance), BTreeSet::from([1, 2]));
    advance(SECOND).await;
    assert_eq!(notices.hear(&leaves), Outcome::Applied);
    assert_eq!(ports(&balance), BTreeSet::from([2]));
}

#[tokio::test]
async fn the_notice_of_a_predecessor_does_not_concern_its_successor() {
    let (notices, (first, leaves), (second, _)) = (notices(), one(1, 5), one(2, 6));
    let (publisher, snapshots) = list("orders", &[first, second.clone()]);
    let balance = balance(&notices, snapshots);
    assert_eq!(notices.hear(&leaves), Outcome::Applied);
    publisher.publish(Snapshot::new("orders".parse().unwrap(), 2, vec![one(1, 7).0, second]));
    assert_eq!(ports(&balance), BTreeSet::from([1, 2]));
    assert_eq!(notices.hear(&leaves), Outcome::Refused);
    assert_eq!(ports(&balance), BTreeSet::from([1, 2]));
}

#[tokio::test]
async fn balancers_that_are_gone_hear_nothing() {
    let (notices, (first, leaves)) = (notices(), one(1, 5));
    let (_publisher, snapshots) = list("orders", &[first]);
    drop(balance(&notices, snapshots.clone()));
    assert_eq!(notices.hear(&leaves), Outcome::Refused);
}

#[tokio::test]
async fn only_those_who_send_notices_learn_where_to() {
    let (sends, _) = one(1, 5);
    let silent = sends.clone().with_metadata(sends.metadata.without(key::NOTICE));
    let ungoverned = sends.clone().with_metadata(sends.metadata.without(key::VERSION));
    let told = CallerTag::of_this_process("storefront");
    let at = CallerTag { notice: "10.0.0.9:54299".parse().ok(), ..told.clone() };
    for (instance, expected) in [(sends, Some(at)), (silent, Some(told)), (ungoverned, None)] {
        let (_publisher, snapshots) = list("orders", &[instance]);
        let layer = BalanceLayer::new(snapshots).with_app("storefront").with_notices(&notices());
        let echo = service_fn(async |request: Request<()>| {
            Ok::<_, Infallible>(Response::new(request.headers().get(CALLER).cloned()))
        });
        let answer = layer.over(move |_| echo).oneshot(Request::new(())).await.unwrap();
        let seen = answer.body().get_ref().as_ref();
        assert_eq!(seen.map(|seen| CallerTag::from_value(seen).unwrap()), expected);
    }
}

async fn post(notices: &Notices, body: impl Into<String>) -> (StatusCode, String) {
    let request = Request::post("/graceful/notice").body(body.into()).unwrap();
    let answer = notices.clone().oneshot(request).await.unwrap();
    (answer.status(), answer.into_body())
}

#[tokio::test]
async fn the_sender_is_aside_before_it_has_its_answer() {
    let (notices, (first, leaves), (second, _)) = (notices(), one(1, 5), one(2, 6));
    let (_publisher, snapshots) = list("orders", &[first, second]);
    let balance = balance(&notices, snapshots);
    let strange = Notice { epoch: UnixMillis::new(4), ..leaves.clone() }.to_json();
    assert_eq!(post(&notices, strange).await.0, StatusCode::FORBIDDEN);
    assert_eq!(ports(&balance), BTreeSet::from([1, 2]));
    for _ in 0..2 {
        assert_eq!(post(&notices, leaves.to_json()).await, (StatusCode::NO_CONTENT, String::new()));
        assert_eq!(ports(&balance), BTreeSet::from([2]));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_notice_is_answered_with_what_is_wrong() {
    let notices = notices();
    let (status, said) = post(&notices, "leave!").await;
    assert_eq!((status, said.contains("no JSON")), (StatusCode::BAD_REQUEST, true), "{said}");
    let long = format!("{}{}", one(1, 5).1.to_json(), " ".repeat(BODY_BYTES_MAX));
    assert_eq!(post(&notices, long).await.0, StatusCode::PAYLOAD_TOO_LARGE);

    let looks = Request::get("/graceful/notice").body(String::new()).unwrap();
    let answer = notices.clone().oneshot(looks).await.unwrap();
    assert_eq!(
        (answer.status(), &answer.headers()["allow"]),
        (StatusCode::METHOD_NOT_ALLOWED, &"POST".parse().unwrap())
    );

    let begun = tokio::time::Instant::now();
    let never =
        StreamBody::new(tokio_stream::pending::<Result<http_body::Frame<bytes::Bytes>, Infallible>>());
    let waits = Request::builder().method(Method::POST).body(never.boxed()).unwrap();
    assert_eq!(notices.clone().oneshot(waits).await.unwrap().status(), StatusCode::REQUEST_TIMEOUT);
    assert_eq!(begun.elapsed().as_secs(), BODY_WITHIN.as_secs());
    assert_eq!((notices.malformed(), notices.refused()), (4, 0));
}

#[tokio::test(start_paused = true)]
async fn one_notice_too_many_at_once_is_turned_away() {
    let notices = notices();
    let waiting = || {
        let never = tokio_stream::pending::<Result<http_body::Frame<bytes::Bytes>, Infallible>>();
        task::spawn(notices.clone().oneshot(Request::post("/").body(StreamBody::new(never)).unwrap()))
    };
    let mut open: Vec<_> = (0..64).map(|_| waiting()).collect();
    for open in &mut open {
        assert_pending!(open.poll());
    }
    let answer = waiting().await.unwrap();
    assert_eq!(
        (answer.status(), &answer.headers()["retry-after"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"1".parse().unwrap())
    );
    open.pop();
    assert_pending!(waiting().poll());
}

#[tokio::test]
async fn a_port_beyond_loopback_has_to_be_asked_for() {
    let everywhere = "0.0.0.0:0".parse().unwrap();
    let error = NoticePort::bind(everywhere).await.unwrap_err();
    assert!(error.to_string().contains("`bind_beyond_loopback`"), "{error}");
    let nowhere = NoticePort::bind_beyond_loopback(everywhere, "0.0.0.0:1".parse().unwrap()).await;
    assert!(matches!(nowhere, Err(BindError::Unreachable(_))));
    let taken = NoticePort::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let again = taken.notices().advertised().socket_addr().unwrap();
    assert!(matches!(NoticePort::bind(again).await, Err(BindError::Io { .. })));
}
