//! What a provider can say of its life when it ends.

use super::process::Process;
use std::fmt;
use std::process::{ExitCode, Termination};
use std::time::Duration;
use tokio::time::Instant;

/// How a provider came, served and went.
///
/// As the answer of `main` it is the exit code: 0 when nothing was cut, 3 otherwise.
///
/// ```no_run
/// use tower_graceful::provider::{Provider, Report};
/// # #[tokio::main]
/// async fn main() -> Result<Report, Box<dyn std::error::Error>> {
///     let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
///     let provider = Provider::builder("orders").build()?;
///     Ok(provider.serve(listener, axum::Router::new()).await?)
/// }
/// ```
///
/// That is where tokio's runtime ends, and it waits for threads that are blocked, such as those of
/// `spawn_blocking`. Nobody can cut those, and no signal is heard any more. Where they are to be feared, end
/// the process instead, which waits for nothing. (A handler that itself blocks its thread can keep tokio from
/// hearing of time and signals at all.)
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// # let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
/// # let provider = tower_graceful::provider::Provider::builder("orders").build()?;
/// let report = provider.serve(listener, axum::Router::new()).await?;
/// std::process::exit(if report.is_clean() { 0 } else { 3 });
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// From the start until it served, or left without having served.
    pub starting: Duration,
    /// From there until it left.
    pub serving: Duration,
    /// How long it handed its load over, still listed.
    pub fading: Duration,
    /// How long it went on serving while consumers turned away.
    pub lame_duck: Duration,
    /// From the moment connections were told to end until the last one had.
    pub draining: Duration,
    /// From the first signal to the end.
    pub drain_time: Duration,
    /// Requests under way when it began to leave.
    pub in_flight_at_signal: u64,
    /// Requests that began after that; all were served.
    pub requests_after_signal: u64,
    /// Callers that answered a notice that it leaves.
    pub callers_notified: usize,
    /// Recent callers that did not know that it leaves when the lame duck was over.
    pub untold_callers: usize,
    /// Connections that were cut, upgraded ones included.
    pub cut_connections: usize,
    /// Requests that were under way on them.
    pub cut_requests: u64,
    /// The names of tasks that had not ended.
    pub cut_tasks: Vec<String>,
    /// The names of what was to be done last and was not, or not to its end.
    pub cut_hooks: Vec<String>,
}

/// What had not ended in time.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) connections: usize,
    pub(super) tasks: Vec<String>,
    pub(super) hooks: Vec<String>,
}

/// Exit code of a provider that cut something: neither success nor a failure of its own.
const CUT: u8 = 3;

impl Report {
    /// Whether everything ended by itself.
    pub fn is_clean(&self) -> bool {
        self.cut_connections == 0 && self.cut_tasks.is_empty() && self.cut_hooks.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "served for {:.1?}; ", self.serving)?;
        if self.fading >= Duration::from_secs(1) {
            write!(f, "faded for {:.1?}, ", self.fading)?;
        }
        write!(
            f,
            "lame duck for {:.1?}, drained in {:.1?}, ended {:.1?} after the signal, with {} requests under way \
             and {} more afterwards; ",
            self.lame_duck,
            self.draining,
            self.drain_time,
            self.in_flight_at_signal,
            self.requests_after_signal,
        )?;
        match self.callers_notified {
            0 => {}
            1 => f.write_str("1 caller took its notice; ")?,
            more => write!(f, "{more} callers took their notices; ")?,
        }
        match self.untold_callers {
            0 => {}
            1 => f.write_str("1 caller did not know; ")?,
            more => write!(f, "{more} callers did not know; ")?,
        }
        if self.is_clean() {
            return f.write_str("nothing was cut");
        }
        f.write_str("cut: ")?;
        match self.cut_connections {
            1 => f.write_str("1 connection")?,
            more => write!(f, "{more} connections")?,
        }
        match self.cut_requests {
            1 => f.write_str(" with 1 request")?,
            more => write!(f, " with {more} requests")?,
        }
        for task in &self.cut_tasks {
            write!(f, ", the task {task:?}")?;
        }
        self.cut_hooks.iter().try_for_each(|hook| write!(f, ", the last act {hook:?}"))
    }
}

