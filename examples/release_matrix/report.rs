//! What the cells come to: a line each for people, one line of JSON for programs, and the exit code.

use super::common::line::{Lost, Outcome};
use super::scenario::Case;
use super::tally::Book;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

/// Above this, the load itself was too late for a cell to prove anything, in milliseconds.
const LAG_MS_MAX: f64 = 100.0;

/// All cells that came to an end.
#[derive(Debug, Default, Serialize)]
pub struct Matrix {
    pub cells: Vec<Cell>,
    /// What others make of them, where that was asked for: it proves nothing about us.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub compare: Vec<Cell>,
    /// How many others there were.
    #[serde(skip)]
    pub failed: usize,
}

/// The figures of one cell.
#[derive(Debug, Serialize)]
pub struct Cell {
    protocol: &'static str,
    scenario: &'static str,
    sent: usize,
    lost: usize,
    executed_twice: usize,
    drain_ms_p50: u64,
    drain_ms_max: u64,
    last_after_signal_ms: u64,
    /// Of those sent and lost, the ones of callers that ask rarely.
    #[serde(skip)]
    rare: (usize, usize),
    /// How many were lost in which way, with the cause of the first.
    #[serde(skip)]
    lost_by_kind: BTreeMap<String, (usize, String)>,
    #[serde(skip)]
    lag_ms_p99: f64,
}

/// What a cell, or all of them, prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was lost, nothing was done twice.
    Whole,
    /// Something was, or a cell came to no end.
    Lost,
    /// The load was too late to tell.
    Inconclusive,
}

impl Matrix {
    /// What was lost in one cell is lost, whatever the others could not tell.
    pub fn verdict(&self) -> Verdict {
        let any = |verdict| self.cells.iter().any(|cell| cell.verdict() == verdict);
        match () {
            () if self.failed > 0 || any(Verdict::Lost) => Verdict::Lost,
            () if any(Verdict::Inconclusive) => Verdict::Inconclusive,
            () => Verdict::Whole,
        }
    }
}

impl Verdict {
    /// What programs are told.
    pub fn exit_code(self) -> ExitCode {
        match self {
            Self::Whole => ExitCode::SUCCESS,
            Self::Lost => ExitCode::FAILURE,
            Self::Inconclusive => ExitCode::from(2),
        }
    }
}

impl Cell {
    /// Sums up `book`. What was answered without having been executed counts as lost.
    pub fn of(case: Case, book: &Book) -> Self {
        let lost = |outcomes: &[Outcome]| outcomes.iter().filter(|outcome| outcome.lost.is_some()).count();
        let (executed_twice, unexecuted) = book.miscounted();
        let mut lost_by_kind = BTreeMap::new();
        for (id, Lost { kind, reason }) in
            book.outcomes().filter_map(|outcome| Some((&outcome.id, outcome.lost.as_ref()?)))
        {
            let first = || (0, format!("request {id}: {reason}"));
            lost_by_kind.entry(kind.clone()).or_insert_with(first).0 += 1;
        }
        if unexecuted > 0 {
            lost_by_kind.insert(
                "unexecuted".to_owned(),
                (unexecuted, "answered, and no provider told of it".to_owned()),
            );
        }
        let drains = book.drains();
        let mut lags: Vec<f64> = book.outcomes().map(|outcome| outcome.lag_ms).collect();
        lags.sort_unstable_by(f64::total_cmp);
        Self {
            protocol: case.protocol.name(),
            scenario: case.scenario.name(),
            sent: book.steady.len() + book.rare.len(),
            lost: lost_by_kind.values().map(|(count, _)| count).sum(),
            executed_twice,
            drain_ms_p50: at_share(&drains, 0.5).map_or(0, in_ms),
            drain_ms_max: drains.last().copied().map_or(0, in_ms),
            last_after_signal_ms: in_ms(book.last_after_signal()),
            rare: (book.rare.len(), lost(&book.rare)),
            lost_by_kind,
            lag_ms_p99: at_share(&lags, 0.99).unwrap_or_default(),
        }
    }

    /// What this cell proves.
    pub fn verdict(&self) -> Verdict {
        match () {
            () if self.lag_ms_p99 > LAG_MS_MAX => Verdict::Inconclusive,
            () if self.lost > 0 || self.executed_twice > 0 => Verdict::Lost,
            () => Verdict::Whole,
        }
    }

    /// What was lost and how long it took, beside what others make of it.
    pub fn beside(&self, other: &Self) -> String {
        let figures = |cell: &Self| {
            let Self { scenario, lost, drain_ms_p50, drain_ms_max, .. } = cell;
            format!("{scenario} {lost} lost, drain {drain_ms_p50} ms (at most {drain_ms_max} ms)")
        };
        format!("    {}: {}; {}", self.protocol, figures(self), figures(other))
    }

    /// What stands above the lines.
    pub fn heading() -> String {
        format!(
            "{:31}{:>7}{:>7}{:>7}{:>11}{:>11}{:>12}{:>9}",
            "", "sent", "lost", "twice", "drain p50", "drain max", "last after", "lag p99"
        )
    }

