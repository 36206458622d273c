//! `graceful doctor`: each symptom is produced by real processes, and read back through the program.

use super::registry::Running;
use super::shop::{ended, example, heard, line, signal};
use rustix::process::Signal;
use serde_json::Value;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{Instant, sleep, timeout};
use tower_graceful::registry::Settings;

/// A symptom shows within seconds; a machine that runs other tests beside this is given more.
const SOON: Duration = Duration::from_secs(60);
/// A release takes half a minute.
const RELEASE_MAX: Duration = Duration::from_secs(180);

/// What the program says of a registry: its exit code, and its report.
async fn doctor(registry: &str, arguments: &[&str]) -> (i32, Value) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_graceful"));
    program.args(["doctor", "--registry", registry, "--output", "json"]).args(arguments).kill_on_drop(true);
    let output = timeout(SOON, program.output()).await.unwrap().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let report = serde_json::from_str(&said);
    let report = report.unwrap_or_else(|_| panic!("{said}{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap(), report)
}

/// The check with this number, of the one service that is there.
fn check(report: &Value, number: usize) -> &Value {
    let check = &report["services"][0]["checks"][number - 1];
    assert_eq!(check["number"], number, "{report}");
    check
}

/// What the check with this number finds about `orders`, as soon as it finds something.
async fn found(registry: &str, number: usize) -> Value {
    found_that(registry, number, "").await
}

/// The same, as soon as it is a cause with these words.
async fn found_that(registry: &str, number: usize, words: &str) -> Value {
    let mut last = Value::Null;
    let wait = async {
        loop {
            let (code, report) = doctor(registry, &["--service", "orders"]).await;
            last = report;
            let finding = &check(&last, number)["findings"][0];
            if finding["cause"].as_str().is_some_and(|cause| cause.contains(words)) {
                assert_eq!((code, &check(&last, number)["verdict"]), (1, &"found".into()), "{last}");
                return finding.clone();
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    let found = timeout(SOON, wait).await;
    found.unwrap_or_else(|_| panic!("check {number} never finds {words:?}: {last:#}"))
}

fn says(finding: &Value, part: &str, words: &str) {
    assert!(finding[part].to_string().contains(words), "{words:?} in {part}: {finding:#}");
}

/// An instance of orders as a process.
struct Orders {
    child: Child,
    listen: String,
    offline: String,
    _said: Lines<BufReader<ChildStdout>>,
}

impl Orders {
    async fn start(registry: &str, flags: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = example("shop");
        command.args(["orders", "--registry", registry]).args(flags).envs(environment.iter().copied());
        let (child, mut said) = heard(command);
        let ready: Value = serde_json::from_str(&line(&mut said).await).unwrap();
        let [listen, readiness, offline] =
            ["listen", "readiness", "offline"].map(|port| ready["ready"][port].as_str().unwrap().to_owned());
        let is_ready = async {
            while !ask(&readiness, "GET", "/readiness").await.starts_with("HTTP/1.1 200") {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(SOON, is_ready).await.expect("it becomes ready");
        Self { child, listen, offline, _said: said }
    }

    async fn ended_by(self, by: Signal) {
        signal(&self.child, by);
        ended(self.child).await;
    }
}

/// The whole answer; empty when there is none.
async fn ask(address: &str, method: &str, path: &str) -> String {
    let request =
        format!("{method} {path} HTTP/1.1\r\nhost: orders\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    let mut answer = String::new();
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        stream.read_to_string(&mut answer).await
    };
    let _ = asked.await; // Who does not answer says so by that.
    answer
}

/// A registry, and a storefront that follows orders.
async fn followed() -> (Running, String, Child) {
    let registry = Running::start().await;
    let address = registry.http.to_string();
    let mut command = example("shop");
    command.args(["storefront", "--registry", &address]);
    let (storefront, mut said) = heard(command);
    line(&mut said).await;
    (registry, address, storefront)
}

/// A whole release, after which everything stays up: the shop, and where its registry is.
async fn kept_release(flags: &str, name: &str) -> (Child, String) {
    let svg = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name).join("release.svg");
    let mut command = example("shop");
    command.args(["release", "--keep", "--rate", "100"]).args(flags.split_whitespace()).arg("--svg").arg(svg);
    let mut shop = command.stdout(Stdio::null()).spawn().unwrap();
    let mut said = BufReader::new(shop.stderr.take().unwrap()).lines();
    let release = async {
        let mut registry = String::new();
        while let Some(line) = said.next_line().await.unwrap() {
            if let Some((_, console)) = line.split_once("look at http://") {
                console.trim_end_matches("/console").clone_into(&mut registry);
            }
            if line.contains("until it is interrupted") {
                break;
            }
        }
        registry
    };
    let registry = timeout(RELEASE_MAX, release).await.expect("the release ends");
    // It goes on speaking, and must not wait for a reader.
    tokio::spawn(async move { while let Ok(Some(_)) = said.next_line().await {} });
    (shop, registry)
}

#[tokio::test]
async fn a_healthy_release_passes_every_check() {
    let (_shop, registry) = kept_release("--warm-up 3", "doctor-healthy").await;
    let (code, report) = doctor(&registry, &[]).await;
    let services = report["services"].as_array().unwrap();
    assert!(services.iter().any(|service| service["name"] == "orders"), "{report:#}");
    let checks = services.iter().flat_map(|service| service["checks"].as_array().unwrap());
    for check in checks.chain([&report["registry"]]) {
        assert_eq!(check["verdict"], "pass", "{check:#}");
    }
    assert_eq!((code, &report["verdict"]), (0, &"pass".into()));
    let orders = services.iter().find(|service| service["name"] == "orders").unwrap();
    assert!(orders["checks"][0]["text"].as_str().unwrap().starts_with("3 instances left"), "{orders:#}");
    assert!(orders["checks"][1]["text"].as_str().unwrap().starts_with("3 instances warmed up"), "{orders:#}");
}

#[tokio::test]
async fn a_release_that_does_not_wait_for_warm_instances_surges() {
    let (_shop, registry) = kept_release("--warm-up 6 --no-wait", "doctor-surge").await;
    let surge = found(&registry, 1).await;
    says(&surge, "cause", "still warming up: each had to take");
    says(&surge, "remedy", "minReadySeconds above the warm-up of 6.0 s (say 8)");
}

#[tokio::test]
async fn callers_without_layers_load_an_instance_that_is_cold() {
    let (_registry, address, _storefront) = followed().await;
    let orders = Orders::start(&address, &["--warm-up", "100"], &[]).await;
    let warm = Orders::start(&address, &["--warm-up", "0"], &[]).await;
    for _ in 0..60 {
        assert!(ask(&orders.listen, "GET", "/orders/1").await.starts_with("HTTP/1.1 200"));
        assert!(ask(&warm.listen, "GET", "/orders/1").await.starts_with("HTTP/1.1 200"));
    }
    let ramp = found(&address, 2).await;
    says(&ramp, "cause", &format!("{} had 60 requests while it was warming up", orders.listen));
    says(&ramp, "cause", "60 of them from callers without the consumer's layers");
    says(&ramp, "evidence", "past the registry");
}

#[tokio::test]
async fn an_instance_that_stops_before_the_next_one_is_ready_leaves_a_gap() {
    let (_registry, address, _storefront) = followed().await;
    let old = Orders::start(&address, &[], &[]).await;
    let was = old.listen.clone();
    old.ended_by(Signal::TERM).await;
    let gap = found(&address, 3).await;
    says(&gap, "cause", &format!("no instance is ready since {was} was deregistered"));
    let new = Orders::start(&address, &[], &[]).await;
    let gap = found_that(&address, 3, &format!("before {} was ready", new.listen)).await;
    says(&gap, "remedy", "probe GET /readiness on the readiness port");
}

#[tokio::test]
async fn a_script_that_calls_an_instance_which_has_left_is_named_and_so_is_the_sleep_after_it() {
    let (_registry, address, _storefront) = followed().await;
    let orders = Orders::start(&address, &[], &[]).await;
    ask(&orders.offline, "POST", "/offline").await;
    let script = async {
        loop {
            ask(&orders.listen, "GET", "/orders/7").await;
            sleep(Duration::from_millis(20)).await;
        }
    };
    let late = tokio::select! {
        () = script => unreachable!(),
        late = found(&address, 4) => late,
    };
    says(&late, "cause", "all from callers without the consumer's layers");
    says(&late, "remedy", "script that calls the instance directly from 127.0.0.1");
    says(&late, "evidence", "for /orders/7 from 127.0.0.1");
    says(&late, "evidence", "notices are off");

    // A preStop hook that sleeps.
    let drained = async {
        loop {
            let events = ask(&address, "GET", "/graceful/v1/events?serviceName=orders").await;
            if events.contains("\"drained\"") {
                return Instant::now();
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    let drained = timeout(SOON, drained).await.expect("it drains when nobody calls");
    tokio::time::sleep_until(drained + Duration::from_secs(6)).await;
    orders.ended_by(Signal::TERM).await;
    let slow = found(&address, 5).await;
    says(&slow, "cause", "something slept for a fixed time");
    says(&slow, "remedy", "/offline?wait=30s");
}

#[tokio::test]
async fn a_process_that_keeps_restarting_is_seen_and_how_it_ends_each_time() {
    let (_registry, address, _storefront) = followed().await;
    let (code, report) = doctor(&address, &["--service", "orders"]).await;
    assert_eq!((code, &check(&report, 6)["verdict"]), (1, &"found".into()), "{report:#}");
    says(&check(&report, 6)["findings"][0], "cause", "no instance of orders has registered");

    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for _ in 0..2 {
        Orders::start(&address, &["--listen", &port], &[]).await.ended_by(Signal::KILL).await;
        let vanished = found(&address, 9).await;
        says(
            &vanished,
            "cause",
            &format!("the connection of {port} ended without a word: orders at 127.0.0.1"),
        );
    }
    let _last = Orders::start(&address, &["--listen", &port], &[]).await;
    let restarting = found(&address, 6).await;
    says(&restarting, "cause", &format!("the process at {port} keeps restarting: 3 started within"));
    says(&restarting, "evidence", "ended connection-lost (without a word)");
}

#[tokio::test]
async fn a_registration_that_is_refused_is_told_in_the_registry_s_words() {
    let registry = Running::start_with(Settings { metadata_chars_max: 20, ..Settings::default() }).await;
    let address = registry.http.to_string();
    let mut command = example("shop");
    command.args(["orders", "--registry", &address]);
    let (_orders, _said) = heard(command);
    let refused = found_that(&address, 6, "was refused: ").await;
    says(&refused, "cause", "metadata");
    says(&refused, "cause", "20");
}

#[tokio::test]
async fn a_probe_that_starts_the_warm_up_is_named_with_its_path() {
    let (_registry, address, _storefront) = followed().await;
    let orders = Orders::start(&address, &[], &[]).await;
    ask(&orders.listen, "GET", "/actuator/health").await;
    let early = found(&address, 7).await;
    says(&early, "cause", "started by a probe, a request for /actuator/health");
    says(&early, "remedy", "warm_up_ignores");
}

#[tokio::test]
async fn two_processes_that_keep_one_entry_are_both_named() {
    let (_registry, address, _storefront) = followed().await;
    let first = Orders::start(&address, &[], &[]).await;
    let (ip, port) = first.listen.split_once(':').unwrap();
    let same = first.listen.clone();
    let _second = Orders::start(&address, &[], &[("GRACEFUL_ADVERTISE", &same)]).await;
    let stays = found(&address, 8).await;
    says(&stays, "cause", &format!("{same} is kept on the list by more than one: connection "));
    says(&stays, "commands", &format!("ip={ip}&port={port}&enabled=false"));
    says(&stays, "commands", &format!("curl -X PUT 'http://{address}/nacos"));
    says(&stays, "commands", "ss -tnp");
    first.ended_by(Signal::KILL).await;
}

#[tokio::test]
async fn why_a_subscriber_sees_other_instances_is_told() {
    let (registry, address, _storefront) = followed().await;
    let orders = Orders::start(&address, &[], &[]).await;
    let (ip, port) = orders.listen.split_once(':').unwrap();
    let off = format!("/instance?serviceName=orders&ip={ip}&port={port}&enabled=false");
    assert_eq!(registry.send("PUT", &off, "").await.0, 200);
    let other = found(&address, 10).await;
    says(&other, "cause", &format!("{} is disabled: subscribers do not use it", orders.listen));
    says(&other, "evidence", "by an operator");
    registry.send("PUT", &off.replace("false", "true"), "").await;
    // A client that polls, hears of changes on a port of its own, and wants one cluster only.
    let ears = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = ears.local_addr().unwrap().port();
    let filtered = format!("/instance/list?serviceName=orders&clusters=east&udpPort={port}");
    assert_eq!(registry.send_as("Nacos-Java-Client:v1.4.8", "GET", &filtered).await.0, 200);
    let filter = found_that(&address, 10, "has asked for the clusters").await;
    says(&filter, "evidence", &format!("{} is in the cluster DEFAULT", orders.listen));
}

#[tokio::test]
async fn what_cannot_be_checked_and_wrong_usage_end_with_two() {
    let mut nowhere = Command::new(env!("CARGO_BIN_EXE_graceful"));
    nowhere.args(["doctor", "--registry", "127.0.0.1:1"]);
    let output = timeout(SOON, nowhere.output()).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("is a registry there?"));
    let mut wrong = Command::new(env!("CARGO_BIN_EXE_graceful"));
    let output = wrong.args(["doctor", "--since", "2w"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));

    let registry = Running::start().await;
    let (code, report) = doctor(&registry.http.to_string(), &["--grpc-port", "1"]).await;
    assert_eq!((code, &report["registry"]["verdict"]), (1, &"found".into()), "{report:#}");
    let grpc = registry.grpc.port().to_string();
    let (code, report) = doctor(&registry.http.to_string(), &["--grpc-port", &grpc]).await;
    assert_eq!((code, &report["verdict"]), (0, &"pass".into()), "{report:#}");
}
