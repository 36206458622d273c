//! `graceful enable`, `disable`, `weight`, `metadata`, `deregister` and `offline`.

use super::super::registry::Running;
use super::super::registry_reports::Orders;
use super::{cells, graceful};
use serde_json::{Value, json};
use tower_graceful::client::Nacos;
use tower_graceful::model::{Address, Instance, ServiceKey};
use tower_graceful::naming::Register;

/// A registry with two instances of `orders` that heartbeats keep.
async fn furnished() -> Running {
    let registry = Running::start().await;
    for port in [80, 81] {
        let query = format!("/instance?serviceName=orders&ip=10.0.0.7&port={port}&metadata=zone%3Da");
        assert_eq!(registry.send("POST", &query, "").await.0, 200);
    }
    registry
}

/// The two instances as the registry tells them.
async fn orders(registry: &Running) -> Value {
    let (status, told) = registry.send("GET", "/graceful/v1/instances?serviceName=orders", "").await;
    assert_eq!(status, 200, "{told}");
    serde_json::from_str::<Value>(&told).unwrap()["instances"].take()
}

#[tokio::test]
async fn an_instance_is_disabled_and_enabled_and_nobody_is_the_last_by_mistake() {
    let registry = furnished().await;
    let first = graceful(registry.http, "disable orders 10.0.0.7:80").await;
    assert!(first.stderr.contains("1 other instance of DEFAULT_GROUP@@orders serves"), "{}", first.stderr);
    assert_eq!(cells(&first.told())[1], ["10.0.0.7:80", "DEFAULT", "disabled"]);
    assert_eq!(orders(&registry).await[0]["enabled"], false);

    let last = graceful(registry.http, "disable orders 10.0.0.7:81").await;
    assert_eq!((last.code, last.stdout.as_str()), (Some(1), ""));
    assert!(last.stderr.contains("no instance of DEFAULT_GROUP@@orders would serve"), "{}", last.stderr);
    assert!(last.stderr.contains("--yes"), "{}", last.stderr);
    assert_eq!(orders(&registry).await[1]["enabled"], true);
    graceful(registry.http, "disable orders 10.0.0.7:81 --yes").await.told();
    assert_eq!(orders(&registry).await[1]["enabled"], false);

    let both = graceful(registry.http, "enable orders 10.0.0.7:80 10.0.0.7:81 --output json").await.json();
    let done = |port: u16| json!({"ip": "10.0.0.7", "port": port, "cluster": "DEFAULT", "done": "enabled"});
    assert_eq!(both, json!([done(80), done(81)]));
    assert!(orders(&registry).await.as_array().unwrap().iter().all(|one| one["enabled"] == true));
}

#[tokio::test]
async fn all_instances_that_are_named_are_there_before_anything_is_done() {
    let registry = furnished().await;
    let missing = graceful(registry.http, "disable orders 10.0.0.7:80 10.0.0.7:82").await;
    assert_eq!((missing.code, missing.stdout.as_str()), (Some(1), ""));
    assert!(missing.stderr.contains("there are 10.0.0.7:80, 10.0.0.7:81"), "{}", missing.stderr);
    assert_eq!(orders(&registry).await[0]["enabled"], true);
    for cluster in ["east", "west"] {
        let query =
            format!("/instance?serviceName=mail&ip=10.0.0.7&port=80&clusterName={cluster}&ephemeral=false");
        assert_eq!(registry.send("POST", &query, "").await.0, 200);
    }
    let twice = graceful(registry.http, "disable mail 10.0.0.7:80").await;
    assert!(twice.code == Some(2) && twice.stderr.contains("east and west: say which"), "{}", twice.stderr);
    graceful(registry.http, "disable mail 10.0.0.7:80 --cluster west").await.told();
    let mail = graceful(registry.http, "instances mail --output json").await.json();
    let enabled = |at: usize| (mail[at]["cluster"].as_str().unwrap(), mail[at]["enabled"].as_bool().unwrap());
    assert_eq!([enabled(0), enabled(1)], [("east", true), ("west", false)]);
}

#[tokio::test]
async fn a_weight_is_set_in_its_bounds_and_leaves_the_rest() {
    let registry = furnished().await;
    graceful(registry.http, "disable orders 10.0.0.7:80").await.told();
    let set = graceful(registry.http, "weight orders 10.0.0.7:80 --to 2.5").await.told();
    assert_eq!(cells(&set)[1], ["10.0.0.7:80", "DEFAULT", "weight 2.5, was 1"]);
    let told = orders(&registry).await;
    assert_eq!((&told[0]["weight"], &told[0]["enabled"]), (&json!(2.5), &json!(false)));
    for wrong in ["-1", "NaN", "10001", "heavy"] {
        let wrong = graceful(registry.http, &format!("weight orders 10.0.0.7:80 --to={wrong}")).await;
        assert!(wrong.code == Some(2) && wrong.stderr.contains("0 to 10000"), "{}", wrong.stderr);
    }
    let last = graceful(registry.http, "weight orders 10.0.0.7:81 --to 0").await;
    assert!(last.code == Some(1) && last.stderr.contains("--yes"), "{}", last.stderr);
}

