//! Instances in the words of each version of the HTTP API, and what is asked of the server besides.

use super::registry::Running;
use serde_json::{Value, json};

const ONE: &str = "serviceName=orders&ip=10.0.0.7&port=80";
const V2: &str = "/nacos/v2/ns";
const CLIENT: &str = "/nacos/v3/client/ns";
const ADMIN: &str = "/nacos/v3/admin/ns";

async fn json(registry: &Running, method: &str, path: &str) -> (u16, Value) {
    let (status, body) = registry.send(method, path, "").await;
    (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}")))
}

fn success(data: impl Into<Value>) -> (u16, Value) {
    (200, json!({"code": 0, "message": "success", "data": data.into()}))
}

fn failure(status: u16, code: u32, message: &str, data: impl Into<Value>) -> (u16, Value) {
    (status, json!({"code": code, "message": message, "data": data.into()}))
}

#[tokio::test]
async fn version_2_registers_shows_lists_and_renews() {
    let registry = Running::start().await;
    let one = format!("{V2}/instance?{ONE}&clusterName=a&metadata=zone=b");
    assert_eq!(
        json(&registry, "GET", &one).await,
        failure(404, 20_004, "resource not found", "no such instance")
    );
    assert_eq!(json(&registry, "POST", &one).await, success("ok"));
    let shown = json!({
        "serviceName": "DEFAULT_GROUP@@orders", "ip": "10.0.0.7", "port": 80, "clusterName": "a", "weight": 1.0,
        "healthy": true, "instanceId": "10.0.0.7#80#a#DEFAULT_GROUP@@orders", "metadata": {"zone": "b"},
    });
    assert_eq!(json(&registry, "GET", &one).await, success(shown));
    let (_, list) =
        json(&registry, "GET", &format!("{V2}/instance/list?serviceName=orders&clusterName=a")).await;
    let data = &list["data"];
    let (name, clusters) = (&data["name"], &data["clusters"]);
    assert_eq!(
        (name, clusters, &data["hosts"][0]["port"]),
        (&json!("DEFAULT_GROUP@@orders"), &json!("a"), &json!(80))
    );
    let (_, other) =
        json(&registry, "GET", &format!("{V2}/instance/list?serviceName=orders&clusterName=b")).await;
    assert_eq!(other["data"]["hosts"], json!([]));
    let beat = format!("{V2}/instance/beat?serviceName=DEFAULT_GROUP@@orders&ip=10.0.0.7&port=80");
    let renewed = json!({"clientBeatInterval": 5000, "code": 10200, "lightBeatEnabled": true});
    assert_eq!(json(&registry, "PUT", &beat).await, (200, renewed), "a bare object");
    assert_eq!(json(&registry, "DELETE", &one).await, success("ok"));
    assert_eq!(json(&registry, "DELETE", &one).await, success("ok"), "nothing there is a success");
}

#[tokio::test]
async fn version_3_for_clients_renews_without_reading_metadata_again() {
    let registry = Running::start().await;
    let one = format!("{CLIENT}/instance?{ONE}");
    let beat = format!("{one}&heartBeat=true&metadata=zone=changed&weight=9");
    assert_eq!(json(&registry, "POST", &beat).await, failure(200, 21_003, "instance not found", Value::Null));
    assert_eq!(json(&registry, "POST", &format!("{one}&metadata=zone=a")).await, success("ok"));
    assert_eq!(json(&registry, "POST", &beat).await, success("ok"));
    let (_, list) = json(&registry, "GET", &format!("{CLIENT}/instance/list?serviceName=orders")).await;
    let hosts = list["data"].as_array().unwrap();
    assert_eq!(
        (hosts.len(), &hosts[0]["metadata"], &hosts[0]["weight"]),
        (1, &json!({"zone": "a"}), &json!(1.0))
    );
    let elsewhere = format!("{CLIENT}/instance?serviceName=orders&ip=10.0.0.8&port=80&clusterName=b");
    assert_eq!(json(&registry, "POST", &elsewhere).await, success("ok"));
    let of_b = format!("{CLIENT}/instance/list?serviceName=orders&clusterName=b");
    assert_eq!(json(&registry, "GET", &of_b).await.1["data"][0]["ip"], json!("10.0.0.8"));
    json(&registry, "PUT", &format!("{ADMIN}/instance?{ONE}&enabled=false")).await;
    let (_, list) = json(&registry, "GET", &format!("{CLIENT}/instance/list?serviceName=orders")).await;
    assert_eq!(list["data"], json!([]), "of the default cluster, and not what is disabled");
    assert_eq!(json(&registry, "DELETE", &one).await, success("ok"));
    assert_eq!(json(&registry, "POST", &beat).await.1["code"], json!(21_003));
    let words = "Required parameter 'ip' type String is not present";
    let missing = json(&registry, "POST", &format!("{CLIENT}/instance?serviceName=orders")).await;
    assert_eq!(missing, failure(400, 10_000, "parameter missing", words));
}

#[tokio::test]
async fn version_3_for_operators_shows_an_instance_whole_also_a_disabled_one() {
    let registry = Running::start().await;
    registry.send("POST", &format!("/instance?{ONE}&enabled=false"), "").await;
    let (status, shown) = json(&registry, "GET", &format!("{ADMIN}/instance?{ONE}")).await;
    assert_eq!(
        (status, &shown["data"]["enabled"], &shown["data"]["ipDeleteTimeout"]),
        (200, &json!(false), &json!(30_000))
    );
    let (status, gone) = json(&registry, "GET", &format!("{ADMIN}/instance?{ONE}1")).await;
    assert_eq!((status, &gone["code"]), (404, &json!(20_004)));
}

