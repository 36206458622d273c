//! Nacos' own diagnosis: who the clients are, what each publishes and follows, and sending them elsewhere.

use super::conformance::Peer;
use super::registry::Running;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tokio::net::UdpSocket;

const V2: &str = "/nacos/v2/ns";
const V3: &str = "/nacos/v3/admin/ns";

/// What an answer of version 2 or 3 says.
async fn data(registry: &Running, method: &str, path: &str) -> Value {
    let (status, body) = registry.send(method, path, "").await;
    let answer: Value = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{path}: {status} {body}"));
    assert_eq!((status, &answer["code"]), (200, &json!(0)), "{path}: {body}");
    answer["data"].clone()
}

/// A client that publishes `orders` and follows `mail`, one over HTTP, one that is persistent, and one that
/// listens for `mail` at a UDP port. With the names of the first and the last.
async fn fleet() -> (Running, Peer, String, String) {
    let registry = Running::start().await;
    let mut peer = Peer::connect(registry.grpc).await;
    let (_, checked) = peer.ask("ServerCheckRequest", json!({})).await;
    peer.open().await;
    let labels = json!({"source": "sdk", "module": "naming", "AppName": "web"});
    peer.say(
        "ConnectionSetupRequest",
        json!({"clientVersion": "Nacos-Java-Client:v3.0.3", "labels": labels}),
    )
    .await;
    let instance = json!({"ip": "10.0.0.7", "port": 80, "clusterName": "a"});
    let register = json!({"serviceName": "orders", "groupName": "shop", "type": "registerInstance", "instance": instance});
    peer.succeed("InstanceRequest", register).await;
    let subscription = json!({"serviceName": "mail", "subscribe": true, "clusters": "b"});
    peer.succeed("SubscribeServiceRequest", subscription).await;
    for path in [
        "/instance?serviceName=shop@@orders&ip=10.0.0.8&port=80",
        "/instance?serviceName=kept&ip=10.0.0.9&port=80&ephemeral=false",
    ] {
        assert_eq!(registry.send("POST", path, "").await.0, 200);
    }
    let listener = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let path = format!("/instance/list?serviceName=mail&app=shell&udpPort={listener}");
    assert_eq!(registry.send_as("Nacos-Go-Client:v1.0.0", "GET", &path).await.0, 200);
    let name = checked["connectionId"].as_str().unwrap().to_owned();
    (registry, peer, name, format!("127.0.0.1:{listener}#true"))
}

/// Without the moments, which nobody can know before.
fn timeless(mut value: Value) -> Value {
    assert!(value.as_object_mut().unwrap().remove("lastUpdatedTime").unwrap().as_u64().unwrap() > 0);
    value
}

#[tokio::test]
async fn every_client_is_named_and_described_in_both_versions() {
    let (registry, _peer, name, listener) = fleet().await;
    let expected =
        BTreeSet::from(["10.0.0.8:80#true", "10.0.0.9:80#false", &name, &listener].map(str::to_owned));
    for api in [V2, V3] {
        let names = data(&registry, "GET", &format!("{api}/client/list")).await;
        assert_eq!(serde_json::from_value::<BTreeSet<String>>(names).unwrap(), expected);
    }
    let detail = async |api: &str, name: &str| {
        let path = format!("{api}/client?clientId={}", name.replace('#', "%23"));
        timeless(data(&registry, "GET", &path).await)
    };
    let port: u16 = name.rsplit_once('_').unwrap().1.parse().unwrap();
    let connection = |port: Value| {
        json!({"clientId": name, "ephemeral": true, "clientType": "connection", "connectType": "GRPC",
            "appName": "web", "version": "Nacos-Java-Client:v3.0.3", "clientIp": "127.0.0.1", "clientPort": port})
    };
    assert_eq!(detail(V2, &name).await, connection(json!(port.to_string())));
    assert_eq!(detail(V3, &name).await, connection(json!(port)));
    let over_http = json!({"clientId": "10.0.0.9:80#false", "ephemeral": false, "clientType": "ipPort"});
    assert_eq!(detail(V2, "10.0.0.9:80#false").await, over_http);
    assert_eq!(detail(V3, "10.0.0.8:80#true").await["ephemeral"], json!(true));
    for unknown in ["nobody", "10.0.0.8:80#false", "10.0.0.8:81#true", "10.0.0.8:80#x", "x#true"] {
        let path = format!("{V2}/client/publish/list?clientId={}", unknown.replace('#', "%23"));
        let (status, body) = registry.send("GET", &path, "").await;
        let said = json!({"code": 20004, "message": "resource not found", "data": format!("clientId [ {unknown} ] not exist")});
        assert_eq!((status, serde_json::from_str::<Value>(&body).unwrap()), (404, said));
    }
    let distro = data(&registry, "GET", &format!("{V2}/client/distro?ip=10.0.0.8&port=80")).await;
    assert_eq!(distro, json!({"responsibleServer": "registry"}));
}

