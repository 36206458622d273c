//! `graceful registry` as operators meet it: a process with settings and signals.

use super::registry::{Running, SOON};
use super::registry_kept::Directory;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread;
use std::time::Duration;
use tokio::time::timeout;
use tower_graceful::Nacos;

fn check_config(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_graceful"));
    program.args(["registry", "--check-config"]).args(arguments).envs(environment.iter().copied());
    let Output { status, stdout, stderr } = program.output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn settings_are_checked_and_shown_with_their_source_and_nothing_starts() {
    let directory = Directory::new("config");
    let file = directory.0.join("registry.toml");
    std::fs::write(&file, "http-port = 18848\nmetadata-chars-max = 1024\n").unwrap();
    let file = file.to_str().unwrap();
    let (code, stdout, stderr) = check_config(
        &["--http-port", "0"],
        &[("GRACEFUL_REGISTRY_CONFIG", file), ("GRACEFUL_REGISTRY_NO_AUTH", "true")],
    );
    assert_eq!(code, Some(0), "{stderr}");
    for (line, source) in [
        ("http-port = 0 ", "# --http-port"),
        ("metadata-chars-max = 1024 ", file),
        ("no-auth = true ", "# GRACEFUL_REGISTRY_NO_AUTH"),
        ("connections-max = 10000 ", "# default"),
    ] {
        assert!(
            stdout.lines().any(|shown| shown.starts_with(line) && shown.ends_with(source)),
            "{line}: {stdout}"
        );
    }
    let (code, _, stderr) = check_config(&["--no-auth=false", "--bind", "::", "--config", file], &[]);
    assert!(code == Some(2) && stderr.contains("no-auth"), "{stderr}");

    std::fs::write(file, "htpp-port = 1\nconnections-max = 0\n").unwrap();
    let (code, _, stderr) = check_config(&["--config", file], &[]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains(r#"there is no setting "htpp-port": the nearest is "http-port""#), "{stderr}");
    assert!(stderr.contains("accepted is 1 to 1000000"), "{stderr}");
    let (code, _, stderr) = check_config(&["--config", "/nowhere.toml"], &[]);
    assert!(code == Some(2) && stderr.contains("config: cannot read /nowhere.toml"), "{stderr}");
}

#[test]
fn what_settings_need_beside_them_is_looked_at_too() {
    let directory = Directory::new("config-files");
    let file = |name: &str| directory.0.join(name).to_str().unwrap().to_owned();
    std::fs::write(file("garbage.pem"), "no certificate").unwrap();
    std::fs::write(file("short"), "short\n").unwrap();
    let (garbage, short, absent) = (file("garbage.pem"), file("short"), file("absent"));
    for (arguments, code, said) in [
        (&["--tls-cert", &absent, "--tls-key", &absent][..], 1, "tls-cert"),
        (&["--tls-cert", &garbage, "--tls-key", &garbage], 1, "there is no PEM certificate in it"),
        (&["--admin-user", "ops"], 2, "GRACEFUL_REGISTRY_ADMIN_PASSWORD"),
        (&["--admin-user", "ops", "--admin-password-file", &absent], 1, "absent"),
        (&["--admin-user", "ops", "--admin-password-file", &short], 2, "8 to 256"),
    ] {
        let (got, _, stderr) = check_config(arguments, &[]);
        assert!(got == Some(code) && stderr.contains(said), "{arguments:?}: {got:?} {stderr}");
    }
    let (code, shown, stderr) =
        check_config(&["--admin-user", "ops"], &[("GRACEFUL_REGISTRY_ADMIN_PASSWORD", "correct horse")]);
    assert!(code == Some(0) && !shown.contains("horse"), "{shown}{stderr}");
}

/// `graceful registry` on any port, which has said that it is ready.
struct Process {
    child: Child,
    http: SocketAddr,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[])
    }

    fn start_with(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut program = Command::new(env!("CARGO_BIN_EXE_graceful"));
        program.args(["registry", "--http-port", "0"]).args(arguments).envs(environment.iter().copied());
        let mut child = program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut ready = String::new();
        stdout.read_line(&mut ready).unwrap();
        let http = ready.strip_prefix("registry ready: http ").and_then(|rest| rest.split(',').next());
        Self { http: http.unwrap().parse().unwrap(), stdout, child }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Its exit code, and the lines of its log.
    fn end(mut self) -> (Option<i32>, Vec<String>) {
        let log = BufReader::new(self.child.stderr.take().unwrap()).lines().map(Result::unwrap).collect();
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "one line, and no more");
        (self.child.wait().unwrap().code(), log)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

#[test]
fn the_log_is_json_where_that_is_asked_for() {
    let process = Process::start(&["--log-format", "json"]);
    assert!(process.http.ip().is_loopback());
    process.signal("-TERM");
    let (code, log) = process.end();
    assert_eq!(code, Some(0));
    let messages = log.iter().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        line["message"].as_str().unwrap().to_owned()
    });
    assert!(messages.rev().any(|message| message == "registry stopped"), "{log:?}");
}

/// A request that is under way: its head has come, and of its body of two bytes none.
fn begin_request(process: &Process) -> TcpStream {
    let mut stream = TcpStream::connect(process.http).unwrap();
    let head = "GET /nacos/v1/ns/instance/list?serviceName=orders HTTP/1.1\r\nhost: registry\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut asked_for = [0; 25];
    stream.read_exact(&mut asked_for).unwrap();
    assert_eq!(&asked_for, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

/// Waits until the registry takes no connections any more, as it does at the end.
fn until_closed(process: &Process) {
    let closes = std::iter::repeat_with(|| TcpStream::connect(process.http).is_err());
    let looks = closes.inspect(|_| thread::sleep(Duration::from_millis(10)));
    assert!(looks.take(1000).any(|closed| closed), "the port does not close");
}

#[test]
fn a_request_under_way_is_answered_after_the_signal() {
    let process = Process::start(&["--shutdown-seconds", "60"]);
    let mut request = begin_request(&process);
    process.signal("-TERM");
    until_closed(&process);
    request.write_all(b"a=").unwrap();
    let mut answer = String::new();
    request.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("hosts"), "{answer}");
    assert_eq!(process.end().0, Some(0));
}

#[test]
fn systemd_is_told_when_the_registry_is_ready_and_when_it_ends() {
    let directory = Directory::new("notify");
    let path = directory.0.join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let told = || {
        let mut state = [0; 256];
        let length = socket.recv(&mut state).unwrap();
        String::from_utf8(state[..length].to_vec()).unwrap()
    };
    let process =
        Process::start_with(&["--shutdown-seconds", "7"], &[("NOTIFY_SOCKET", path.to_str().unwrap())]);
    assert_eq!(told(), "READY=1\nSTATUS=Serving");
    process.signal("-TERM");
    let stopping = "STOPPING=1\nSTATUS=Clients are told to move\nEXTEND_TIMEOUT_USEC=12000000";
    assert_eq!(told(), stopping);
    assert_eq!(process.end().0, Some(0));
}

#[test]
fn health_is_an_exit_code() {
    let process = Process::start(&[]);
    let graceful = || Command::new(env!("CARGO_BIN_EXE_graceful"));
    let health = |address: &str| {
        let asked = graceful().args(["health", "--address", address]).output();
        asked.unwrap().status.code()
    };
    assert_eq!(health(&process.http.to_string()), Some(0));
    let by_variable = graceful().arg("health").env("GRACEFUL_REGISTRY", process.http.to_string()).output();
    assert_eq!(by_variable.unwrap().status.code(), Some(0));
    assert_eq!(health("127.0.0.1:1"), Some(1));
    let request = begin_request(&process); // So that the registry does not end.
    process.signal("-TERM");
    until_closed(&process);
    assert_eq!(health(&process.http.to_string()), Some(1));
    drop(request);
}

#[tokio::test]
async fn what_is_asked_and_pushed_is_measured() {
    let registry = Running::start().await;
    let nacos = Nacos::builder(&registry.http.to_string()).grpc_port(registry.grpc.port()).connect().unwrap();
    let mut orders = nacos.subscribe("orders").await.unwrap();
    let one = "/instance?serviceName=orders&ip=10.0.0.7&port=80";
    assert_eq!(registry.send("POST", one, "").await.0, 200);
    assert_eq!(registry.send("GET", "/instance?serviceName=orders&ip=10.0.0.9&port=80", "").await.0, 404);
    timeout(SOON, orders.wait_for(|list| !list.instances().is_empty())).await.unwrap();
    let measured = async {
        loop {
            let (_, text) = registry.send("GET", "/metrics", "").await;
            if text.contains("registry_push_duration_seconds_count 1") {
                return text;
            }
        }
    };
    let text = timeout(SOON, measured).await.unwrap();
    for line in [
        r#"registry_request_duration_seconds_count{api="POST /nacos/v1/ns/instance"} 1"#,
        r#"registry_requests_failed_total{api="GET /nacos/v1/ns/instance"} 1"#,
        r#"registry_request_duration_seconds_count{api="SubscribeServiceRequest"} 1"#,
        r#"registry_requests_failed_total{api="SubscribeServiceRequest"} 0"#,
        r#"registry_instances{phase="serving"} 1"#,
        "registry_connections 1",
        "registry_push_unacknowledged 0",
        "registry_requests_in_flight 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    nacos.close(SOON).await.unwrap();
    registry.stop().await;
}

#[test]
fn a_second_signal_cuts_what_is_under_way() {
    let process = Process::start(&["--shutdown-seconds", "60"]);
    let request = begin_request(&process);
    process.signal("-TERM");
    until_closed(&process);
    process.signal("-INT");
    let (code, log) = process.end();
    assert_eq!(code, Some(3));
    assert!(log.last().is_some_and(|last| last.contains("SIGINT came again")), "{log:?}");
    drop(request);
}

#[test]
fn what_does_not_end_is_cut_when_its_time_is_up() {
    let process = Process::start(&["--shutdown-seconds", "1"]);
    let request = begin_request(&process);
    process.signal("-TERM");
    let (code, log) = process.end();
    assert_eq!(code, Some(0));
    assert!(log.iter().any(|line| line.contains("connections were cut")), "{log:?}");
    drop(request);
}
