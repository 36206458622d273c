//! What operators do through `/graceful/v1`, and that it is written down with whoever did it.

use super::registry::{Running, SOON};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tower_graceful::client::Nacos;
use tower_graceful::model::{Instance, ServiceKey};
use tower_graceful::naming::{Register, Subscribe};
use tower_graceful::registry::{Admin, Password, Settings};

const PASSWORD: &str = "correct horse";

fn orders() -> ServiceKey {
    "orders".parse().unwrap()
}

async fn post(registry: &Running, path: &str, form: &str) -> (u16, Value) {
    let (status, body) = registry.send("POST", &format!("/graceful/v1{path}"), form).await;
    (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
}

async fn told(registry: &Running, path: &str) -> Value {
    let (status, body) = registry.send("GET", &format!("/graceful/v1{path}"), "").await;
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

/// The newest events of the instances of `orders`: what, why and by whom.
async fn events(registry: &Running, token: &str) -> Vec<(String, String, String)> {
    let told = told(registry, &format!("/events?serviceName=orders{token}")).await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let by = |by: &Value| text(["user", "ip", "kind"].into_iter().find_map(|key| by.get(key)).unwrap());
    let lines = told["events"].as_array().unwrap().iter();
    lines.map(|line| (text(&line["event"]), text(&line["reason"]), by(&line["by"]))).collect()
}

fn event(what: &str, why: &str, by: &str) -> (String, String, String) {
    (what.to_owned(), why.to_owned(), by.to_owned())
}

#[tokio::test]
async fn several_instances_are_set_at_once_or_none_of_them() {
    let registry = Running::start().await;
    for port in [1, 2, 3] {
        registry.send("POST", &format!("/instance?serviceName=orders&ip=10.0.0.7&port={port}"), "").await;
    }
    let set = "/instances/set?serviceName=orders";
    let two = r#"instances=[{"ip":"10.0.0.7","port":1},{"ip":"10.0.0.7","port":2}]"#;
    assert_eq!(post(&registry, set, &format!("{two}&enabled=false")).await, (200, json!({"set": 2})));
    let enabled = async || {
        let told = told(&registry, "/instances?serviceName=orders").await;
        told["instances"].as_array().unwrap().iter().map(|one| one["enabled"] == true).collect::<Vec<_>>()
    };
    assert_eq!(enabled().await, [false, false, true]);
    let strangers = r#"instances=[{"ip":"10.0.0.7","port":3},{"ip":"10.0.0.7","port":9}]&enabled=false"#;
    assert_eq!(post(&registry, set, strangers).await.0, 404);
    assert_eq!(enabled().await, [false, false, true], "all of them, or none");

    let one = format!("{set}&ip=10.0.0.7&port=3");
    assert_eq!(post(&registry, &one, "weight=0.5&metadata=zone=a").await.0, 200);
    for wrong in ["", "weight=-1", "weight=10001", "enabled=maybe", "metadata=%7B"] {
        assert_eq!(post(&registry, &one, wrong).await.0, 400, "{wrong}");
    }
    let events = events(&registry, "").await;
    assert_eq!(events[0], event("set", "weight 0.5, zone=a", "127.0.0.1"));
    assert_eq!(events[1].0, "disabled");
    registry.stop().await;
}

#[tokio::test]
async fn what_holds_for_a_service_is_told_with_who_said_it() {
    let registry = Running::start().await;
    let service = "serviceName=orders";
    registry.send("POST", &format!("/service?{service}&protectThreshold=0.5&metadata=owner=ann"), "").await;
    let rollout = format!("/services/rollout?{service}");
    let (status, holds) = post(&registry, &rollout, "warmup=60&floor=0.1&notices=true&delay=30").await;
    let expected = json!({"graceful.delay": "30", "graceful.notice": "true", "graceful.warmup": "60", "graceful.warmup.floor": "0.1"});
    assert_eq!((status, &holds["holds"]), (200, &expected));
    assert_eq!(post(&registry, &rollout, "exponent=0.5").await.0, 200);
    let (status, why) = post(&registry, &rollout, "floor=0").await;
    assert!(status == 400 && why.as_str().unwrap().contains("floor"), "{why}");
    assert_eq!(post(&registry, "/services/rollout?serviceName=nobody", "").await.0, 400);
    let (_, said) = registry.send("GET", &format!("/service?{service}"), "").await;
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["metadata"], json!({"owner": "ann", "graceful.warmup.exponent": "0.5"}));

    let told = told(&registry, &format!("/events?{service}")).await;
    let deeds = told["service"].as_array().unwrap();
    let of = |deed: &Value| (deed["event"].clone(), deed["reason"].clone());
    assert_eq!(deeds.len(), 3, "{told}");
    assert_eq!(deeds[0]["by"], json!({"kind": "operator", "ip": "127.0.0.1"}));
    let taken_back = "graceful.delay taken back, graceful.notice taken back, graceful.warmup taken back, graceful.warmup.exponent=0.5, graceful.warmup.floor taken back";
    assert_eq!(of(&deeds[0]), (json!("changed"), json!(taken_back)));
    let created = "persistent, protection threshold 0.5, owner=ann";
    assert_eq!(of(&deeds[2]), (json!("created"), json!(created)));
    registry.stop().await;
}

#[tokio::test]
async fn a_connection_that_is_closed_takes_its_instances_with_it_and_its_client_comes_back() {
    let registry = Running::start().await;
    let [provider, consumer] = ["orders", "storefront"]
        .map(|app| Nacos::builder(&registry.http.to_string()).app(app).connect().unwrap());
    provider.register(&orders(), &Instance::new("127.0.0.1:80".parse().unwrap())).await.unwrap();
    let _list = Subscribe::subscribe(&consumer, &orders()).await.unwrap();
    let connection = async || {
        let told = told(&registry, "/clients").await;
        let of = |client: &&Value| client["app"] == "orders";
        told["clients"].as_array().unwrap().iter().find(of).map(|one| one["connection"].as_u64().unwrap())
    };
    let first = connection().await.unwrap();
    let close = format!("/clients/close?connection={first}");
    assert_eq!(post(&registry, &close, "").await, (200, json!({"closed": true, "instances": 1})));
    assert_eq!(post(&registry, &close, "").await.0, 404, "it is gone");
    let events = events(&registry, "").await;
    let closed = events.iter().position(|(what, ..)| what == "connection-closed").unwrap();
    assert_eq!(events[closed], event("connection-closed", "by operator from 127.0.0.1", "127.0.0.1"));
    assert_eq!((&*events[closed - 1].0, &*events[closed - 1].1), ("went", "connection-lost"));
    let back = async {
        while connection().await.is_none() {
            sleep(Duration::from_millis(10)).await;
        }
        while told(&registry, "/instances?serviceName=orders").await["instances"] == json!([]) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, back).await.unwrap();
    assert!(connection().await.unwrap() > first, "over another connection");
    for client in [provider, consumer] {
        client.close(SOON).await.unwrap();
    }
    registry.stop().await;
}

#[tokio::test]
async fn a_transport_that_nobody_reads_is_cut() {
    use std::pin::pin;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    let registry = Running::start().await;
    // Between the client and the registry stands one that can stop to hand on.
    let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let grpc_port = door.local_addr().unwrap().port();
    let client =
        Nacos::builder(&registry.http.to_string()).grpc_port(grpc_port).app("stuck").connect().unwrap();
    let register = Instance::new("127.0.0.1:80".parse().unwrap());
    let service = orders();
    let mut registering = pin!(client.register(&service, &register));
    let mut inside = tokio::select! {
        accepted = door.accept() => accepted.unwrap().0,
        _ = &mut registering => unreachable!("nobody has let it through"),
    };
    let mut outside = TcpStream::connect(registry.grpc).await.unwrap();
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut inside, &mut outside) => unreachable!("both are there"),
        registered = &mut registering => registered.unwrap(),
    }
    let clients = told(&registry, "/clients").await;
    let connection = &clients["clients"][0]["connection"];
    assert_eq!(post(&registry, &format!("/clients/close?connection={connection}"), "").await.0, 200);
    assert_eq!(told(&registry, "/clients").await["count"], 0);
    // The registry ends the transport though its client says no word.
    let mut rest = Vec::new();
    timeout(SOON, outside.read_to_end(&mut rest)).await.expect("the transport is still open").ok();
    _ = outside.shutdown().await;
    drop(inside);
    registry.stop().await;
}

