//! Whatever is wrong with what a registry is asked gets an answer that says so, and others are served.
//!
//! The table is made of the description of the HTTP API: each operation with each of its parameters missing,
//! empty, of another type, out of range, too long, wrongly encoded or hostile. What the description does not
//! know stands below by hand: the transport, bodies, and the messages over gRPC.

use super::conformance::peer::Peer;
use super::registry::{Running, SOON};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Length of a name that no rule accepts.
const TOO_LONG: usize = 2_000;
/// What no name may be: names become paths, labels, pages and lines of logs.
const HOSTILE: [&str; 6] =
    ["a'; DROP TABLE instances; --", "a\r\nx-injected: 1", "a\0b", "\u{202e}a", "a b", "a\u{7f}"];
/// And these only that of a service, for which Nacos takes whatever can be seen.
const HOSTILE_BUT_SEEN: [&str; 3] = ["../../etc/passwd", "<script>alert(1)</script>", "${jndi:ldap://x}"];
/// Codes that versions 2 and 3 have for parameters that are wrong, and for services that are.
const CODES: [u64; 9] = [10_000, 20_002, 21_000, 21_001, 21_002, 21_006, 21_008, 21_010, 22_000];

/// A request, and what is wrong with it.
#[derive(Debug)]
struct Wrong {
    method: String,
    path: String,
    query: String,
    what: String,
}

/// A parameter as it is described.
struct Parameter {
    name: String,
    required: bool,
    /// Asks for some of what there is, in whatever words.
    is_filter: bool,
    schema: Value,
}

fn description() -> Value {
    serde_json::from_str(include_str!("../../docs/openapi.json")).unwrap()
}

/// Every operation with its parameters.
fn operations(description: &Value) -> Vec<(String, String, Vec<Parameter>)> {
    let read = |described: &Value, path: &str| {
        let described = match described["$ref"].as_str() {
            Some(reference) => description.pointer(reference.trim_start_matches('#')).unwrap(),
            None => described,
        };
        let (name, required) = (described["name"].as_str().unwrap(), described["required"] == json!(true));
        let is_filter = name == "clusterName"
            && ["/instance/list", "/catalog/instances"].iter().any(|list| path.ends_with(list));
        Parameter { name: name.to_owned(), required, is_filter, schema: described["schema"].clone() }
    };
    let paths = description["paths"].as_object().unwrap().iter();
    let all = paths.flat_map(|(path, methods)| {
        methods.as_object().unwrap().iter().map(move |(method, operation)| {
            let parameters = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|described| read(described, path))
                .collect();
            (method.to_uppercase(), path.clone(), parameters)
        })
    });
    all.collect()
}

/// A value with which nothing is wrong.
fn right(name: &str) -> &'static str {
    match name {
        "ip" => "10.0.0.7",
        "port" | "checkPort" => "80",
        "healthChecker" => r#"{"type":"TCP"}"#,
        "metadata" => r#"{"a":"b"}"#,
        "instances" => r#"[{"ip":"10.0.0.7","port":80}]"#,
        "selector" => r#"{"type":"none"}"#,
        "key" => "public##DEFAULT_GROUP@@orders",
        "clientId" => "10.0.0.7:80#true",
        "pageNo" | "pageSize" | "count" | "weight" | "protectThreshold" => "1",
        "consistencyType" => "ephemeral",
        "redirectAddress" => "10.0.0.7:80",
        "beat" => r#"{"ip":"10.0.0.7","port":80}"#,
        _ => "orders",
    }
}