#[tokio::test]
async fn what_a_client_publishes_and_follows_is_told_in_the_words_of_the_version() {
    let (registry, _peer, name, listener) = fleet().await;
    let of = async |api: &str, path: &str, name: &str| {
        data(&registry, "GET", &format!("{api}/client/{path}?clientId={}", name.replace('#', "%23"))).await
    };
    let registered = json!({"ip": "10.0.0.7", "port": 80, "cluster": "a"});
    assert_eq!(
        of(V2, "publish/list", &name).await,
        json!([{"namespace": "public", "group": "shop", "serviceName": "orders", "registeredInstance": registered}])
    );
    let published = of(V3, "publish/list", "10.0.0.8:80#true").await;
    let info =
        json!({"clientId": "10.0.0.8:80#true", "ip": "10.0.0.8", "port": 80, "clusterName": "DEFAULT"});
    assert_eq!(
        published,
        json!([{"clientId": "10.0.0.8:80#true", "namespaceId": "public", "groupName": "shop", "serviceName": "orders",
            "publisherInfo": info}])
    );
    assert_eq!(of(V2, "publish/list", "10.0.0.9:80#false").await[0]["serviceName"], "kept");
    let address = listener.trim_end_matches("#true");
    assert_eq!(
        of(V2, "subscribe/list", &listener).await,
        json!([{"namespace": "public", "group": "DEFAULT_GROUP", "serviceName": "mail",
            "subscriberInfo": {"app": "shell", "agent": "Nacos-Go-Client:v1.0.0", "addr": address}}])
    );
    let followed = of(V3, "subscribe/list", &name).await;
    assert_eq!(
        followed[0]["subscriberInfo"],
        json!({"clientId": name, "appName": "web", "agent": "Nacos-Java-Client:v3.0.3", "address": "127.0.0.1"})
    );
    assert_eq!(of(V3, "subscribe/list", "10.0.0.8:80#true").await, json!([]));
}

