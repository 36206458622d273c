//! The table against the router, both ways.

use super::*;
use crate::Clock;
use crate::model::UnixMillis;
use crate::registry::Settings;
use crate::registry::access::Access;
use crate::registry::access::staged::tokens;
use crate::registry::clerk;
use crate::registry::command::Limits;
use crate::registry::http::routes;
use crate::registry::hub::Hub;
use crate::registry::storage::Memory;
use axum::body::Body;
use axum::http::{Request, StatusCode, header::ALLOW};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use tower::ServiceExt as _;

fn router() -> axum::Router {
    let hub =
        Hub::new(Clock::manual(UnixMillis::new(1)).0, Limits { metadata_chars_max: 100, instances_max: 100 });
    let (hub, settings) = (Arc::new(hub), Settings { no_auth: true, ..Settings::default() });
    let access = Arc::new(Access::new(hub.clone(), &settings).unwrap());
    routes(hub, access)
}

/// The methods of a path: what the router says when it is asked with one that nothing has.
async fn methods(router: &axum::Router, path: &str) -> BTreeSet<String> {
    let request = Request::builder().method("PROPFIND").uri(path);
    let request = request
        .header("host", "localhost")
        .header("sec-fetch-site", "same-origin")
        .body(Body::empty())
        .unwrap();
    let answer = router.clone().oneshot(request).await.unwrap();
    if answer.status() == StatusCode::NOT_FOUND {
        return BTreeSet::new();
    }
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{path} takes any method");
    let allowed = answer.headers()[ALLOW].to_str().unwrap().split(',').map(str::trim);
    allowed.filter(|method| *method != "HEAD").map(str::to_owned).collect()
}

