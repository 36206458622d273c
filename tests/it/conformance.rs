//! What a registry must do so that unmodified clients of Nacos work with it: a test for each line of one
//! list, over real sockets. Time passes when a test lets it.

pub(crate) mod peer;

use super::registry::Running;
use super::registry_kept::Directory;
pub(crate) use peer::{Peer, ports};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::yield_now;
use tokio::time::{advance, pause, resume, timeout};
use tower_graceful::registry::Settings;
use tower_graceful::{Clock, ManualClock, model::UnixMillis};

/// Longest wait for what only needs the processor.
const SOON: Duration = Duration::from_secs(10);
/// How far time jumps at once: every task sees its deadlines in their order.
const STEP: Duration = Duration::from_millis(250);
/// Looks that every task gets at the time between two jumps.
const LOOKS: usize = 20;

/// A registry, and the hand on its clocks.
struct World {
    registry: Running,
    hand: ManualClock,
}

impl World {
    async fn start() -> Self {
        Self::start_with(Settings { http_port: 0, ..Settings::default() }).await
    }

    async fn start_with(settings: Settings) -> Self {
        let (clock, hand) = Clock::manual(UnixMillis::new(1_750_000_000_000));
        Self { registry: Running::start_with(Settings { clock, ..settings }).await, hand }
    }

    /// Lets this many seconds pass, without anybody waiting for them.
    async fn pass(&self, seconds: f64) {
        let mut left = Duration::from_secs_f64(seconds);
        pause();
        while !left.is_zero() {
            left = left.saturating_sub(STEP);
            self.hand.advance(STEP);
            advance(STEP).await;
            for _ in 0..LOOKS {
                yield_now().await;
            }
        }
        resume();
    }

    async fn peer(&self) -> Peer {
        Peer::set_up(self.registry.grpc).await
    }

    /// Status and body of an answer over HTTP.
    async fn http(&self, method: &str, path: &str) -> (u16, String) {
        self.registry.send(method, path, "").await
    }

    async fn json(&self, method: &str, path: &str) -> Value {
        let (status, body) = self.http(method, path).await;
        assert_eq!(status, 200, "{method} {path}: {body}");
        serde_json::from_str(&body).unwrap_or(Value::String(body))
    }

    async fn list(&self, service: &str) -> Value {
        self.json("GET", &format!("/instance/list?serviceName={service}")).await
    }

    async fn ok(&self, method: &str, path: &str) {
        assert_eq!(self.http(method, path).await, (200, "ok".to_owned()), "{method} {path}");
    }

    /// Waits until the list of `orders` has these ports.
    async fn lists(&self, expected: &[u64]) {
        let listed = async {
            while ports(&self.list("orders").await) != expected {
                yield_now().await;
            }
        };
        timeout(SOON, listed).await.unwrap_or_else(|_| panic!("never lists {expected:?}"));
    }
}

fn instance(port: u16) -> Value {
    json!({"ip": "10.0.0.7", "port": port, "weight": 1.0, "healthy": true, "enabled": true, "ephemeral": true,
        "clusterName": "DEFAULT", "metadata": {}})
}

fn request(kind: &str, port: u16) -> Value {
    json!({"namespace": "public", "serviceName": "orders", "groupName": "DEFAULT_GROUP", "type": kind,
        "instance": instance(port)})
}

fn subscription(clusters: &str) -> Value {
    json!({"namespace": "public", "serviceName": "orders", "groupName": "DEFAULT_GROUP", "subscribe": true,
        "clusters": clusters})
}

/// How an SDK sets a connection up, and how it writes a request.
struct Profile {
    name: &'static str,
    /// Opens its stream before it asks anything.
    stream_first: bool,
    setup: Value,
    /// Laid over every request.
    base: Value,
}

fn profiles() -> [Profile; 7] {
    let labels = json!({"source": "sdk", "module": "naming", "AppName": "billing"});
    let table = json!({"fuzzyWatch": true, "lock": true, "mcp": true});
    let old =
        json!({"remoteAbility": {"supportRemoteConnection": true}, "configAbility": {}, "namingAbility": {}});
    let java = |version: &str| {
        json!({"headers": {}, "clientVersion": format!("Nacos-Java-Client:{version}"),
        "tenant": "", "labels": labels, "module": "internal"})
    };
    let with = |mut setup: Value, key: &str, value: &Value| {
        setup[key] = value.clone();
        setup
    };
    let words = json!({"headers": {}, "module": "naming"});
    let profile = |name, setup, base| Profile { name, stream_first: false, setup, base };
    let go = json!({"clientVersion": "Nacos-Go-Client:v2.3.5", "tenant": "public", "labels": labels,
        "clientAbilities": {}});
    let python = json!({"clientVersion": "Nacos-Python-Client:v3", "tenant": "", "labels": labels});
    [
        profile("Java 2.2", with(java("v2.2.0"), "abilities", &old), words.clone()),
        profile("Java 2.3", with(java("v2.3.2"), "abilityTable", &table), words.clone()),
        profile("Java 3.0", with(java("v3.0.3"), "abilityTable", &table), words.clone()),
        profile("Go", go, json!({})),
        profile("Python 2", python.clone(), json!({"requestId": "7", "module": "naming", "namespace": ""})),
        profile("Python 3", with(python, "abilityTable", &table), json!({"requestId": "8"})),
        Profile {
            stream_first: true,
            ..profile("Rust", with(java("v0.8"), "abilities", &old), json!({"headers": {}, "requestId": "9"}))
        },
    ]
}

