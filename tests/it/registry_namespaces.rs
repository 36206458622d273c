//! Namespaces with a name: in the words of every version, and there again after a restart.

use super::registry::Running;
use super::registry_kept::Directory;
use serde_json::{Value, json};

const V1: &str = "/nacos/v1/console/namespaces";
const V2: &str = "/nacos/v2/console/namespace";
const V3: &str = "/nacos/v3/admin/core/namespace";

async fn ask(registry: &Running, method: &str, path: &str) -> (u16, Value) {
    let (status, body) = registry.send(method, path, "").await;
    (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
}

/// What an answer in an envelope says.
async fn data(registry: &Running, method: &str, path: &str) -> Value {
    let (status, answer) = ask(registry, method, path).await;
    assert_eq!((status, &answer["code"]), (200, &json!(0)), "{path}: {answer}");
    answer["data"].clone()
}

fn entry(id: &str, name: &str, description: &str) -> Value {
    json!({"namespace": id, "namespaceShowName": name, "namespaceDesc": description, "quota": 200,
        "configCount": 0, "type": 2})
}

#[tokio::test]
async fn a_namespace_is_named_shown_renamed_and_given_up_in_every_version() {
    let registry = Running::start().await;
    let named = format!("{V1}?customNamespaceId=a&namespaceName=Team%20A&namespaceDesc=first");
    assert_eq!(ask(&registry, "POST", &named).await, (200, json!(true)));
    assert_eq!(data(&registry, "POST", &format!("{V2}?namespaceId=b&namespaceName=B")).await, json!(true));
    assert_eq!(data(&registry, "POST", &format!("{V3}?namespaceId=c&namespaceName=C")).await, json!(true));
    let a = entry("a", "Team A", "first");
    assert_eq!(ask(&registry, "GET", &format!("{V1}?show=all&namespaceId=a")).await, (200, a.clone()));
    assert_eq!(data(&registry, "GET", &format!("{V2}?namespaceId=a")).await, a);
    assert_eq!(data(&registry, "GET", &format!("{V3}?namespaceId=b")).await, entry("b", "B", ""));
    let exists = format!("{V1}?checkNamespaceIdExist=true&customNamespaceId=");
    assert_eq!(ask(&registry, "GET", &format!("{exists}c")).await.1, json!(true));
    assert_eq!(ask(&registry, "GET", &format!("{exists}d")).await.1, json!(false));
    assert_eq!(data(&registry, "GET", &format!("{V3}/check?namespaceId=c")).await, json!(1));

    let renamed = format!("{V1}?namespace=a&namespaceShowName=A&namespaceDesc=");
    assert_eq!(ask(&registry, "PUT", &renamed).await, (200, json!(true)));
    assert_eq!(data(&registry, "PUT", &format!("{V3}?namespaceId=c&namespaceName=CC")).await, json!(true));
    let names = async |path: &str| -> Vec<String> {
        let answer = ask(&registry, "GET", path).await.1;
        let names = answer["data"].as_array().unwrap().iter().map(|entry| &entry["namespaceShowName"]);
        names.map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    for path in [V1.to_owned(), format!("{V2}/list"), format!("{V3}/list")] {
        assert_eq!(names(&path).await, ["public", "A", "B", "CC"]);
    }
    assert_eq!(ask(&registry, "DELETE", &format!("{V1}?namespaceId=a")).await, (200, json!(true)));
    assert_eq!(data(&registry, "DELETE", &format!("{V2}?namespaceId=b")).await, json!(true));
    assert_eq!(data(&registry, "DELETE", &format!("{V3}?namespaceId=c")).await, json!(true));
    assert_eq!(data(&registry, "DELETE", &format!("{V3}?namespaceId=c")).await, json!(true), "gone is gone");
    assert_eq!(names(V1).await, ["public"]);

    assert_eq!(data(&registry, "POST", &format!("{V3}?namespaceName=Any")).await, json!(true));
    let any = data(&registry, "GET", &format!("{V3}/list")).await[1]["namespace"].clone();
    assert_eq!(any.as_str().unwrap().len(), 36, "who names no id is given one");
    registry.stop().await;
}

#[tokio::test]
async fn what_contradicts_what_is_there_is_refused_with_the_code_for_it() {
    let registry = Running::start().await;
    data(&registry, "POST", &format!("{V3}?namespaceId=a&namespaceName=A")).await;
    let instance = "/instance?serviceName=orders&namespaceId=a&ip=10.0.0.7&port=80";
    assert_eq!(registry.send("POST", instance, "").await.0, 200);
    let (long, control) = ("x".repeat(257), "namespaceName=a%0Ab");
    for (method, query, status, code) in [
        ("POST", "namespaceId=a&namespaceName=A".to_owned(), 400, 22_002),
        ("POST", "namespaceId=public&namespaceName=P".to_owned(), 400, 22_002),
        ("POST", "namespaceId=a/b&namespaceName=A".to_owned(), 400, 22_000),
        ("POST", "namespaceId=d".to_owned(), 400, 10_000),
        ("POST", format!("namespaceId=d&namespaceName={long}"), 400, 20_002),
        ("POST", format!("namespaceId=d&{control}"), 400, 20_002),
        ("PUT", "namespaceId=d&namespaceName=D".to_owned(), 404, 22_001),
        ("PUT", "namespaceId=public&namespaceName=P".to_owned(), 400, 22_000),
        ("PUT", "namespaceName=P".to_owned(), 400, 10_000),
        ("GET", "namespaceId=d".to_owned(), 404, 22_001),
        ("DELETE", "namespaceId=a".to_owned(), 400, 20_005),
        ("DELETE", "namespaceId=public".to_owned(), 400, 22_000),
        ("DELETE", String::new(), 400, 10_000),
    ] {
        let (got, answer) = ask(&registry, method, &format!("{V3}?{query}")).await;
        assert_eq!((got, &answer["code"]), (status, &json!(code)), "{method} {query}: {answer}");
    }
    let (_, said) = ask(&registry, "DELETE", &format!("{V1}?namespaceId=a")).await;
    let words = "namespace a has services, or what operators set in it: it can be deleted when they are gone";
    assert_eq!(said, json!(words));
    registry.stop().await;
}

#[tokio::test]
async fn a_name_outlives_the_registry_and_a_deletion_too() {
    let directory = Directory::new("namespaces");
    let registry = Running::start_with(directory.settings()).await;
    for id in ["a", "b"] {
        data(&registry, "POST", &format!("{V3}?namespaceId={id}&namespaceName=Team&namespaceDesc=d")).await;
    }
    data(&registry, "DELETE", &format!("{V3}?namespaceId=a")).await;
    registry.stop().await;
    let registry = Running::start_with(directory.settings()).await;
    assert_eq!(data(&registry, "GET", &format!("{V3}?namespaceId=b")).await, entry("b", "Team", "d"));
    assert_eq!(data(&registry, "GET", &format!("{V3}/check?namespaceId=a")).await, json!(0));
    registry.stop().await;
}
