//! What a release comes to: the figures, as a table for people and as one line of JSON for programs.

use super::ramp;
use super::record::{Answer, Failed, Instance, Record};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::fmt::{Display, Write};
use std::time::Duration;
use tower_graceful::model::UnixMillis;

/// Above this, the generator itself was too late for a run to prove anything, in milliseconds.
pub const LAG_MS_MAX: f64 = 100.0;
/// Width of the table's first column, in characters.
const NAME_WIDTH: usize = 38;
/// Width of each further column, in characters.
const VALUE_WIDTH: usize = 24;

/// What is printed as JSON: a release, and the same one done the plain way if that was asked for.
#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    ours: Figures,
    compare: Option<Figures>,
}

/// The figures of one release.
#[derive(Debug, Serialize)]
pub struct Figures {
    #[serde(skip)]
    title: &'static str,
    sent: usize,
    failed: usize,
    failed_by_kind: BTreeMap<String, usize>,
    executed_twice: usize,
    schedule_lag_ms_p99: f64,
    #[serde(skip)]
    p50_ms: Latency,
    p99_ms: Latency,
    drain_ms: Vec<u64>,
    after_signal: Vec<usize>,
    ramp_rmse_percent: Option<f64>,
    /// Only where processes were killed.
    #[serde(flatten)]
    killed: Option<Killed>,
}

/// What nobody can spare those whose request is under way on a process that is killed.
#[derive(Debug, Serialize)]
struct Killed {
    killed_in_flight: Vec<InFlight>,
    repeated_after_kill: usize,
}

/// A request that was lost with its process and cannot be sent again: because it may have been executed, or
/// because its answer had begun.
#[derive(Debug, Serialize)]
struct InFlight {
    id: String,
    method: String,
    wish: &'static str,
    instance: String,
    answer_begun: bool,
    /// Whether the process had said that the request had reached its handler; what it had not said yet in
    /// its last 50 ms is not known.
    executed: bool,
    reason: String,
}

/// One percentile of latency, in milliseconds: of the short requests that were due before the release, while
/// it was rolled out, and after it. The slow and the streamed ones take as long as they were asked to, and
/// would hide what the release adds. Failed requests count with the time until they failed.
#[derive(Debug, Serialize)]
struct Latency {
    before: f64,
    during: f64,
    after: f64,
}

/// What a run proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was lost, but what was lost with a process that was killed; nothing was done twice.
    Whole,
    /// Something was.
    Lost,
    /// The generator was too late to tell.
    Inconclusive,
}

impl Report {
    /// Sums up `ours`, and `plain` beside it.
    pub fn new(ours: &Record, plain: Option<&Record>) -> Self {
        Self { ours: Figures::of(ours), compare: plain.map(Figures::of) }
    }

    /// Only our own side decides.
    pub fn verdict(&self) -> Verdict {
        let Figures { schedule_lag_ms_p99: lag, failed, executed_twice, ref killed, .. } = self.ours;
        let excused = killed.as_ref().map_or(0, |killed| killed.killed_in_flight.len());
        match () {
            () if lag > LAG_MS_MAX => Verdict::Inconclusive,
            () if failed > excused || executed_twice > 0 => Verdict::Lost,
            () => Verdict::Whole,
        }
    }

    /// The figures as a table, the plain side in a second column.
    pub fn to_table(&self) -> String {
        let sides: Vec<&Figures> = [Some(&self.ours), self.compare.as_ref()].into_iter().flatten().collect();
        let mut table = Table { sides: &sides, text: String::new() };
        table.row("", |side| side.title.to_owned());
        table.row("sent", |side| side.sent.to_string());
        table.row("failed", |side| side.failed.to_string());
        let kinds = sides.iter().flat_map(|side| side.failed_by_kind.keys());
        for kind in kinds.collect::<std::collections::BTreeSet<_>>() {
            let count = |side: &Figures| side.failed_by_kind.get(kind).copied().unwrap_or(0);
            table.row(&format!("  {kind}"), |side| count(side).to_string());
        }
        table.row("executed twice", |side| side.executed_twice.to_string());
        if self.ours.killed.is_some() {
            let of = |side: &Figures, count: fn(&Killed) -> usize| side.killed.as_ref().map_or(0, count);
            let lost = |side: &Figures| of(side, |killed| killed.killed_in_flight.len());
            table.row("of them lost with a killed process", |side| lost(side).to_string());
            let again = |side: &Figures| of(side, |killed| killed.repeated_after_kill);
            table.row("executed again, idempotent", |side| again(side).to_string());
        }
        table.row("p50 before / during / after, ms *", |side| side.p50_ms.to_cell());
        table.row("p99 before / during / after, ms *", |side| side.p99_ms.to_cell());
        table.row("drain of each old instance, ms", |side| list(&side.drain_ms));
        table.row("requests it got after the signal", |side| list(&side.after_signal));
        table.row("ramp missed by (RMSE), % of fair load", |side| {
            side.ramp_rmse_percent.map_or_else(|| "-".to_owned(), |rmse| format!("{rmse:.1}"))
        });
        table.row("generator's own lag p99, ms", |side| format!("{:.1}", side.schedule_lag_ms_p99));
        table.text.push_str("* of the requests that are to be answered at once\n");
        for lost in self.ours.killed.iter().flat_map(|killed| &killed.killed_in_flight) {
            let InFlight { id, method, wish, instance, answer_begun, executed, reason } = lost;
            let how_far = match (answer_begun, executed) {
                (true, _) => "its answer had begun",
                (false, true) => "executed",
                (false, false) => "not known to be executed",
            };
            let line =
                format!("lost with {instance}: request {id} ({method}, {wish}), {how_far}: {reason}\n");
            table.text.push_str(&line);
        }
        table.text
    }
}

