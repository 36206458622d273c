//! How changes come to those who follow: over gRPC, and as datagrams to clients that poll.

use super::conformance::{Peer, ports};
use super::registry::{Running, SOON};
use serde_json::{Value, json};
use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{advance, pause, resume, timeout};

const AGENT: &str = "Nacos-Java-Client:v1.4.8";

fn register(port: u16, more: &str) -> String {
    format!("/instance?serviceName=shop@@orders&ip=10.0.0.7&port={port}{more}")
}

/// A client of version 1: it asks over HTTP and listens on a port of its own.
struct Listener(UdpSocket);

impl Listener {
    async fn start() -> Self {
        Self(UdpSocket::bind("127.0.0.1:0").await.unwrap())
    }

    /// Asks for the list of `shop@@orders`, and listens from then on.
    async fn ask(&self, registry: &Running, more: &str) -> Value {
        let port = self.0.local_addr().unwrap().port();
        let path =
            format!("/instance/list?serviceName=shop@@orders&udpPort={port}&clientIP=203.0.113.9{more}");
        let (status, body) = registry.send_as(AGENT, "GET", &path).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// The next list that comes, with the number of its datagram and the port that it came from.
    async fn hear(&self) -> (Value, u64, SocketAddr) {
        let mut buffer = vec![0; 65_536];
        let (length, from) =
            timeout(SOON, self.0.recv_from(&mut buffer)).await.expect("no datagram").unwrap();
        let bytes = &buffer[..length];
        let mut text = String::new();
        if bytes.starts_with(&[0x1f, 0x8b]) {
            flate2::read::GzDecoder::new(bytes).read_to_string(&mut text).unwrap();
        } else {
            text = String::from_utf8(bytes.to_vec()).unwrap();
        }
        let push: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(push["type"], "dom");
        let list = serde_json::from_str(push["data"].as_str().unwrap()).unwrap();
        (list, push["lastRefTime"].as_u64().unwrap(), from)
    }

    async fn hear_and_acknowledge(&self) -> Value {
        let (list, number, from) = self.hear().await;
        self.acknowledge(number, from).await;
        list
    }

    async fn acknowledge(&self, number: u64, to: SocketAddr) {
        let answer = json!({"type": "push-ack", "lastRefTime": number.to_string(), "data": ""}).to_string();
        self.0.send_to(answer.as_bytes(), to).await.unwrap();
    }

    /// Hears lists until one has these ports.
    async fn hear_until(&self, expected: &[u64]) -> Value {
        loop {
            let list = self.hear_and_acknowledge().await;
            if ports(&list) == expected {
                return list;
            }
        }
    }

    fn hears_nothing(&self) -> bool {
        self.0.try_recv(&mut [0]).is_err()
    }
}

async fn ok(registry: &Running, method: &str, path: &str) {
    assert_eq!(registry.send(method, path, "").await, (200, "ok".to_owned()), "{method} {path}");
}

/// Who listens for `shop@@orders`, as the registry knows them.
async fn listeners(registry: &Running) -> Vec<Value> {
    let (_, body) = registry.send("GET", "/graceful/v1/subscribers?serviceName=shop@@orders", "").await;
    serde_json::from_str::<Value>(&body).unwrap()["listeners"].as_array().unwrap().clone()
}

/// Waits until everyone who listens has the present list.
async fn all_current(registry: &Running) {
    let current = async {
        while !listeners(registry).await.iter().all(|line| line["current"] == true) {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, current).await.expect("an acknowledgement does not count");
}

#[tokio::test]
async fn a_client_that_polls_hears_of_changes_over_udp_as_it_would_read_them() {
    let registry = Running::start().await;
    let listener = Listener::start().await;
    assert_eq!(ports(&listener.ask(&registry, "").await), [] as [u64; 0]);
    ok(&registry, "POST", &register(80, "&metadata=zone=a")).await;
    let pushed = listener.hear_and_acknowledge().await;
    assert_eq!((&pushed["name"], &pushed["clusters"]), (&json!("shop@@orders"), &json!("")));
    assert_eq!(pushed, listener.ask(&registry, "").await, "what is pushed is what a poll gives");
    all_current(&registry).await;
    let many = (81..100).map(|port| register(port, "&metadata=note=a-long-one-so-that-gzip-is-needed"));
    for path in many {
        ok(&registry, "POST", &path).await;
    }
    listener.hear_until(&(80..100).collect::<Vec<_>>()).await;
    ok(&registry, "DELETE", &register(80, "")).await;
    listener.hear_until(&(81..100).collect::<Vec<_>>()).await;
    let lines = listeners(&registry).await;
    let address = listener.0.local_addr().unwrap().to_string();
    assert_eq!((lines.len(), &lines[0]["address"], &lines[0]["agent"]), (1, &json!(address), &json!(AGENT)));
}

#[tokio::test]
async fn clusters_and_health_are_those_of_the_question_and_one_port_may_ask_several() {
    let registry = Running::start().await;
    let listener = Listener::start().await;
    listener.ask(&registry, "&clusters=").await;
    listener.ask(&registry, "&clusters=DEFAULT&healthyOnly=true").await;
    ok(&registry, "POST", &register(80, "")).await;
    ok(&registry, "POST", &register(81, "&clusterName=b")).await;
    ok(&registry, "POST", &register(82, "&healthy=false")).await;
    ok(&registry, "POST", &register(83, "&enabled=false")).await;
    let (mut of_all, mut of_one) = (Vec::new(), Vec::new());
    while of_all != [80, 81, 82] || of_one != [80] {
        let list = listener.hear_and_acknowledge().await;
        match list["clusters"].as_str().unwrap() {
            "" => of_all = ports(&list),
            "DEFAULT" => of_one = ports(&list),
            other => panic!("nobody asked for {other}"),
        }
    }
}

#[tokio::test]
async fn a_lost_datagram_is_sent_again_once_and_who_asks_no_more_is_told_no_more() {
    let registry = Running::start().await;
    let listener = Listener::start().await;
    listener.ask(&registry, "").await;
    ok(&registry, "POST", &register(80, "&ephemeral=false")).await;
    let (first, number, _) = listener.hear().await;
    pass(Duration::from_secs(10)).await;
    let (second, again, from) = listener.hear().await;
    assert_eq!((first["hosts"] == second["hosts"], again > number), (true, true));
    listener.acknowledge(number, from).await; // Late, and so for nothing.
    pass(Duration::from_secs(15)).await;
    assert!(listener.hears_nothing(), "twice is enough");
    listener.ask(&registry, "").await;
    pass(Duration::from_secs(29)).await;
    assert_eq!(listeners(&registry).await.len(), 1);
    ok(&registry, "POST", &register(81, "&ephemeral=false")).await;
    listener.hear_until(&[80, 81]).await;
    all_current(&registry).await;
    pass(Duration::from_secs(10)).await;
    assert_eq!(listeners(&registry).await.len(), 0);
    ok(&registry, "POST", &register(82, "&ephemeral=false")).await;
    pass(Duration::from_secs(20)).await;
    assert!(listener.hears_nothing());
}

/// Lets time pass, without anybody waiting for it.
async fn pass(time: Duration) {
    pause();
    for _ in 0..time.as_millis() / 250 {
        advance(Duration::from_millis(250)).await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
    resume();
}

#[tokio::test]
async fn nobody_is_sent_datagrams_who_has_not_asked_for_them_in_the_words_of_a_client_that_takes_them() {
    let registry = Running::start().await;
    let ask = async |agent: &str, port: &str| {
        let path = format!("/instance/list?serviceName=shop@@orders&udpPort={port}");
        assert_eq!(registry.send_as(agent, "GET", &path).await.0, 200);
    };
    for (agent, port) in [
        ("curl/8", "50000"),
        ("Nacos-Python-Client", "50000"),
        ("Nacos-Java-Client:v0.0.1", "50000"),
        (AGENT, "0"),
        (AGENT, ""),
        (AGENT, "53"),
        (AGENT, "70000"),
        (AGENT, "soon"),
    ] {
        ask(agent, port).await;
        assert_eq!(listeners(&registry).await.len(), 0, "{agent} {port}");
    }
    let path = "/nacos/v2/ns/instance/list?serviceName=orders&groupName=shop&port=50000";
    assert_eq!(registry.send_as(AGENT, "GET", path).await.0, 200);
    assert_eq!(listeners(&registry).await[0]["address"], json!("127.0.0.1:50000"));
}

#[tokio::test]
async fn a_storm_comes_to_a_listener_in_a_few_datagrams_the_last_of_which_is_the_latest() {
    let registry = Running::start().await;
    let listener = Listener::start().await;
    listener.ask(&registry, "").await;
    for weight in 1..=300 {
        ok(&registry, "POST", &register(80, &format!("&weight={weight}"))).await;
    }
    let mut datagrams = 0;
    loop {
        datagrams += 1;
        if listener.hear_and_acknowledge().await["hosts"][0]["weight"] == 300.0 {
            break;
        }
    }
    assert!(datagrams <= 100, "{datagrams} datagrams for 300 changes");
    all_current(&registry).await;
    assert!(listener.hears_nothing());
}

fn subscription(clusters: &str) -> Value {
    json!({"namespace": "public", "serviceName": "orders", "groupName": "shop", "subscribe": true,
        "clusters": clusters})
}

#[tokio::test]
async fn a_subscriber_over_grpc_is_pushed_its_clusters_under_the_bare_name_with_its_own_words_repeated() {
    let registry = Running::start().await;
    let (mut of_b, mut of_all) = (Peer::set_up(registry.grpc).await, Peer::set_up(registry.grpc).await);
    for (peer, clusters) in [(&mut of_b, "b,c"), (&mut of_all, "")] {
        peer.succeed("SubscribeServiceRequest", subscription(clusters)).await;
    }
    ok(&registry, "POST", &register(80, "")).await;
    ok(&registry, "POST", &register(81, "&clusterName=b")).await;
    ok(&registry, "POST", &register(82, "&clusterName=c&healthy=false")).await;
    ok(&registry, "POST", &register(83, "&clusterName=c&enabled=false")).await;
    let push = of_b.pushed_until(&[81, 82]).await;
    let info = &push["serviceInfo"];
    assert_eq!(
        [&push["serviceName"], &push["groupName"], &info["name"], &info["groupName"], &info["clusters"]],
        ["orders", "shop", "orders", "shop", "b,c"]
    );
    assert!(info["hosts"].as_array().unwrap().iter().all(|host| host["serviceName"] == "shop@@orders"));
    assert_eq!(of_all.pushed_until(&[80, 81, 82]).await["serviceInfo"]["clusters"], "");
    let query = |healthy_only: bool| json!({"namespace": "public", "serviceName": "shop@@orders", "cluster": "c,b", "healthyOnly": healthy_only});
    for (healthy_only, expected) in [(true, vec![81]), (false, vec![81, 82])] {
        let answer = of_b.succeed("ServiceQueryRequest", query(healthy_only)).await;
        assert_eq!(
            (ports(&answer["serviceInfo"]), &answer["serviceInfo"]["clusters"]),
            (expected, &json!("c,b"))
        );
    }
}

#[tokio::test]
async fn a_storm_comes_to_a_subscriber_one_list_at_a_time_and_the_last_is_the_latest() {
    let registry = Running::start().await;
    let (mut fast, mut slow) = (Peer::set_up(registry.grpc).await, Peer::set_up(registry.grpc).await);
    for peer in [&mut fast, &mut slow] {
        peer.succeed("SubscribeServiceRequest", subscription("")).await;
    }
    for weight in 1..=300 {
        ok(&registry, "POST", &register(80, &format!("&weight={weight}"))).await;
    }
    let weight = |push: &Value| push["serviceInfo"]["hosts"][0]["weight"].as_f64().unwrap();
    let (mut pushes, mut last_time) = (0, 0);
    loop {
        let push = fast.pushed().await;
        let time = push["serviceInfo"]["lastRefTime"].as_u64().unwrap();
        assert!(time > last_time, "what is pushed is newer than what was");
        (pushes, last_time) = (pushes + 1, time);
        if weight(&push) == 300.0 {
            break;
        }
    }
    assert!(pushes <= 100, "{pushes} pushes for 300 changes");
    // Who has not acknowledged has been sent one list in five seconds, however much has changed; then comes the
    // latest.
    let mut pushes = 1;
    while weight(&slow.pushed().await) < 300.0 {
        pushes += 1;
    }
    assert!(pushes <= 4, "{pushes} pushes to who does not answer");
}