#[tokio::test]
async fn each_fault_has_its_code() {
    let registry = Running::start().await;
    for (method, path, status, code) in [
        ("POST", format!("{V2}/instance?{ONE}&weight=10001"), 400, 21_001),
        ("POST", format!("{V2}/instance?{ONE}&metadata=%7B"), 400, 21_002),
        ("POST", format!("{V2}/instance?{ONE}&namespaceId=a.b"), 400, 22_000),
        ("POST", format!("{V2}/instance?serviceName=a%20b&ip=10.0.0.7&port=80"), 400, 21_000),
        ("POST", format!("{V2}/instance?serviceName=a&ip=10.0.0.7&port=x"), 400, 20_002),
        ("PUT", format!("{V2}/instance?{ONE}"), 400, 21_004),
        ("PUT", format!("{ADMIN}/instance/partial?{ONE}"), 404, 20_004),
        ("PUT", format!("{V2}/health?{ONE}"), 400, 21_010),
        ("PUT", format!("{V2}/ops/switches?entry=pushEnabled&value=false"), 501, 40_001),
        ("GET", format!("{V2}/service?serviceName=orders"), 400, 21_008),
    ] {
        let (got, answer) = json(&registry, method, &path).await;
        assert_eq!((got, &answer["code"]), (status, &json!(code)), "{path}: {answer}");
    }
}

#[tokio::test]
async fn the_catalog_shows_services_with_and_without_their_instances() {
    let registry = Running::start().await;
    for query in
        ["serviceName=g@@orders&ip=10.0.0.7&port=80&enabled=false", "serviceName=mail&ip=10.0.0.8&port=81"]
    {
        assert_eq!(registry.send("POST", &format!("/instance?{query}"), "").await.0, 200);
    }
    assert_eq!(registry.send("POST", "/service?serviceName=empty", "").await.0, 200);
    let services = "/catalog/services?pageNo=1&pageSize=10";
    let (_, all) = json(&registry, "GET", &format!("{services}&withInstances=false")).await;
    assert_eq!((&all["count"], &all["serviceList"][0]["name"]), (&json!(3), &json!("empty")));
    let (_, found) = json(&registry, "GET", &format!("{services}&hasIpCount=true&groupNameParam=DEF")).await;
    let found = found.as_array().unwrap();
    assert_eq!((found.len(), &found[0]["serviceName"]), (1, &json!("mail")));
    assert_eq!(found[0]["clusterMap"]["DEFAULT"]["hosts"][0]["ip"], json!("10.0.0.8"));
    let (_, found) =
        json(&registry, "GET", &format!("{services}&withInstances=false&instance=10.0.0.7:80")).await;
    assert_eq!((&found["count"], &found["serviceList"][0]["groupName"]), (&json!(1), &json!("g")));
    let (_, service) = json(&registry, "GET", "/catalog/service?serviceName=g@@orders").await;
    assert_eq!(
        (&service["service"]["name"], &service["clusters"][0]["name"]),
        (&json!("orders"), &json!("DEFAULT"))
    );
    let v2 = format!("{V2}/catalog/instances?serviceName=orders&groupName=g");
    assert_eq!(json(&registry, "GET", &v2).await.1["data"]["count"], json!(1));
    assert_eq!(json(&registry, "GET", &format!("{v2}&enabledOnly=true")).await.1["data"]["count"], json!(0));
    let (_, page) =
        json(&registry, "GET", &format!("{ADMIN}/service/list?withInstances=true&serviceNameParam=ord"))
            .await;
    assert_eq!(page["data"]["pageItems"][0]["clusterMap"]["DEFAULT"]["hosts"][0]["port"], json!(80));
    let (_, names) = json(&registry, "GET", "/service/names?expr=mai").await;
    assert_eq!(names, json!({"services": {"public": ["DEFAULT_GROUP@@mail"]}, "count": 1}));
    let (_, statuses) = json(&registry, "GET", "/instance/statuses?key=public%23%23g@@orders").await;
    assert_eq!(statuses, json!({"ips": ["10.0.0.7:80_true"]}));
}

#[tokio::test]
async fn the_server_tells_how_it_is_to_whoever_asks_by_any_of_its_names() {
    let registry = Running::start().await;
    registry.send("POST", "/instance?namespaceId=test&serviceName=orders&ip=10.0.0.7&port=80", "").await;
    for (path, said) in [
        ("/nacos/v1/console/health/liveness", "OK"),
        ("/nacos/v1/console/health/readiness", "OK"),
        ("/nacos/v1/console/server/state", r#""standalone_mode":"standalone""#),
        ("/nacos/v3/admin/core/state", r#""standalone_mode":"standalone""#),
        ("/nacos/v3/admin/core/state/readiness", r#""data":"ok""#),
        ("/health/server", "Hello! I am Nacos-Naming and healthy!"),
        ("/health/checkers", r#""TCP":{"type":"TCP"}"#),
        ("/operator/switches", r#""clientBeatInterval":5000"#),
        ("/ops/metrics?onlyStatus=false", r#""persistentIpPortClientCount":0"#),
        ("/nacos/v2/ns/operator/metrics", r#""data":{"status":"UP"}"#),
        (
            "/nacos/v1/console/namespaces",
            r#"{"namespace":"","namespaceShowName":"public","quota":200,"configCount":0,"type":0},{"namespace":"test""#,
        ),
    ] {
        let (status, body) = registry.send("GET", path, "").await;
        assert!(status == 200 && body.contains(said), "{path}: {status} {body}");
    }
}