#[tokio::test]
async fn line_01_every_profile_sets_its_connection_up_and_registers_subscribes_and_leaves() {
    let world = World::start().await;
    for (port, Profile { name, stream_first, setup, base }) in (80..).zip(profiles()) {
        let mut peer = Peer::connect(world.registry.grpc).await;
        let waits_for_table = setup["abilityTable"].is_object();
        if stream_first {
            peer.open().await;
            peer.say("ConnectionSetupRequest", setup.clone()).await;
            peer.succeed("HealthCheckRequest", json!({})).await;
        }
        let check = peer.succeed("ServerCheckRequest", json!({})).await;
        assert!(
            check["connectionId"].is_string() && check["supportAbilityNegotiation"] == true,
            "{name}: {check}"
        );
        if !stream_first {
            peer.open().await;
            peer.say("ConnectionSetupRequest", setup).await;
        }
        if waits_for_table {
            let (kind, ack) = peer.hear().await.unwrap();
            assert_eq!((kind.as_str(), &ack["headers"]), ("SetupAckRequest", &json!({})), "{name}");
            assert_eq!(ack["abilityTable"]["supportPersistentInstanceByGrpc"], json!(true), "{name}");
        }
        peer.succeed("HealthCheckRequest", json!({})).await;
        let in_its_words = |mut request: Value| {
            for (key, value) in base.as_object().unwrap() {
                request[key] = value.clone();
            }
            request
        };
        let subscribed = peer.succeed("SubscribeServiceRequest", in_its_words(subscription(""))).await;
        assert_eq!(subscribed["serviceInfo"]["hosts"], json!([]), "{name}");
        assert_eq!(subscribed.get("requestId"), base.get("requestId"), "{name}: repeated, or absent");
        let registered =
            peer.succeed("InstanceRequest", in_its_words(request("registerInstance", port))).await;
        assert_eq!(registered["type"], json!("registerInstance"), "{name}");
        // Also: whoever sent no table of abilities is sent none, or it would be heard here.
        peer.pushed_until(&[port.into()]).await;
        peer.succeed("InstanceRequest", in_its_words(request("deregisterInstance", port))).await;
        peer.pushed_until(&[]).await;
    }
}

#[tokio::test]
async fn line_02_all_fields_of_an_instance_come_back_over_grpc_and_every_http_version() {
    let world = World::start().await;
    let mut peer = world.peer().await;
    let whole = json!({"ip": "10.1.2.3", "port": 8080, "weight": 2.5, "healthy": true, "enabled": true,
        "ephemeral": true, "clusterName": "a", "serviceName": "ignored", "metadata": {"zone": "a", "preserved.heart.beat.interval": "3000"},
        "instanceHeartBeatInterval": 1, "instanceHeartBeatTimeOut": 1, "ipDeleteTimeout": 1});
    let expected = json!({"instanceId": "10.1.2.3#8080#a#shop@@orders", "ip": "10.1.2.3", "port": 8080, "weight": 2.5,
        "healthy": true, "enabled": true, "ephemeral": true, "clusterName": "a", "serviceName": "shop@@orders",
        "metadata": {"zone": "a", "preserved.heart.beat.interval": "3000"},
        "instanceHeartBeatInterval": 3000, "instanceHeartBeatTimeOut": 15000, "ipDeleteTimeout": 30000});
    let words = |kind: &str| json!({"namespace": "test", "serviceName": "orders", "groupName": "shop", "type": kind, "instance": whole});
    peer.succeed("InstanceRequest", words("registerInstance")).await;
    let query = json!({"namespace": "test", "serviceName": "orders", "groupName": "shop", "cluster": "a", "healthyOnly": true, "udpPort": 0});
    let info = peer.succeed("ServiceQueryRequest", query.clone()).await["serviceInfo"].take();
    assert_eq!(info["hosts"], json!([expected]));
    for (field, value) in [
        ("name", json!("orders")),
        ("groupName", json!("shop")),
        ("clusters", json!("a")),
        ("cacheMillis", json!(10000)),
        ("checksum", json!("")),
        ("allIPs", json!(false)),
        ("allIps", json!(false)),
        ("reachProtectionThreshold", json!(false)),
        ("valid", json!(true)),
    ] {
        assert_eq!(info[field], value, "{field}");
    }
    let service = "serviceName=orders&groupName=shop&namespaceId=test";
    for (path, hosts) in [
        (format!("/nacos/v1/ns/instance/list?{service}"), "/hosts"),
        (format!("/nacos/v2/ns/instance/list?{service}"), "/data/hosts"),
        (format!("/nacos/v3/client/ns/instance/list?{service}&clusterName=a"), "/data"),
        (format!("/nacos/v3/admin/ns/instance/list?{service}"), "/data"),
    ] {
        assert_eq!(world.json("GET", &path).await.pointer(hosts), Some(&json!([expected])), "{path}");
    }
    let names = json!({"namespace": "test", "groupName": "shop", "pageNo": 1, "pageSize": 10});
    let listed = peer.succeed("ServiceListRequest", names).await;
    assert_eq!((&listed["count"], &listed["serviceNames"]), (&json!(1), &json!(["orders"])));
    peer.succeed("InstanceRequest", words("deregisterInstance")).await;
    peer.succeed("InstanceRequest", words("deregisterInstance")).await;
    let info = peer.succeed("ServiceQueryRequest", query).await;
    assert_eq!(info["serviceInfo"]["hosts"], json!([]));
}

