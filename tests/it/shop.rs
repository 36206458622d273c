//! The examples as people run them: processes of their own, signals, and what they print.

#[path = "../../examples/shop/main.rs"]
#[allow(dead_code, reason = "the program itself, for the tests of its parts")]
mod program;

use serde_json::Value;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{sleep, timeout};

/// Two short releases take about 50 s; a machine that runs other tests beside them is given more.
const RELEASE_MAX: Duration = Duration::from_secs(180);
/// What a process may take to say a line, or to end.
const SOON: Duration = Duration::from_secs(30);

/// The example `name`, which `cargo test` builds beside this test.
pub(super) fn example(name: &str) -> Command {
    let this = std::env::current_exe().expect("a test has a path");
    let profile = this.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
    let program: PathBuf = profile.join("examples").join(name);
    assert!(
        program.exists(),
        "{} is missing: run `cargo build --features full --examples`",
        program.display()
    );
    let mut command = Command::new(program);
    command.kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn release(flags: &str, svg: &str) -> Command {
    let mut command = example("shop");
    let svg = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(svg).join("release.svg");
    command.args(["release", "--rate", "200", "--warm-up", "2", "--output", "json"]);
    command.args(flags.split_whitespace()).arg("--svg").arg(svg);
    command
}

pub(super) fn signal(child: &Child, signal: rustix::process::Signal) {
    let id = child.id().and_then(|id| i32::try_from(id).ok()).expect("a process that runs");
    let id = rustix::process::Pid::from_raw(id).expect("a positive id");
    rustix::process::kill_process(id, signal).expect("a process that can be told");
}

pub(super) async fn ended(child: Child) -> Output {
    timeout(SOON, child.wait_with_output()).await.expect("it ends").expect("it can be awaited")
}

pub(super) async fn line(lines: &mut Lines<BufReader<ChildStdout>>) -> String {
    let line = timeout(SOON, lines.next_line()).await.expect("it speaks").expect("it can be read");
    line.expect("it has not ended")
}

/// Starts `command`; its standard output is read line by line.
pub(super) fn heard(mut command: Command) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = command.stderr(Stdio::null()).spawn().expect("it starts");
    let stdout = child.stdout.take().expect("it is piped");
    (child, BufReader::new(stdout).lines())
}

#[tokio::test]
async fn a_release_under_load_loses_nothing_where_the_plain_one_does() {
    let output = timeout(RELEASE_MAX, release("--compare", "whole").output()).await.unwrap().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let why = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.lines().count(), 1, "{said} {why}");
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(report["failed_by_kind"], serde_json::json!({}), "{said}");
    assert_eq!((report["failed"].as_u64(), report["executed_twice"].as_u64()), (Some(0), Some(0)), "{said}");
    let inconclusive = report["schedule_lag_ms_p99"].as_f64() > Some(100.0);
    assert_eq!(output.status.code(), Some(if inconclusive { 2 } else { 0 }), "{said} {why}");

    let plain = &report["compare"];
    assert!(plain["failed"].as_u64() > Some(0), "{said}");
    assert_eq!((keys(&report).len(), keys(plain).len()), (10, 9), "{said}");
    assert!(keys(plain).iter().all(|key| report.get(key).is_some()), "{said}");
    for side in [&report, plain] {
        assert!(side["sent"].as_u64() > Some(1_000), "{said}");
        assert!(side["ramp_rmse_percent"].is_f64(), "{said}");
        for per_instance in ["drain_ms", "after_signal"] {
            assert_eq!(side[per_instance].as_array().map(Vec::len), Some(3), "{said}");
        }
    }
}

#[tokio::test]
async fn nothing_is_lost_when_a_registry_with_tls_and_users_restarts_with_another_certificate() {
    let output = timeout(RELEASE_MAX, release("--secure", "secure").output()).await.unwrap().unwrap();
    let (said, why) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said} {why}"));
    assert_eq!((report["failed"].as_u64(), report["executed_twice"].as_u64()), (Some(0), Some(0)), "{said}");
    assert!(report["sent"].as_u64() > Some(1_000), "{said}");
    let inconclusive = report["schedule_lag_ms_p99"].as_f64() > Some(100.0);
    assert_eq!(output.status.code(), Some(if inconclusive { 2 } else { 0 }), "{said} {why}");
}