impl Figures {
    fn of(record: &Record) -> Self {
        let mut failed_by_kind = BTreeMap::new();
        for (_, Failed { kind, .. }) in record.failures() {
            *failed_by_kind.entry(kind.to_string()).or_default() += 1;
        }
        let drains = record.replaced().filter_map(Instance::drain);
        Self {
            title: record.title,
            sent: record.answers.len(),
            failed: record.failures().count(),
            failed_by_kind,
            executed_twice: record.executed_twice(),
            schedule_lag_ms_p99: percentile_ms(record.answers.iter().map(|answer| answer.lag), 0.99),
            p50_ms: Latency::of(record, 0.5),
            p99_ms: Latency::of(record, 0.99),
            drain_ms: drains.map(|drain| u64::try_from(drain.as_millis()).unwrap_or(u64::MAX)).collect(),
            after_signal: record.replaced().filter_map(Instance::after_signal).collect(),
            ramp_rmse_percent: ramp::worst_rmse_percent(record).map(rounded),
            killed: record.instances.iter().any(|instance| instance.killed).then(|| Killed::of(record)),
        }
    }
}

impl Killed {
    fn of(record: &Record) -> Self {
        let killed = record.instances.iter().filter(|instance| instance.killed);
        let begun: HashSet<&str> = killed.flat_map(Instance::executed_ids).collect();
        let in_flight = record.killed_in_flight().map(|(answer, failed)| {
            let id = answer.number.to_string();
            InFlight {
                method: answer.method.to_string(),
                wish: answer.wish,
                instance: failed.instance.map(|instance| instance.to_string()).unwrap_or_default(),
                answer_begun: failed.begun,
                executed: begun.contains(id.as_str()),
                reason: failed.reason.clone(),
                id,
            }
        });
        Self { killed_in_flight: in_flight.collect(), repeated_after_kill: record.repeated_after_kill() }
    }
}

impl Latency {
    fn of(record: &Record, share: f64) -> Self {
        let (from, until) = record.rolled;
        let (from, until) = (from.unwrap_or(record.ended), until.unwrap_or(record.ended));
        let of = |part: fn(&Answer, UnixMillis, UnixMillis) -> bool| {
            let answers = record.answers.iter().filter(|answer| answer.short && part(answer, from, until));
            percentile_ms(answers.map(|answer| answer.latency), share)
        };
        Self {
            before: of(|answer, from, _| answer.due < from),
            during: of(|answer, from, until| (from..until).contains(&answer.due)),
            after: of(|answer, _, until| answer.due >= until),
        }
    }

    fn to_cell(&self) -> String {
        format!("{:.1} / {:.1} / {:.1}", self.before, self.during, self.after)
    }
}

/// The smallest span that at least `share` of all `spans` do not exceed, in milliseconds; 0 without any.
fn percentile_ms(spans: impl Iterator<Item = Duration>, share: f64) -> f64 {
    let mut spans: Vec<Duration> = spans.collect();
    spans.sort_unstable();
    let rank = (1..=spans.len()).find(|rank| *rank as f64 >= share * spans.len() as f64);
    rank.map_or(0.0, |rank| rounded(spans[rank - 1].as_secs_f64() * 1000.0))
}

/// To three digits after the point: what a clock of milliseconds and a line for people can bear.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

fn list(numbers: &[impl Display]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Rows of text, a column for each side.
struct Table<'a> {
    sides: &'a [&'a Figures],
    text: String,
}