#[tokio::test]
async fn line_03_a_change_is_pushed_at_once_and_again_until_it_is_acknowledged() {
    let world = World::start().await;
    let (mut provider, mut subscriber) = (world.peer().await, world.peer().await);
    subscriber.succeed("SubscribeServiceRequest", subscription("")).await;
    provider.succeed("InstanceRequest", request("registerInstance", 80)).await;
    let first = timeout(Duration::from_millis(600), subscriber.pushed_unanswered()).await.unwrap();
    let info = &first["serviceInfo"];
    assert_eq!(
        (ports(info), &info["name"], &first["serviceName"]),
        (vec![80], &json!("orders"), &json!("orders"))
    );
    world.pass(6.0).await; // Five seconds for the acknowledgement, and one more.
    let second = subscriber.pushed_unanswered().await;
    assert_ne!(second["requestId"], first["requestId"]);
    assert_eq!(ports(&second["serviceInfo"]), [80]);
    let refusal = json!({"resultCode": 500, "errorCode": 500, "requestId": second["requestId"]});
    subscriber.say("ErrorResponse", refusal).await;
    subscriber.succeed("HealthCheckRequest", json!({})).await;
    world.pass(1.0).await;
    subscriber.pushed().await;
    subscriber.succeed("HealthCheckRequest", json!({})).await;
    world.pass(6.0).await;
    provider.succeed("InstanceRequest", request("registerInstance", 81)).await;
    assert_eq!(ports(&subscriber.pushed().await["serviceInfo"]), [81], "what was acknowledged came no more");
}

#[tokio::test]
async fn line_04_who_loses_its_transport_is_off_the_list_within_a_second() {
    let world = World::start().await;
    let (mut provider, mut subscriber) = (world.peer().await, world.peer().await);
    subscriber.succeed("SubscribeServiceRequest", subscription("")).await;
    provider.succeed("InstanceRequest", request("registerInstance", 80)).await;
    subscriber.pushed_until(&[80]).await;
    drop(provider);
    timeout(Duration::from_secs(1), subscriber.pushed_until(&[])).await.unwrap();
}

#[tokio::test]
async fn line_05_who_is_silent_on_an_open_transport_is_gone_within_28_seconds() {
    let world = World::start().await;
    let mut silent = world.peer().await;
    silent.succeed("InstanceRequest", request("registerInstance", 80)).await;
    world.pass(19.0).await;
    world.lists(&[80]).await;
    world.pass(9.0).await;
    world.lists(&[]).await;
    let (kind, _) = silent.hear().await.unwrap();
    assert_eq!(kind, "ClientDetectionRequest", "it was asked");
    assert!(silent.hear().await.is_none(), "and then its stream was ended, so that it hears of it");
}

