//! What operators set on instances: it counts more than what instances register, also after a restart.

use super::registry::Running;
use super::registry_kept::Directory;
use serde_json::{Value, json};

const ONE: &str = "serviceName=orders&ip=10.0.0.7&port=80";

async fn put(registry: &Running, method: &str, path: &str) -> Value {
    let (status, body) = registry.send(method, path, "").await;
    assert_eq!(status, 200, "{method} {path}: {body}");
    serde_json::from_str(&body).unwrap_or(Value::String(body))
}

/// Weight, whether it is enabled, and metadata, as operators see them.
async fn seen(registry: &Running) -> Value {
    let list = put(registry, "GET", "/nacos/v3/admin/ns/instance/list?serviceName=orders").await;
    let host = &list["data"][0];
    json!([host["weight"], host["enabled"], host["metadata"]])
}

#[tokio::test]
async fn an_operators_word_survives_registrations_and_restarts() {
    let directory = Directory::new("operator");
    let registry = Running::start_with(directory.settings()).await;
    let register = format!("/instance?{ONE}&weight=5&metadata=zone=a,rack=1");
    put(&registry, "POST", &register).await;
    put(&registry, "PUT", &format!("/instance?{ONE}&metadata=zone=b,shelf=2")).await;
    let merged = json!({"zone": "b", "rack": "1", "shelf": "2"});
    assert_eq!(seen(&registry).await, json!([5.0, true, merged]), "what is not set is as registered");
    put(&registry, "PATCH", &format!("/instance?{ONE}&enabled=false")).await;
    put(&registry, "PUT", &format!("/nacos/v3/admin/ns/instance/partial?{ONE}&weight=0.5")).await;
    put(&registry, "POST", &format!("/instance?{ONE}&weight=9&metadata=rack=7")).await;
    let expected = json!([0.5, false, {"zone": "b", "rack": "7", "shelf": "2"}]);
    assert_eq!(seen(&registry).await, expected);
    let (_, list) = registry.send("GET", "/instance/list?serviceName=orders", "").await;
    assert!(list.contains(r#""hosts":[]"#) && list.contains(r#""reason":"disabled""#), "{list}");
    registry.stop().await;

    let registry = Running::start_with(directory.settings()).await;
    put(&registry, "POST", &format!("/instance?{ONE}&weight=9&metadata=rack=7")).await;
    assert_eq!(seen(&registry).await, expected, "the instance is back within a minute");
    put(&registry, "PUT", &format!("/nacos/v2/ns/instance?{ONE}")).await;
    assert_eq!(seen(&registry).await, json!([9.0, true, {"rack": "7"}]), "nothing is set any more");
    registry.stop().await;
}

#[tokio::test]
async fn metadata_is_merged_and_removed_in_batches() {
    let registry = Running::start().await;
    for port in [80, 81] {
        put(&registry, "POST", &format!("/instance?serviceName=orders&ip=10.0.0.7&port={port}")).await;
    }
    let batch = "/instance/metadata/batch?serviceName=orders&metadata=a=1,b=2";
    let updated = put(&registry, "PUT", batch).await;
    let names = ["10.0.0.7:80:unknown:DEFAULT:ephemeral", "10.0.0.7:81:unknown:DEFAULT:ephemeral"];
    assert_eq!(updated, json!({ "updated": names }));
    assert_eq!(
        put(&registry, "PUT", &format!("{batch}&consistencyType=persist")).await,
        json!({"updated": []})
    );
    let named = "[{%22ip%22:%2210.0.0.7%22,%22port%22:80},{%22ip%22:%2210.0.0.9%22,%22port%22:1}]";
    let removed =
        put(&registry, "DELETE", &format!("/nacos/v2/ns{}&instances={named}", batch.replace(",b=2", "")))
            .await;
    assert_eq!(removed["data"], json!({"updated": [names[0]]}));
    let list = put(
        &registry,
        "GET",
        "/catalog/instances?serviceName=orders&clusterName=DEFAULT&pageNo=1&pageSize=9",
    )
    .await;
    assert_eq!(list["count"], json!(2));
    assert_eq!(list["list"][0]["metadata"], json!({"b": "2"}));
    assert_eq!(list["list"][1]["metadata"], json!({"a": "1", "b": "2"}));
    registry.stop().await;
}

#[tokio::test]
async fn what_is_said_of_a_service_holds_for_each_of_its_instances() {
    let registry = Running::start().await;
    put(&registry, "POST", &format!("/instance?{ONE}&metadata=graceful.warmup=120,graceful.epoch=1")).await;
    let said = "/service?serviceName=orders&metadata=graceful.warmup=30,graceful.epoch=7,owner=me";
    put(&registry, "PUT", said).await;
    let expected = json!([1.0, true, {"graceful.warmup": "30", "graceful.epoch": "1"}]);
    assert_eq!(seen(&registry).await, expected);
    put(&registry, "PATCH", &format!("/instance?{ONE}&metadata=graceful.warmup=10")).await;
    assert_eq!(seen(&registry).await[2]["graceful.warmup"], json!("10"), "an operator counts most");
    registry.stop().await;
}

#[tokio::test]
async fn an_operator_is_told_of_whom_nobody_knows() {
    let registry = Running::start().await;
    for (method, path, status, said) in [
        ("PUT", format!("/instance?{ONE}"), 400, "service not found"),
        ("PATCH", format!("/instance?{ONE}"), 404, "no such instance"),
        ("PUT", format!("/nacos/v3/admin/ns/instance/partial?{ONE}"), 404, r#""code":20004"#),
        (
            "PUT",
            "/instance/metadata/batch?serviceName=orders".to_owned(),
            400,
            "Param 'metadata' is required.",
        ),
    ] {
        let (got, answer) = registry.send(method, &path, "").await;
        assert!(got == status && answer.contains(said), "{path}: {got} {answer}");
    }
    registry.stop().await;
}