#[tokio::test]
async fn metadata_are_set_over_what_was_registered_and_taken_back() {
    let registry = furnished().await;
    let changed =
        graceful(registry.http, "metadata orders 10.0.0.7:80 --set zone=b --set graceful.warmup=60=s").await;
    assert_eq!(cells(&changed.told())[1][2], "set graceful.warmup, set zone");
    let shown = graceful(registry.http, "metadata orders 10.0.0.7:80 10.0.0.7:81").await.told();
    let expected = [
        ["10.0.0.7:80", "graceful.warmup", "60=s"],
        ["10.0.0.7:80", "zone", "b"],
        ["10.0.0.7:81", "zone", "a"],
    ];
    assert_eq!(cells(&shown)[1..], expected);
    graceful(registry.http, "metadata orders 10.0.0.7:80 --unset zone").await.told();
    let told = orders(&registry).await;
    assert_eq!(told[0]["metadata"], json!({"graceful.warmup": "60=s", "zone": "a"}), "as it was registered");
    for (wrong, said) in [("--set zone", "KEY=VALUE"), ("--set a=b --unset a", "set and unset at once")] {
        let wrong = graceful(registry.http, &format!("metadata orders 10.0.0.7:80 {wrong}")).await;
        assert!(wrong.code == Some(2) && wrong.stderr.contains(said), "{}", wrong.stderr);
    }
}

#[tokio::test]
async fn an_instance_is_taken_off_unless_a_connection_publishes_it() {
    let registry = furnished().await;
    let off = graceful(registry.http, "deregister orders 10.0.0.7:80").await.told();
    assert_eq!(cells(&off)[1], ["10.0.0.7:80", "DEFAULT", "deregistered"]);
    assert_eq!(orders(&registry).await.as_array().unwrap().len(), 1);

    let address = registry.http.to_string();
    let nacos = Nacos::builder(&address).grpc_port(registry.grpc.port()).connect().unwrap();
    let connected = Instance::new(Address::new("127.0.0.1", 90).unwrap());
    let service: ServiceKey = "orders".parse().unwrap();
    nacos.register(&service, &connected).await.unwrap();
    let refused = graceful(registry.http, "deregister orders 127.0.0.1:90").await;
    assert_eq!(refused.code, Some(1));
    for part in ["is published by connection", "`graceful offline`", "`graceful disable`"] {
        assert!(refused.stderr.contains(part), "{}", refused.stderr);
    }
    let old = graceful(registry.http, "offline orders 127.0.0.1:90").await;
    assert!(old.code == Some(1) && old.stderr.contains("has not taken the order"), "{}", old.stderr);
}

#[tokio::test]
async fn a_client_is_closed_by_its_number_and_what_it_published_goes() {
    let registry = Running::start().await;
    let address = registry.http.to_string();
    let nacos = Nacos::builder(&address).grpc_port(registry.grpc.port()).connect().unwrap();
    let connected = Instance::new(Address::new("127.0.0.1", 90).unwrap());
    nacos.register(&"orders".parse().unwrap(), &connected).await.unwrap();
    let clients = graceful(registry.http, "clients --output json").await.json();
    let client = clients[0]["connection"].as_u64().unwrap();
    let closed = graceful(registry.http, &format!("close {client} --yes --output json")).await.json();
    assert_eq!(closed, json!([{"client": client, "closed": true, "instances": 1}]));
    let again = graceful(registry.http, &format!("close {client} --yes")).await;
    assert_eq!((again.code, again.stdout.as_str()), (Some(1), ""), "{}", again.stderr);
}

#[tokio::test]
async fn how_a_service_starts_and_leaves_is_set_a_setting_at_a_time_and_left_to_its_instances_again() {
    let registry = furnished().await;
    let empty = graceful(registry.http, "rollout orders --output json").await.json();
    assert_eq!(empty, json!([]));
    graceful(registry.http, "rollout orders --warmup 60 --notices true").await.told();
    let set = graceful(registry.http, "rollout orders --exponent 1").await.told();
    let expected =
        [["graceful.notice", "true"], ["graceful.warmup", "60"], ["graceful.warmup.exponent", "1"]];
    assert_eq!(cells(&set)[1..], expected);
    assert_eq!(orders(&registry).await[0]["metadata"]["graceful.warmup"], "60");
    let wrong = graceful(registry.http, "rollout orders --floor 2").await;
    assert!(wrong.code == Some(1) && wrong.stderr.contains("up to 1"), "{}", wrong.stderr);
    graceful(registry.http, "rollout orders --reset").await.told();
    assert_eq!(orders(&registry).await[0]["metadata"], json!({"zone": "a"}));
    assert_eq!(graceful(registry.http, "rollout nobody --warmup 5").await.code, Some(1));
}

#[tokio::test]
async fn an_instance_leaves_in_order_and_each_step_is_told() {
    let registry = Running::start().await;
    let provider = Orders::start(&registry, |builder| builder).await;
    let at = provider.address.to_string();
    let left = graceful(registry.http, &format!("offline orders {at} --wait 20 --yes --output jsonl")).await;
    for step in ["offline-ordered", "by operator from 127.0.0.1: taken", "leaving", "deregistered", "drained"]
    {
        assert!(left.stderr.contains(step), "{step}: {}", left.stderr);
    }
    assert_eq!(left.json()["done"], "has left");
    provider.shutdown.shut_down();
    provider.serving.await.unwrap().unwrap();
    let nobody = graceful(registry.http, &format!("offline orders {at}")).await;
    let says =
        format!("there is no instance {at} in DEFAULT_GROUP@@orders: it has no instances at the moment");
    assert!(nobody.code == Some(1) && nobody.stderr.contains(&says), "{}", nobody.stderr);
}