#[tokio::test]
async fn line_06_unknown_connections_types_and_bodies_have_their_codes() {
    let world = World::start().await;
    let mut peer = Peer::connect(world.registry.grpc).await;
    let codes =
        |(kind, body): (String, Value)| (kind, body["resultCode"].as_u64(), body["errorCode"].as_u64());
    let error = |code| ("ErrorResponse".to_owned(), Some(500), Some(code));
    assert_eq!(codes(peer.ask("InstanceRequest", request("registerInstance", 80)).await), error(301));
    let (_, health) = peer.ask("HealthCheckRequest", json!({})).await;
    let code = health["errorCode"].as_u64().unwrap();
    assert!(!(300..400).contains(&code), "{code}: Python 2 would take it for healthy");
    let mut peer = world.peer().await;
    assert_eq!(codes(peer.ask("NoSuchRequest", json!({})).await), error(302));
    assert_eq!(codes(peer.ask_raw("InstanceRequest", b"{".to_vec()).await), error(502));
    let (kind, wrong) = peer.ask("InstanceRequest", request("noSuchType", 80)).await;
    assert_eq!((kind.as_str(), &wrong["errorCode"]), ("InstanceResponse", &json!(400)));
}

#[tokio::test]
async fn line_07_a_connection_has_one_publication_for_each_service_which_the_next_replaces() {
    let world = World::start().await;
    let (mut peer, mut other) = (world.peer().await, world.peer().await);
    other.succeed("InstanceRequest", request("registerInstance", 90)).await;
    peer.succeed("InstanceRequest", request("registerInstance", 80)).await;
    peer.succeed("InstanceRequest", request("registerInstance", 81)).await;
    world.lists(&[81, 90]).await;
    let batch = |ports: &[u16]| {
        json!({"namespace": "public", "serviceName": "orders", "groupName": "DEFAULT_GROUP",
        "type": "batchRegisterInstance", "instances": ports.iter().map(|port| instance(*port)).collect::<Vec<_>>()})
    };
    peer.succeed("BatchInstanceRequest", batch(&[1, 2, 3])).await;
    world.lists(&[1, 2, 3, 90]).await;
    peer.succeed("BatchInstanceRequest", batch(&[2])).await;
    world.lists(&[2, 90]).await;
    peer.succeed("BatchInstanceRequest", batch(&[])).await;
    world.lists(&[90]).await;
    peer.succeed("BatchInstanceRequest", batch(&[1, 2])).await;
    peer.succeed("InstanceRequest", request("deregisterInstance", 90)).await;
    world.lists(&[90]).await;
    world.ok("DELETE", "/instance?serviceName=orders&ip=10.0.0.7&port=90").await;
    world.lists(&[90]).await; // Somebody else's.
}

#[tokio::test]
async fn line_08_the_time_of_a_list_grows_with_every_change_within_one_millisecond_too() {
    let world = World::start().await;
    let (mut provider, mut subscriber) = (world.peer().await, world.peer().await);
    let answer = subscriber.succeed("SubscribeServiceRequest", subscription("")).await;
    let mut last = (answer["serviceInfo"]["lastRefTime"].as_u64().unwrap(), Vec::new());
    let query = json!({"serviceName": "orders"});
    for port in 1..200 {
        provider.succeed("InstanceRequest", request("registerInstance", port)).await;
        let info = provider.succeed("ServiceQueryRequest", query.clone()).await;
        let now = (info["serviceInfo"]["lastRefTime"].as_u64().unwrap(), ports(&info["serviceInfo"]));
        assert!(now.0 > last.0 && now.1 == [u64::from(port)], "{last:?} {now:?}");
        last = now;
    }
    let mut pushed = answer["serviceInfo"]["lastRefTime"].as_u64().unwrap();
    loop {
        let push = subscriber.pushed().await;
        let time = push["serviceInfo"]["lastRefTime"].as_u64().unwrap();
        assert!(time > pushed);
        pushed = time;
        if ports(&push["serviceInfo"]) == [199] {
            break;
        }
    }
    assert_eq!(pushed, last.0, "an answer and a push of one list have one time");
}

