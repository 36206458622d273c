//! Processes as their parent sees them: started, awaited, told to go, and never left behind.
//!
//! Three things see to the last point. A [`Process`] that is dropped is killed; a child stands in a
//! process group of its own, so that Ctrl-C in a terminal reaches the parent only, which then drops them;
//! and a child ends by itself when its standard input does ([`leash`]), which happens when the parent is
//! gone, however it went.

use super::BoxError;
use super::line::{Executed, Line, Ready};
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tower_graceful::Clock;
use tower_graceful::model::UnixMillis;

pub use rustix::process::Signal;

/// From start to the ready line: sockets are bound within milliseconds, a busy machine takes longer.
const READY_MAX: Duration = Duration::from_secs(20);
/// From the ready line to readiness: registering and being seen in the list.
const READINESS_MAX: Duration = Duration::from_secs(20);
/// Readiness is asked this often.
const READINESS_EVERY: Duration = Duration::from_millis(20);
/// Until a process that nobody needs is sent the next SIGTERM.
const TOLD_AGAIN: Duration = Duration::from_millis(500);
/// From SIGTERM to exit: more than the 25 s that a provider allows itself.
const EXIT_MAX: Duration = Duration::from_secs(40);

/// A process of this program's own executable. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdout: Option<Lines<BufReader<ChildStdout>>>,
    hearing: Option<JoinHandle<Result<(), BoxError>>>,
    /// Held here, because waiting for a child closes the one it holds itself.
    _leash: Option<ChildStdin>,
    /// Where its sockets are.
    pub ready: Ready,
}

impl Process {
    /// Starts `PROGRAM ARGUMENTS --child` and waits for its ready line. Its log goes to `NAME.log` in `logs`.
    ///
    /// # Errors
    /// When it does not start, or does not say within a bound that it is ready.
    pub async fn start(name: &str, arguments: &[String], logs: &Path) -> Result<Self, BoxError> {
        Self::start_in(Vec::new(), name, arguments, logs).await
    }

    /// The same with variables in its environment, besides those of this process.
    ///
    /// # Errors
    /// As [`Process::start`].
    pub async fn start_in(
        environment: Vec<(&'static str, OsString)>,
        name: &str,
        arguments: &[String],
        logs: &Path,
    ) -> Result<Self, BoxError> {
        let log = logs.join(format!("{name}.log"));
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .arg("--child")
            .envs(environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().ok_or("a child without standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        let ready = match timeout(READY_MAX, lines.next_line()).await {
            Ok(Ok(Some(line))) => serde_json::from_str(&line)?,
            Ok(_) => return Err(format!("{name} ended before it was ready; see {}", log.display()).into()),
            Err(_) => return Err(format!("{name} was not ready within {READY_MAX:?}").into()),
        };
        let Line::Ready(ready) = ready else {
            return Err(format!("{name} did not begin with its ready line").into());
        };
        let leash = child.stdin.take();
        Ok(Self { name: name.to_owned(), child, stdout: Some(lines), hearing: None, _leash: leash, ready })
    }

    /// Passes what it says to `hear`, from its beginning to its end. Only the first call counts.
    pub fn hear(&mut self, hear: impl FnMut(Line) + Send + 'static) {
        if let Some(stdout) = self.stdout.take() {
            self.hearing = Some(tokio::spawn(listen(self.name.clone(), stdout, hear)));
        }
    }

    /// Waits until `GET /readiness` says 200.
    ///
    /// # Errors
    /// When it does not within a bound.
    pub async fn readiness(&self) -> Result<(), BoxError> {
        let client: Client<_, Empty<bytes::Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let readiness = self.ready.readiness.ok_or_else(|| format!("{} has no readiness", self.name))?;
        let uri: http::Uri = format!("http://{readiness}/readiness").parse()?;
        let asked = async {
            while !client.get(uri.clone()).await.is_ok_and(|answer| answer.status().is_success()) {
                sleep(READINESS_EVERY).await;
            }
        };
        let bounded = timeout(READINESS_MAX, asked).await;
        bounded.map_err(|_| format!("{} was not ready to serve within {READINESS_MAX:?}", self.name).into())
    }

    /// Sends a signal; SIGTERM, as whoever rolls out a release does, or SIGKILL, as whoever has no patience.
    ///
    /// # Errors
    /// When there is no such process any more.
    pub fn signal(&self, signal: Signal) -> Result<(), BoxError> {
        let gone = || format!("{} is gone already", self.name);
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).ok_or_else(gone)?;
        let id = rustix::process::Pid::from_raw(id).ok_or_else(gone)?;
        Ok(rustix::process::kill_process(id, signal)?)
    }

    /// Sends SIGTERM until the process exits: a second one ends even the wait for callers who might come
    /// back, of whom there are none when a shop is closed.
    ///
    /// # Errors
    /// As [`Process::exited`].
    pub async fn ended(mut self) -> Result<(), BoxError> {
        while self.child.try_wait()?.is_none() && self.signal(Signal::TERM).is_ok() {
            let _ = timeout(TOLD_AGAIN, self.child.wait()).await; // How it ended is asked below.
        }
        self.exited().await.map(drop)
    }

    /// Waits for the process to exit and for all it has said; returns the moment of its exit.
    ///
    /// # Errors
    /// When it does not exit within a bound, or not with success, or when something it said is missing.
    pub async fn exited(self) -> Result<UnixMillis, BoxError> {
        let name = self.name.clone();
        let (status, at, heard) = self.exit().await?;
        heard?;
        if status.success() { Ok(at) } else { Err(format!("{name} ended with {status}").into()) }
    }

    /// The same for a process that was killed, whose last words may be missing or broken off.
    ///
    /// # Errors
    /// When it does not exit within a bound, or ended otherwise.
    pub async fn killed(self) -> Result<UnixMillis, BoxError> {
        let name = self.name.clone();
        let (status, at, _) = self.exit().await?;
        let killed = status.signal() == Some(Signal::KILL.as_raw());
        if killed { Ok(at) } else { Err(format!("{name} was killed and ended with {status}").into()) }
    }

    async fn exit(mut self) -> Result<(ExitStatus, UnixMillis, Result<(), BoxError>), BoxError> {
        let status = timeout(EXIT_MAX, self.child.wait()).await;
        let status = status.map_err(|_| format!("{} did not exit within {EXIT_MAX:?}", self.name))??;
        let at = Clock::system().now();
        let heard = match self.hearing {
            Some(hearing) => hearing.await?,
            None => Ok(()),
        };
        Ok((status, at, heard))
    }
}

/// Passes on what a child says until its standard output ends, and checks that nothing was missed.
async fn listen(
    name: String,
    mut lines: Lines<BufReader<ChildStdout>>,
    mut hear: impl FnMut(Line),
) -> Result<(), BoxError> {
    let (mut told, mut total) = (0, 0);
    while let Some(line) = lines.next_line().await? {
        let line = serde_json::from_str(&line)?;
        if let Line::Executed(Executed { total: executed, requests, .. }) = &line {
            told += requests.len() as u64;
            total = *executed;
        }
        hear(line);
    }
    if told == total { Ok(()) } else { Err(format!("{name} executed {total} and told of {told}").into()) }
}

/// The child's side: ends this process when its standard input ends, that is, with its parent.
pub fn leash() {
    std::thread::spawn(|| {
        let mut nothing = [0; 64];
        while std::io::stdin().read(&mut nothing).is_ok_and(|read| read > 0) {}
        #[expect(clippy::exit, reason = "nobody is left who could want this process")]
        std::process::exit(3);
    });
}