impl Termination for Report {
    fn report(self) -> ExitCode {
        if self.is_clean() { ExitCode::SUCCESS } else { CUT.into() }
    }
}

/// When what happened.
#[derive(Debug)]
pub(super) struct Marks {
    began: Instant,
    pub(super) started: Instant,
    pub(super) left: Instant,
    pub(super) faded: Instant,
    pub(super) lame_duck_over: Instant,
    pub(super) told_to_stop: Instant,
    pub(super) draining: Instant,
    pub(super) in_flight_at_signal: u64,
    pub(super) begun_at_signal: u64,
    pub(super) untold: usize,
}

impl Marks {
    pub(super) fn begin() -> Self {
        let now = Instant::now();
        Self {
            began: now,
            started: now,
            left: now,
            faded: now,
            lame_duck_over: now,
            told_to_stop: now,
            draining: now,
            in_flight_at_signal: 0,
            begun_at_signal: 0,
            untold: 0,
        }
    }

    pub(super) fn report(&self, process: &Process, cut: Cut) -> Report {
        let ended = Instant::now();
        let report = Report {
            starting: self.started - self.began,
            serving: self.left - self.started,
            fading: self.faded - self.left,
            lame_duck: self.lame_duck_over - self.faded,
            draining: ended - self.draining,
            drain_time: ended - self.told_to_stop,
            in_flight_at_signal: self.in_flight_at_signal,
            requests_after_signal: process.in_flight.begun() - self.begun_at_signal,
            callers_notified: process.callers.told_by_notice(),
            untold_callers: self.untold,
            cut_connections: cut.connections,
            cut_requests: process.cutting.get().copied().unwrap_or_default(),
            cut_tasks: cut.tasks,
            cut_hooks: cut.hooks,
        };
        tracing::info!("stopped: {report}");
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_reads_like_a_sentence_and_ends_in_an_exit_code() {
        let clean = Report {
            starting: Duration::from_millis(20),
            serving: Duration::from_secs(60),
            fading: Duration::ZERO,
            lame_duck: Duration::from_millis(540),
            draining: Duration::from_millis(60),
            drain_time: Duration::from_millis(600),
            in_flight_at_signal: 3,
            requests_after_signal: 2,
            callers_notified: 0,
            untold_callers: 0,
            cut_connections: 0,
            cut_requests: 0,
            cut_tasks: Vec::new(),
            cut_hooks: Vec::new(),
        };
        assert_eq!(
            clean.to_string(),
            "served for 60.0s; lame duck for 540.0ms, drained in 60.0ms, ended 600.0ms after the signal, with 3 requests under \
             way and 2 more afterwards; nothing was cut"
        );
        let cut = Report { untold_callers: 1, cut_connections: 2, ..clean.clone() };
        assert!(
            cut.to_string().ends_with("; 1 caller did not know; cut: 2 connections with 0 requests"),
            "{cut}"
        );
        let faded = Report { fading: Duration::from_secs(20), ..clean.clone() };
        assert!(faded.to_string().starts_with("served for 60.0s; faded for 20.0s, lame duck"), "{faded}");
        let notified = Report { callers_notified: 2, ..clean.clone() };
        assert!(notified.to_string().contains("; 2 callers took their notices; nothing"), "{notified}");
        let names = |name: &str| vec![name.to_owned()];
        let named = Report { cut_tasks: names("charge"), cut_hooks: names("pool"), ..clean.clone() };
        let words = "; cut: 0 connections with 0 requests, the task \"charge\", the last act \"pool\"";
        assert!(named.to_string().ends_with(words) && !named.is_clean(), "{named}");
        assert_eq!(format!("{:?}", clean.report()), format!("{:?}", ExitCode::SUCCESS));
        assert_eq!(format!("{:?}", cut.report()), format!("{:?}", ExitCode::from(3)));
    }
}