#[tokio::test]
async fn who_publishes_in_a_service_and_who_follows_it_is_told_by_every_route() {
    let (registry, _peer, name, listener) = fleet().await;
    let get = async |path: String| data(&registry, "GET", &path).await;
    let orders = "serviceName=orders&groupName=shop";
    let line = |client: &str, ip: &str, cluster: &str| json!({"clientId": client, "ip": ip, "port": 80, "cluster": cluster});
    let [one, other] = [line(&name, "10.0.0.7", "a"), line("10.0.0.8:80#true", "10.0.0.8", "DEFAULT")];
    let publishers = format!("{V2}/client/service/publisher/list?{orders}");
    assert_eq!(get(publishers.clone()).await, json!([one, other]));
    assert_eq!(get(format!("{publishers}&ip=10.0.0.8&port=80")).await, json!([other]));
    let publishers = get(format!("{V3}/client/service/publisher/list?{orders}")).await;
    assert_eq!(publishers[0]["publisherInfo"]["clusterName"], "a");
    let followers = get(format!("{V2}/client/service/subscriber/list?serviceName=mail")).await;
    let mut clients: Vec<_> =
        followers.as_array().unwrap().iter().map(|line| line["clientId"].clone()).collect();
    clients.sort_by_key(Value::to_string);
    let mut expected = vec![json!(listener), json!(name)];
    expected.sort_by_key(Value::to_string);
    assert_eq!(clients, expected);
    let followers = get(format!("{V3}/client/service/subscriber/list?serviceName=mail")).await;
    assert_eq!(followers.as_array().unwrap().len(), 2);

    let (_, body) =
        registry.send("GET", "/service/subscribers?serviceName=mail&pageNo=1&pageSize=10", "").await;
    let v1: Value = serde_json::from_str(&body).unwrap();
    let over_grpc = v1["subscribers"].as_array().unwrap().iter().find(|line| line["app"] == "web").unwrap();
    let address = over_grpc["addrStr"].as_str().unwrap();
    assert_eq!(
        *over_grpc,
        json!({"addrStr": address, "agent": "Nacos-Java-Client:v3.0.3", "app": "web", "ip": "127.0.0.1",
            "port": over_grpc["port"], "namespaceId": "public", "serviceName": "DEFAULT_GROUP@@mail", "cluster": "b"})
    );
    assert_eq!(v1["count"], 2);
    let v2 = get(format!("{V2}/service/subscribers?serviceName=mail&pageSize=1&pageNo=2")).await;
    assert_eq!((v2["count"].as_u64(), v2["subscribers"].as_array().unwrap().len()), (Some(2), 1));
    let v3 = get(format!("{V3}/service/subscribers?serviceName=mail")).await;
    assert_eq!((&v3["totalCount"], &v3["pagesAvailable"]), (&json!(2), &json!(1)));
    let over_udp =
        v3["pageItems"].as_array().unwrap().iter().find(|line| line["appName"] == "shell").unwrap();
    let (address, port) = (listener.trim_end_matches("#true"), over_udp["port"].clone());
    assert_eq!(
        *over_udp,
        json!({"namespaceId": "public", "groupName": "DEFAULT_GROUP", "serviceName": "mail", "ip": "127.0.0.1",
            "port": port, "address": address, "agent": "Nacos-Go-Client:v1.0.0", "appName": "shell"})
    );
}

#[tokio::test]
async fn clients_are_asked_to_connect_elsewhere_one_or_all_beyond_a_number() {
    let (registry, mut peer, name, _) = fleet().await;
    let core = "/nacos/v3/admin/core/loader";
    let mut other = Peer::set_up(registry.grpc).await;
    let current = data(&registry, "GET", &format!("{core}/current")).await;
    assert_eq!(current.as_object().unwrap().len(), 2);
    let info = &current[&name]["metaInfo"];
    assert_eq!((&info["appName"], &info["remoteIp"]), (&json!("web"), &json!("127.0.0.1")));
    let cluster = data(&registry, "GET", "/nacos/v2/core/loader/cluster").await;
    assert_eq!((&cluster["total"], &cluster["memberCount"]), (&json!(2), &json!(1)));

    let reload = format!("{core}/reloadClient?connectionId={name}&redirectAddress=10.0.0.1:9848");
    assert_eq!(data(&registry, "POST", &reload).await, "success");
    let (kind, reset) = peer.hear().await.unwrap();
    assert_eq!(kind, "ConnectResetRequest");
    assert_eq!(
        (&reset["serverIp"], &reset["serverPort"], &reset["headers"]),
        (&json!("10.0.0.1"), &json!("9848"), &json!({}))
    );
    assert_eq!(data(&registry, "POST", &format!("{core}/reloadCurrent?count=1")).await, "success");
    let (kind, reset) = other.hear().await.unwrap();
    assert_eq!((kind.as_str(), reset.get("serverIp")), ("ConnectResetRequest", None), "where it likes");
    peer.succeed("HealthCheckRequest", json!({})).await;
    assert_eq!(data(&registry, "POST", "/nacos/v2/core/loader/smartReloadCluster").await, "Ok");
    for (path, status) in [
        ("reloadClient?connectionId=nobody", 404),
        ("reloadClient?connectionId=10.0.0.8:80%23true", 404),
        ("reloadClient", 400),
        ("reloadCurrent?count=-1", 400),
        ("reloadCurrent?count=1&redirectAddress=nowhere", 400),
    ] {
        assert_eq!(registry.send("POST", &format!("{core}/{path}"), "").await.0, status, "{path}");
    }
    let log = "/nacos/v3/admin/ns/ops/log?logName=naming-main&logLevel=DEBUG";
    assert_eq!(registry.send("PUT", log, "").await.0, 501);
}