#[tokio::test]
async fn line_09_heartbeats_keep_mark_remove_and_bring_back() {
    let world = World::start().await;
    let one = "serviceName=DEFAULT_GROUP%40%40orders&ip=10.0.0.7&port=80";
    let light = format!("/instance/beat?{one}");
    let code = async |path: &str| world.json("PUT", path).await["code"].as_u64().unwrap();
    let healthy = async || world.list("orders").await["hosts"][0]["healthy"].as_bool();
    assert_eq!(code(&light).await, 20_404);
    world.ok("POST", &format!("/instance?{one}")).await;
    world.pass(14.0).await;
    assert_eq!(healthy().await, Some(true));
    assert_eq!(code(&light).await, 10_200);
    world.pass(14.0).await;
    assert_eq!(healthy().await, Some(true));
    world.pass(6.0).await; // 20 s of silence: unhealthy, whatever Nacos' tick.
    assert_eq!(healthy().await, Some(false));
    assert_eq!(code(&light).await, 10_200);
    assert_eq!(healthy().await, Some(true));
    world.pass(29.0).await;
    assert_eq!(healthy().await, Some(false));
    world.pass(6.0).await; // 35 s.
    assert_eq!(healthy().await, None);
    assert_eq!(code(&light).await, 20_404);
    let beat = r#"{"ip":"10.0.0.7","port":80,"cluster":"a","serviceName":"x","metadata":{"zone":"a","preserved.heart.beat.timeout":"6000","preserved.ip.delete.timeout":"8000"}}"#;
    let full = format!("/instance/beat?serviceName=orders&beat={}", beat.replace('"', "%22"));
    assert_eq!(code(&full).await, 10_200);
    let host = world.list("orders").await["hosts"][0].take();
    assert_eq!(
        (&host["clusterName"], &host["weight"], &host["metadata"]["zone"]),
        (&json!("a"), &json!(1.0), &json!("a"))
    );
    world.pass(7.0).await;
    assert_eq!(healthy().await, Some(false));
    world.pass(2.0).await;
    assert_eq!(healthy().await, None, "after the times that it asked for");
    assert_eq!(code(&full).await, 10_200);
    world.ok("PATCH", &format!("/instance?{one}&clusterName=a&metadata=preserved.heart.beat.timeout=20000,preserved.ip.delete.timeout=25000")).await;
    world.pass(19.0).await;
    assert_eq!(healthy().await, Some(true), "an operator has given it more time");
    world.pass(7.0).await;
    let renewal = format!("/nacos/v3/client/ns/instance?{one}&heartBeat=true");
    let renewed = json!({"code": 21003, "message": "instance not found", "data": null});
    assert_eq!(world.json("POST", &renewal).await, renewed);
    world.json("POST", &renewal.replace("&heartBeat=true", "&metadata=a=b")).await;
    world.pass(10.0).await;
    assert_eq!(world.json("POST", &format!("{renewal}&metadata=a=c")).await["code"], json!(0));
    world.pass(10.0).await;
    let host = world.list("orders").await["hosts"][0].take();
    assert_eq!((&host["healthy"], &host["metadata"]), (&json!(true), &json!({"a": "b"})));
    assert_eq!(world.http("PUT", "/instance/beat?serviceName=orders&beat=%7B").await.0, 400);
}

#[tokio::test]
async fn line_10_the_two_kinds_of_instances_refuse_each_other_in_nacos_words() {
    let world = World::start().await;
    let mut peer = world.peer().await;
    peer.succeed("InstanceRequest", request("registerInstance", 80)).await;
    let words =
        "Current service DEFAULT_GROUP@@orders is ephemeral service, can't register persistent instance.";
    let path = "/instance?serviceName=orders&ip=10.0.0.7&port=81&ephemeral=false";
    assert_eq!(world.http("POST", path).await, (400, words.to_owned()));
    let (status, body) = world.http("POST", &format!("/nacos/v2/ns{path}")).await;
    let envelope = json!({"code": 30000, "message": "server error", "data": words});
    assert_eq!((status, serde_json::from_str::<Value>(&body).unwrap()), (400, envelope));
    let (kind, refused) = peer.ask("PersistentInstanceRequest", request("registerInstance", 81)).await;
    let said = (&refused["resultCode"], &refused["errorCode"], &refused["message"]);
    assert_eq!((kind.as_str(), said), ("InstanceResponse", (&json!(500), &json!(400), &json!(words))));
    world.ok("POST", &path.replace("orders", "kept")).await;
    let mut kept = request("registerInstance", 80);
    kept["serviceName"] = json!("kept");
    let words =
        "Current service DEFAULT_GROUP@@kept is persistent service, can't register ephemeral instance.";
    assert_eq!(peer.ask("InstanceRequest", kept.clone()).await.1["message"], json!(words));
    kept["type"] = json!("batchRegisterInstance");
    kept["instances"] = json!([instance(80)]);
    let words = words.replace("register ephemeral", "batch register ephemeral");
    assert_eq!(peer.ask("BatchInstanceRequest", kept).await.1["message"], json!(words));
}

#[tokio::test]
async fn line_11_disabled_instances_are_hidden_from_clients_and_shown_to_operators() {
    let world = World::start().await;
    let mut peer = world.peer().await;
    let mut disabled = request("registerInstance", 80);
    disabled["instance"]["enabled"] = json!(false);
    peer.succeed("InstanceRequest", disabled).await;
    let subscribed = peer.succeed("SubscribeServiceRequest", subscription("")).await;
    let asked = peer.succeed("ServiceQueryRequest", json!({"serviceName": "orders"})).await;
    for list in [&subscribed["serviceInfo"], &asked["serviceInfo"], &world.list("orders").await] {
        assert_eq!(ports(list), [] as [u64; 0]);
    }
    let catalog = "/catalog/instances?serviceName=orders&clusterName=DEFAULT&pageNo=1&pageSize=10";
    assert_eq!(world.json("GET", catalog).await["list"][0]["enabled"], json!(false));
    let admin = "/nacos/v3/admin/ns/instance/list?serviceName=orders";
    assert_eq!(world.json("GET", admin).await["data"][0]["port"], json!(80));
    peer.succeed("InstanceRequest", request("registerInstance", 80)).await;
    peer.pushed_until(&[80]).await;
    world.ok("PUT", "/instance?serviceName=orders&ip=10.0.0.7&port=80&enabled=false").await;
    peer.pushed_until(&[]).await;
}

