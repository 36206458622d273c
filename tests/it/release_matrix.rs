//! The matrix of releases as people run it; the tests of its parts come with it.

#[path = "../../examples/release_matrix/main.rs"]
#[allow(dead_code, clippy::duplicate_mod, reason = "the program itself, for the tests of its parts")]
mod program;

use super::shop::example;
use serde_json::Value;
use std::time::Duration;
use tokio::time::timeout;

/// Two short cells take 15 s; a machine that runs other tests beside them is given more.
const CELL_MAX: Duration = Duration::from_secs(90);

/// What the short form says of the cells that `only` names.
async fn cells(only: &str, flags: &[&str]) -> (Value, String) {
    let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut matrix = example("release_matrix");
    matrix.current_dir(directory).args(["--short", "--only", only, "--output", "json"]).args(flags);
    let output = timeout(CELL_MAX, matrix.output()).await.unwrap().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let why = String::from_utf8_lossy(&output.stderr);
    // A machine that is too busy for the load is no failure of the cell; a lost request is.
    assert!(matches!(output.status.code(), Some(0 | 2)), "{said} {why}");
    assert_eq!(said.lines().count(), 1, "{said}");
    (serde_json::from_str(&said).unwrap(), said)
}

#[tokio::test]
async fn a_cell_counts_what_was_sent_and_finds_it_whole() {
    let (report, said) = cells("grpc same-port", &[]).await;
    let cell = &report["cells"][0];
    assert_eq!((cell["protocol"].as_str(), cell["scenario"].as_str()), (Some("gRPC"), Some("same-port")));
    let count = |key: &str| cell[key].as_u64();
    assert_eq!(
        (count("sent"), count("lost"), count("executed_twice")),
        (Some(2_000), Some(0), Some(0)),
        "{said}"
    );
    assert!(count("drain_ms_p50") > Some(0) && count("drain_ms_max") >= count("drain_ms_p50"), "{said}");
    assert!(report.get("compare").is_none(), "{said}");
}

#[tokio::test]
async fn a_blind_sleep_takes_longer_than_to_watch_or_loses_requests() {
    let (report, said) = cells("http/2", &["--compare"]).await;
    let [[ours], [theirs]] = ["cells", "compare"].map(|key| report[key].as_array().unwrap().as_slice())
    else {
        panic!("one of each: {said}")
    };
    assert_eq!((ours["scenario"].as_str(), ours["lost"].as_u64()), (Some("stale-list"), Some(0)), "{said}");
    let [our_drain, their_drain] = [ours, theirs].map(|cell| cell["drain_ms_p50"].as_u64());
    assert!(their_drain > our_drain || theirs["lost"].as_u64() > Some(0), "{said}");
}

#[tokio::test]
async fn a_pattern_that_names_no_cell_is_refused_with_those_there_are() {
    let output = example("release_matrix").args(["--only", "no such thing"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("HTTP/2 offline-then-sigterm"), "{said}");
}
