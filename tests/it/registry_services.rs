//! Services as operators make and see them, over the three versions of the HTTP API.

use super::registry::Running;
use super::registry_kept::Directory;
use serde_json::{Value, json};

const V1: &str = "/nacos/v1/ns/service";
const V2: &str = "/nacos/v2/ns/service";
const V3: &str = "/nacos/v3/admin/ns/service";

async fn json(registry: &Running, method: &str, path: &str) -> (u16, Value) {
    let (status, body) = registry.send(method, path, "").await;
    (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}")))
}

fn success(data: impl Into<Value>) -> (u16, Value) {
    (200, json!({"code": 0, "message": "success", "data": data.into()}))
}

#[tokio::test]
async fn a_service_is_created_described_listed_and_deleted_in_every_version() {
    let directory = Directory::new("services");
    let registry = Running::start_with(directory.settings()).await;
    let created =
        registry.send("POST", &format!("{V1}?serviceName=one&protectThreshold=0.5&metadata=a=b"), "").await;
    assert_eq!(created, (200, "ok".to_owned()));
    assert_eq!(json(&registry, "POST", &format!("{V2}?serviceName=two&ephemeral=true")).await, success("ok"));
    assert_eq!(json(&registry, "POST", &format!("{V3}?serviceName=three&groupName=g")).await, success("ok"));
    let (status, said) = registry.send("POST", &format!("{V1}?serviceName=one"), "").await;
    assert_eq!((status, said.as_str()), (400, "specified service DEFAULT_GROUP@@one already exists!"));
    let (status, said) = json(&registry, "POST", &format!("{V3}?serviceName=two")).await;
    assert_eq!(
        (status, &said["code"], &said["message"]),
        (400, &json!(21007), &json!("service already exist"))
    );

    let selector = "%7B%22type%22:%22label%22,%22expression%22:%22x%22%7D";
    let updated = format!("{V2}?serviceName=one&selector={selector}&metadata=c=d");
    assert_eq!(json(&registry, "PUT", &updated).await, success("ok"));
    registry.stop().await;
    let registry = Running::start_with(directory.settings()).await;

    let (_, one) = json(&registry, "GET", &format!("{V1}?serviceName=one")).await;
    assert_eq!((&one["protectThreshold"], &one["metadata"]), (&json!(0.5), &json!({"c": "d"})));
    assert_eq!(one["selector"], json!({"type": "label", "contextType": "CMDB", "expression": "x"}));
    let (_, two) = json(&registry, "GET", &format!("{V2}?serviceName=two")).await;
    assert_eq!((&two["data"]["namespace"], &two["data"]["ephemeral"]), (&json!("public"), &json!(true)));
    let (_, three) = json(&registry, "GET", &format!("{V3}?serviceName=three&groupName=g")).await;
    assert_eq!(
        (&three["data"]["namespaceId"], &three["data"]["ephemeral"]),
        (&json!("public"), &json!(false))
    );

    let (_, names) = json(&registry, "GET", &format!("{V1}/list?pageNo=2&pageSize=1")).await;
    assert_eq!(names, json!({"count": 2, "doms": ["two"]}));
    let names = json(&registry, "GET", &format!("{V2}/list")).await;
    assert_eq!(names, success(json!({"count": 2, "services": ["one", "two"]})));
    let (_, page) = json(&registry, "GET", &format!("{V3}/list?serviceNameParam=t&pageSize=1")).await;
    let data = &page["data"];
    assert_eq!((&data["totalCount"], &data["pagesAvailable"]), (&json!(2), &json!(2)));
    assert_eq!(data["pageItems"][0]["name"], json!("two"));
    let (_, page) = json(&registry, "GET", &format!("{V3}/list?ignoreEmptyService=true")).await;
    assert_eq!(page["data"]["totalCount"], json!(0));

    let instance = "/instance?serviceName=one&ip=10.0.0.7&port=80&ephemeral=false";
    assert_eq!(registry.send("POST", instance, "").await.0, 200);
    let (status, said) = json(&registry, "DELETE", &format!("{V3}?serviceName=one")).await;
    assert_eq!((status, &said["code"]), (400, &json!(21009)));
    assert!(said["data"].as_str().unwrap().contains("is not empty"), "{said}");
    assert_eq!(registry.send("DELETE", instance, "").await.0, 200);
    assert_eq!(registry.send("DELETE", &format!("{V1}?serviceName=one"), "").await, (200, "ok".to_owned()));
    let (status, said) = registry.send("GET", &format!("{V1}?serviceName=one"), "").await;
    let words = "service not found, namespace: public, serviceName: DEFAULT_GROUP@@one";
    assert_eq!((status, said.as_str()), (400, words));
    let (status, said) = json(&registry, "DELETE", &format!("{V2}?serviceName=one")).await;
    assert_eq!((status, &said["code"], &said["data"]), (400, &json!(21008), &json!(words)));
    registry.stop().await;
}