#[tokio::test]
async fn line_12_an_operators_word_counts_most_and_is_kept_for_a_minute() {
    let world = World::start().await;
    let one = "serviceName=orders&ip=10.0.0.7&port=80";
    let (register, deregister) =
        (format!("/instance?{one}&weight=5&metadata=a=1,b=1&ephemeral=true"), format!("/instance?{one}"));
    let seen = async || {
        let list = world.json("GET", "/nacos/v3/admin/ns/instance/list?serviceName=orders").await;
        let host = &list["data"][0];
        json!([host["weight"], host["enabled"], host["metadata"]])
    };
    world.ok("POST", &register).await;
    world.ok("PUT", &format!("/instance?{one}&weight=2&enabled=false&metadata=b=2,c=2")).await;
    assert_eq!(seen().await, json!([2.0, false, {"a": "1", "b": "2", "c": "2"}]));
    world.ok("PATCH", &format!("/instance?{one}&weight=3")).await;
    assert_eq!(seen().await, json!([3.0, false, {"a": "1", "b": "2", "c": "2"}]), "PATCH leaves the rest");
    world.ok("PUT", &format!("/instance?{one}&enabled=false&weight=4")).await;
    let expected = json!([4.0, false, {"a": "1", "b": "1"}]);
    assert_eq!(seen().await, expected, "PUT replaces the whole");
    world.ok("POST", &register).await;
    assert_eq!(seen().await, expected, "a registration does not touch it");
    world.ok("DELETE", &deregister).await;
    world.pass(50.0).await;
    world.ok("POST", &register).await;
    assert_eq!(seen().await, expected, "back in time");
    world.ok("DELETE", &deregister).await;
    world.pass(70.0).await;
    world.ok("POST", &register).await;
    assert_eq!(seen().await, json!([5.0, true, {"a": "1", "b": "1"}]));
}

#[tokio::test]
async fn line_13_a_threshold_protects_where_somebody_has_said_one() {
    let world = World::start().await;
    for (service, threshold, healthy, protected) in [
        ("none", None, 0, false),
        ("zero", Some("0"), 0, true),
        ("zero-one", Some("0"), 1, false),
        ("half", Some("0.5"), 1, true),
        ("half-two", Some("0.5"), 2, false),
        ("one", Some("1"), 2, true),
    ] {
        if let Some(threshold) = threshold {
            let create = format!(
                "/nacos/v2/ns/service?serviceName={service}&ephemeral=true&protectThreshold={threshold}"
            );
            world.json("POST", &create).await;
        }
        for port in 1..=2 {
            let healthy = port <= healthy;
            world
                .ok(
                    "POST",
                    &format!("/instance?serviceName={service}&ip=10.0.0.7&port={port}&healthy={healthy}"),
                )
                .await;
        }
        let list = world.list(service).await;
        assert_eq!(list["reachProtectionThreshold"], json!(protected), "{service}");
        let shown = list["hosts"].as_array().unwrap().iter().filter(|host| host["healthy"] == true).count();
        assert_eq!(shown, if protected { 2 } else { healthy }, "{service}");
        let admin = format!("/nacos/v3/admin/ns/instance/list?serviceName={service}&healthyOnly=true");
        assert_eq!(world.json("GET", &admin).await["data"].as_array().unwrap().len(), healthy, "{service}");
    }
}

#[tokio::test]
async fn line_14_lists_have_the_name_and_the_clusters_that_clients_make_their_keys_of() {
    let world = World::start().await;
    let node = "namespaceId=default&serviceName=DEFAULT_GROUP%40%40orders";
    world
        .ok(
            "POST",
            &format!(
                "/instance?{node}&groupName=DEFAULT_GROUP&ip=10.0.0.7&port=80&enable=true&clusterName=DEFAULT"
            ),
        )
        .await;
    for clusters in ["", "DEFAULT", "DEFAULT,other", "other"] {
        let path =
            format!("/instance/list?{node}&clusters={clusters}&udpPort=&clientIP=127.0.0.1&healthyOnly=");
        let list = world.json("GET", &path).await;
        assert_eq!((&list["name"], &list["clusters"]), (&json!("DEFAULT_GROUP@@orders"), &json!(clusters)));
        assert_eq!(ports(&list).len(), usize::from(clusters != "other"));
    }
    assert_eq!(ports(&world.list("orders").await), [] as [u64; 0], "another namespace");
    let (mut peer, mut provider) = (world.peer().await, world.peer().await);
    let subscribed = peer.succeed("SubscribeServiceRequest", subscription("a,DEFAULT")).await;
    assert_eq!(subscribed["serviceInfo"]["clusters"], json!("a,DEFAULT"));
    provider.succeed("InstanceRequest", request("registerInstance", 80)).await;
    let push = peer.pushed_until(&[80]).await;
    let info = &push["serviceInfo"];
    assert_eq!((&info["clusters"], &info["name"]), (&json!("a,DEFAULT"), &json!("orders")));
    assert_eq!(info["hosts"][0]["serviceName"], json!("DEFAULT_GROUP@@orders"));
}

