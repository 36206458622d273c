//! `graceful instances`, `subscribers` and `clients`.

use super::super::registry::Running;
use super::{cells, graceful};
use serde_json::json;
use tower_graceful::client::Nacos;
use tower_graceful::model::{Address, Instance, Metadata, ServiceKey};
use tower_graceful::naming::Register;

/// An instance of `orders` that has its warm-up before it.
fn instance(port: u16) -> Instance {
    let metadata: Metadata =
        [("graceful.version", "0.1.0"), ("graceful.warmup", "100")].into_iter().collect();
    Instance::new(Address::new("127.0.0.1", port).unwrap()).with_metadata(metadata)
}

#[tokio::test]
async fn an_instance_is_told_with_what_keeps_it_what_is_intended_and_where_it_is_in_its_life() {
    let registry = Running::start().await;
    let nacos = Nacos::builder(&registry.http.to_string())
        .grpc_port(registry.grpc.port())
        .app("orders")
        .connect()
        .unwrap();
    let orders: ServiceKey = "orders".parse().unwrap();
    nacos.register(&orders, &instance(80)).await.unwrap();
    let beaten = "/instance?serviceName=orders&ip=10.0.0.8&port=81&weight=2.5&metadata=zone%3Da";
    assert_eq!(registry.send("POST", beaten, "").await.0, 200);
    let disabled = "/instance?serviceName=orders&ip=10.0.0.8&port=81&enabled=false";
    assert_eq!(registry.send("PATCH", disabled, "").await.0, 200);

    let table = graceful(registry.http, "instances orders").await.told();
    let table = cells(&table);
    assert_eq!(table[0][..6], ["INSTANCE", "CLUSTER", "KEPT BY", "HEALTH", "INTENT", "WEIGHT"]);
    assert_eq!(table[1][..2], ["10.0.0.8:81", "DEFAULT"]);
    assert!(table[1][2].starts_with("heartbeat "), "{table:?}");
    assert_eq!(table[1][3..], ["healthy", "disabled", "2.5", "-", "-", "-", "foreign-publisher"]);
    assert!(table[2][2].starts_with("connection "), "{table:?}");
    assert_eq!(table[2][3..], ["healthy", "enabled", "1", "warming 1 %", "-", "-", "-"]);

    let orders = graceful(registry.http, "instances orders --output json").await.json();
    assert_eq!(orders[1]["phase"], "warming");
    assert_eq!(orders[1]["publishers"][0]["app"], "orders");
    assert_eq!(orders[0]["metadata"], json!({"zone": "a"}));
    assert_eq!(orders[0]["traffic"], json!(null), "it does not report");
}

#[tokio::test]
async fn a_service_that_is_not_there_is_named_with_where_the_others_are() {
    let registry = Running::start().await;
    let missing = graceful(registry.http, "instances shop@@orders --namespace dev").await;
    assert_eq!((missing.code, missing.stdout.as_str()), (Some(1), ""));
    for part in ["no service shop@@orders in namespace dev", "`graceful services --namespace dev`"] {
        assert!(missing.stderr.contains(part), "{}", missing.stderr);
    }
    let two = graceful(registry.http, "instances shop@@orders --group mail").await;
    assert!(two.code == Some(2) && two.stderr.contains("leave one of them out"), "{}", two.stderr);
}

#[tokio::test]
async fn nothing_that_an_application_says_of_itself_steers_the_terminal() {
    let registry = Running::start().await;
    let hostile = "/instance?serviceName=orders&ip=10.0.0.8&port=81&metadata=%7B%22%5Cu001b%5D0%3Bx%5Cu0007%22%3A%22%5Cu009b2J%5Cu202e%22%7D";
    assert_eq!(registry.send("POST", hostile, "").await.0, 200);
    for output in ["table", "json", "jsonl"] {
        let told = graceful(registry.http, &format!("instances orders --output {output}")).await.told();
        let steers = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!told.contains(steers), "{told:?}");
    }
    let orders = graceful(registry.http, "instances orders --output json").await.json();
    assert_eq!(orders[0]["metadata"], json!({"\u{1b}]0;x\u{7}": "\u{9b}2J\u{202e}"}), "and nothing is lost");
}

#[tokio::test]
async fn whoever_follows_is_told_with_the_list_that_they_have() {
    let registry = Running::start().await;
    let nothing = graceful(registry.http, "subscribers orders").await;
    assert_eq!((nothing.code, nothing.stdout.as_str()), (Some(0), ""));
    assert!(nothing.stderr.contains("nobody follows DEFAULT_GROUP@@orders"), "{}", nothing.stderr);
    let nacos = Nacos::builder(&registry.http.to_string())
        .grpc_port(registry.grpc.port())
        .app("storefront")
        .connect()
        .unwrap();
    let _orders = nacos.subscribe("orders").await.unwrap();

    let table = graceful(registry.http, "subscribers orders").await;
    assert!(table.stderr.contains("1 of 1 have the present list"), "{}", table.stderr);
    let table = table.told();
    let table = cells(&table);
    assert_eq!(table[1][1], "storefront");
    assert_eq!((table[1][3], table[1][5]), ("grpc", "current"));
    let lines = graceful(registry.http, "subscribers orders --output jsonl").await.json();
    assert_eq!((lines["current"].as_bool(), lines["app"].as_str()), (Some(true), Some("storefront")));

    let clients = graceful(registry.http, "clients").await.told();
    let clients = cells(&clients);
    assert_eq!(clients[1][2], "storefront");
    assert_eq!(clients[1][5..7], ["0", "1"]);
    let clients = graceful(registry.http, "clients --output json").await.json();
    assert_eq!(clients[0]["follows"], 1);
}
