//! What the registry lets anybody take: beyond each bound there is a clear answer, and it is counted.

use super::registry::{Running, SOON};
use super::registry_kept::Directory;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tower_graceful::registry::Settings;

async fn start(settings: Settings) -> Running {
    Running::start_with(Settings { http_port: 0, ..settings }).await
}

/// How often a bound was reached.
async fn refused(registry: &Running, bound: &str) -> u64 {
    let (status, text) = registry.send("GET", "/metrics", "").await;
    assert_eq!(status, 200);
    let line = format!(r#"registry_refused_total{{bound="{bound}"}} "#);
    let count =
        text.lines().find_map(|found| found.strip_prefix(&line)).unwrap_or_else(|| panic!("{bound}: {text}"));
    count.parse().unwrap()
}

fn one(service: &str, port: u16) -> String {
    format!("/instance?serviceName={service}&ip=10.0.0.7&port={port}")
}

#[tokio::test]
async fn a_request_has_a_bounded_head_body_and_metadata() {
    let bounds =
        Settings { head_bytes_max: 8192, body_bytes_max: 1024, metadata_chars_max: 8, ..Settings::default() };
    let registry = start(bounds).await;
    assert_eq!(registry.send("POST", &one("orders", 80), &"x".repeat(1025)).await.0, 413);
    assert_eq!(
        registry.send("POST", &format!("{}&x={}", one("orders", 80), "x".repeat(9000)), "").await.0,
        431
    );
    let long = format!("{}&metadata=k=123456789", one("orders", 80));
    let (status, said) = registry.send("POST", &long, "").await;
    assert_eq!(
        (status, said.as_str()),
        (400, "metadata of 10 characters are too long: accepted are up to 8")
    );
    let (status, said) = registry.send("POST", &format!("/nacos/v2/ns{long}"), "").await;
    assert!(status == 400 && said.contains("are too long"), "{said}");
    for (bound, count) in [("body", 1), ("head", 1), ("metadata", 2), ("requests", 0)] {
        assert_eq!(refused(&registry, bound).await, count, "{bound}");
    }
    assert_eq!(registry.send("POST", &one("orders", 80), "metadata=k=1234567").await.0, 200);
}

#[tokio::test]
async fn a_name_has_a_bounded_length_wherever_it_would_stay() {
    let registry = start(Settings { name_bytes_max: 36, ..Settings::default() }).await;
    let (fits, long) = ("x".repeat(36), "x".repeat(37));
    let [v1, v2, v3] = ["/nacos/v1/ns", "/nacos/v2/ns", "/nacos/v3/admin/ns"];
    let brought = |name: &str| {
        [
            format!("{v1}/instance?serviceName={name}&ip=10.0.0.7&port=80"),
            format!("{v1}/instance?serviceName=a&ip=10.0.0.7&port=80&clusterName={name}"),
            format!("{v2}/instance?serviceName=b&ip=10.0.0.7&port=80&groupName={name}"),
            format!("{v3}/instance?serviceName=c&ip=10.0.0.7&port=80&namespaceId={name}"),
            format!("{v2}/instance?serviceName=d&ip=10.0.0.7&port=80&ephemeral=false&clusterName={name}"),
            format!("{v1}/service?serviceName=e{}", &name[1..]),
            format!("/nacos/v1/console/namespaces?customNamespaceId=n{}&namespaceName=N", &name[1..]),
        ]
    };
    let of_kind = ["service", "cluster", "group", "namespace", "cluster", "service", "namespace"];
    for (path, kind) in brought(&long).iter().zip(of_kind) {
        let (status, said) = registry.send("POST", path, "").await;
        let words = format!("{kind} name of 37 bytes is too long: accepted are up to 36");
        assert!(status == 400 && said.contains(&words), "{path}: {status} {said}");
    }
    assert_eq!(refused(&registry, "name").await, 7);
    for path in brought(&fits) {
        let (status, said) = registry.send("POST", &path, "").await;
        assert_eq!(status, 200, "{path}: {said}");
    }
    let (status, _) = registry.send("GET", &format!("/instance/list?serviceName={long}"), "").await;
    assert_eq!(status, 200, "there is none, which may be asked");
    registry.stop().await;
}

#[tokio::test]
async fn instances_are_bounded_in_a_service_and_in_all() {
    let bounds = Settings { instances_per_service_max: 2, instances_max: 5, ..Settings::default() };
    let registry = start(bounds).await;
    let kept = |port| format!("{}&ephemeral=false", one("kept", port));
    for port in [80, 81] {
        assert_eq!(registry.send("POST", &one("orders", port), "").await.0, 200);
        assert_eq!(registry.send("POST", &kept(port), "").await.0, 200);
    }
    for more in [one("orders", 82), kept(82)] {
        let (status, said) = registry.send("POST", &more, "").await;
        assert_eq!((status, said.as_str()), (400, "too many instances of one service: accepted are up to 2"));
    }
    for again in [one("orders", 81), kept(81)] {
        assert_eq!(registry.send("POST", &again, "").await.0, 200, "it is there already");
    }
    assert_eq!(registry.send("POST", &one("mail", 80), "").await.0, 200);
    let (status, said) = registry.send("POST", &one("mail", 81), "").await;
    assert_eq!((status, said.as_str()), (507, "the registry holds 5 instances and takes no more"));
    for (bound, count) in [("instances-per-service", 2), ("instances", 1)] {
        assert_eq!(refused(&registry, bound).await, count, "{bound}");
    }
}

#[tokio::test]
async fn instances_that_come_at_the_same_moment_are_bounded_too() {
    let directory = Directory::new("bounds");
    let bounds = Settings { instances_per_service_max: 20, instances_max: 30, ..directory.settings() };
    let registry = start(bounds).await;
    for port in 0..5 {
        assert_eq!(registry.send("POST", &one("beaten", port), "").await.0, 200);
    }
    // Those of one group are stored together, and seen when it is.
    let register = async |port: u16| {
        let service = if port < 40 { "kept" } else { "more" };
        registry.send("POST", &format!("{}&ephemeral=false", one(service, port)), "").await.0
    };
    let answers = futures_util::future::join_all((0..80).map(register)).await;
    let count = |status| answers.iter().filter(|answer| **answer == status).count();
    assert_eq!((count(200), count(400) + count(507)), (25, 55), "{answers:?}");
    for (service, most) in [("kept", 20), ("more", 20)] {
        let (_, list) = registry.send("GET", &format!("/instance/list?serviceName={service}"), "").await;
        assert!(list.matches("instanceId").count() <= most, "{service}: {list}");
    }
    registry.stop().await;
}

#[tokio::test]
async fn a_page_has_a_bounded_size_and_tells_how_many_there_are() {
    let registry = start(Settings { page_size_max: 2, ..Settings::default() }).await;
    for name in ["a", "b", "c", "d", "e"] {
        assert_eq!(registry.send("POST", &one(name, 80), "").await.0, 200);
    }
    let whole = "namespaceId=public&pageNo=1&pageSize=2147483647";
    let (_, said) = registry.send("GET", &format!("/nacos/v3/admin/ns/service/list?{whole}"), "").await;
    assert!(said.contains(r#""totalCount":5,"pageNumber":1,"pagesAvailable":3"#), "{said}");
    for path in ["/nacos/v1/ns/service/list", "/nacos/v2/ns/service/list"] {
        let (status, said) = registry.send("GET", &format!("{path}?{whole}"), "").await;
        assert!(status == 200 && said.contains(r#"["a","b"]"#), "{path}: {said}");
    }
    let (_, said) = registry.send("GET", &format!("/graceful/v1/services?{whole}"), "").await;
    assert_eq!((said.matches("\"name\"").count(), said.contains("\"count\":5")), (2, true), "{said}");
}

/// A connection that the registry serves: it has asked something and got the answer.
async fn connected(http: SocketAddr) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(http).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: registry\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    match timeout(SOON, stream.read_exact(&mut answer)).await.unwrap() {
        Ok(_) if answer.ends_with(b"200") => Some(stream),
        Ok(_) | Err(_) => None, // It was told so, or in a flood only closed.
    }
}

#[tokio::test]
async fn connections_are_bounded_in_all_and_from_one_address() {
    for (bounds, bound) in [
        (Settings { connections_max: 2, ..Settings::default() }, "connections"),
        (Settings { connections_per_address_max: 2, ..Settings::default() }, "connections-per-address"),
    ] {
        let registry = start(bounds).await;
        let [first, second] =
            [connected(registry.http).await, connected(registry.http).await].map(Option::unwrap);
        for _ in 0..2 {
            assert!(connected(registry.http).await.is_none(), "{bound}");
        }
        let (status, said) = registry.send("GET", "/livez", "").await;
        assert!(status == 503 && said.starts_with("too many connections"), "{bound}: {status} {said}");
        drop(first);
        let freed = async {
            let mut tried = 3;
            while connected(registry.http).await.is_none() {
                tried += 1;
                sleep(Duration::from_millis(10)).await;
            }
            tried
        };
        let tried = timeout(SOON, freed).await.expect("a place becomes free");
        drop(second);
        // Asking needs a place as well, and those above may yet hold theirs.
        let ask = async {
            while connected(registry.http).await.is_none() {
                sleep(Duration::from_millis(10)).await;
            }
            refused(&registry, bound).await
        };
        assert!(timeout(SOON, ask).await.unwrap() >= tried, "{bound}");
    }
}

#[tokio::test]
async fn requests_under_way_are_bounded_and_probes_are_answered_all_the_same() {
    let registry = start(Settings { requests_max: 1, ..Settings::default() }).await;
    let mut slow = TcpStream::connect(registry.http).await.unwrap();
    let head = "PUT /nacos/v1/ns/instance/beat HTTP/1.1\r\nhost: registry\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n";
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut asked_for = [0; 25];
    timeout(SOON, slow.read_exact(&mut asked_for)).await.unwrap().unwrap();
    let list = "/instance/list?serviceName=orders";
    let (status, said) = registry.send("GET", list, "").await;
    assert_eq!((status, said.as_str()), (503, "1 requests are under way, and no more can be: try again"));
    for probe in ["/nacos/v1/console/health/liveness", "/nacos/v3/admin/core/state/readiness"] {
        assert_eq!(registry.send("GET", probe, "").await.0, 200, "{probe}");
    }
    assert_eq!(refused(&registry, "requests").await, 1);
    slow.write_all(b"a=").await.unwrap();
    let mut answer = [0; 12];
    timeout(SOON, slow.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 400");
    assert_eq!(registry.send("GET", list, "").await.0, 200);
}
