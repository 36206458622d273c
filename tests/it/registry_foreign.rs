//! What a browser sends to the API for pages of other sites, and for pages under names that were led here.

use super::registry::{Running, SOON};
use super::registry_access::asking;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_graceful::registry::Settings;

/// What changes something, in the words of a form that any page can send.
const CHANGES: [(&str, &str); 7] = [
    ("POST", "/nacos/v1/ns/instance?serviceName=orders&ip=10.0.0.9&port=9"),
    ("DELETE", "/nacos/v1/ns/instance?serviceName=orders&ip=10.0.0.7&port=1"),
    ("PUT", "/nacos/v2/ns/instance?serviceName=orders&ip=10.0.0.7&port=1&enabled=false"),
    ("POST", "/nacos/v3/admin/ns/service?serviceName=carts"),
    ("POST", "/graceful/v1/instances/set?serviceName=orders&ip=10.0.0.7&port=1&enabled=false"),
    ("POST", "/graceful/v1/services/rollout?serviceName=orders&warmup=7"),
    ("POST", "/nacos/v1/console/namespaces?customNamespaceId=evil&namespaceName=evil"),
];
const READS: [&str; 3] =
    ["/nacos/v1/ns/instance/list?serviceName=orders", "/graceful/v1/services", "/graceful/v1/clients"];

/// The status and the body of the answer to a request under the name `host`, with these headers.
async fn send(registry: &Running, request: (&str, &str), host: &str, says: &str) -> (u16, String) {
    let (method, path) = request;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{says}content-length: 0\r\n\r\n"
    );
    let mut stream = TcpStream::connect(registry.http).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(SOON, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn open() -> [Settings; 2] {
    let console_hosts = vec!["registry.example".to_owned()];
    let no_auth = Settings { http_port: 0, no_auth: true, console_hosts, ..Settings::default() };
    [no_auth, Settings { http_port: 0, ..Settings::default() }]
}

#[tokio::test]
async fn what_a_foreign_page_sends_changes_nothing() {
    for settings in open() {
        let registry = Running::start_with(settings).await;
        let own = registry.http.to_string();
        registry.send("POST", "/instance?serviceName=orders&ip=10.0.0.7&port=1", "").await;
        let state = async || registry.send("GET", "/graceful/v1/instances?serviceName=orders", "").await.1;
        let before = state().await;
        for says in [
            "sec-fetch-site: cross-site\r\norigin: https://evil.example\r\n",
            "sec-fetch-site: same-site\r\norigin: http://other.localhost\r\n",
            "sec-fetch-site: \r\n",
            "origin: https://evil.example\r\n",
            "origin: http://127.0.0.1\r\n",
            "origin: null\r\n",
            "origin: \r\n",
        ] {
            for request in CHANGES {
                let (status, body) = send(&registry, request, &own, says).await;
                assert_eq!(status, 403, "{request:?} {says}: {body}");
                assert!(body.contains("for a page of another site"), "{body}");
            }
        }
        assert_eq!(state().await, before);
        let events = registry.send("GET", "/graceful/v1/events?serviceName=orders", "").await.1;
        assert_eq!(events.matches("\"event\":").count(), 1, "{events}");
        registry.stop().await;
    }
}

#[tokio::test]
async fn browsers_come_under_our_names_and_programs_under_any() {
    for settings in open() {
        let configured = !settings.console_hosts.is_empty();
        let registry = Running::start_with(settings).await;
        let port = registry.http.port();
        for (host, is_ours) in [
            (format!("127.0.0.1:{port}"), true),
            (format!("localhost:{port}"), true),
            (format!("registry.example:{port}"), configured),
            (format!("evil.example:{port}"), false),
        ] {
            let expected = if is_ours { 200 } else { 421 };
            let origin = format!("origin: http://{host}\r\n");
            let site = format!("{origin}sec-fetch-site: same-origin\r\n");
            for says in [&origin, &site] {
                for request in [CHANGES[0], CHANGES[1], CHANGES[4]] {
                    registry.send("POST", "/instance?serviceName=orders&ip=10.0.0.7&port=1", "").await;
                    let (status, body) = send(&registry, request, &host, says).await;
                    assert_eq!(status, expected, "{request:?} {host}: {body}");
                    assert!(is_ours || body.contains("--console-hosts"), "{body}");
                }
            }
            for path in READS {
                let agent = "user-agent: Mozilla/5.0 (X11; Linux x86_64) Chrome/130.0\r\n";
                assert_eq!(send(&registry, ("GET", path), &host, agent).await.0, expected, "{path} {host}");
                for sdk in ["", "user-agent: Nacos-Java-Client:v3.0.2\r\n", "user-agent: curl/8.5.0\r\n"] {
                    assert_eq!(
                        send(&registry, ("GET", path), &host, sdk).await.0,
                        200,
                        "{path} {host} {sdk}"
                    );
                }
            }
            for request in CHANGES {
                let said =
                    send(&registry, request, &host, "user-agent: node\r\nsec-fetch-mode: cors\r\n").await;
                assert!(![403, 421].contains(&said.0), "{request:?} {host}: {said:?}");
            }
            for probe in ["/livez", "/readyz", "/nacos/v1/console/health/liveness"] {
                let uptime = "user-agent: Mozilla/5.0+(compatible; Uptime)\r\n";
                assert_eq!(send(&registry, ("GET", probe), &host, uptime).await.0, 200, "{probe} {host}");
            }
        }
        registry.stop().await;
    }
}

#[tokio::test]
async fn where_users_are_asked_a_token_says_enough() {
    let registry = Running::start_with(asking()).await;
    let says = "origin: https://evil.example\r\nsec-fetch-site: cross-site\r\n";
    for request in CHANGES {
        let (status, body) = send(&registry, request, "evil.example", says).await;
        assert!([401, 403].contains(&status) && !body.contains("another site"), "{request:?}: {body}");
    }
    registry.stop().await;
}
