//! What the benchmarks have in common: fair rounds, a table for people, a file for programs.
//!
//! Everything that is compared is measured in the same run, in turns, so that whatever else the machine does
//! meets all of them alike; the median of the rounds counts. What a number means alone depends on the
//! machine: read the ratios.

#![allow(dead_code, reason = "each benchmark uses its part")]

use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use std::io::Write as _;
use std::path::Path;
use std::sync::Barrier;
use std::time::Duration;
use tower_graceful::model::{Instance, Metadata, UnixMillis, key};

/// Times by the real clock, whatever a paused runtime says.
#[expect(clippy::disallowed_types, reason = "virtual time measures nothing")]
type RealInstant = std::time::Instant;

/// Name of ours in every report.
pub(crate) const OURS: &str = "tower-graceful";

/// Turns that each subject takes.
const ROUNDS: usize = 41;

/// Operations that do not count.
const WARM_UP: u32 = 1000;

/// Length of a turn: shorter than a time slice of the scheduler, so that most are not interrupted.
const TURN: Duration = Duration::from_millis(2);

/// One program's results.
pub(crate) struct Report {
    name: &'static str,
    lines: Vec<Line>,
}

struct Line {
    case: &'static str,
    subject: &'static str,
    n: usize,
    threads: usize,
    value: f64,
    unit: &'static str,
}

/// What is measured against others: a name, and one turn of so many operations, from which comes the time of
/// one of them as one thread sees it, in nanoseconds.
pub(crate) struct Subject<'a> {
    name: &'static str,
    turn: Box<dyn FnMut(u32) -> f64 + 'a>,
}

impl<'a> Subject<'a> {
    /// Runs `operation`, which waits for nobody, again and again on one thread.
    pub(crate) fn alone(name: &'static str, mut operation: impl FnMut() + 'a) -> Self {
        Self { name, turn: Box::new(move |times| spent(times, &mut operation)) }
    }

    /// Runs on so many threads at once what `operation` makes for each.
    pub(crate) fn threads<F: FnMut()>(
        name: &'static str,
        threads: usize,
        operation: impl Fn() -> F + Sync + 'a,
    ) -> Self {
        let turn = move |times| {
            let (start, operation) = (Barrier::new(threads), &operation);
            let total: f64 = std::thread::scope(|scope| {
                let run = || {
                    let mut operation = operation();
                    start.wait();
                    timed(times, &mut operation)
                };
                let running: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
                running.into_iter().map(|thread| thread.join().expect("no subject panics")).sum()
            });
            total / threads as f64
        };
        Self { name, turn: Box::new(turn) }
    }

    /// Something that times its turns itself.
    pub(crate) fn timed(name: &'static str, turn: impl FnMut(u32) -> f64 + 'a) -> Self {
        Self { name, turn: Box::new(turn) }
    }
}

/// Nanoseconds of one of so many operations.
pub(crate) fn timed(times: u32, operation: &mut impl FnMut()) -> f64 {
    let started = RealInstant::now();
    (0..times).for_each(|_| operation());
    started.elapsed().as_secs_f64() * 1e9 / f64::from(times)
}

/// Nanoseconds of this thread's CPU time that one of so many operations takes, when none of them waits: what
/// else the machine does meanwhile does not count.
pub(crate) fn spent(times: u32, operation: &mut impl FnMut()) -> f64 {
    let started = cpu_s(ClockId::ThreadCPUTime);
    (0..times).for_each(|_| operation());
    (cpu_s(ClockId::ThreadCPUTime) - started) * 1e9 / f64::from(times)
}

/// CPU time so far, in seconds, of this thread or of the process.
pub(crate) fn cpu_s(clock: ClockId) -> f64 {
    let spent = clock_gettime(clock);
    spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9
}