#[tokio::test]
async fn a_created_service_fixes_the_kind_of_its_instances() {
    let registry = Running::start().await;
    assert_eq!(registry.send("POST", &format!("{V1}?serviceName=kept"), "").await.0, 200);
    let (status, said) = registry.send("POST", "/instance?serviceName=kept&ip=10.0.0.7&port=80", "").await;
    assert!(status == 400 && said.contains("is persistent service"), "{status} {said}");
    assert_eq!(registry.send("POST", &format!("{V2}?serviceName=brief&ephemeral=true"), "").await.0, 200);
    let (status, said) =
        registry.send("POST", "/instance?serviceName=brief&ip=10.0.0.7&port=80&ephemeral=false", "").await;
    assert!(status == 400 && said.contains("is ephemeral service"), "{status} {said}");
    registry.stop().await;
}

#[tokio::test]
async fn when_too_few_are_healthy_consumers_are_given_everyone() {
    let registry = Running::start().await;
    assert_eq!(
        registry
            .send("POST", &format!("{V2}?serviceName=orders&ephemeral=true&protectThreshold=0.5"), "")
            .await
            .0,
        200
    );
    for (port, healthy) in [(80, true), (81, false)] {
        let one = format!("/instance?serviceName=orders&ip=10.0.0.7&port={port}&healthy={healthy}");
        assert_eq!(registry.send("POST", &one, "").await.0, 200);
    }
    let (_, list) =
        json(&registry, "GET", "/nacos/v1/ns/instance/list?serviceName=orders&healthyOnly=true").await;
    assert_eq!(
        (&list["reachProtectionThreshold"], list["hosts"].as_array().unwrap().len()),
        (&json!(true), 2)
    );
    assert!(list["hosts"].as_array().unwrap().iter().all(|host| host["healthy"] == json!(true)));
    registry.stop().await;
}

#[tokio::test]
async fn wrong_input_is_answered_in_the_words_of_the_version() {
    let registry = Running::start().await;
    for (method, path, status, code, said) in [
        ("POST", V2.to_owned(), 400, 10_000, "Required parameter 'serviceName' type String is not present"),
        ("POST", format!("{V3}?serviceName=x&protectThreshold=much"), 400, 20_002, "a number from 0 to 1"),
        ("POST", format!("{V3}?serviceName=x&selector=%7B%22type%22:%22sql%22%7D"), 400, 21_006, "label"),
        ("GET", format!("{V3}?serviceName=x"), 400, 21_008, "service not found"),
        ("PUT", format!("{V2}?serviceName=x"), 400, 21_008, "service not found"),
    ] {
        let (got, answer) = json(&registry, method, &path).await;
        assert_eq!((got, &answer["code"]), (status, &json!(code)), "{path}: {answer}");
        assert!(answer["data"].as_str().unwrap().contains(said), "{path}: {answer}");
    }
    registry.stop().await;
}
