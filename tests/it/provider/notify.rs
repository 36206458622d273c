//! A provider tells callers that take notices that it leaves, whoever else does not answer.

use super::*;
use crate::registry;
use http_body_util::Full;
use tokio::time::Instant;
use tower::{Layer as _, ServiceExt as _};
use tower_graceful::client::Nacos;
use tower_graceful::consumer::{GracefulClientLayer, NoticePort, Notices, http_client};
use tower_graceful::model::Address;
use tower_graceful::naming::notice::{Notice, NoticeKey, NoticeSecret, PATH};

/// Calls as the caller with this id, which takes notices at `notice`.
async fn call_as(running: &Running, id: u64, notice: Address) {
    let mut asked = request("/");
    let caller = CallerTag { id, app: String::new(), notice: Some(notice) };
    asked.headers_mut().insert(CALLER, caller.to_value());
    let answer = handshake_http1(running.address()).await.send_request(asked).await.unwrap();
    assert_eq!(text(answer).await, "hello");
}

/// Somebody who answers notices with `status`, and notes what they say.
async fn receiver(status: StatusCode) -> (Address, watch::Receiver<Vec<String>>) {
    let (heard, hears) = watch::channel(Vec::new());
    let listener = listen().await;
    let address = listener.local_addr().unwrap().into();
    let take = async move |body: String| {
        heard.send_modify(|heard| heard.push(body));
        status
    };
    let router = Router::new().route(PATH, axum::routing::post(take));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (address, hears)
}

/// A consumer with a port for notices, which has called once.
async fn rare_caller(running: &Running) -> (Notices, impl AsyncFn() -> StatusCode + use<>) {
    consumer(running.naming.subscribe(&service()).await.unwrap()).await
}

/// The same, by the list of any registry. Each of its calls makes a connection.
async fn consumer(list: Snapshots) -> (Notices, impl AsyncFn() -> StatusCode + use<>) {
    let port = NoticePort::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let notices = port.notices();
    tokio::spawn(port.serve(pending()));
    let client = GracefulClientLayer::new(list).with_notices(&notices).layer(http_client());
    let call = async move || {
        let asked = http::Request::get("/").header("connection", "close");
        let asked = asked.body(Full::<Bytes>::default()).unwrap();
        client.clone().oneshot(asked).await.unwrap().status()
    };
    assert_eq!(call().await, StatusCode::OK);
    (notices, call)
}

#[tokio::test]
async fn a_rare_caller_that_takes_notices_knows_at_once_and_is_in_the_report() {
    let running = serve(orders().notice(true).lame_duck_max(10_000 * MS), hello()).await;
    let (notices, _call) = rare_caller(&running).await;
    running.shutdown.shut_down();
    let report = tokio::time::timeout(FAR, running.report()).await.unwrap();
    assert_eq!((notices.applied(), notices.refused()), (1, 0));
    assert_eq!((report.callers_notified, report.untold_callers), (1, 0), "{report}");
    assert!(report.lame_duck < 5_000 * MS, "nobody had to be waited for: {report}");
}

#[tokio::test]
async fn what_the_registration_says_is_not_enough_to_forge_a_notice() {
    let running = serve(orders().notice(true), hello()).await;
    let (notices, call) = rare_caller(&running).await;
    let instance = running.listed().await.unwrap();
    let guessed = NoticeSecret::random().unwrap();
    let address = instance.address().clone();
    let forged = Notice::new(service(), address, instance.epoch().unwrap(), guessed).to_json();
    let mut copied: serde_json::Value = serde_json::from_str(&forged).unwrap();
    copied["secret"] = instance.metadata.get(key::NOTICE_KEY).unwrap().into();
    for forged in [forged, copied.to_string()] {
        let to = format!("http://{}{PATH}", notices.advertised());
        let sent = http::Request::post(to).body(forged).unwrap();
        assert_eq!(http_client().oneshot(sent).await.unwrap().status(), StatusCode::FORBIDDEN);
    }
    assert_eq!((notices.applied(), notices.refused()), (0, 2));
    assert_eq!(call().await, StatusCode::OK);

    running.shutdown.shut_down();
    assert_eq!(running.report().await.callers_notified, 1, "its own is taken");
    assert_eq!(notices.applied(), 1);
}

#[tokio::test]
async fn each_caller_is_sent_one_notice_and_only_who_says_that_it_knows_counts_as_told() {
    let running = serve(orders().notice(true).lame_duck_max(1_500 * MS), hello()).await;
    let registered = running.listed().await.unwrap();
    assert!(registered.sends_notices());
    assert!(registered.metadata.parse::<NoticeKey>(key::NOTICE_KEY).is_some());
    let (good, heard) = receiver(StatusCode::NO_CONTENT).await;
    let (forbids, heard_too) = receiver(StatusCode::FORBIDDEN).await;
    let mute = listen().await; // Accepts, and never answers.
    let dead = listen().await.local_addr().unwrap(); // Its port is closed.
    call_as(&running, 1, good.clone()).await;
    call_as(&running, 1, good).await;
    call_as(&running, 2, forbids).await;
    call_as(&running, 3, mute.local_addr().unwrap().into()).await;
    call_as(&running, 4, dead.into()).await;
    for id in 5..200 {
        call_as(&running, id, mute.local_addr().unwrap().into()).await;
    }
    running.shutdown.shut_down();
    let report = tokio::time::timeout(FAR, running.report()).await.unwrap();
    assert_eq!((report.callers_notified, report.untold_callers), (1, 198), "{report}");
    assert!(report.lame_duck < 3_000 * MS, "who does not answer is not waited for: {report}");
    let [one] = &heard.borrow()[..] else { panic!("{:?}", *heard.borrow()) };
    assert!(Notice::from_json(one.as_bytes()).unwrap().comes_from(&registered));
    assert_eq!(heard_too.borrow().len(), 1);
}

