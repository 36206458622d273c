//! `graceful services`.

use super::super::registry::Running;
use super::{cells, graceful};
use serde_json::json;

#[tokio::test]
async fn services_are_listed_for_people_and_for_programs() {
    let registry = Running::start().await;
    for (service, port) in [("shop@@orders", 80), ("shop@@orders", 81), ("mail", 90)] {
        let query = format!("/instance?serviceName={service}&ip=10.0.0.7&port={port}");
        assert_eq!(registry.send("POST", &query, "").await.0, 200);
    }
    let disabled = "/instance?serviceName=shop@@orders&ip=10.0.0.7&port=81&enabled=false";
    assert_eq!(registry.send("PUT", disabled, "").await.0, 200);

    let table = graceful(registry.http, "services").await.told();
    let table = cells(&table);
    assert_eq!(table[0], ["GROUP", "SERVICE", "INSTANCES", "SERVING", "SUBSCRIBERS", "CHANGED"]);
    assert_eq!(table[1][..5], ["DEFAULT_GROUP", "mail", "1", "1", "0"]);
    assert_eq!(table[2][..5], ["shop", "orders", "2", "1", "0"]);
    assert!(table[2][5].ends_with(" s"), "{table:?}");

    let mut orders = graceful(registry.http, "services rder --output json").await.json();
    assert!(orders[0]["revision"].take().as_u64().is_some());
    let expected = json!([{"namespace": "public", "group": "shop", "name": "orders", "instances": 2, "serving": 1, "subscribers": 0, "revision": null}]);
    assert_eq!(orders, expected);
    let lines = graceful(registry.http, "services --output jsonl").await.told();
    assert_eq!(lines.lines().count(), 2);
    let of_group = graceful(registry.http, "services --group shop --output jsonl").await.json();
    assert_eq!(of_group["name"], "orders");
}

#[tokio::test]
async fn whoever_has_no_services_learns_how_one_comes_to_be() {
    let registry = Running::start().await;
    let nothing = graceful(registry.http, "services --namespace dev").await;
    assert_eq!((nothing.code, nothing.stdout.as_str()), (Some(0), ""));
    assert!(nothing.stderr.contains("no services in namespace dev"), "{}", nothing.stderr);
    assert_eq!(graceful(registry.http, "services --output json").await.told(), "[]\n");
    assert_eq!(graceful(registry.http, "services --output jsonl").await.told(), "");
}