#[tokio::test]
async fn line_15_a_blank_namespace_group_and_cluster_mean_the_default_ones() {
    let world = World::start().await;
    let mut peer = world.peer().await;
    let mut blank = request("registerInstance", 80);
    (blank["namespace"], blank["groupName"], blank["instance"]["clusterName"]) =
        (json!(""), json!(" "), json!(""));
    peer.succeed("InstanceRequest", blank).await;
    let list = world
        .json(
            "GET",
            "/instance/list?namespaceId=public&groupName=DEFAULT_GROUP&serviceName=orders&clusters=DEFAULT",
        )
        .await;
    assert_eq!(ports(&list), [80]);
    let batch = json!({"namespace": "", "serviceName": "orders", "type": "batchRegisterInstance",
        "instances": [{"ip": "10.0.0.7", "port": 81, "weight": 1.0, "healthy": true, "enabled": true, "ephemeral": true, "metadata": {}, "clusterName": ""}]});
    peer.succeed("BatchInstanceRequest", batch).await;
    for namespace in [json!(""), json!("public"), Value::Null] {
        let asked = peer
            .succeed("ServiceQueryRequest", json!({"namespace": namespace, "serviceName": "orders"}))
            .await;
        assert_eq!(ports(&asked["serviceInfo"]), [81]);
    }
}

#[tokio::test]
async fn line_16_ten_thousand_instances_and_ten_mebibytes_fit_into_one_message() {
    let world = World::start().await;
    let (mut provider, mut subscriber) = (world.peer().await, world.peer().await);
    subscriber.succeed("SubscribeServiceRequest", subscription("")).await;
    let text = "x".repeat(850);
    let instances: Vec<Value> = (1..=10_000u16)
        .map(|port| {
            json!({"ip": "10.0.0.7", "port": port, "weight": 1, "healthy": true, "enabled": true,
            "ephemeral": true, "metadata": {"k": text}})
        })
        .collect();
    let batch = json!({"serviceName": "orders", "type": "batchRegisterInstance", "instances": instances});
    let length = batch.to_string().len();
    assert!((9_500_000..10 * 1024 * 1024).contains(&length), "{length}");
    provider.succeed("BatchInstanceRequest", batch).await;
    assert_eq!(subscriber.pushed().await["serviceInfo"]["hosts"].as_array().unwrap().len(), 10_000);
}

#[tokio::test]
async fn line_17_a_persistent_instance_outlives_connection_and_registry_and_is_probed() {
    let directory = Directory::new("conformance");
    let world = World::start_with(directory.settings()).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let knocks = Arc::new(AtomicUsize::new(0));
    let counted = knocks.clone();
    let listening = tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let mut peer = world.peer().await;
    let mut words = request("registerInstance", port);
    (words["instance"]["ip"], words["instance"]["healthy"]) = (json!("127.0.0.1"), json!(false));
    peer.succeed("PersistentInstanceRequest", words).await;
    drop(peer);
    world.pass(1.0).await;
    world.lists(&[port.into()]).await;
    world.registry.stop().await;

    let world = World::start_with(directory.settings()).await;
    world.lists(&[port.into()]).await;
    knocks.store(0, Ordering::Relaxed);
    let healthy = async || world.list("orders").await["hosts"][0]["healthy"] == json!(true);
    let flips = async |to: bool| {
        let flipped = async {
            while healthy().await != to {
                world.pass(0.25).await;
            }
        };
        timeout(SOON, flipped).await.unwrap();
    };
    assert!(!healthy().await);
    flips(true).await;
    assert_eq!(knocks.load(Ordering::Relaxed), 3, "three answers in a row");
    listening.abort();
    flips(false).await;
    world.pass(200.0).await;
    world.lists(&[port.into()]).await; // Unhealthy, and there.
}