impl Table<'_> {
    fn row(&mut self, name: &str, cell: impl Fn(&Figures) -> String) {
        let _ = write!(self.text, "{name:NAME_WIDTH$}"); // Writing to a string cannot fail.
        for side in self.sides {
            let _ = write!(self.text, "{:>VALUE_WIDTH$}", cell(side));
        }
        self.text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::Failure;
    use super::*;
    use http::Method;

    fn answer(due: u64, latency_ms: u64, outcome: Result<(), Failure>) -> Answer {
        Answer::to_a_read(UnixMillis::new(due), Duration::from_millis(latency_ms), outcome)
    }

    fn record() -> Record {
        let mut record = Record::new("test", 100.0, UnixMillis::new(0));
        record.rolled = (Some(UnixMillis::new(1_000)), Some(UnixMillis::new(2_000)));
        record.ended = UnixMillis::new(3_000);
        record.answers = vec![answer(999, 10, Ok(())), answer(1_000, 20, Ok(())), answer(2_000, 30, Ok(()))];
        let mut instance = Instance::new("v1", "127.0.0.1:1".parse().unwrap());
        instance.executions = vec![("a".to_owned(), UnixMillis::new(1_600))];
        instance.signalled = Some(UnixMillis::new(1_500));
        instance.exited = Some(UnixMillis::new(1_800));
        record.instances.push(instance);
        record
    }

    #[test]
    fn the_json_is_one_line_with_exactly_these_keys() {
        let failing = Record { answers: vec![answer(0, 1, Err(Failure::Status(502)))], ..record() };
        let json = serde_json::to_string(&Report::new(&record(), Some(&failing))).unwrap();
        let figures = |sent, failed, kinds, before, during, after| {
            format!(
                "\"sent\":{sent},\"failed\":{failed},\"failed_by_kind\":{kinds},\"executed_twice\":0,\
                 \"schedule_lag_ms_p99\":1.2,\
                 \"p99_ms\":{{\"before\":{before},\"during\":{during},\"after\":{after}}},\
                 \"drain_ms\":[300],\"after_signal\":[1],\"ramp_rmse_percent\":null"
            )
        };
        let (ours, plain) = (
            figures(3, 0, "{}", "10.0", "20.0", "30.0"),
            figures(1, 1, r#"{"status_502":1}"#, "1.0", "0.0", "0.0"),
        );
        assert_eq!(json, format!("{{{ours},\"compare\":{{{plain}}}}}"));
        let alone = serde_json::to_string(&Report::new(&record(), None)).unwrap();
        assert_eq!(alone, format!("{{{ours},\"compare\":null}}"));
    }

    #[test]
    fn only_our_own_side_decides_and_a_late_generator_decides_nothing() {
        let failing = Record { answers: vec![answer(0, 1, Err(Failure::Broken))], ..record() };
        assert_eq!(Report::new(&record(), Some(&failing)).verdict(), Verdict::Whole);
        assert_eq!(Report::new(&failing, Some(&record())).verdict(), Verdict::Lost);
        let mut late = failing.clone();
        late.answers[0].lag = Duration::from_millis(101);
        assert_eq!(Report::new(&late, None).verdict(), Verdict::Inconclusive);
        let mut twice = record();
        twice.instances[0].executions.push(("a".to_owned(), UnixMillis::new(1_700)));
        assert_eq!(Report::new(&twice, None).verdict(), Verdict::Lost);
    }

    #[test]
    fn what_was_lost_with_a_killed_process_is_listed_and_excused() {
        let mut record = record();
        record.instances[0].killed = true;
        let failed = Failed {
            instance: Some(record.instances[0].address),
            reason: "connection reset".to_owned(),
            ..Failure::Status(502).into()
        };
        let create = |number, due| {
            let (wish, method, outcome) = ("create", Method::POST, Err(failed.clone()));
            Answer { number, wish, method, outcome, ..answer(due, 20, Ok(())) }
        };
        record.answers.push(create(7, 1_490));
        let report = Report::new(&record, None);
        assert_eq!(report.verdict(), Verdict::Whole);
        let json = serde_json::to_string(&report).unwrap();
        let listed = "\"killed_in_flight\":[{\"id\":\"7\",\"method\":\"POST\",\"wish\":\"create\",\
                      \"instance\":\"127.0.0.1:1\",\"answer_begun\":false,\"executed\":false,\"reason\":\"connection reset\"}],\
                      \"repeated_after_kill\":0";
        assert!(json.contains(listed), "{json}");
        assert!(report.to_table().contains("request 7 (POST, create), not known to be executed"), "{json}");
        record.answers.push(create(8, 1_900));
        assert_eq!(Report::new(&record, None).verdict(), Verdict::Lost);
    }

    #[test]
    fn a_percentile_is_one_of_the_values_and_never_too_small() {
        let of = |count: u64, share| percentile_ms((1..=count).map(Duration::from_millis), share);
        assert_eq!(of(100, 0.99), 99.0);
        assert_eq!(of(101, 0.99), 100.0);
        assert_eq!(of(1, 0.5), 1.0);
        assert_eq!(of(0, 0.99), 0.0);
    }

    #[test]
    fn what_was_asked_to_be_slow_is_no_latency() {
        let mut record = record();
        record.answers.push(Answer { short: false, ..answer(1_500, 400, Ok(())) });
        assert_eq!(Latency::of(&record, 0.99).during, 20.0);
    }

    #[test]
    fn the_table_has_a_column_for_each_side_and_a_row_for_each_kind_of_failure() {
        let failing = Record { answers: vec![answer(0, 1, Err(Failure::Timeout))], ..record() };
        let table = Report::new(&record(), Some(&failing)).to_table();
        let cells = |name: &str| -> Vec<&str> {
            let row = table.lines().find(|row| row.trim_start().starts_with(name)).unwrap();
            row[NAME_WIDTH..].split_whitespace().collect()
        };
        assert_eq!(cells("sent"), ["3", "1"]);
        assert_eq!(cells("timeout"), ["0", "1"]);
        assert_eq!(cells("drain"), ["300", "300"]);
    }
}