/// What the sources of the HTTP API write in quotes after `before`, if it begins with a slash.
fn words(before: &str) -> BTreeSet<String> {
    let registry = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/registry");
    let folders =
        ["http", "console", "console/act"].map(|folder| std::fs::read_dir(registry.join(folder)).unwrap());
    let mut words = BTreeSet::new();
    for file in folders.into_iter().flatten() {
        let path = file.unwrap().path();
        if path.is_file() && path.file_name().unwrap() != "rules.rs" {
            let text = std::fs::read_to_string(path).unwrap();
            let begin = format!("{before}\"/");
            let found = text.split(&begin).skip(1).filter_map(|rest| rest.split('"').next());
            words.extend(found.map(|word| format!("/{word}")));
        }
    }
    words.retain(|word| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.{}*".contains(&byte)));
    words
}

#[tokio::test]
async fn every_route_has_a_line_in_the_table() {
    // Among the words are all paths, or what stands of them behind one nest or two.
    let (router, words, mut nests) = (router(), words(""), words("nest("));
    assert!(words.contains("/instance/list") && nests.contains("/nacos/v1/ns"), "{words:?}");
    nests.insert(String::new());
    let (mut found, mut missing) = (BTreeSet::new(), Vec::new());
    for (outer, inner) in nests.iter().flat_map(|outer| nests.iter().map(move |inner| (outer, inner))) {
        for path in words.iter().map(|word| format!("{outer}{inner}{word}")) {
            for method in methods(&router, &path).await {
                let listed = BY_PATH.get(&path).into_iter().flatten();
                if !listed.clone().any(|(own, _)| own.as_str() == method) {
                    missing.push(format!("{method} {path}"));
                }
                found.insert((method, path.clone()));
            }
        }
    }
    assert!(missing.is_empty(), "no line in the table says who may: {missing:#?}");
    assert_eq!(found.len(), BY_PATH.values().map(Vec::len).sum::<usize>(), "not every route was found");
}

#[tokio::test]
async fn every_line_of_the_table_is_of_a_route_and_no_two_are_of_one() {
    let router = router();
    for (path, needs) in &*BY_PATH {
        let listed: Vec<String> = needs.iter().map(|(method, _)| method.to_string()).collect();
        let unique: BTreeSet<String> = listed.iter().cloned().collect();
        assert_eq!((unique.len(), &methods(&router, path).await), (listed.len(), &unique), "{path}");
    }
}

#[test]
fn what_is_not_in_the_table_is_for_those_who_may_do_everything() {
    assert_eq!(need(&Method::GET, "/graceful/v1/secrets"), Everywhere(Operate));
    assert_eq!(need(&Method::DELETE, "/graceful/v1/clients"), Everywhere(Operate));
    assert_eq!(need(&Method::HEAD, "/graceful/v1/clients"), Somewhere(Read));
}

/// Whom each need lets through, of those above.
const ALLOWED: &[(Need, &[&str])] = &[
    (BeKnown, &["root", "reader", "writer", "admin", "other", "everywhere", "nothing"]),
    (BeNamed, &["root", "writer"]),
    (In(Read), &["root", "reader", "writer", "admin", "everywhere"]),
    (In(Write), &["root", "writer", "admin"]),
    (In(Operate), &["root", "admin"]),
    (InKey(Read), &["root", "reader", "writer", "admin", "everywhere"]),
    (Somewhere(Read), &["root", "reader", "writer", "admin", "other", "everywhere"]),
    (Everywhere(Read), &["root", "everywhere"]),
    (Everywhere(Operate), &["root"]),
];

/// A router that asks, whose users are those above, with their tokens and those of nobody.
fn asking() -> (axum::Router, Vec<(&'static str, Option<String>)>) {
    let clock = Clock::manual(UnixMillis::new(1_000_000)).0;
    let hub = Arc::new(Hub::new(clock, Limits { metadata_chars_max: 100, instances_max: 100 }));
    let access = Arc::new(Access::new(hub.clone(), &Settings::default()).unwrap());
    let tokens = tokens(&hub);
    let stored = hub.clone();
    tokio::spawn(async move { clerk::keep(&stored, &Memory, std::future::pending()).await });
    (routes(hub, access), tokens)
}

#[tokio::test]
async fn every_route_lets_through_whom_its_line_says_and_nobody_else() {
    let (router, tokens) = asking();
    for (path, needs) in &*BY_PATH {
        for (method, need) in needs {
            for (who, token) in &tokens {
                let name = if *need == BeNamed { "writer" } else { "ghost" }; // Who is not there to be removed.
                let query = format!("namespaceId=dev&key=dev%23%23g%40%40orders&username={name}");
                let mut request = Request::builder().method(method).uri(format!("{path}?{query}"));
                // What opened doors elsewhere.
                request = request.header("user-agent", "Nacos-Server").header("serverIdentity", "security");
                request = request.header("x-forwarded-for", "127.0.0.1").header("nacos-server", "true");
                // As a page of the console sends its forms.
                request = request.header("sec-fetch-site", "same-origin");
                if let Some(token) = token {
                    request = request.header("accessToken", token);
                }
                let answer = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
                let status = answer.status();
                let known = ALLOWED.iter().find(|(own, _)| own == need);
                let allowed = known.is_none_or(|(_, allowed)| allowed.contains(who));
                assert!(known.is_some() || *need == Nothing, "{need:?} has no line in this test");
                let login = path.ends_with("/login"); // Refuses whoever gives no name and password.
                let refused = [StatusCode::FORBIDDEN, StatusCode::UNAUTHORIZED].contains(&status) && !login;
                assert_eq!(refused, !allowed, "{method} {path} as {who}: {status}");
            }
        }
    }
}

#[tokio::test]
async fn a_refusal_is_put_in_the_words_of_its_version() {
    let (router, tokens) = asking();
    let ask = async |path: &str, who: &str| {
        let token = tokens.iter().find(|(name, _)| *name == who).unwrap().1.clone();
        let request = Request::get(format!("{path}?namespaceId=dev&serviceName=orders"));
        let request = request.header("authorization", format!("Bearer {}", token.unwrap_or_default()));
        let answer = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    };
    let words = "authorization failed: other may not do this in the namespace dev: it needs the role read";
    let v1 = format!(
        r#"{{"timestamp":"1970-01-01T00:16:40.000+00:00","status":403,"error":"Forbidden","message":"{words}","path":"/nacos/v1/ns/instance/list"}}"#
    );
    assert_eq!(ask("/nacos/v1/ns/instance/list", "other").await, (403, v1));
    let later = format!(r#"{{"code":10001,"message":"access denied","data":"{words}"}}"#);
    assert_eq!(ask("/nacos/v2/ns/instance/list", "other").await, (403, later.clone()));
    assert_eq!(ask("/nacos/v3/client/ns/instance/list", "other").await, (403, later));
    assert_eq!(ask("/graceful/v1/instances", "other").await, (403, words.to_owned()));
    let (status, words) = ask("/graceful/v1/instances", "an expired one").await;
    assert_eq!((status, words.as_str()), (401, "authorization failed: the token has expired: log in anew"));
    assert_eq!(ask("/graceful/v2/nothing", "no token").await.0, 404);
}