#[tokio::test]
async fn only_who_may_operate_does_any_of_it_and_is_named() {
    let admin = Some(Admin { name: "ops".parse().unwrap(), password: Password::new(PASSWORD).unwrap() });
    let registry = Running::start_with(Settings { http_port: 0, admin, ..Settings::default() }).await;
    let log_in = async |name: &str| {
        let form = format!("username={name}&password={PASSWORD}");
        let (_, answer) = registry.send("POST", "/nacos/v1/auth/login", &form).await;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        format!("&accessToken={}", answer["accessToken"].as_str().unwrap())
    };
    let ops = log_in("ops").await;
    for (path, form) in [
        ("/nacos/v1/auth/users", format!("username=eve&password={PASSWORD}")),
        ("/nacos/v1/auth/roles", "username=eve&role=write".to_owned()),
    ] {
        assert_eq!(registry.send("POST", path, &format!("{form}{ops}")).await.0, 200);
    }
    let eve = log_in("eve").await;
    let one = "serviceName=orders&ip=10.0.0.7&port=1";
    assert_eq!(registry.send("POST", &format!("/instance?{one}{eve}"), "").await.0, 200);
    for (path, answer) in [
        (format!("/instances/set?{one}&enabled=false"), 200),
        ("/services/rollout?serviceName=orders&warmup=9".to_owned(), 200),
        ("/clients/close?connection=1".to_owned(), 404),
    ] {
        assert_eq!(post(&registry, &path, "").await.0, 401, "{path}");
        assert_eq!(post(&registry, &path, &eve).await.0, 403, "{path}");
        assert_eq!(post(&registry, &path, &ops).await.0, answer, "{path}");
    }
    let kept = "serviceName=mail&ip=10.0.0.8&port=1&ephemeral=false";
    assert_eq!(registry.send("POST", &format!("/instance?{kept}{eve}"), "").await.0, 200);
    let told = told(&registry, &format!("/events?serviceName=mail{ops}")).await;
    assert_eq!(told["events"][0]["by"], json!({"kind": "operator", "user": "eve"}), "{told}");
    assert_eq!(events(&registry, &ops).await[0].2, "ops");
    registry.stop().await;
}

