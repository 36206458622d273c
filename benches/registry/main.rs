//! What the registry can do: requests in a second, time until subscribers know, memory.
//!
//! ```console
//! $ cargo bench --features full --bench registry
//! $ cargo bench --features full --bench registry -- list memory
//! ```
//!
//! The release binary runs as a process on cores 0 and 1, the load comes from cores 2 and 3, over loopback;
//! on fewer cores there is nothing to compare, and the program says so. Every answer's content is checked.
//! Where `rnacos` is on the PATH it is driven by the same code, in turns.
//!
//! - `register`, `register-one`, `beat-full`, `beat-light`, `list`, `grpc-register`, `grpc-query`: requests in
//!   a second with 64 connections, each with one request under way; with `-cpu`, the registry's CPU time for
//!   one, which depends less on what else the machine does.
//! - `change`: milliseconds from a change to the last of `n` subscribers; `lost-fin` and `lost-rst`: from the
//!   end of a connection that publishes in `n` services until ten subscribers know.
//! - `storm`: pushes in a second to one of `n` subscribers at 1000 changes a second; `storm-stale`: age of
//!   the oldest change that some subscriber did not know; `storm-memory`: growth; `storm-changes`: made.
//! - `abuse-..`: milliseconds from a change until half of 200 subscribers know, and with `-p99` until nearly all
//!   do, while `n` others abuse the registry; with `-x` and `-p99-x` how many times that of the calm before
//!   and after; with `-memory` what it occupies then, and with `-after` once they have gone.
//! - `memory-idle`, `memory-each` for one of 100 000 instances, `memory-after` they left.
//! - `crowd-each` of 100 000 instances over gRPC and of 1000 subscribers; `crowd-half` and `crowd-most`: until a
//!   half and 99 of a hundred of them know of a change; `crowd-rest`: CPU time of a second without one.
//! - `page-..` (of `overview`): milliseconds of the console's first page over 100 000 instances in 1000 services, of
//!   which a hundred change each second: the first request, HTML, JSON, the last page and a search; with `-worst`
//!   the slowest of a hundred, with `-bytes` the largest answer. To be held: 100 ms and 200 KB.

mod abuse;
mod crowd;
mod fleet;
mod grpc;
mod http;
mod load;
mod memory;
mod overview;
mod process;
mod pushes;
mod rates;
#[path = "../report/mod.rs"]
mod report;
mod unary;

use grpc::End;
use load::CONNECTIONS;
use process::Subject;
use rates::Rate;
use report::{OURS, Report, median};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use tower_graceful::BoxError;

/// Cores that the load comes from; the registry has the two before them.
const CORES: &str = "2,3";
const CORES_NEEDED: usize = 4;
/// Set for the process that is on those cores.
const PINNED: &str = "BENCH_REGISTRY_PINNED";
/// Turns that each subject takes at what is not repeated by itself.
const ROUNDS: usize = 3;

type Found = (&'static str, (usize, usize), f64, &'static str);
type Run = fn(&Subject) -> Result<Vec<Found>, BoxError>;

/// By the names that can be asked for, each with its rounds.
const SCENARIOS: [(&str, usize, Run); 11] = [
    ("register", ROUNDS, |subject| Ok(found(rates::spread(subject)?))),
    ("register-one", ROUNDS, |subject| Ok(found(rates::one_service(subject)?))),
    ("list", ROUNDS, |subject| Ok(found(rates::reads(subject)?))),
    ("grpc-register", ROUNDS, |subject| Ok(found(rates::grpc_register(subject)?))),
    ("change", 1, change),
    ("lost", 1, lost),
    ("storm", 1, storm),
    ("memory", 1, memory),
    ("abuse", 1, abuse),
    ("crowd", 1, crowd),
    ("overview", 1, overview),
];

fn main() -> Result<(), BoxError> {
    let cores = std::thread::available_parallelism()?.get();
    let pinned = std::env::var_os(PINNED).is_some();
    if cores < CORES_NEEDED && !pinned {
        let text = "skipped: the registry and its load need two cores each, and there are";
        return Ok(writeln!(std::io::stdout(), "{text} {cores}")?);
    }
    if !pinned {
        let mut this = Command::new("taskset");
        this.args(["-c", CORES]).arg(std::env::current_exe()?).args(std::env::args().skip(1));
        return Err(this.env(PINNED, "1").exec().into()); // Returns only when it cannot.
    }
    let asked: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let subjects = Subject::all();
    let mut report = Report::new("registry");
    for (name, rounds, run) in SCENARIOS {
        if asked.is_empty() || asked.iter().any(|asked| asked == name) {
            compare(&mut report, &subjects, rounds, run)?;
        }
    }
    Ok(report.finish()?)
}

