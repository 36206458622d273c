//! Against what is no registry of this program: an r-nacos, in the answers of version 0.8.8.

use super::{cells, graceful};
use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

const NAMESPACES: &str =
    r#"{"code":200,"message":null,"data":[{"namespace":"","namespaceShowName":"public","type":0}]}"#;
const SERVICES: &str = r#"{"count":1,"serviceList":[{"name":"orders","groupName":"DEFAULT_GROUP","clusterCount":0,"ipCount":2,"healthyInstanceCount":1,"triggerFlag":false,"metadata":"{}","protectThreshold":0.0}]}"#;
const SERVICE: &str = r#"{"namespaceId":"public","groupName":"DEFAULT_GROUP","name":"orders","protectThreshold":0.0,"metadata":{},"selector":{"type":"none","contextType":"NONE"},"clusters":[{"name":"DEFAULT","healthChecker":{"type":"TCP"},"metadata":{}}]}"#;
const LISTED: &str = r#"{"count":1,"list":[{"service":"DEFAULT_GROUP@@orders","ip":"10.0.0.7","port":80,"clusterName":"DEFAULT","weight":1.0,"healthy":true,"instanceId":"10.0.0.7#80","metadata":{"zone":"a"},"marked":true,"enabled":true,"serviceName":"DEFAULT_GROUP@@orders","ephemeral":false}]}"#;
const DISABLED: &str = r#"{"ip":"10.0.0.7","port":81,"clusterName":"DEFAULT","weight":1.0,"healthy":true,"metadata":{},"enabled":false,"ephemeral":true}"#;
const FOLLOWERS: &str = r#"{"count":1,"subscribers":[{"serviceName":"orders","groupName":"DEFAULT_GROUP","namespaceId":"public","ip":"10.0.0.9","port":41000}]}"#;

/// What was asked to be changed: method, path and form.
type Changes = Arc<Mutex<Vec<String>>>;

/// Plays the server at any port.
async fn rnacos() -> (SocketAddr, Changes) {
    let changes = Changes::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(answer).with_state(changes.clone());
    tokio::spawn(async { axum::serve(listener, router).await });
    (address, changes)
}

async fn answer(State(changes): State<Changes>, request: Request) -> (StatusCode, String) {
    let (head, body) = request.into_parts();
    let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
    let body: Bytes = to_bytes(body, 10_000).await.unwrap();
    let known = match (head.method, path) {
        (Method::GET, "/nacos/v1/console/namespaces") => NAMESPACES,
        (Method::GET, "/nacos/v1/ns/catalog/services") => SERVICES,
        (Method::GET, "/nacos/v1/ns/service") if query.contains("orders") => SERVICE,
        (Method::GET, "/nacos/v1/ns/service") => {
            let words = "service not found,namespace_id:public,service_name:mail";
            return (StatusCode::INTERNAL_SERVER_ERROR, words.to_owned());
        }
        (Method::GET, "/nacos/v1/ns/catalog/instances") => LISTED,
        (Method::GET, "/nacos/v1/ns/instance") if query.contains("port=81") => DISABLED,
        (Method::GET, "/nacos/v1/ns/instance") => {
            return (StatusCode::INTERNAL_SERVER_ERROR, "error".to_owned());
        }
        (Method::GET, "/nacos/v1/ns/service/subscribers") if query.contains("serviceName=orders") => {
            FOLLOWERS
        }
        (method, "/nacos/v1/ns/instance") => {
            let form = String::from_utf8(body.to_vec()).unwrap();
            changes.lock().unwrap().push(format!("{method} {form}"));
            "ok"
        }
        _ => return (StatusCode::NOT_FOUND, String::new()),
    };
    (StatusCode::OK, known.to_owned())
}

#[tokio::test]
async fn what_an_rnacos_tells_is_shown_and_what_it_does_not_is_left_open() {
    let (http, _) = rnacos().await;
    let services = graceful(http, "services").await.told();
    assert_eq!(cells(&services)[1], ["DEFAULT_GROUP", "orders", "2", "1", "-", "-"]);
    let instances = graceful(http, "instances orders").await.told();
    let expected = ["10.0.0.7:80", "DEFAULT", "storage", "healthy", "enabled", "1", "-", "-", "-", "-"];
    assert_eq!(cells(&instances)[1], expected);
    let service = graceful(http, "service orders --output json").await.json();
    assert!(service["subscribers"].is_null() && service["events"].is_null() && service["instances"] == 1);
    let subscribers = graceful(http, "subscribers orders").await;
    assert!(!subscribers.stderr.contains("present list"), "it does not know: {}", subscribers.stderr);
    assert_eq!(cells(&subscribers.told())[1], ["10.0.0.9:41000", "-", "-", "-", "-", "-"]);
    let missing = graceful(http, "instances mail").await;
    assert!(missing.code == Some(1) && missing.stderr.contains("`graceful services"), "{}", missing.stderr);
}

#[tokio::test]
async fn what_an_rnacos_cannot_answer_is_said_with_what_to_do_instead() {
    let (http, changes) = rnacos().await;
    for (command, instead) in [
        ("clients", "`graceful subscribers SERVICE`"),
        ("offline orders 10.0.0.7:80", "`graceful disable`"),
        ("disable orders 10.0.0.9:80", "there are 10.0.0.7:80"),
    ] {
        let refused = graceful(http, command).await;
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""), "{command}");
        assert!(refused.stderr.contains(instead), "{command}: {}", refused.stderr);
    }
    assert!(changes.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_rnacos_is_steered_one_by_one_and_a_disabled_instance_is_found_although_no_list_has_it() {
    let (http, changes) = rnacos().await;
    graceful(http, "enable orders 10.0.0.7:81 10.0.0.7:80").await.told();
    graceful(http, "metadata orders 10.0.0.7:80 --set a=b --unset zone").await.told();
    graceful(http, "register orders 10.0.0.7:82 --persistent --weight 2").await.told();
    let changes = changes.lock().unwrap().clone();
    let service = "namespaceId=public&serviceName=DEFAULT_GROUP%40%40orders&ip=10.0.0.7";
    let place = |port: u16, ephemeral: bool| {
        format!("{service}&port={port}&clusterName=DEFAULT&ephemeral={ephemeral}")
    };
    let expected = [
        format!("PATCH {}&enabled=true", place(81, true)),
        format!("PATCH {}&enabled=true", place(80, false)),
        format!("PATCH {}&metadata=%7B%22a%22%3A%22b%22%7D", place(80, false)),
        format!("POST {}&weight=2&metadata=%7B%7D", place(82, false)),
    ];
    assert_eq!(changes, expected);
}
