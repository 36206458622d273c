//! `graceful watch` and `graceful register`: the two that stay until they are stopped.

use super::super::registry::{Running, SOON};
use super::{Ended, cells, graceful, program};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;

/// A process that prints until it is stopped.
struct Staying {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Staying {
    fn start(registry: &Running, arguments: &str) -> Self {
        let (http, port) = (registry.http.to_string(), registry.grpc.port().to_string());
        let arguments: Vec<&str> =
            arguments.split(' ').chain(["--registry", &http, "--grpc-port", &port]).collect();
        let mut child = program(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    async fn line(&mut self) -> String {
        timeout(SOON, self.lines.next_line()).await.unwrap().unwrap().expect("it has ended")
    }

    async fn json(&mut self) -> Value {
        let line = self.line().await;
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Stops it as a terminal does, or a supervisor; what it still prints is in its end.
    async fn stop(mut self, signal: Signal) -> Ended {
        let id = self.child.id().unwrap().try_into().unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
        let (mut stdout, mut stderr) = (String::new(), String::new());
        let ended = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                stdout.extend([&line, "\n"]);
            }
            self.child.stderr.take().unwrap().read_to_string(&mut stderr).await.unwrap();
            self.child.wait().await.unwrap().code()
        };
        let code = timeout(SOON, ended).await.unwrap();
        Ended { code, stdout, stderr }
    }
}

#[tokio::test]
async fn a_watch_tells_each_change_with_its_reason_and_who_it_was() {
    let registry = Running::start().await;
    let done = async |method: &str, what: &str| {
        let query = format!("/instance?serviceName=orders&ip=10.0.0.7&{what}");
        assert_eq!(registry.send(method, &query, "").await, (200, "ok".to_owned()), "{what}");
    };
    done("POST", "port=80").await;
    let mut watch = Staying::start(&registry, "watch orders mail --output jsonl");
    let there = watch.json().await;
    let expected = [json!("there"), json!("10.0.0.7"), json!(80), json!("orders"), json!(null)];
    assert_eq!(["change", "ip", "port", "service", "reason"].map(|key| there[key].clone()), expected);

    done("POST", "port=81&weight=2.5").await;
    let came = watch.json().await;
    assert_eq!(
        (&came["change"], &came["port"], &came["detail"]),
        (&json!("came"), &json!(81), &json!("weight 2.5"))
    );
    assert_eq!((&came["reason"], &came["by"]["kind"]), (&json!("came"), &json!("http")), "{came}");
    done("PATCH", "port=81&weight=4").await;
    let weight = watch.json().await;
    assert_eq!((&weight["change"], &weight["detail"]), (&json!("weight"), &json!("2.5 to 4")));
    assert_eq!(weight["by"]["kind"], "operator", "{weight}");
    done("DELETE", "port=80").await;
    let went = watch.json().await;
    assert_eq!((&went["change"], &went["port"]), (&json!("went"), &json!(80)));
    assert_eq!((&went["reason"], &went["by"]["ip"]), (&json!("deregistered"), &json!("127.0.0.1")), "{went}");
    let query = "/instance?serviceName=mail&ip=10.0.0.9&port=90";
    assert_eq!(registry.send("POST", query, "").await.0, 200);
    assert_eq!(watch.json().await["service"], "mail");
    assert_eq!(watch.stop(Signal::INT).await.told(), "");
}

#[tokio::test]
async fn a_watch_for_people_stands_in_columns_and_never_in_one_document() {
    let registry = Running::start().await;
    let mut watch = Staying::start(&registry, "watch orders");
    assert_eq!(cells(&watch.line().await)[0], ["TIME", "SERVICE", "INSTANCE", "CHANGE", "REASON"]);
    let register = Staying::start(&registry, "register orders 10.0.0.7:80");
    let came = watch.line().await;
    let told = cells(&came);
    assert_eq!(told[0][1..4], ["DEFAULT_GROUP@@orders", "10.0.0.7:80", "came"]);
    assert!(told[0][4].contains("by connection "), "{came}");
    register.stop(Signal::TERM).await.told();
    let went = watch.line().await;
    assert!(went.contains("deregistered, by connection "), "{went}");
    assert_eq!(watch.stop(Signal::TERM).await.told(), "");
    let document = graceful(registry.http, "watch orders --output json").await;
    assert!(document.code == Some(2) && document.stderr.contains("--output jsonl"), "{}", document.stderr);
}

#[tokio::test]
async fn an_instance_is_registered_as_long_as_the_command_runs() {
    let registry = Running::start().await;
    let mut register = Staying::start(
        &registry,
        "register shop@@orders [::1]:80 --weight 2 --metadata zone=a --output jsonl",
    );
    assert_eq!(register.json().await["done"], "registered");
    let orders = graceful(registry.http, "instances shop@@orders --output json").await.json();
    assert_eq!((&orders[0]["ip"], &orders[0]["weight"]), (&json!("::1"), &json!(2.0)));
    assert_eq!((&orders[0]["metadata"], &orders[0]["ephemeral"]), (&json!({"zone": "a"}), &json!(true)));
    let deregistered = register.stop(Signal::TERM).await;
    assert_eq!(deregistered.json()["done"], "deregistered");
    let gone = graceful(registry.http, "instances shop@@orders --output json").await;
    assert!(gone.stdout == "[]\n" || gone.code == Some(1), "{} {}", gone.stdout, gone.stderr);
}

#[tokio::test]
async fn an_instance_is_registered_for_good_and_deregistered_by_name() {
    let registry = Running::start().await;
    let done =
        graceful(registry.http, "register orders 10.0.0.7:80 --persistent --cluster east").await.told();
    assert_eq!(cells(&done)[1], ["10.0.0.7:80", "east", "registered for good"]);
    let orders = graceful(registry.http, "instances orders --output json").await.json();
    assert_eq!((&orders[0]["ephemeral"], &orders[0]["cluster"]), (&json!(false), &json!("east")));
    graceful(registry.http, "deregister orders 10.0.0.7:80 --yes").await.told();
    for wrong in ["10.0.0.7", "orders:80:80", "10.0.0.7:80 --weight x"] {
        assert_eq!(
            graceful(registry.http, &format!("register orders {wrong}")).await.code,
            Some(2),
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn a_grpc_port_that_does_not_answer_is_named() {
    let registry = Running::start().await;
    let silent = graceful(registry.http, "watch orders --output jsonl --grpc-port 1").await;
    assert!(
        silent.code == Some(1) && silent.stderr.contains("is its gRPC port 1 reachable"),
        "{}",
        silent.stderr
    );
}