#[tokio::test]
async fn with_killed_instances_only_what_was_under_way_on_them_is_lost() {
    let release = release("--signal KILL --consumers 3 --no-wait", "killed").output();
    let output = timeout(RELEASE_MAX, release).await.unwrap().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let report: Value = serde_json::from_str(&said).unwrap();
    let listed = report["killed_in_flight"].as_array().unwrap();
    for lost in listed {
        assert!(lost["method"] == "POST" || lost["answer_begun"] == true, "{said}");
        assert!(lost["instance"].as_str().unwrap().starts_with("127.0.0.1:"), "{said}");
    }
    assert_eq!((keys(&report).len(), report["executed_twice"].as_u64()), (12, Some(0)), "{said}");
}

fn keys(object: &Value) -> Vec<&String> {
    object.as_object().map(|object| object.keys().collect()).unwrap_or_default()
}

/// Processes that have `mark` in their environment, which children inherit.
#[cfg(target_os = "linux")]
fn marked(mark: &str) -> usize {
    let processes = std::fs::read_dir("/proc").expect("Linux shows its processes").flatten();
    let environments = processes.filter_map(|process| std::fs::read(process.path().join("environ")).ok());
    environments.filter(|environment| String::from_utf8_lossy(environment).contains(mark)).count()
}