/// Each subject in turn, several times over; the medians count.
fn compare(report: &mut Report, subjects: &[Subject], rounds: usize, run: Run) -> Result<(), BoxError> {
    let mut all: Vec<(&'static str, Found, Vec<f64>)> = Vec::new();
    for round in 0..rounds {
        for turn in 0..subjects.len() {
            let subject = &subjects[(round + turn) % subjects.len()]; // Nobody is always the first.
            let found = match run(subject) {
                // What a peer cannot do is said, and the others are measured all the same.
                Err(error) if subject.name != OURS => {
                    writeln!(std::io::stdout(), "{} failed: {error}", subject.name)?;
                    continue;
                }
                found => found?,
            };
            for found in found {
                let same = |(name, (case, n, ..), _): &&mut (&'static str, Found, Vec<f64>)| {
                    (*name, *case, *n) == (subject.name, found.0, found.1)
                };
                match all.iter_mut().find(same) {
                    Some((.., values)) => values.push(found.2),
                    None => all.push((subject.name, found, vec![found.2])),
                }
            }
        }
    }
    for (name, (case, n, _, unit), mut values) in all {
        report.value(case, name, n, (median(&mut values), unit));
    }
    Ok(())
}

fn found(rates: Vec<Rate>) -> Vec<Found> {
    let both = |rate: Rate| {
        let n = (rate.requests, CONNECTIONS);
        [(rate.case, n, rate.per_second, "ops/s"), (cpu(rate.case), n, rate.cpu_us, "us")]
    };
    rates.into_iter().flat_map(both).collect()
}

fn cpu(case: &str) -> &'static str {
    match case {
        "register" => "register-cpu",
        "register-one" => "register-one-cpu",
        "beat-full" => "beat-full-cpu",
        "beat-light" => "beat-light-cpu",
        "list" => "list-cpu",
        "grpc-register" => "grpc-register-cpu",
        _ => "grpc-query-cpu",
    }
}

fn change(subject: &Subject) -> Result<Vec<Found>, BoxError> {
    let one = |n| Ok(("change", (n, 1), median(&mut pushes::change(subject, n)?), "ms"));
    [200, 1000].into_iter().map(one).collect()
}

fn lost(subject: &Subject) -> Result<Vec<Found>, BoxError> {
    let ways = [("lost-fin", End::Fin), ("lost-rst", End::Rst)];
    let all = ways.into_iter().flat_map(|way| [(way, 1), (way, 20)]);
    let one = |((case, end), n)| Ok((case, (n, 1), median(&mut pushes::lost(subject, n, end)?), "ms"));
    all.map(one).collect()
}

fn storm(subject: &Subject) -> Result<Vec<Found>, BoxError> {
    let n = (1000, 1);
    let storm = pushes::storm(subject, n.0)?;
    Ok(vec![
        ("storm", n, storm.pushes, "pushes/s"),
        ("storm-stale", n, storm.stale_ms, "ms"),
        ("storm-memory", n, storm.grown, "x"),
        ("storm-changes", n, storm.changes, "ops/s"),
    ])
}

fn memory(subject: &Subject) -> Result<Vec<Found>, BoxError> {
    let memory = memory::memory(subject)?;
    let n = (memory::INSTANCES, 1);
    Ok(vec![
        ("memory-idle", (0, 1), memory.idle / (1024.0 * 1024.0), "MiB"),
        ("memory-each", n, memory.per_instance, "bytes"),
        ("memory-after", n, memory.after / (1024.0 * 1024.0), "MiB"),
    ])
}

fn abuse(subject: &Subject) -> Result<Vec<Found>, BoxError> {
    if subject.name != OURS {
        return Ok(Vec::new()); // A bound of ours is held, and nobody is compared.
    }
    abuse::abuse(subject)
}

fn crowd(subject: &Subject) -> Result<Vec<Found>, BoxError> {
    let crowd = crowd::crowd(subject)?;
    let (instances, n) = ((crowd::INSTANCES, 1), (crowd::SUBSCRIBERS, 1));
    Ok(vec![
        ("crowd-each", instances, crowd.per_instance, "bytes"),
        ("crowd-each", n, crowd.per_subscriber, "bytes"),
        ("crowd-half", n, crowd.half_ms, "ms"),
        ("crowd-most", n, crowd.most_ms, "ms"),
        ("crowd-rest", n, crowd.rest_ms, "ms/s"),
    ])
}

fn overview(subject: &Subject) -> Result<Vec<Found>, BoxError> {
    if subject.name != OURS {
        return Ok(Vec::new()); // Nobody else has such a page.
    }
    let n = (overview::INSTANCES, 1);
    let three = |kind: overview::Kind| {
        let [worst, bytes] = match kind.case {
            "page-cold" => ["page-cold-worst", "page-cold-bytes"],
            "page-html" => ["page-html-worst", "page-html-bytes"],
            "page-json" => ["page-json-worst", "page-json-bytes"],
            "page-last" => ["page-last-worst", "page-last-bytes"],
            _ => ["page-find-worst", "page-find-bytes"],
        };
        [
            (kind.case, n, kind.ms, "ms"),
            (worst, n, kind.worst_ms, "ms"),
            (bytes, n, kind.bytes as f64, "bytes"),
        ]
    };
    Ok(overview::overview(subject)?.into_iter().flat_map(three).collect())
}