#[tokio::test]
async fn what_is_changed_over_the_routes_of_nacos_is_written_down_with_its_address() {
    let registry = Running::start().await;
    let one = "serviceName=orders&ip=10.0.0.7&port=1";
    registry.send("POST", &format!("/instance?{one}"), "").await;
    registry.send("PUT", &format!("/instance?{one}&enabled=false"), "").await;
    registry.send_as("graceful/0.1.0 (ann)", "PATCH", &format!("/nacos/v2/ns/instance?{one}&weight=2")).await;
    let mut by = told(&registry, "/events?serviceName=orders").await["events"].take();
    let by: Vec<Value> = by.as_array_mut().unwrap().iter_mut().map(|event| event["by"].take()).collect();
    let operator = json!({"kind": "operator", "ip": "127.0.0.1"});
    assert_eq!(by[0], json!({"kind": "operator", "ip": "127.0.0.1", "says": "ann"}));
    assert_eq!((&by[1], &by[2]["kind"]), (&operator, &json!("http")));
    registry.send("PUT", "/nacos/v1/ns/service?serviceName=orders&protectThreshold=0.5", "").await;
    let kept = "serviceName=kept&ip=10.0.0.7&port=2&ephemeral=false";
    registry.send("POST", &format!("/instance?{kept}"), "").await;
    let told_of_service = told(&registry, "/events?serviceName=orders").await;
    assert_eq!(told_of_service["service"][0]["by"], operator, "{told_of_service}");
    let kept = told(&registry, "/events?serviceName=kept").await;
    assert_eq!(kept["events"][0]["by"], operator, "{kept}");
    registry.stop().await;
}
