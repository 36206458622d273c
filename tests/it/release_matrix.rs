//! The matrix of releases as people run it; the tests of its parts come with it.

#[path = "../../examples/release_matrix/main.rs"]
#[allow(dead_code, clippy::duplicate_mod, reason = "the program itself, for the tests of its parts")]
mod program;

use super::shop::example;
use serde_json::Value;
use std::time::Duration;
use tokio::time::timeout;

/// A short cell takes 7 s; a machine that runs other tests beside it is given more.
const CELL_MAX: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_cell_counts_what_was_sent_and_finds_it_whole() {
    let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut matrix = example("release_matrix");
    matrix.current_dir(directory).args(["--short", "--only", "grpc same-port", "--output", "json"]);
    let output = timeout(CELL_MAX, matrix.output()).await.unwrap().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let why = String::from_utf8_lossy(&output.stderr);
    // A machine that is too busy for the load is no failure of the cell; a lost request is.
    assert!(matches!(output.status.code(), Some(0 | 2)), "{said} {why}");
    assert_eq!(said.lines().count(), 1, "{said}");
    let report: Value = serde_json::from_str(&said).unwrap();
    let cell = &report["cells"][0];
    assert_eq!((cell["protocol"].as_str(), cell["scenario"].as_str()), (Some("gRPC"), Some("same-port")));
    let count = |key: &str| cell[key].as_u64();
    assert_eq!(
        (count("sent"), count("lost"), count("executed_twice")),
        (Some(2_000), Some(0), Some(0)),
        "{said}"
    );
    assert!(count("drain_ms_p50") > Some(0) && count("drain_ms_max") >= count("drain_ms_p50"), "{said}");
}

#[tokio::test]
async fn a_pattern_that_names_no_cell_is_refused_with_those_there_are() {
    let output = example("release_matrix").args(["--only", "no such thing"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("HTTP/2 offline-then-sigterm"), "{said}");
}
