//! Why an instance is still here, or no more: the read side of the registry.

use super::registry::{Running, SOON};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tower_graceful::client::Nacos;
use tower_graceful::model::{Instance, ServiceKey};
use tower_graceful::naming::Register;

fn orders() -> ServiceKey {
    "orders".parse().unwrap()
}

fn client_of(registry: &Running, app: &str) -> Nacos {
    Nacos::builder(&registry.http.to_string()).app(app).connect().unwrap()
}

async fn told(registry: &Running, path: &str) -> Value {
    let (status, body) = registry.send("GET", &format!("/graceful/v1{path}"), "").await;
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

async fn told_when(registry: &Running, path: &str, condition: impl Fn(&Value) -> bool) -> Value {
    let told = async {
        loop {
            let told = told(registry, path).await;
            if condition(&told) {
                return told;
            }
            sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, told).await.unwrap()
}

#[tokio::test]
async fn whoever_keeps_an_instance_here_is_named_and_what_looks_wrong_is_flagged() {
    let registry = Running::start().await;
    let instances = "/instances?serviceName=orders";
    let (status, unknown) = registry.send("GET", &format!("/graceful/v1{instances}"), "").await;
    assert!(status == 400 && unknown.contains("orders"), "{status} {unknown}");

    let own = client_of(&registry, "orders");
    own.register(&orders(), &Instance::new("127.0.0.1:80".parse().unwrap())).await.unwrap();
    let one = &told(&registry, instances).await["instances"][0];
    let publisher = &one["publishers"][0];
    assert_eq!((&one["flags"], &one["port"]), (&json!([]), &json!(80)));
    assert_eq!((&publisher["kind"], &publisher["app"]), (&json!("connection"), &json!("orders")));
    assert!(publisher["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{publisher}");
    assert!(publisher["version"].as_str().unwrap().starts_with("Tower-Graceful:v"), "{publisher}");
    assert!(publisher["since"].as_u64() >= publisher["connected_at"].as_u64(), "{publisher}");
    assert_eq!(publisher["caller"].as_str().unwrap().len(), 16);

    let beaten = "serviceName=orders&ip=127.0.0.1&port=80";
    registry.send("POST", &format!("/instance?{beaten}"), "").await;
    let one = &told(&registry, instances).await["instances"][0];
    assert_eq!(one["flags"], json!(["several-publishers"]));
    let heartbeats = &one["publishers"][1];
    assert_eq!(heartbeats["kind"], "heartbeats");
    assert_eq!(
        (&heartbeats["senders"][0]["ip"], &heartbeats["senders"][0]["agent"]),
        (&json!("127.0.0.1"), &json!(""))
    );
    registry.send("PUT", &format!("/instance/beat?{beaten}"), "").await;
    let again = &told(&registry, instances).await["instances"][0]["publishers"][1]["senders"];
    assert_eq!(again.as_array().unwrap().len(), 1, "the same sender: {again}");
    assert!(again[0]["last"].as_u64() >= heartbeats["senders"][0]["last"].as_u64());

    let moved = "serviceName=mail&ip=10.0.0.7&port=80&ephemeral=false";
    registry.send("POST", "/instance?serviceName=carts&ip=10.0.0.7&port=80", "").await;
    registry.send("POST", &format!("/instance?{moved}"), "").await;
    let of = async |service: &str| {
        let one = told(&registry, &format!("/instances?serviceName={service}")).await["instances"][0].clone();
        (one["publishers"][0]["kind"].clone(), one["flags"].clone())
    };
    assert_eq!(of("carts").await, (json!("heartbeats"), json!(["foreign-publisher"])));
    assert_eq!(of("mail").await, (json!("storage"), json!([])));

    let services = told(&registry, "/services?pageSize=2").await;
    assert_eq!(services["count"], 3);
    let names: Vec<&Value> =
        services["services"].as_array().unwrap().iter().map(|line| &line["name"]).collect();
    assert_eq!(names, ["carts", "mail"]);
    registry.stop().await;
}

#[tokio::test]
async fn every_coming_and_going_is_remembered_with_who_and_why() {
    let registry = Running::start().await;
    let one = "serviceName=orders&ip=10.0.0.7&port=80";
    registry.send("POST", &format!("/instance?{one}"), "").await;
    registry.send("PUT", &format!("/instance?{one}&enabled=false"), "").await;
    registry.send("DELETE", &format!("/instance?{one}"), "").await;
    let lost = client_of(&registry, "mailer");
    lost.register(&orders(), &Instance::new("10.0.0.8:80".parse().unwrap())).await.unwrap();
    drop(lost);
    let events = told_when(&registry, "/events?serviceName=orders", |told| {
        told["events"].as_array().unwrap().len() == 5
    })
    .await;
    let lines = events["events"].as_array().unwrap();
    let what = |line: &Value| json!([line["ip"], line["event"], line["reason"], line["by"]["kind"]]);
    assert_eq!(
        lines.iter().map(what).collect::<Vec<_>>(),
        [
            json!(["10.0.0.8", "went", "connection-lost", "connection"]),
            json!(["10.0.0.8", "came", null, "connection"]),
            json!(["10.0.0.7", "went", "deregistered", "http"]),
            json!(["10.0.0.7", "disabled", null, "operator"]),
            json!(["10.0.0.7", "came", null, "http"]),
        ]
    );
    assert_eq!((&lines[0]["by"]["app"], &lines[4]["by"]["ip"]), (&json!("mailer"), &json!("127.0.0.1")));
    assert!(lines.is_sorted_by_key(|line| std::cmp::Reverse(line["sequence"].as_u64())));
    let of_one = told(&registry, "/events?serviceName=orders&ip=10.0.0.8&port=80").await;
    assert_eq!(of_one["events"].as_array().unwrap().len(), 2);
    registry.stop().await;
}

#[tokio::test]
async fn whoever_follows_a_service_is_listed_with_the_list_that_it_has() {
    let registry = Running::start().await;
    let (provider, consumer) = (client_of(&registry, "orders"), client_of(&registry, "storefront"));
    let mut seen = consumer.subscribe("orders").await.unwrap();
    provider.register(&orders(), &Instance::new("10.0.0.7:80".parse().unwrap())).await.unwrap();
    timeout(SOON, seen.wait_for(|list| !list.instances().is_empty())).await.unwrap();
    let told = told_when(&registry, "/subscribers?serviceName=orders", |told| {
        told["subscribers"][0]["current"] == json!(true)
    })
    .await;
    let line = &told["subscribers"][0];
    assert_eq!((&line["app"], &line["acknowledged"]), (&json!("storefront"), &told["revision"]));
    assert!(line["acknowledged_ms_ago"].as_u64().is_some_and(|ago| ago < 30_000), "{line}");
    assert_eq!(told["revision"], seen.latest().revision());

    let clients = self::told(&registry, "/clients").await;
    let mut lines: Vec<_> = clients["clients"].as_array().unwrap().iter().collect();
    lines.sort_by_key(|line| line["app"].to_string());
    let of = |line: &Value| json!([line["app"], line["publishes"], line["follows"]]);
    assert_eq!(
        (clients["count"].as_u64(), of(lines[0]), of(lines[1])),
        (Some(2), json!(["orders", 1, 0]), json!(["storefront", 0, 1]))
    );
    registry.stop().await;
}