#[cfg(target_os = "linux")]
async fn until_marked(mark: &str, count: usize) {
    let wait = async {
        while marked(mark) != count {
            sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(timeout(SOON, wait).await.is_ok(), "{} processes where {count} were awaited", marked(mark));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_release_that_is_stopped_in_any_way_leaves_no_process_behind() {
    use rustix::process::Signal;
    for (name, sent, code) in
        [("int", Signal::INT, Some(130)), ("term", Signal::TERM, Some(130)), ("kill", Signal::KILL, None)]
    {
        let mark = format!("SHOP_TEST={name}-{}", std::process::id());
        let (key, value) = mark.split_once('=').unwrap();
        let child = release("", name).env(key, value).spawn().unwrap();
        until_marked(&mark, 6).await; // Itself, the registry, three orders and the storefront.
        signal(&child, sent);
        assert_eq!(ended(child).await.status.code(), code, "{name}");
        until_marked(&mark, 0).await;
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_shop_that_is_kept_serves_on_after_its_release_until_it_is_interrupted() {
    let mark = format!("SHOP_TEST=kept-{}", std::process::id());
    let (key, value) = mark.split_once('=').unwrap();
    let mut child = release("--keep --no-wait", "kept").env(key, value).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = timeout(SOON, said.next_line()).await.unwrap().unwrap().unwrap();
    let registry = first.strip_prefix("look at http://").and_then(|url| url.strip_suffix("/console"));
    let registry = registry.unwrap_or_else(|| panic!("{first}")).to_owned();
    let until_kept = async {
        while let Ok(Some(line)) = said.next_line().await {
            if line.contains("until it is interrupted") {
                return;
            }
        }
        panic!("it ended");
    };
    timeout(RELEASE_MAX, until_kept).await.unwrap();

    let last_busy_second = async || {
        let told = ask(&registry, "/graceful/v1/traffic?serviceName=orders").await;
        let (_, body) = told.split_once("\r\n\r\n").unwrap();
        let told: Value = serde_json::from_str(body).unwrap();
        let instances = told["instances"].as_array().unwrap().iter();
        let seconds = instances.flat_map(|instance| instance["seconds"].as_array().unwrap());
        seconds.filter_map(|second| second["second"].as_u64()).max()
    };
    let when_kept = last_busy_second().await;
    let goes_on = async { while last_busy_second().await <= when_kept.map(|second| second + 2) {} };
    timeout(SOON, goes_on).await.expect("people go on asking");

    signal(&child, rustix::process::Signal::INT);
    let output = ended(child).await;
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((report["failed"].as_u64(), output.status.code()), (Some(0), Some(0)), "{report}");
    until_marked(&mark, 0).await;
}

#[tokio::test]
async fn wrong_flags_are_refused_with_what_is_accepted() {
    for (flags, words) in [
        (&["release", "--rate", "0"][..], "1..=5000"),
        (&["release", "--consumers", "0"], "1..=32"),
        (&["release", "--signal", "hup"], "term, kill"),
        (&["release", "--keep", "--compare"], "cannot be used with"),
        (&["release", "--warm-up=-1"], "a number of seconds from 0 on"),
        (&["orders", "--warm-up", "90000"], "0 s to 24 h"),
        (&["orders", "--registry", "nowhere"], "HOST:PORT"),
    ] {
        let output = example("shop").args(flags).output().await.unwrap();
        assert!(!output.status.success(), "{flags:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(words), "{flags:?}: {said}");
    }
}

#[tokio::test]
async fn greeters_are_asked_without_a_failure_while_one_of_two_leaves() {
    let mut registry = example("shop");
    let (registry, mut said) = {
        registry.args(["registry", "--http-port", "0"]);
        heard(registry)
    };
    let ready: Value = serde_json::from_str(&line(&mut said).await).unwrap();
    let address = ready["ready"]["listen"].as_str().unwrap().to_owned();
    let greeter = |name: &str| {
        let mut command = example(name);
        command.args(["--registry", &address]);
        command
    };
    let mut servers = Vec::new();
    for _ in 0..2 {
        let (server, mut said) = heard(greeter("greeter_server"));
        let listening = line(&mut said).await;
        servers.push((server, listening.strip_prefix("listening on ").unwrap().to_owned(), said));
    }

    let mut client = greeter("greeter_client");
    client.args(["--calls", "300", "--every", "20"]);
    let (client, mut greetings) = heard(client);
    for (_, address, _) in &servers {
        while !line(&mut greetings).await.starts_with(address) {}
    }
    let (leaving, _, _said) = servers.remove(0);
    signal(&leaving, rustix::process::Signal::TERM);
    let left = tokio::spawn(ended(leaving));
    let (mut last, mut after) = (String::new(), 0);
    while let Ok(Some(greeting)) = greetings.next_line().await {
        assert!(greeting.ends_with("Hello, world! and 3 greetings more"), "{greeting}");
        after += 1;
        last = greeting;
    }
    assert!(after > 20, "{after} greetings after the signal");
    assert!(last.starts_with(&servers[0].1), "{last}");
    assert!(left.await.unwrap().status.success());
    assert!(ended(client).await.status.success());
    drop(registry);
}

/// What `GET path` at `address` is answered with, head and all.
async fn ask(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn until_readiness_says(readiness: &str, status: &str) {
    let said = async { while !ask(readiness, "/readiness").await.contains(status) {} };
    timeout(SOON, said).await.unwrap_or_else(|_| panic!("readiness never says {status}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_cuts_what_is_open_and_the_exit_code_says_so() {
    let mut registry = example("shop");
    registry.args(["registry", "--http-port", "0"]);
    let (_registry, mut said) = heard(registry);
    let ready: Value = serde_json::from_str(&line(&mut said).await).unwrap();
    let mut orders = example("shop");
    orders.args(["orders", "--registry", ready["ready"]["listen"].as_str().unwrap()]);
    let (orders, mut said) = heard(orders);
    let ready: Value = serde_json::from_str(&line(&mut said).await).unwrap();
    let [listen, readiness] = ["listen", "readiness"].map(|port| ready["ready"][port].as_str().unwrap());
    until_readiness_says(readiness, "HTTP/1.1 200").await;

    let mut slow = TcpStream::connect(listen).await.unwrap();
    slow.write_all(b"GET /slow?ms=10000 HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
    signal(&orders, rustix::process::Signal::TERM);
    until_readiness_says(readiness, "HTTP/1.1 500").await;
    signal(&orders, rustix::process::Signal::TERM);
    assert_eq!(ended(orders).await.status.code(), Some(3));
    assert_eq!(slow.read(&mut [0]).await.unwrap_or(0), 0, "cut, not answered");
}
