//! The table against the router, both ways, and against what is answered.

use super::*;
use crate::Clock;
use crate::model::UnixMillis;
use crate::registry::access::Access;
use crate::registry::command::Limits;
use crate::registry::http::routes;
use crate::registry::hub::Hub;
use crate::registry::settings::Settings;
use crate::registry::storage::Memory;
use axum::Router;
use axum::body::{Body, to_bytes};
use http::header::ALLOW;
use http::{Method, Request, StatusCode};
use std::collections::BTreeSet;
use std::sync::Arc;
use tower::ServiceExt as _;

fn hub() -> Arc<Hub> {
    let limits = Limits { metadata_chars_max: 100, instances_max: 100 };
    Arc::new(Hub::new(Clock::manual(UnixMillis::new(1_000)).0, limits))
}

/// The API for everyone.
fn router(hub: &Arc<Hub>) -> Router {
    let settings = Settings { no_auth: true, ..Settings::default() };
    routes(hub.clone(), Arc::new(Access::new(hub.clone(), &settings).unwrap()))
}

async fn ask(router: &Router, method: &str, uri: &str) -> (StatusCode, String, String) {
    let request = Request::builder().method(method).uri(uri).body(Body::empty()).unwrap();
    let answer = router.clone().oneshot(request).await.unwrap();
    let header = |name| answer.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    let (status, kind_or_allowed) = (answer.status(), header(CONTENT_TYPE) + &header(ALLOW));
    let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    (status, kind_or_allowed, String::from_utf8(body.to_vec()).unwrap())
}

/// Every path of a router, as it shows them itself.
fn paths(router: &Router) -> BTreeSet<String> {
    let shown = format!("{router:?}");
    let quoted = shown.split('"').skip(1).step_by(2);
    quoted.filter(|word| word.starts_with('/')).map(str::to_owned).collect()
}

#[tokio::test]
async fn every_route_is_described_and_every_description_is_of_a_route() {
    let router = router(&hub());
    let mut there = BTreeSet::new();
    let is_page = |path: &String| path == "/" || path.starts_with("/console");
    for path in paths(&router).into_iter().filter(|path| !is_page(path)) {
        // Asked with a method that nothing has, the router says which there are.
        let (status, allowed, said) = ask(&router, "PROPFIND", &path).await;
        if status == StatusCode::METHOD_NOT_ALLOWED {
            let allowed = allowed.split_once("utf-8").map_or("", |(_, allowed)| allowed);
            let methods = allowed.split(',').filter(|method| *method != "HEAD");
            there.extend(methods.map(|method| format!("{method} {path}")));
        } else {
            assert_eq!(status, StatusCode::NOT_FOUND, "{path}: {said}");
        }
    }
    let described: BTreeSet<String> = apis().map(|(method, path)| format!("{method} {path}")).collect();
    assert!(described.contains("PATCH /nacos/v2/ns/instance"), "{described:?}");
    let missing: Vec<_> = there.difference(&described).collect();
    let dangling: Vec<_> = described.difference(&there).collect();
    assert!(missing.is_empty(), "no line of the table describes {missing:#?}");
    assert!(dangling.is_empty(), "there is no route for {dangling:#?}");
    assert_eq!(described.len(), apis().count(), "something is described twice");
}

/// A value for every parameter, of an instance that is there.
const VALUES: &str = "serviceName=orders&ip=10.0.0.7&port=80&pageNo=1&pageSize=10&key=orders&clusterName=DEFAULT\
&username=ann&password=secret&withInstances=false&metadata=a%3Db&healthy=true&entry=pushEnabled&value=false\
&clientId=10.0.0.7%3A80%23true&count=1&connectionId=nobody&logName=naming&logLevel=INFO\
&healthChecker=%7B%22type%22%3A%22TCP%22%7D";

#[tokio::test]
async fn what_is_answered_is_what_is_described() {
    let hub = hub();
    let router = router(&hub);
    let story = async {
        for (base, path, operation) in operations::all() {
            // Whatever an earlier operation has taken off is there again.
            let register = format!("/nacos/v1/ns/instance?{VALUES}");
            assert_eq!(ask(&router, "POST", &register).await.0, StatusCode::OK);
            let (method, uri) = (operation.method.as_str(), format!("{path}?{VALUES}"));
            let (status, kind, body) = ask(&router, method, &uri).await;
            assert!(
                !(body.starts_with("there is nothing at") || body.contains("is not supported at")),
                "{method} {path}: {body}"
            );
            if status != StatusCode::OK {
                assert!(operation.method != Method::GET, "{method} {path}: {status} {body}");
                continue;
            }
            let described = content(base, operation.gives);
            let (media, described) = described.as_object().unwrap().iter().next().unwrap();
            assert!(kind.starts_with(media.as_str()), "{method} {path}: {kind}");
            if media == "application/json" {
                let body: Value = serde_json::from_str(&body).unwrap();
                assert_like(&described["schema"], &body, &format!("{method} {path}: {body}"));
            }
        }
    };
    let memory = Memory;
    tokio::select! {
        () = crate::registry::clerk::keep(&hub, &memory, std::future::pending()) => unreachable!(),
        () = story => {}
    }
}

/// Whether `value` has all that a schema, or its example, has.
fn assert_like(schema: &Value, value: &Value, at: &str) {
    let schemas = schemas();
    let schema = match schema["$ref"].as_str() {
        Some(name) => &schemas[name.rsplit('/').next().unwrap()],
        None => schema,
    };
    if let Some(wanted) = schema.get("const") {
        assert_eq!(value, wanted, "{at}");
    }
    match schema["type"].as_str() {
        Some("array") => assert!(value.is_array(), "{at}"),
        Some("object") => assert!(value.is_object(), "{at}"),
        _ => {}
    }
    if let Some(items) = schema.get("items") {
        value.as_array().unwrap().iter().for_each(|value| assert_like(items, value, at));
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let value = value.get(name).unwrap_or_else(|| panic!("no {name} in {at}"));
        assert_like(property, value, at);
    }
    for name in schema["examples"][0].as_object().into_iter().flat_map(Map::keys) {
        assert!(value.get(name).is_some(), "no {name} in {at}");
    }
}

#[test]
fn examples_are_json() {
    for (_, path, operation) in operations::all() {
        if let Gives::Like(example) = operation.gives {
            assert!(serde_json::from_str::<Value>(example).is_ok(), "{path}: {example}");
        }
    }
}

#[test]
fn the_copy_in_the_documentation_is_this_description() {
    let copy = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json"))
        .unwrap_or_default();
    let copy: Value = serde_json::from_str(&copy).unwrap_or_default();
    // As values: how text is laid out is not what is described.
    let take = "take it anew from GET /graceful/v1/openapi.json";
    assert!(copy == document(), "docs/openapi.json is another description: {take}");
}