/// What is wrong with a parameter of this kind, with the value that has it.
fn wrong_values(parameter: &Parameter) -> Vec<(&'static str, String)> {
    let texts = |what, texts: &[&str]| texts.iter().map(|text| (what, encoded(text))).collect::<Vec<_>>();
    let names = |long: &str| {
        [texts("hostile", &HOSTILE), texts("hostile", &HOSTILE_BUT_SEEN), texts("too long", &[long])].concat()
    };
    let mut wrong = vec![("wrong encoding", "%ff%fe".to_owned())];
    let long = "a".repeat(TOO_LONG);
    wrong.extend(match (parameter.schema["type"].as_str().unwrap(), parameter.name.as_str()) {
        ("boolean", _) => texts("wrong type", &["perhaps", "2", "{}"]),
        ("integer", "port" | "checkPort") => {
            texts("out of range", &["-1", "65536", "80.5", "99999999999999999999", "x"])
        }
        ("integer", _) => texts("out of range", &["-1", "1.5", "99999999999999999999999", "x"]),
        ("number", "weight") => texts("out of range", &["-1", "10001", "NaN", "inf", "x", "1e999"]),
        ("number", _) => texts("wrong type", &["NaN", "inf", "x", "1e999"]),
        (_, "serviceName" | "key") => [texts("hostile", &HOSTILE), texts("too long", &[&long])].concat(),
        (_, "groupName" | "namespaceId" | "ip") => names(&long),
        (_, "clusterName") if !parameter.is_filter => names(&long),
        (_, "metadata") => texts("wrong type", &["{", "[1]", r#"{"a":{}}"#, "a", r#"{"a":1"#]),
        (_, "instances") => {
            texts("wrong type", &["{", "{}", "x", r#"[{"ip":"10.0.0.7"}]"#, r#"[{"port":"x"}]"#])
        }
        (_, "healthChecker") => texts("wrong type", &["{", "TCP", "{}", r#"{"type":"SSH"}"#, "[]"]),
        (_, "selector") => texts("wrong type", &["{", "none", r#"{"type":"x"}"#, "[]"]),
        (_, "beat") => {
            texts("wrong type", &["{", "x", "[]", r#"{"ip":"10.0.0.7","port":70000}"#, r#"{"port":"80"}"#])
        }
        (_, "redirectAddress") => texts("wrong type", &["x", "10.0.0.7:99999"]),
        (_, "clusters") => texts("too long", &[&",a".repeat(2 * TOO_LONG)]),
        _ => Vec::new(), // Any text will do.
    });
    wrong
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |encoded, byte| encoded + &format!("%{byte:02x}"))
}

/// The table.
fn table() -> Vec<Wrong> {
    let mut table = Vec::new();
    for (method, path, parameters) in operations(&description()) {
        let row = |name: &str, value: Option<String>, what: &str| {
            let given = parameters.iter().filter(|other| other.required && other.name != name);
            let mut pairs: Vec<_> =
                given.map(|other| format!("{}={}", other.name, encoded(right(&other.name)))).collect();
            // What is looked at only beside another.
            pairs.extend(match name {
                "port" => Some("ip=10.0.0.7".to_owned()),
                "checkPort" => Some("useInstancePort4Check=false".to_owned()),
                _ => None,
            });
            pairs.extend(value.map(|value| format!("{name}={value}")));
            let (method, path, what) = (method.clone(), path.clone(), format!("{name}: {what}"));
            Wrong { method, path, query: pairs.join("&"), what }
        };
        for parameter in &parameters {
            if parameter.required {
                table.push(row(&parameter.name, None, "missing"));
                table.push(row(&parameter.name, Some(String::new()), "empty"));
            }
            for (what, value) in wrong_values(parameter) {
                table.push(row(&parameter.name, Some(value), what));
            }
        }
    }
    table
}

#[tokio::test]
async fn every_wrong_parameter_of_the_description_is_refused() {
    let registry = Running::start().await;
    let table = table();
    let mut kinds = BTreeMap::<&str, usize>::new();
    let mut accepted = Vec::new();
    for Wrong { method, path, query, what } in &table {
        *kinds.entry(what.rsplit(": ").next().unwrap()).or_default() += 1;
        let (status, body) = registry.send(method, &format!("{path}?{query}"), "").await;
        let bare = method == "PATCH" || ["/instance/beat", "/login"].iter().any(|end| path.ends_with(end));
        let enveloped = !bare && ["/nacos/v2", "/nacos/v3"].iter().any(|start| path.starts_with(start));
        let code = serde_json::from_str::<Value>(&body).ok().and_then(|answer| answer["code"].as_u64());
        let coded = !enveloped || code.is_some_and(|code| CODES.contains(&code));
        if status != 400 || !coded || body.is_empty() {
            let query: String = query.chars().take(100).collect();
            accepted.push(format!("{method} {path}?{query} ({what}): {status} {body:.100}"));
        }
    }
    assert!(accepted.is_empty(), "{} of {}:\n{}", accepted.len(), table.len(), accepted.join("\n"));
    assert!(table.len() >= 150 && kinds.len() >= 7, "{} rows of {kinds:?}", table.len());
    serves(&registry).await;
}

/// Somebody else registers, is found, and goes.
async fn serves(registry: &Running) {
    let one = "/instance?serviceName=witness&ip=10.9.9.9&port=99";
    assert_eq!(registry.send("POST", one, "").await, (200, "ok".to_owned()));
    let (_, list) = registry.send("GET", "/instance/list?serviceName=witness", "").await;
    assert!(list.contains("10.9.9.9"), "{list}");
    assert_eq!(registry.send("DELETE", one, "").await, (200, "ok".to_owned()));
    let mut peer = Peer::set_up(registry.grpc).await;
    peer.succeed("ServiceQueryRequest", json!({"serviceName": "witness"})).await;
}

/// Sends bytes as they are, and reads the status of what comes back; none when the connection ends without.
async fn status_of(registry: &Running, bytes: &[u8]) -> Option<u16> {
    let mut stream = TcpStream::connect(registry.http).await.unwrap();
    // A registry that refuses early may close before all has been sent.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = timeout(SOON, stream.read_to_end(&mut answer)).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

#[tokio::test]
async fn what_is_no_request_of_the_api_is_refused_too() {
    let registry = Running::start().await;
    let head = |line: &str, more: &str| {
        format!("{line} HTTP/1.1\r\nhost: registry\r\nconnection: close\r\n{more}\r\n").into_bytes()
    };
    let long = |length| "a".repeat(length);
    let form = |body: &str| {
        let length = format!("content-length: {}\r\n", body.len());
        [head("POST /nacos/v1/ns/instance", &length), body.as_bytes().to_vec()].concat()
    };
    let gone = "GET /nacos/v1/ns/instance/list?serviceName=";
    for (what, bytes, expected) in [
        ("no such path", head("GET /nacos/v1/ns/nothing", ""), Some(404)),
        ("a path above the root", head("GET /../../etc/passwd", ""), Some(404)),
        ("another version", head("GET /nacos/v9/ns/instance", ""), Some(404)),
        ("no such method", head("TRACE /nacos/v1/ns/instance", ""), Some(405)),
        ("a method of one's own", head("FROB /nacos/v1/ns/instance", ""), Some(405)),
        ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(20), Some(400)),
        ("no version", b"GET /livez\r\n\r\n".to_vec(), Some(400)),
        ("a space in the path", head("GET /nacos/v1/ns/instance list", ""), Some(400)),
        (
            "two lengths",
            head("POST /nacos/v1/ns/instance", "content-length: 1\r\ncontent-length: 2\r\n"),
            Some(400),
        ),
        ("no length", head("POST /nacos/v1/ns/instance", "content-length: x\r\n"), Some(400)),
        (
            "a broken chunk",
            [head("POST /nacos/v1/ns/instance", "transfer-encoding: chunked\r\n"), b"zz\r\n".to_vec()]
                .concat(),
            Some(400),
        ),
        ("a long path", head(&format!("{gone}{}", long(200_000)), ""), Some(431)),
        ("a long header", head("GET /livez", &format!("x: {}\r\n", long(200_000))), Some(431)),
        ("many headers", head("GET /livez", &"x: y\r\n".repeat(5_000)), Some(431)),
        (
            "a body announced too long",
            head("POST /nacos/v1/ns/instance", "content-length: 99999999\r\n"),
            Some(413),
        ),
        ("too many parameters", form(&"a=b&".repeat(300)), Some(400)),
        ("a body of other bytes", form("serviceName=%c3%28&ip=10.0.0.7&port=80"), Some(400)),
        ("JSON", form(r#"{"serviceName":"orders","ip":"10.0.0.7","port":80}"#), Some(400)),
        (
            "metadata too long",
            form(&format!("serviceName=orders&ip=10.0.0.7&port=80&metadata=a={}", long(70_000))),
            Some(400),
        ),
    ] {
        assert_eq!(status_of(&registry, &bytes).await, expected, "{what}");
    }
    serves(&registry).await;
}

#[tokio::test]
async fn every_wrong_message_over_grpc_has_its_code() {
    let registry = Running::start().await;
    let mut stranger = Peer::connect(registry.grpc).await;
    let mut peer = Peer::set_up(registry.grpc).await;
    let long = "a".repeat(TOO_LONG);
    let address = json!({"ip": "10.0.0.7", "port": 80});
    let (unreadable, invalid, unknown, unregistered) = (502, 400, 302, 301);
    let registration = |service: &str, kind: &str, instance: Value| json!({"serviceName": service, "type": kind, "instance": instance});
    let mut table: Vec<(&str, Value, i64)> = vec![
        ("", json!({}), unknown),
        ("NoSuchRequest", json!({}), unknown),
        ("../../InstanceRequest", json!({}), unknown),
        ("NotifySubscriberRequest", json!({}), unknown),
        ("ServiceListRequest", json!({"pageNo": -1}), unreadable),
        ("ServiceListRequest", json!({"pageNo": "x"}), unreadable),
        ("ServiceListRequest", json!({"groupName": "a/b"}), invalid),
        ("ServiceListRequest", json!({"namespace": "a.b"}), invalid),
        ("SubscribeServiceRequest", json!({"serviceName": "orders", "subscribe": "yes"}), unreadable),
        (
            "SubscribeServiceRequest",
            json!({"serviceName": "orders", "subscribe": true, "clusters": ",a".repeat(2 * TOO_LONG)}),
            invalid,
        ),
        ("GracefulDeregisterRequest", json!({"serviceName": "orders", "waitMs": -1}), unreadable),
        (
            "GracefulDeregisterRequest",
            json!({"serviceName": "orders", "instances": [{"ip": "", "port": 1}]}),
            invalid,
        ),
        (
            "BatchInstanceRequest",
            json!({"serviceName": "orders", "type": "registerInstance", "instances": []}),
            invalid,
        ),
        (
            "BatchInstanceRequest",
            json!({"serviceName": "orders", "type": "batchRegisterInstance", "instances": {}}),
            unreadable,
        ),
    ];
    for kind in ["InstanceRequest", "PersistentInstanceRequest"] {
        table.extend([
            (kind, json!({}), invalid),
            (kind, json!([]), invalid),
            (kind, json!("text"), unreadable),
            (kind, json!({"serviceName": 7}), unreadable),
            (kind, registration("orders", "", address.clone()), invalid),
            (kind, registration("orders", "dropTables", address.clone()), invalid),
            (kind, registration("", "registerInstance", address.clone()), invalid),
            (kind, registration(&long, "registerInstance", address.clone()), invalid),
        ]);
        table.extend(
            HOSTILE.map(|name| (kind, registration(name, "registerInstance", address.clone()), invalid)),
        );
        for (instance, code) in [
            (json!({}), invalid),
            (json!({"ip": "10.0.0.7", "port": 65536}), invalid),
            (json!({"ip": "10.0.0.7", "port": -1}), invalid),
            (json!({"ip": "10.0.0.7", "port": "80"}), unreadable),
            (json!({"ip": "a b", "port": 80}), invalid),
            (json!({"ip": long, "port": 80}), invalid),
            (json!({"ip": "10.0.0.7", "port": 80, "weight": -1}), invalid),
            (json!({"ip": "10.0.0.7", "port": 80, "weight": "heavy"}), unreadable),
            (json!({"ip": "10.0.0.7", "port": 80, "clusterName": "a/b"}), invalid),
            (json!({"ip": "10.0.0.7", "port": 80, "enabled": "yes"}), unreadable),
            (json!({"ip": "10.0.0.7", "port": 80, "metadata": {"a": {}}}), unreadable),
            (json!({"ip": "10.0.0.7", "port": 80, "metadata": {"a": "b".repeat(70_000)}}), invalid),
        ] {
            table.push((kind, registration("orders", "registerInstance", instance), code));
        }
    }
    let (mut wrong, mut strange) = (Vec::new(), BTreeSet::new());
    for (kind, body, expected) in table {
        let shown: String = body.to_string().chars().take(120).collect();
        let (_, answer) = peer.ask(kind, body.clone()).await;
        if (&answer["errorCode"], &answer["resultCode"]) != (&json!(expected), &json!(500)) {
            wrong.push(format!("{kind} {shown}: {answer}"));
        }
        if expected == invalid && strange.insert(kind) {
            let (_, answer) = stranger.ask(kind, body).await;
            assert_eq!(answer["errorCode"], json!(unregistered), "of a stranger: {kind} {shown}: {answer}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for body in [&b"{"[..], b"\xff\xfe", b"null", b"", &b"[".repeat(100_000), br#"{"serviceName":"\ud800"}"#]
    {
        let (_, answer) = peer.ask_raw("ServiceQueryRequest", body.to_vec()).await;
        assert_eq!(answer["resultCode"], json!(500), "{answer}");
    }
    assert_eq!(peer.ask("HealthCheckRequest", json!({})).await.1["resultCode"], json!(200));
    serves(&registry).await;
}