/// A registry that does not answer the deregistration, and callers that do not answer their notices: neither
/// holds up the other.
#[tokio::test]
async fn notices_go_out_beside_the_deregistration_and_not_after_it() {
    let registry = Moody::new(Mood::Well);
    let builder = orders().notice(true).registry(registry.clone()).lame_duck_max(2_500 * MS);
    let running = start_with(builder, registry.naming.clone(), hello()).await;
    running.handle.reached(Phase::Serving).await;
    let (good, mut heard) = receiver(StatusCode::NO_CONTENT).await;
    let mute = listen().await; // Accepts, and never answers.
    call_as(&running, 1, good).await;
    for id in 2..=200 {
        call_as(&running, id, mute.local_addr().unwrap().into()).await;
    }
    registry.mood.send_replace(Mood::Deaf);
    let began = Instant::now();
    running.shutdown.shut_down();
    while registry.deregistered.load(Ordering::SeqCst) < 1 {
        tokio::time::sleep(MS).await;
    }
    assert!(began.elapsed() < 1_500 * MS, "the notices take 2 s in all: {:?}", began.elapsed());
    let heard = tokio::time::timeout(FAR, heard.wait_for(|heard| !heard.is_empty())).await;
    assert!(heard.unwrap().is_ok(), "the deregistration is never answered");
    let report = running.report().await;
    assert_eq!((report.callers_notified, report.untold_callers), (1, 199), "{report}");
}

/// Nobody was to be told when it started; an operator has it otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn notices_that_an_operator_wants_while_it_runs_are_sent_and_believed() {
    let registry = registry::Running::start().await;
    let nacos = || Nacos::builder(&registry.http.to_string()).connect().unwrap();
    let (its_own, consumers) = (nacos(), nacos());
    let running = start_with(orders().registry(its_own), InProcess::new(), hello()).await;
    running.handle.reached(Phase::Serving).await;
    let mut list = consumers.subscribe("orders").await.unwrap();
    let (notices, call) = consumer(list.clone()).await;
    let listed = list.latest().instances()[0].clone();
    assert!(!listed.sends_notices() && listed.metadata.get(key::NOTICE_KEY).is_none());

    let port = listed.address().port();
    let wish = format!("/instance?serviceName=orders&ip=127.0.0.1&port={port}&metadata=graceful.notice=true");
    assert_eq!(registry.send("PATCH", &wish, "").await.0, 200);
    let provable =
        |listed: &Instance| listed.sends_notices() && listed.metadata.get(key::NOTICE_KEY).is_some();
    let listed = list.wait_for(|list| list.instances().iter().all(provable));
    tokio::time::timeout(FAR, listed).await.unwrap();
    assert_eq!(call().await, StatusCode::OK); // Says from now on where it takes them.
    running.shutdown.shut_down();
    let report = tokio::time::timeout(FAR, running.report()).await.unwrap();
    assert_eq!((report.callers_notified, report.untold_callers), (1, 0), "{report}");
    assert_eq!((notices.applied(), notices.refused()), (1, 0));
    consumers.close(FAR).await.unwrap();
    registry.stop().await;
}

#[tokio::test]
async fn notices_of_an_instance_that_fades_come_at_the_beginning_and_tell_how_fast() {
    let running = serve(orders().notice(true).leave_fade(Duration::from_secs(1)), hello()).await;
    let (at, mut heard) = receiver(StatusCode::NO_CONTENT).await;
    call_as(&running, 1, at).await;
    running.shutdown.shut_down();
    let heard = tokio::time::timeout(FAR, heard.wait_for(|heard| !heard.is_empty())).await.unwrap();
    let notice = Notice::from_json(heard.unwrap()[0].as_bytes()).unwrap();
    assert_eq!(notice.fade, Duration::from_secs(1));
    assert!(running.listed().await.is_some(), "it stays on the list");
    let report = running.report().await;
    assert_eq!((report.callers_notified, report.untold_callers), (1, 0), "{report}");
}

#[tokio::test]
async fn without_the_setting_nobody_is_sent_anything() {
    let running = serve(orders().lame_duck_max(300 * MS), hello()).await;
    assert!(!running.listed().await.unwrap().sends_notices());
    let (at, heard) = receiver(StatusCode::NO_CONTENT).await;
    call_as(&running, 1, at).await;
    running.shutdown.shut_down();
    let report = running.report().await;
    assert_eq!((report.callers_notified, report.untold_callers), (0, 1), "{report}");
    assert!(heard.borrow().is_empty());
}
