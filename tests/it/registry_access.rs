//! Who may do what, over real sockets: logins, the ways to carry a token, users, restarts, and the program.

use super::registry::{Running, SOON};
use super::registry_kept::Directory;
use nacos_sdk::api::naming::{NamingService, NamingServiceBuilder, ServiceInstance};
use nacos_sdk::api::props::ClientProps;
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use tower_graceful::Clock;
use tower_graceful::model::UnixMillis;
use tower_graceful::registry::{Admin, Password, Settings, Users};

pub(crate) const PASSWORD: &str = "correct horse";
const LIST: &str = "/nacos/v1/ns/instance/list?serviceName=orders";

fn password() -> Password {
    Password::new(PASSWORD).unwrap()
}

/// Settings with an administrator of the name `ops`.
pub(crate) fn asking() -> Settings {
    let admin = Some(Admin { name: "ops".parse().unwrap(), password: password() });
    Settings { http_port: 0, admin, ..Settings::default() }
}

/// An answer as it stands on the wire.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{} {}", self.status, self.body))
    }
}

async fn send(registry: &Running, method: &str, path: &str, headers: &str, form: &str) -> Answer {
    let mut stream = TcpStream::connect(registry.http).await.unwrap();
    let length = form.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: registry\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{form}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(SOON, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// The token of a login.
async fn log_in(registry: &Running, name: &str, password: &str) -> String {
    let form = format!("username={name}&password={password}");
    let answer = send(registry, "POST", "/nacos/v1/auth/login", "", &form).await;
    answer.json()["accessToken"].as_str().unwrap_or_else(|| panic!("{}", answer.body)).to_owned()
}

/// Sends with a token.
async fn with(registry: &Running, token: &str, method: &str, path: &str) -> Answer {
    send(registry, method, path, &format!("accessToken: {token}\r\n"), "").await
}

#[tokio::test]
async fn every_login_that_some_client_knows_gives_a_token_and_tells_its_true_lifetime() {
    let settings = Settings { token_ttl: Duration::from_secs(90), ..asking() };
    let registry = Running::start_with(settings).await;
    let both = "username=ops&password=correct%20horse";
    for (method, path) in [
        ("POST", "/nacos/v1/auth/login"),
        ("POST", "/nacos/v1/auth/users/login"),
        ("POST", "/nacos/v3/auth/user/login"),
        ("GET", "/nacos/v1/auth/login"),
    ] {
        for (query, form) in [("", both), (both, ""), ("username=ops", "password=correct+horse")] {
            let answer = send(&registry, method, &format!("{path}?{query}"), "", form).await;
            let said = answer.json();
            let token = said["accessToken"].as_str().unwrap();
            let rest = json!({"tokenTtl": 90, "globalAdmin": true, "username": "ops"});
            assert_eq!(
                (&said["tokenTtl"], &said["globalAdmin"], &said["username"]),
                (&rest["tokenTtl"], &rest["globalAdmin"], &rest["username"])
            );
            assert!(answer.head.contains(&format!("authorization: Bearer {token}")), "{}", answer.head);
            assert_eq!(with(&registry, token, "GET", LIST).await.status, 200);
        }
    }
    registry.stop().await;
}

#[tokio::test]
async fn a_token_may_be_carried_in_every_way_and_nothing_else_opens_anything() {
    let registry = Running::start_with(asking()).await;
    let token = log_in(&registry, "ops", PASSWORD).await;
    for (headers, form) in [
        (format!("Authorization: Bearer {token}\r\n"), String::new()),
        (format!("authorization: bearer {token}\r\n"), String::new()),
        (format!("accessToken: {token}\r\n"), String::new()),
        (String::new(), format!("accessToken={token}")),
        (String::new(), "username=ops&password=correct+horse".to_owned()),
    ] {
        let answer = send(
            &registry,
            "POST",
            "/nacos/v1/ns/instance?serviceName=orders&ip=10.0.0.7",
            &headers,
            &format!("port=80&{form}"),
        )
        .await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok"), "{headers}{form}");
    }
    let query = format!("{LIST}&accessToken={token}");
    assert_eq!(send(&registry, "GET", &query, "", "").await.status, 200);
    for headers in [
        "",
        "User-Agent: Nacos-Server\r\n",
        "serverIdentity: security\r\n",
        "nacos: nacos\r\nserver-identity: nacos\r\n",
        "X-Forwarded-For: 127.0.0.1\r\nX-Real-IP: 127.0.0.1\r\n",
        "Authorization: Bearer everyone\r\n",
        "Authorization: Basic b3BzOmNvcnJlY3QgaG9yc2U=\r\n",
        // Signed with the key that Nacos shipped with.
        "accessToken: eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJuYWNvcyIsImV4cCI6OTk5OTk5OTk5OTl9.-isk56R8NfioHVYmpj4oz92nUteNBCN3HRd0-Hfk76g\r\n",
    ] {
        let answer = send(&registry, "GET", LIST, headers, "").await;
        assert_eq!((answer.status, &answer.json()["error"]), (403, &json!("Forbidden")), "{headers}");
        let made =
            send(&registry, "POST", "/nacos/v1/auth/users?username=eve&password=12345678", headers, "").await;
        assert_eq!(made.status, 403, "{headers}");
    }
    // Names of paths that a router and a guard might read in two ways.
    for path in [
        "/nacos/v1/auth/users/",
        "/nacos/v1//auth/users",
        "/nacos/v1/auth/users;x",
        "/nacos/v1/auth/login/../users",
        "/nacos/v1/auth/%75sers",
    ] {
        let answer = send(&registry, "GET", path, "User-Agent: Nacos-Server\r\n", "").await;
        assert!(
            [403, 404].contains(&answer.status) && !answer.body.contains("ops"),
            "{path}: {} {}",
            answer.status,
            answer.body
        );
    }
    registry.stop().await;
}

#[tokio::test]
async fn who_is_unknown_and_who_is_wrong_hear_the_same_and_have_to_wait() {
    let registry = Running::start_with(asking()).await;
    let fail = async |path: &str, name: &str, word: &str, headers: &str| {
        send(&registry, "POST", path, headers, &format!("username={name}&password={word}")).await
    };
    for name in ["ops", "ghost", "no%20name"] {
        let answer = fail("/nacos/v1/auth/users/login", name, "wrong", "").await;
        assert_eq!((answer.status, answer.body.as_str()), (403, "unknown user!"), "{name}");
        let answer = fail("/nacos/v3/auth/user/login", name, "wrong", "").await;
        let expected = json!({"code": 10001, "message": "access denied", "data": "unknown user!"});
        assert_eq!((answer.status, answer.json()), (403, expected), "{name}");
    }
    for n in 0..3 {
        assert_eq!(fail("/nacos/v1/auth/login", "ops", "wrong", "").await.status, 403, "{n}");
    }
    for headers in ["", "X-Forwarded-For: 10.0.0.1\r\n", "Forwarded: for=10.0.0.1\r\n"] {
        let answer = fail("/nacos/v1/auth/login", "ops", "correct+horse", headers).await;
        assert_eq!(answer.status, 429, "not even with the right one: {}", answer.body);
        assert!(answer.head.contains("retry-after: 1"), "{}", answer.head);
    }
    // Nor does it come in by the parameters of another request.
    let tried = send(&registry, "GET", &format!("{LIST}&username=ops&password=correct+horse"), "", "").await;
    assert_eq!(tried.status, 429);
    registry.stop().await;
}

#[tokio::test]
async fn a_token_lasts_as_long_as_it_says_and_dies_with_its_user() {
    let (clock, hand) = Clock::manual(UnixMillis::new(1_700_000_000_000));
    let settings = Settings { token_ttl: Duration::from_secs(2), clock, ..asking() };
    let registry = Running::start_with(settings).await;
    let token = log_in(&registry, "ops", PASSWORD).await;
    hand.advance(Duration::from_millis(1_999));
    assert_eq!(with(&registry, &token, "GET", LIST).await.status, 200);
    hand.advance(Duration::from_millis(1));
    let late = with(&registry, &token, "GET", LIST).await;
    assert!(late.status == 403 && late.body.contains("expired"), "{}", late.body);

    let ops = log_in(&registry, "ops", PASSWORD).await;
    let ann = "/nacos/v1/auth/users?username=ann";
    assert_eq!(with(&registry, &ops, "POST", &format!("{ann}&password=12345678")).await.status, 200);
    let first = log_in(&registry, "ann", "12345678").await;
    assert_eq!(
        with(&registry, &first, "PUT", &format!("{ann}&newPassword=87654321")).await.status,
        200,
        "one's own"
    );
    assert_eq!(with(&registry, &first, "GET", "/nacos/v1/ns/operator/metrics").await.status, 403);
    let second = log_in(&registry, "ann", "87654321").await;
    assert_eq!(with(&registry, &second, "GET", "/nacos/v1/ns/operator/metrics").await.status, 200);
    assert_eq!(with(&registry, &second, "GET", LIST).await.status, 403, "without a role");
    let role = "/nacos/v1/auth/roles?username=ann&role=read";
    assert_eq!(with(&registry, &ops, "POST", role).await.status, 200);
    assert_eq!(with(&registry, &second, "GET", LIST).await.status, 200, "roles count as they are");
    assert_eq!(with(&registry, &ops, "DELETE", role).await.status, 200);
    assert_eq!(with(&registry, &second, "GET", LIST).await.status, 403);
    assert_eq!(with(&registry, &ops, "POST", role).await.status, 200);
    let third = second;
    assert_eq!(with(&registry, &ops, "DELETE", ann).await.status, 200);
    assert_eq!(with(&registry, &third, "GET", LIST).await.status, 403);
    assert_eq!(with(&registry, &ops, "POST", &format!("{ann}&password=87654321")).await.status, 200);
    assert_eq!(with(&registry, &third, "GET", LIST).await.status, 403, "another user of the name");
    registry.stop().await;
}

#[tokio::test]
async fn users_and_tokens_outlive_a_restart_with_a_data_directory_and_not_without() {
    let directory = Directory::new("access");
    let mut users = Users::open(&directory.0).unwrap();
    users.add(&"ops".parse().unwrap(), password(), ["admin".parse().unwrap()]).await.unwrap();
    drop(users);
    let registry = Running::start_with(directory.settings()).await;
    let token = log_in(&registry, "ops", PASSWORD).await;
    assert_eq!(
        with(&registry, &token, "PUT", "/nacos/v1/auth/users?username=ops&newPassword=another+one")
            .await
            .status,
        200
    );
    let token = log_in(&registry, "ops", "another+one").await;
    registry.kill().await;
    // The password that was set last counts, whatever the start says.
    let registry = Running::start_with(Settings { admin: asking().admin, ..directory.settings() }).await;
    assert_eq!(with(&registry, &token, "GET", LIST).await.status, 200);
    let wrong =
        send(&registry, "POST", "/nacos/v1/auth/login", "", "username=ops&password=correct+horse").await;
    assert_eq!(wrong.status, 403);
    registry.stop().await;

    let registry = Running::start_with(asking()).await;
    assert_eq!(with(&registry, &token, "GET", LIST).await.status, 403, "the key of another registry");
    let token = log_in(&registry, "ops", PASSWORD).await;
    registry.stop().await;
    let registry = Running::start_with(asking()).await;
    assert_eq!(with(&registry, &token, "GET", LIST).await.status, 403);
    registry.stop().await;
}

#[tokio::test]
async fn the_first_administrator_does_not_come_back_after_a_removal() {
    let directory = Directory::new("removed");
    let settings = || Settings { admin: asking().admin, ..directory.settings() };
    let registry = Running::start_with(settings()).await;
    let ops = log_in(&registry, "ops", PASSWORD).await;
    for path in ["users?username=ann&password=12345678", "roles?username=ann&role=admin"] {
        assert_eq!(with(&registry, &ops, "POST", &format!("/nacos/v1/auth/{path}")).await.status, 200);
    }
    let ann = log_in(&registry, "ann", "12345678").await;
    assert_eq!(with(&registry, &ann, "DELETE", "/nacos/v1/auth/users?username=ops").await.status, 200);
    registry.stop().await;
    let registry = Running::start_with(settings()).await;
    let form = "username=ops&password=correct+horse";
    assert_eq!(send(&registry, "POST", "/nacos/v1/auth/login", "", form).await.status, 403);
    assert_eq!(with(&registry, &ann, "GET", LIST).await.status, 200);
    registry.stop().await;
}

#[tokio::test]
async fn administrators_change_users_by_the_routes_of_both_versions() {
    let registry = Running::start_with(asking()).await;
    let ops = log_in(&registry, "ops", PASSWORD).await;
    let ask = async |method: &str, path: &str| {
        let answer = with(&registry, &ops, method, &format!("/nacos{path}")).await;
        (answer.status, serde_json::from_str::<Value>(&answer.body).unwrap_or(Value::String(answer.body)))
    };
    let ok_v1 = |words: &str| (200, json!({"code": 200, "message": words, "data": null}));
    let ok_v3 = |words: &str| (200, json!({"code": 0, "message": "success", "data": words}));
    assert_eq!(ask("POST", "/v1/auth/users?username=ann&password=12345678").await, ok_v1("create user ok!"));
    assert_eq!(ask("POST", "/v3/auth/user?username=bob&password=12345678").await, ok_v3("create user ok!"));
    let exists = ask("POST", "/v1/auth/users?username=ann&password=12345678").await;
    assert_eq!(exists, (400, json!("user 'ann' already exist!")));
    assert_eq!(ask("POST", "/v1/auth/users?username=eve&password=short").await.0, 400);
    assert_eq!(ask("POST", "/v1/auth/roles?username=ann&role=write@dev").await, ok_v1("add role ok!"));
    assert_eq!(ask("POST", "/v3/auth/role?username=bob&role=ROLE_ADMIN").await, ok_v3("add role ok!"));
    assert_eq!(ask("POST", "/v1/auth/roles?username=ann&role=queen").await.0, 400);
    let page = |items: Value| json!({"totalCount": items.as_array().unwrap().len(), "pageNumber": 1, "pagesAvailable": 1, "pageItems": items});
    let all = json!([{"username": "ann"}, {"username": "bob"}, {"username": "ops"}]);
    assert_eq!(ask("GET", "/v1/auth/users?pageNo=1&pageSize=9").await, (200, page(all.clone())));
    assert_eq!(ask("GET", "/v3/auth/user/list?pageNo=1&pageSize=9").await.1["data"], page(all));
    let some = "/v1/auth/users?pageNo=1&pageSize=9&search=blur&username=*o*";
    assert_eq!(ask("GET", some).await.1["pageItems"], json!([{"username": "bob"}, {"username": "ops"}]));
    assert_eq!(ask("GET", "/v1/auth/users/search?username=n").await, (200, json!(["ann"])));
    let roles = ask("GET", "/v1/auth/roles?pageNo=1&pageSize=9&username=ann").await;
    assert_eq!(roles, (200, page(json!([{"role": "write@dev", "username": "ann"}]))));
    assert_eq!(ask("GET", "/v3/auth/role/search?role=write").await.1["data"], json!(["write@dev"]));
    let permissions = ask("GET", "/v1/auth/permissions?pageNo=1&pageSize=9&role=write@dev").await.1;
    assert_eq!(
        permissions["pageItems"],
        json!([{"role": "write@dev", "resource": "dev:*:*", "action": "rw"}])
    );
    assert_eq!(ask("POST", "/v1/auth/permissions?role=x&resource=y&action=r").await.0, 501);
    assert_eq!(ask("DELETE", "/v1/auth/roles?username=ann&role=write@dev").await, ok_v1("delete role ok!"));
    assert_eq!(ask("PUT", "/v3/auth/user?username=ann&newPassword=87654321").await, ok_v3("update user ok!"));
    assert_eq!(ask("DELETE", "/v3/auth/user?username=bob").await, ok_v3("delete user ok!"));
    let (status, said) = ask("DELETE", "/v3/auth/user?username=ops").await;
    assert!(
        status == 400 && said["data"].as_str().unwrap().contains("the last one with the role admin"),
        "{said}"
    );
    registry.stop().await;
}

#[tokio::test]
async fn where_nobody_is_asked_users_are_not_made_over_http_and_logins_succeed() {
    for no_auth in [false, true] {
        let registry = Running::start_with(Settings { http_port: 0, no_auth, ..Settings::default() }).await;
        let made =
            send(&registry, "POST", "/nacos/v1/auth/users?username=eve&password=12345678", "", "").await;
        assert!(made.status == 403 && made.body.contains("graceful registry user add"), "{}", made.body);
        assert_eq!(log_in(&registry, "anyone", "anything").await, "everyone");
        assert_eq!(send(&registry, "GET", LIST, "", "").await.status, 200);
        registry.stop().await;
    }
}

#[tokio::test]
async fn who_may_not_read_any_more_hears_no_more_datagrams() {
    let registry = Running::start_with(asking()).await;
    let ops = log_in(&registry, "ops", PASSWORD).await;
    let change = async |method: &str, path: &str| {
        assert_eq!(with(&registry, &ops, method, &format!("/nacos/v1{path}")).await.status, 200, "{path}");
    };
    change("POST", "/auth/users?username=ann&password=12345678").await;
    change("POST", "/auth/roles?username=ann&role=read").await;
    let ann = log_in(&registry, "ann", "12345678").await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let path = format!("{LIST}&udpPort={}", socket.local_addr().unwrap().port());
    let headers = format!("User-Agent: Nacos-Java-Client:v1.4.8\r\naccessToken: {ann}\r\n");
    assert_eq!(send(&registry, "GET", &path, &headers, "").await.status, 200);
    let register = "/ns/instance?serviceName=orders&ip=10.0.0.7&port=";
    change("POST", &format!("{register}80")).await;
    timeout(SOON, socket.recv(&mut [0; 4096])).await.expect("no datagram").unwrap();
    change("DELETE", "/auth/users?username=ann").await;
    change("POST", &format!("{register}81")).await;
    // Past the acknowledgement that did not come, after which the list would be sent again.
    let heard = timeout(Duration::from_secs(12), socket.recv(&mut [0; 4096])).await;
    assert!(heard.is_err(), "a removed user is told");
    let listeners = with(&registry, &ops, "GET", "/graceful/v1/subscribers?serviceName=orders").await.json();
    assert_eq!(listeners["listeners"], json!([]));
    registry.stop().await;
}

#[tokio::test]
async fn an_event_names_the_operator() {
    let registry = Running::start_with(asking()).await;
    let token = log_in(&registry, "ops", PASSWORD).await;
    let one = "serviceName=orders&ip=10.0.0.7&port=80";
    assert_eq!(with(&registry, &token, "POST", &format!("/nacos/v1/ns/instance?{one}")).await.status, 200);
    let disable = format!("/nacos/v1/ns/instance?{one}&enabled=false");
    assert_eq!(with(&registry, &token, "PATCH", &disable).await.status, 200);
    let events = with(&registry, &token, "GET", "/graceful/v1/events?serviceName=orders").await.json();
    let newest = &events["events"][0];
    assert_eq!(
        (&newest["event"], &newest["by"]),
        (&json!("disabled"), &json!({"kind": "operator", "user": "ops"}))
    );
    registry.stop().await;
}

#[tokio::test]
async fn lists_that_span_namespaces_have_nothing_of_those_that_one_may_not_read() {
    let registry = Running::start_with(asking()).await;
    let ops = log_in(&registry, "ops", PASSWORD).await;
    let change = async |path: &str| {
        assert_eq!(with(&registry, &ops, "POST", &format!("/nacos/v1{path}")).await.status, 200, "{path}");
    };
    change("/auth/users?username=ann&password=12345678").await;
    for (namespace, port) in [("dev", 80), ("prod", 81)] {
        change(&format!("/console/namespaces?customNamespaceId={namespace}&namespaceName={namespace}")).await;
        let service = format!("serviceName={namespace}-orders&namespaceId={namespace}");
        change(&format!("/ns/instance?{service}&ip=10.0.0.7&port={port}")).await;
    }
    let ann = log_in(&registry, "ann", "12345678").await;
    let lists = [
        "/nacos/v1/console/namespaces",
        "/nacos/v2/console/namespace/list",
        "/nacos/v3/admin/core/namespace/list",
        "/nacos/v1/ns/service/names",
        "/nacos/v2/ns/client/list",
        "/nacos/v3/admin/ns/client/list",
        "/graceful/v1/clients",
    ];
    for path in lists {
        assert_eq!(with(&registry, &ann, "GET", path).await.status, 403, "{path} without any right");
    }
    change("/auth/roles?username=ann&role=read@dev").await;
    for path in lists {
        let (own, all) = (with(&registry, &ann, "GET", path).await, with(&registry, &ops, "GET", path).await);
        assert_eq!((own.status, all.status), (200, 200), "{path}");
        for foreign in ["prod", "public", ":81#"] {
            assert!(!own.body.contains(foreign), "{path}: {}", own.body);
        }
        let is_shown = |word: &str| own.body.contains(word) == all.body.contains(word);
        assert!(is_shown("dev") && is_shown(":80#"), "{path}: {} {}", own.body, all.body);
    }
    // Nor is there one to be asked for, under whichever name of the parameter.
    for (asked, status) in [
        ("/nacos/v3/admin/core/namespace?namespaceId=dev", 200),
        ("/nacos/v3/admin/core/namespace?namespaceId=prod", 404),
        ("/nacos/v3/admin/core/namespace?namespaceId=dev&customNamespaceId=prod", 404),
        ("/nacos/v2/ns/client?clientId=10.0.0.7:80%23true", 200),
        ("/nacos/v2/ns/client?clientId=10.0.0.7:81%23true", 404),
        ("/nacos/v3/admin/ns/client/publish/list?clientId=10.0.0.7:80%23true", 200),
        ("/nacos/v3/admin/ns/client/publish/list?clientId=10.0.0.7:81%23true", 404),
        ("/nacos/v3/admin/ns/client/subscribe/list?clientId=10.0.0.7:81%23true", 404),
    ] {
        let answer = with(&registry, &ann, "GET", asked).await;
        assert_eq!(answer.status, status, "{asked}: {}", answer.body);
        assert_ne!(with(&registry, &ops, "GET", asked).await.status, 404, "{asked}");
    }
    let check = "/nacos/v3/admin/core/namespace/check?namespaceId=prod";
    assert_eq!(with(&registry, &ann, "GET", check).await.json()["data"], json!(0));
    registry.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nacos_sdk_logs_in_and_does_what_it_may() {
    let registry = Running::start_with(asking()).await;
    let ops = log_in(&registry, "ops", PASSWORD).await;
    assert_eq!(
        with(&registry, &ops, "POST", "/nacos/v1/auth/users?username=app&password=12345678").await.status,
        200
    );
    assert_eq!(
        with(&registry, &ops, "POST", "/nacos/v1/auth/roles?username=app&role=write@public").await.status,
        200
    );
    let sdk = async |namespace: &str| -> NamingService {
        let props = ClientProps::new()
            .server_addr(registry.http.to_string())
            .remote_grpc_port(registry.grpc.port())
            .namespace(namespace)
            .naming_load_cache_at_start(false)
            .cache_dir(env!("CARGO_TARGET_TMPDIR"))
            .auth_username("app")
            .auth_password("12345678");
        NamingServiceBuilder::new(props).enable_auth_plugin_http().build().await.unwrap()
    };
    let instance = || ServiceInstance { ip: "10.0.0.7".to_owned(), port: 80, ..ServiceInstance::default() };
    let (own, foreign) = (sdk("public").await, sdk("prod").await);
    own.register_instance("orders".to_owned(), None, instance()).await.unwrap();
    let all = own.get_all_instances("orders".to_owned(), None, Vec::new(), false).await.unwrap();
    assert_eq!(all.len(), 1);
    let refused = foreign.register_instance("orders".to_owned(), None, instance()).await.unwrap_err();
    assert!(refused.to_string().contains("403"), "{refused}");
    registry.stop().await;
}

#[test]
fn the_program_makes_users_whose_passwords_come_in_by_a_pipe_or_a_file() {
    let directory = Directory::new("users");
    let run = |arguments: &[&str], stdin: &str| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_graceful"));
        program.args(["registry", "user"]).args(arguments).arg("--data-dir").arg(&directory.0);
        program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = program.spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes()); // Which not every command reads.
        let output = child.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        (output.status.code().unwrap(), said.concat())
    };
    let (code, said) = run(&["add", "ann", "--role", "read"], "correct horse\n");
    assert!(code == 2 && said.contains("the first user needs the role admin"), "{said}");
    assert_eq!(run(&["add", "ops", "--role", "admin"], "correct horse\n"), (0, String::new()));
    let file = directory.0.join("password");
    std::fs::write(&file, "another one\n").unwrap();
    let file = file.to_str().unwrap();
    let roles = ["--role", "read", "--role", "write@dev"];
    assert_eq!(
        run(&[&["add", "ann"], &roles[..], &["--password-file", file]].concat(), ""),
        (0, String::new())
    );
    assert_eq!(run(&["grant", "ann", "admin@dev"], ""), (0, String::new()));
    assert_eq!(run(&["revoke", "ann", "read"], ""), (0, String::new()));
    assert_eq!(run(&["list"], ""), (0, "ann\twrite@dev,admin@dev\nops\tadmin\n".to_owned()));
    for (arguments, said) in [
        (&["add", "ann", "--role", "read"][..], "already exist"),
        (&["add", "eve", "--role", "queen"], "read, write or admin"),
        (&["add", "eve"], "--role"),
        (&["remove", "eve"], "not exist"),
        (&["remove", "ops"], "the last one with the role admin"),
        (&["password", "ann", "--password", "hunter22"], "--password"),
    ] {
        let (code, told) = run(arguments, "correct horse\n");
        assert!(code == 2 && told.contains(said), "{arguments:?}: {code} {told}");
    }
    let (code, told) = run(&["password", "ann"], "short\n");
    assert!(code == 2 && told.contains("8 to 256"), "{told}");
}

#[test]
fn the_program_wants_a_password_for_its_first_administrator() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_graceful"));
    let output = program.args(["registry", "--http-port", "0", "--admin-user", "ops"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("admin-password-file"), "{said}");
}
