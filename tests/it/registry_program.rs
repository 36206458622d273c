//! `graceful registry` as operators meet it: a process with settings and signals.

use super::registry_kept::Directory;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

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

/// `graceful registry` on any port, which has said that it is ready.
struct Process {
    child: Child,
    http: SocketAddr,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    fn start(arguments: &[&str]) -> Self {
        let mut program = Command::new(env!("CARGO_BIN_EXE_graceful"));
        program.args(["registry", "--http-port", "0"]).args(arguments);
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
