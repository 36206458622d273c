//! Pages as they are asked for over the routes: what they hold, and what comes of hostile words in them.

use super::page::View as _;
use super::service::ServicePage;
use crate::Clock;
use crate::model::{Address, Instance, InstanceKey, Metadata, ServiceKey, UnixMillis};
use crate::protocol::report::{ReportedSecond, Requests};
use crate::registry::Settings;
use crate::registry::access::Access;
use crate::registry::access::staged::tokens;
use crate::registry::command::{Client, ConnectionId, Limits};
use crate::registry::events::{Role, Told};
use crate::registry::http::routes;
use crate::registry::hub::{Hub, Report};
use crate::registry::peer::Peer;
use crate::registry::query::Clusters;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tower::ServiceExt as _;

const NOW: UnixMillis = UnixMillis::new(1_732_060_800_000);
const PAGES: [&str; 6] = [
    "/console",
    "/console/service?serviceName=orders",
    "/console/instance?serviceName=orders&ip=10.0.0.7&port=80",
    "/console/diagnosis?serviceName=orders",
    "/console/clients",
    "/console/settings",
];

fn hub() -> Arc<Hub> {
    let limits = Limits { metadata_chars_max: 200_000, instances_max: 200_000 };
    Arc::new(Hub::new(Clock::manual(NOW).0, limits))
}

/// The API and the console for everyone.
fn open(hub: &Arc<Hub>) -> Router {
    let settings = Settings { no_auth: true, ..Settings::default() };
    routes(hub.clone(), Arc::new(Access::new(hub.clone(), &settings).unwrap()))
}

fn instance(port: u16) -> Instance {
    Instance::new(Address::new("10.0.0.7", port).unwrap())
}

fn orders() -> ServiceKey {
    "orders".parse().unwrap()
}

/// A hub with one service, of one instance that a connection publishes and another one follows.
fn staged() -> (Arc<Hub>, ConnectionId) {
    let hub = hub();
    let (provider, _) = hub.connect(Peer { app: "shop".to_owned(), ..Peer::default() });
    hub.publish(Client::Connection(provider), orders(), vec![instance(80)]).unwrap();
    let (consumer, _) = hub.connect(Peer { caller: Some(7), ..Peer::default() });
    hub.subscribe(consumer, &orders(), Clusters::default()).unwrap();
    (hub, provider)
}

async fn ask(
    router: &Router,
    uri: &str,
    headers: &[(http::HeaderName, &str)],
) -> (StatusCode, HeaderMap, String) {
    let mut request = Request::builder().uri(uri).header(HOST, "127.0.0.1:8848");
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    let answer = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (status, headers) = (answer.status(), answer.headers().clone());
    let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    (status, headers, String::from_utf8(body.to_vec()).unwrap())
}

async fn html(router: &Router, uri: &str) -> String {
    let (status, headers, body) =
        ask(router, uri, &[(ACCEPT, "text/html,application/xhtml+xml,*/*;q=0.8")]).await;
    assert_eq!(
        (status, headers[CONTENT_TYPE].to_str().unwrap()),
        (StatusCode::OK, "text/html; charset=utf-8"),
        "{body}"
    );
    body
}

async fn json(router: &Router, uri: &str) -> Value {
    let (status, headers, body) = ask(router, uri, &[(ACCEPT, "application/json")]).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert!(headers[CONTENT_TYPE].to_str().unwrap().starts_with("application/json"));
    serde_json::from_str(&body).unwrap()
}

#[tokio::test]
async fn every_page_is_html_for_people_and_json_for_programs() {
    let router = open(&staged().0);
    for page in PAGES {
        let text = html(&router, page).await;
        for needed in
            ["<html lang=\"en\">", "<main id=\"main\"", "class=\"skip\"", "<h1>", "Accept: application/json"]
        {
            assert!(text.contains(needed), "{page} lacks {needed}");
        }
        assert!(json(&router, page).await.is_object(), "{page}");
    }
    let service = json(&router, PAGES[1]).await;
    assert_eq!((&service["shown"][0]["ip"], &service["serving"]), (&"10.0.0.7".into(), &1.into()));
    assert_eq!(service["followers"]["subscribers"][0]["current"], true);
    let (status, headers, _) = ask(&router, "/", &[]).await;
    assert_eq!((status, headers["location"].to_str().unwrap()), (StatusCode::SEE_OTHER, "/console"));
}