impl Report {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, lines: Vec::new() }
    }

    /// Nanoseconds per operation of each, measured in turns.
    pub(crate) fn compare(
        &mut self,
        case: &'static str,
        n: usize,
        threads: usize,
        subjects: Vec<Subject<'_>>,
    ) {
        for (subject, ns) in medians(subjects) {
            self.add(Line { case, subject, n, threads, value: ns, unit: "ns" });
        }
    }

    /// Operations per second of all threads together, measured in turns.
    pub(crate) fn compare_rates(
        &mut self,
        case: &'static str,
        n: usize,
        threads: usize,
        subjects: Vec<Subject<'_>>,
    ) {
        for (subject, ns) in medians(subjects) {
            let value = threads as f64 * 1e9 / ns;
            self.add(Line { case, subject, n, threads, value, unit: "ops/s" });
        }
    }

    /// A value that was found in another way.
    pub(crate) fn value(
        &mut self,
        case: &'static str,
        subject: &'static str,
        (n, threads): (usize, usize),
        (value, unit): (f64, &'static str),
    ) {
        self.add(Line { case, subject, n, threads, value, unit });
    }

    fn add(&mut self, line: Line) {
        if self.lines.is_empty() {
            say(&format!("{:16}{:32}{:>7}{:>9}{:>16}", "case", "subject", "n", "threads", "value"));
        }
        let Line { case, subject, n, threads, value, unit } = line;
        say(&format!("{case:16}{subject:32}{n:>7}{threads:>9}{value:>16.1} {unit}"));
        self.lines.push(line);
    }

    /// Writes `target/bench-report/NAME.json`.
    pub(crate) fn finish(self) -> std::io::Result<()> {
        let lines: Vec<_> = self.lines.iter().map(Line::to_json).collect();
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-report");
        std::fs::create_dir_all(&directory)?;
        let file = directory.join(self.name).with_extension("json");
        std::fs::write(&file, serde_json::to_vec_pretty(&lines)?)?;
        say(&format!("written: {}", file.display()));
        Ok(())
    }
}

impl Line {
    fn to_json(&self) -> serde_json::Value {
        let Self { case, subject, n, threads, value, unit } = self;
        json!({"case": case, "subject": subject, "n": n, "threads": threads, "value": value, "unit": unit})
    }
}

fn medians(mut subjects: Vec<Subject<'_>>) -> impl Iterator<Item = (&'static str, f64)> {
    let times: Vec<u32> = subjects.iter_mut().map(Subject::times).collect();
    let mut found = vec![Vec::with_capacity(ROUNDS); subjects.len()];
    for _ in 0..ROUNDS {
        for ((subject, times), found) in subjects.iter_mut().zip(&times).zip(&mut found) {
            found.push((subject.turn)(*times));
        }
    }
    let names: Vec<_> = subjects.iter().map(|subject| subject.name).collect();
    names.into_iter().zip(found.into_iter().map(|mut found| median(&mut found)))
}

impl Subject<'_> {
    /// How many operations make a turn, found after the first ones: these may have more to do than others.
    fn times(&mut self) -> u32 {
        (self.turn)(WARM_UP);
        let mut times = 1;
        loop {
            let turn = Duration::from_secs_f64((self.turn)(times) * f64::from(times) / 1e9);
            if turn >= TURN || times >= 1 << 24 {
                return times;
            }
            times *= 2;
        }
    }
}

pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

fn say(line: &str) {
    // Whoever has closed the pipe does not want to read on; the file is written all the same.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Instances of one service: warm ones, or all within a ramp that lasts as long as any benchmark.
pub(crate) fn fleet(n: usize, ramping: bool) -> Vec<Instance> {
    (0..n).map(|index| instance(index, ramping)).collect()
}

fn instance(index: usize, ramping: bool) -> Instance {
    let address = format!("10.0.{}.{}:8080", index / 250, index % 250).parse().expect("an address");
    let metadata = if ramping { ramp(index) } else { Vec::new() };
    Instance::new(address).with_metadata(Metadata::from_iter(metadata))
}

/// Each of another age, so that no two weights are the same.
fn ramp(index: usize) -> Vec<(&'static str, String)> {
    let age = Duration::from_millis(10_000_000 + 5_000 * index as u64);
    let now = tower_graceful::Clock::system().now();
    let start = UnixMillis::new(now.as_u64().saturating_sub(u64::try_from(age.as_millis()).unwrap_or(0)));
    vec![
        (key::EPOCH, start.to_string()),
        (key::WARM_UP, "86400".to_owned()),
        (key::WARM_UP_START, start.to_string()),
    ]
}