    /// The cell on one line, all times in milliseconds, and on further ones what was lost, and why.
    pub fn to_lines(&self) -> String {
        let mut text = format!(
            "{:31}{:>7}{:>7}{:>7}{:>11}{:>11}{:>12}{:>9.1}",
            format!("{} {}", self.protocol, self.scenario),
            self.sent,
            self.lost,
            self.executed_twice,
            self.drain_ms_p50,
            self.drain_ms_max,
            self.last_after_signal_ms,
            self.lag_ms_p99,
        );
        if self.rare.0 > 0 {
            let _ = write!(text, "  rare: {} sent, {} lost", self.rare.0, self.rare.1); // Cannot fail.
        }
        if self.verdict() == Verdict::Inconclusive {
            text.push_str("  inconclusive: the load was too late");
        }
        for (kind, (count, first)) in &self.lost_by_kind {
            let _ = write!(text, "\n    {count} {kind}: {first}");
        }
        text
    }
}

/// The smallest value that at least `share` of the `sorted` ones do not exceed.
fn at_share<T: Copy>(sorted: &[T], share: f64) -> Option<T> {
    let rank = (1..=sorted.len()).find(|rank| *rank as f64 >= share * sorted.len() as f64)?;
    sorted.get(rank - 1).copied()
}

fn in_ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::scenario::cells;
    use super::super::tally::Life;
    use super::*;
    use tower_graceful::model::UnixMillis;

    fn cell(lost: Option<&str>, lag_ms: f64) -> Cell {
        let lost = lost.map(|kind| Lost { kind: kind.into(), reason: "reset".into() });
        let executions = vec![("1".to_owned(), UnixMillis::new(130))];
        let (told, exited) = (Some(UnixMillis::new(100)), Some(UnixMillis::new(650)));
        let steady = vec![Outcome { id: "1".into(), lag_ms, lost }];
        let providers = vec![Life { executions, told, exited }];
        Cell::of(cells("http/2 churn")[0], &Book { steady, providers, ..Book::default() })
    }

    #[test]
    fn the_json_is_one_line_with_exactly_these_keys() {
        let matrix = Matrix { cells: vec![cell(None, 1.0)], ..Matrix::default() };
        assert_eq!(
            serde_json::to_string(&matrix).unwrap(),
            r#"{"cells":[{"protocol":"HTTP/2","scenario":"churn","sent":1,"lost":0,"executed_twice":0,"drain_ms_p50":550,"drain_ms_max":550,"last_after_signal_ms":30}]}"#
        );
    }

    #[test]
    fn what_one_cell_lost_is_lost_and_a_late_load_proves_nothing() {
        let verdict = |cells, failed| Matrix { cells, failed, ..Matrix::default() }.verdict();
        let (whole, lost, late) =
            (|| cell(None, 1.0), || cell(Some("broken"), 1.0), || cell(Some("broken"), 101.0));
        assert_eq!(verdict(vec![whole()], 0), Verdict::Whole);
        assert_eq!(verdict(vec![whole(), late()], 0), Verdict::Inconclusive);
        assert_eq!(verdict(vec![late(), lost()], 0), Verdict::Lost);
        assert_eq!(verdict(vec![whole()], 1), Verdict::Lost);
    }

    #[test]
    fn what_others_lose_stands_beside_ours_and_decides_nothing() {
        let (ours, theirs) = (cell(None, 1.0), cell(Some("broken"), 1.0));
        let said = ours.beside(&theirs);
        let expected = "    HTTP/2: churn 0 lost, drain 550 ms (at most 550 ms); churn 1 lost, drain 550 ms (at most 550 ms)";
        assert_eq!(said, expected);
        let matrix = Matrix { cells: vec![ours], compare: vec![theirs], failed: 0 };
        assert_eq!(matrix.verdict(), Verdict::Whole);
        let json = serde_json::to_value(&matrix).unwrap();
        assert_eq!(
            (json["cells"][0]["lost"].as_u64(), json["compare"][0]["lost"].as_u64()),
            (Some(0), Some(1))
        );
    }

    #[test]
    fn a_line_says_what_was_lost_and_why() {
        let lines = cell(Some("broken"), 1.0).to_lines();
        assert_eq!(lines.lines().count(), 2, "{lines}");
        assert!(lines.ends_with("1 broken: request 1: reset"), "{lines}");
        let heading = Cell::heading();
        assert_eq!(lines.lines().next().map(str::len), Some(heading.len()), "{heading}\n{lines}");
    }

    #[test]
    fn what_was_answered_and_never_executed_is_lost() {
        let steady = vec![Outcome { id: "1".into(), lag_ms: 0.0, lost: None }];
        let cell = Cell::of(cells("")[0], &Book { steady, ..Book::default() });
        assert_eq!((cell.lost, cell.verdict()), (1, Verdict::Lost));
    }
}