#[tokio::test]
async fn a_page_may_do_nothing_but_what_it_was_written_to_do() {
    let router = open(&staged().0);
    let mut nonces = BTreeSet::new();
    for page in PAGES.into_iter().chain(["/console/service?serviceName=nobody"]) {
        let (_, headers, body) = ask(&router, page, &[]).await;
        let policy = headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
        for needed in
            ["default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'", "form-action 'self'"]
        {
            assert!(policy.contains(needed), "{page}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        let nonce = policy.split("script-src 'nonce-").nth(1).unwrap().split('\'').next().unwrap();
        assert!(nonces.insert(nonce.to_owned()), "a nonce is used once");
        let tags = ["<script", "<style", "<link rel=\"stylesheet\""].map(|tag| body.matches(tag).count());
        assert_eq!(body.matches(&format!("nonce=\"{nonce}\"")).count(), tags.iter().sum::<usize>(), "{page}");
        assert!(!body.contains(" style=") && !body.contains(" onclick="), "the policy would refuse it");
    }
}

#[tokio::test]
async fn hostile_words_are_shown_as_text() {
    let hub = hub();
    let hostile = "\"><script>alert(1)</script>'\u{202e}txt.exe";
    let (id, _) =
        hub.connect(Peer { app: hostile.to_owned(), version: hostile.to_owned(), ..Peer::default() });
    let metadata: Metadata =
        [(hostile.to_owned(), hostile.to_owned()), ("long".to_owned(), "x".repeat(65_536))]
            .into_iter()
            .collect();
    hub.publish(Client::Connection(id), orders(), vec![instance(80).with_metadata(metadata)]).unwrap();
    hub.subscribe(id, &orders(), Clusters::default()).unwrap();
    let told = Told::new(Some(Role::Provider), "leaving".to_owned(), hostile).unwrap();
    let report = Report {
        service: orders(),
        instance: Some(instance(80).key),
        sent_at: NOW,
        in_flight: 0,
        events: vec![(NOW, instance(80).key.address, told)],
        seconds: Vec::new(),
        late: Vec::new(),
    };
    hub.report(id, report).unwrap();
    let router = open(&hub);
    for page in PAGES.into_iter().chain([
        "/console?search=%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "/console/service?serviceName=%3Cscript%3Ealert(1)",
    ]) {
        let (_, _, text) = ask(&router, page, &[]).await;
        assert_eq!(text.matches("<script").count(), 1, "{page} has a script that is not ours");
        assert!(!text.contains(hostile), "{page}: a value leaves its attribute");
        for (at, _) in text.match_indices('\u{202e}') {
            let open = text[..at].rfind("<bdi>").unwrap_or_default();
            assert!(
                open > text[..at].rfind("</bdi>").unwrap_or_default(),
                "{page}: letters from right to left are not kept apart"
            );
        }
    }
    let page = html(&router, PAGES[2]).await;
    assert!(page.contains('\u{202e}') && page.contains("and more"), "it is there, and cut");
    assert!(page.len() < 30_000, "{} bytes", page.len());
    let whole = json(&router, PAGES[2]).await;
    assert_eq!(whole["standing"]["metadata"]["long"].as_str().unwrap().len(), 65_536);
}

#[tokio::test]
async fn an_instance_that_has_gone_keeps_its_page_and_its_verdict() {
    let (hub, provider) = staged();
    let second = |s_ago: u64, started| ReportedSecond {
        second: NOW.as_u64() / 1000 - s_ago,
        governed: Requests { started, ..Requests::default() },
        ..ReportedSecond::default()
    };
    let told = Told::new(Some(Role::Provider), "leaving".to_owned(), "SIGTERM").unwrap();
    let at = UnixMillis::new(NOW.as_u64() - 5_000);
    let report = Report {
        service: orders(),
        instance: Some(instance(80).key),
        sent_at: NOW,
        in_flight: 0,
        events: vec![(at, instance(80).key.address, told)],
        seconds: vec![second(7, 90), second(6, 80), second(5, 10)],
        late: Vec::new(),
    };
    hub.report(provider, report).unwrap();
    let router = open(&hub);
    let listed = json(&router, PAGES[1]).await;
    assert_eq!(listed["shown"][0]["phase"]["word"], "leaving");
    hub.withdraw(Client::Connection(provider), orders()).unwrap();
    let service = html(&router, PAGES[1]).await;
    assert!(service.contains("QPS reached 0 at"), "{service}");
    assert!(service.contains("class=\"measured sA\"") && service.contains("leaving: SIGTERM"), "{service}");
    let page = html(&router, PAGES[2]).await;
    assert!(page.contains("It is not listed any more") && page.contains("deregistered"), "{page}");
    let overview = json(&router, "/console").await;
    assert_eq!(overview["services"][0]["problem"], "nobody-there", "somebody follows it");
}

#[tokio::test]
async fn services_with_a_problem_come_first_and_are_found_by_name() {
    let hub = hub();
    let (id, _) = hub.connect(Peer::default());
    for name in ["a", "b", "c", "d"] {
        let key =
            InstanceKey { address: Address::new("10.0.0.7", 80).unwrap(), cluster: name.parse().unwrap() };
        let healthy = Instance { healthy: name != "c", ..Instance { key, ..instance(80) } };
        let also = Instance { healthy: name != "d", ..instance(81) };
        let all = if name == "c" { vec![healthy] } else { vec![healthy, also] };
        hub.publish(Client::Connection(id), name.parse().unwrap(), all).unwrap();
    }
    let router = open(&hub);
    let names = async |uri: &str| {
        let page = json(&router, uri).await;
        let services = page["services"].as_array().unwrap().iter();
        services.map(|line| line["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("/console").await, ["c", "d", "a", "b"]);
    assert_eq!(names("/console?search=b").await, ["b"]);
    assert!(html(&router, "/console?search=zz").await.contains("No service has"));
    assert!(html(&router, "/console?namespaceId=dev").await.contains("No services yet"));
}

#[tokio::test]
async fn a_subscriber_that_does_not_acknowledge_is_a_problem_of_its_service() {
    let (hub, provider) = staged();
    let (slow, subscriber) = hub.connect(Peer::default());
    hub.subscribe(slow, &orders(), Clusters::default()).unwrap();
    let router = open(&hub);
    let problem = async || json(&router, "/console").await["services"][0]["problem"].clone();
    hub.publish(Client::Connection(provider), orders(), vec![instance(80), instance(81)]).unwrap();
    let sent = Instant::now() + Duration::from_secs(60);
    let send = |at| {
        let mut pushes = subscriber.pushes();
        pushes.due(at).and_then(|service| pushes.send(&service, (u64::MAX, 0), at)).map(|(id, _)| id)
    };
    assert!(send(sent).is_some());
    assert_eq!(problem().await, Value::Null, "there is time yet");
    let late = sent + Duration::from_secs(6);
    let id = send(late).unwrap();
    assert_eq!(problem().await, "behind");
    assert!(html(&router, "/console").await.contains("some subscribers do not acknowledge its list"));
    subscriber.answer(id, true, late);
    assert_eq!(problem().await, Value::Null);
}

#[tokio::test(start_paused = true)]
async fn no_value_ends_a_line_of_a_stream() {
    let (hub, provider) = staged();
    let evil = "a\r\rid: 7\revent: still\rdata: 00:00:00\n\nevent: still\r\n\r\nb";
    let metadata = Metadata::from_iter([("evil", evil)]);
    hub.publish(Client::Connection(provider), orders(), vec![Instance { metadata, ..instance(80) }]).unwrap();
    let router = open(&hub);
    let state = next(&mut follow(&router, PAGES[2], None).await).await.unwrap();
    let (_, event) = state.split_once("\n\n").unwrap(); // After the word on when to come again.
    let lines: Vec<&str> = event.trim_end_matches('\n').split(['\n', '\r']).collect();
    assert!(lines.contains(&"data: event: still"), "{event}");
    assert!(lines[2..].iter().all(|line| line.starts_with("data: ")), "{event}");
    assert!(lines[0].starts_with("id: ") && lines[1] == "event: state", "{event}");
}

#[tokio::test]
async fn a_thousand_services_of_a_hundred_instances_are_one_short_page() {
    let hub = hub();
    let (id, _) = hub.connect(Peer::default());
    for n in 0..1000 {
        let all = (1..=100).map(instance).collect();
        hub.publish(Client::Connection(id), format!("service-{n:04}").parse().unwrap(), all).unwrap();
    }
    let router = open(&hub);
    let first = Instant::now();
    html(&router, "/console").await;
    let first = first.elapsed();
    let again = Instant::now();
    let page = html(&router, "/console").await;
    let again = again.elapsed();
    assert!(page.len() < 200_000, "{} bytes", page.len());
    assert!(page.contains("1000 services") && page.contains("Page 1 of 20"));
    // Without optimisation, on a machine that does other things too: what is not counted anew is far below.
    println!("{} bytes; {first:?} at first, {again:?} from then on", page.len());
    assert!(again < Duration::from_millis(100), "{again:?}");
}

#[tokio::test]
async fn a_page_is_shown_to_whom_the_api_would_tell_it() {
    let (hub, _) = staged();
    let tokens: HashMap<_, _> = tokens(&hub).into_iter().collect();
    let router = routes(hub.clone(), Arc::new(Access::new(hub, &Settings::default()).unwrap()));
    let bearer = |name: &str| format!("Bearer {}", tokens[name].as_deref().unwrap());
    assert_ne!(ask(&router, PAGES[1], &[]).await.0, StatusCode::OK);
    let (status, _, page) = ask(&router, PAGES[1], &[(AUTHORIZATION, &bearer("everywhere"))]).await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("change nothing") && page.contains("everywhere"), "{page}");
    let (_, _, page) = ask(&router, PAGES[1], &[(AUTHORIZATION, &bearer("root"))]).await;
    assert!(!page.contains("change nothing"), "{page}");
    assert_eq!(
        ask(&router, "/console/settings", &[(AUTHORIZATION, &bearer("reader"))]).await.0,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test(start_paused = true)]
async fn what_spans_namespaces_shows_each_viewer_those_they_may_read_and_no_other() {
    let hub = hub();
    for namespace in ["dev", "prod", "public"] {
        let service: ServiceKey = format!("{namespace}##g@@{namespace}-orders").parse().unwrap();
        let (provider, _) = hub.connect(Peer { app: format!("{namespace}-app"), ..Peer::default() });
        hub.publish(Client::Connection(provider), service.clone(), vec![instance(80)]).unwrap();
        let (consumer, _) = hub.connect(Peer { app: format!("{namespace}-reader"), ..Peer::default() });
        hub.subscribe(consumer, &service, Clusters::default()).unwrap();
    }
    let tokens: HashMap<_, _> = tokens(&hub).into_iter().collect();
    let router = routes(hub.clone(), Arc::new(Access::new(hub, &Settings::default()).unwrap()));
    let dev = "namespaceId=dev&groupName=g&serviceName=dev-orders";
    let pages = [
        "/console?namespaceId=dev".to_owned(),
        "/console/clients".to_owned(),
        "/console/clients?namespaceId=dev".to_owned(),
        format!("/console/service?{dev}"),
        format!("/console/instance?{dev}&ip=10.0.0.7&port=80"),
        format!("/console/diagnosis?{dev}"),
    ];
    for (name, sees_all) in [("reader", false), ("writer", false), ("admin", false), ("everywhere", true)] {
        let bearer = format!("Bearer {}", tokens[name].as_deref().unwrap());
        for (page, accept) in pages.iter().flat_map(|page| {
            ["text/html", "application/json", "text/event-stream"].map(move |accept| (page, accept))
        }) {
            let request = Request::builder().uri(page).header(HOST, "127.0.0.1:8848").header(ACCEPT, accept);
            let request = request.header(AUTHORIZATION, &bearer).body(Body::empty()).unwrap();
            let answer = router.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "{page} as {name}");
            let said = if accept == "text/event-stream" {
                next(&mut answer.into_body()).await.unwrap()
            } else {
                String::from_utf8(to_bytes(answer.into_body(), usize::MAX).await.unwrap().to_vec()).unwrap()
            };
            assert!(said.contains("dev"), "{page} as {name}: {said}");
            let spans = page.contains("clients") || accept == "text/html"; // The frame has the namespaces.
            assert_eq!(said.contains("prod"), sees_all && spans, "{page} as {name}, {accept}: {said}");
        }
        for page in ["/console?namespaceId=prod", "/console", "/console/diagnosis?serviceName=public-orders"]
        {
            let (status, _, said) = ask(&router, page, &[(AUTHORIZATION, &bearer)]).await;
            assert_eq!(status == StatusCode::FORBIDDEN, !sees_all, "{page} as {name}: {said}");
            assert!(sees_all || !said.contains("prod-"), "{page} as {name}: {said}");
        }
    }
}

/// A page as a stream.
async fn follow(router: &Router, uri: &str, last: Option<&str>) -> Body {
    let mut request =
        Request::builder().uri(uri).header(HOST, "127.0.0.1:8848").header(ACCEPT, "text/event-stream");
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let answer = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.headers()[CONTENT_TYPE], "text/event-stream");
    answer.into_body()
}

async fn next(stream: &mut Body) -> Option<String> {
    let frame = timeout(Duration::from_secs(60), stream.frame()).await.expect("nothing came for a minute")?;
    let data: Bytes = frame.unwrap().into_data().unwrap();
    Some(String::from_utf8(data.to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_followed_is_sent_anew_when_it_has_changed_and_only_then() {
    let (hub, provider) = staged();
    let router = open(&hub);
    let mut stream = follow(&router, PAGES[1], None).await;
    let state = next(&mut stream).await.unwrap();
    assert!(
        state.contains("event: state\n") && state.contains("data: <h1>") && state.ends_with("\n\n"),
        "{state}"
    );
    assert!(state.lines().all(|line| line.is_empty() || line.contains(": ")), "{state}");
    let id = state.split("id: ").nth(1).unwrap().split('\n').next().unwrap().to_owned();
    hub.withdraw(Client::Connection(provider), orders()).unwrap();
    let changed = next(&mut stream).await.unwrap();
    assert!(changed.contains("No instance is listed"), "{changed}");
    hub.publish(Client::Connection(provider), orders(), vec![instance(80)]).unwrap();
    let _ = next(&mut stream).await.unwrap();
    drop(stream);
    let page = "/console/settings";
    let mut stream = follow(&router, page, None).await;
    let first = next(&mut stream).await.unwrap();
    let known = first.split("id: ").nth(1).unwrap().split('\n').next().unwrap();
    let begun = Instant::now();
    let still = next(&mut stream).await.unwrap();
    assert!(still.starts_with("event: still\n"), "{still}");
    assert!(begun.elapsed() <= Duration::from_secs(16), "{:?}", begun.elapsed());
    drop(stream);
    let mut again = follow(&router, page, Some(known)).await;
    assert_eq!(
        next(&mut again).await.unwrap(),
        "retry: 2000\n\n",
        "whoever has a state is not sent it again"
    );
    assert_ne!(id, known);
}

#[tokio::test(start_paused = true)]
async fn streams_end_first_when_the_registry_ends() {
    let (hub, _) = staged();
    let mut stream = follow(&open(&hub), PAGES[0], None).await;
    assert!(next(&mut stream).await.is_some());
    let begun = Instant::now();
    hub.freeze();
    assert_eq!(next(&mut stream).await, None);
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn no_more_pages_are_followed_than_there_are_places() {
    let (hub, _) = staged();
    let router = open(&hub);
    let mut streams = Vec::new();
    for _ in 0..super::live::STREAMS_MAX {
        streams.push(follow(&router, PAGES[0], None).await);
    }
    let full = ask(&router, ServicePage::PATH, &[(ACCEPT, "text/event-stream")]).await;
    assert_eq!(full.0, StatusCode::BAD_REQUEST, "what is asked wrongly is told first");
    let full = ask(&router, PAGES[0], &[(ACCEPT, "text/event-stream")]).await;
    assert_eq!((full.0, full.1["retry-after"].to_str().unwrap()), (StatusCode::SERVICE_UNAVAILABLE, "15"));
    streams.pop();
    let mut last = follow(&router, PAGES[0], None).await;
    assert!(next(&mut last).await.is_some());
}