#[tokio::test]
async fn line_18_empty_services_and_what_is_said_of_the_gone_are_forgotten() {
    let world = World::start().await;
    let one = "serviceName=orders&ip=10.0.0.7&port=80";
    world.ok("POST", "/service?serviceName=created&protectThreshold=0.3").await;
    world.ok("POST", &format!("/instance?{one}")).await;
    world.ok("PUT", "/service?serviceName=orders&metadata=owner=me").await;
    let names = async || world.json("GET", "/service/list?pageNo=1&pageSize=9").await["doms"].take();
    world.ok("DELETE", &format!("/instance?{one}")).await;
    world.pass(50.0).await;
    assert_eq!(names().await, json!(["created", "orders"]));
    let persistent = format!("/instance?{one}&ephemeral=false");
    assert_eq!(world.http("POST", &persistent).await.0, 400, "its kind is fixed while it is remembered");
    world.pass(20.0).await;
    assert_eq!(names().await, json!(["created"]), "what somebody created stays");
    assert_eq!(world.http("PUT", &format!("/instance?{one}")).await.0, 400);
    world.pass(70.0).await;
    world.ok("POST", &persistent).await;
    let described = world.json("GET", "/service?serviceName=orders").await;
    assert_eq!(described["metadata"], json!({}), "nobody speaks of it any more");
}

#[tokio::test]
async fn line_19_a_client_with_a_name_and_a_password_gets_a_token_by_every_path() {
    let world = World::start().await;
    for path in ["/nacos/v1/auth/login", "/nacos/v1/auth/users/login", "/nacos/v3/auth/user/login"] {
        let (status, body) =
            world.registry.send("POST", &format!("{path}?username=nacos"), "password=x").await;
        let token: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &token["tokenTtl"], &token["username"]), (200, &json!(18000), &json!("nacos")));
        let token = token["accessToken"].as_str().unwrap();
        world
            .ok("POST", &format!("/instance?serviceName=orders&ip=10.0.0.7&port=80&accessToken={token}"))
            .await;
    }
}

#[tokio::test]
async fn line_20_nothing_that_is_said_breaks_the_registry() {
    let world = World::start().await;
    let mut chance = fastrand::Rng::with_seed(20);
    let odd =
        [Value::Null, json!(""), json!(-1), json!(1e300), json!([]), json!({}), json!("\u{0}"), json!(true)];
    let requests = [
        "ServerCheckRequest",
        "HealthCheckRequest",
        "InstanceRequest",
        "BatchInstanceRequest",
        "PersistentInstanceRequest",
        "SubscribeServiceRequest",
        "ServiceQueryRequest",
        "ServiceListRequest",
        "PushAckRequest",
        "",
    ];
    let mut peer = world.peer().await;
    for _ in 0..500 {
        let mut body = request("registerInstance", 80);
        for _ in 0..chance.usize(0..4) {
            let fields = [
                "headers",
                "requestId",
                "module",
                "namespace",
                "serviceName",
                "groupName",
                "type",
                "instance",
                "instances",
                "clusters",
                "subscribe",
                "pageNo",
                "pageSize",
                "healthyOnly",
            ];
            body[chance.choice(fields).unwrap()] = chance.choice(&odd).unwrap().clone();
            if body["instance"].is_object() {
                let fields =
                    ["ip", "port", "weight", "healthy", "enabled", "ephemeral", "clusterName", "metadata"];
                body["instance"][chance.choice(fields).unwrap()] = chance.choice(&odd).unwrap().clone();
            }
        }
        let (_, answer) = peer.ask(chance.choice(requests).unwrap(), body).await;
        assert!(answer["resultCode"].is_u64() && answer["errorCode"].is_u64(), "{answer}");
        assert!(!answer.to_string().contains("null"), "{answer}");
    }
    let mut giant = request("registerInstance", 80);
    giant["instance"]["metadata"] = json!({"k": "v".repeat(2_000_000)});
    assert_eq!(peer.ask("InstanceRequest", giant).await.1["errorCode"], json!(400));
    for kind in [
        "ConnectionSetupRequest",
        "NotifySubscriberResponse",
        "ErrorResponse",
        "ClientDetectionResponse",
        "x",
    ] {
        for body in &odd {
            peer.say(kind, body.clone()).await;
        }
    }
    for path in [
        "/instance?serviceName=orders&ip=::1&port=80&metadata=null",
        "/instance?%00=%00&&&=",
        "/instance/list?serviceName=%F0%9F%92%A9",
        "/instance/beat?serviceName=a&beat=[]",
    ] {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let (status, body) = world.http(method, path).await;
            assert!(status < 500 && !body.is_empty(), "{method} {path}: {status} {body}");
        }
    }
    let mut sound = world.peer().await;
    sound
        .succeed(
            "InstanceRequest",
            json!({"serviceName": "sound", "type": "registerInstance", "instance": instance(1)}),
        )
        .await;
    assert_eq!(ports(&world.list("sound").await), [1]);
}
