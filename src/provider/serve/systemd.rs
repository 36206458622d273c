//! Tells systemd where the process stands, when that asks to be told (`Type=notify`).
//!
//! - while it starts: that it needs more time, because a registry that is away is no reason to start again;
//! - when it is ready, which may be when it is warm: `READY=1`;
//! - when it is to end: `STOPPING=1`, and for how long (`EXTEND_TIMEOUT_USEC`), so that `TimeoutStopSec` need
//!   not be in step with the deadline.
//!
//! `/offline` alone is only a status: the process stays.

use super::process::Process;
use crate::model::Phase;
use std::ffi::{OsStr, OsString};
use std::future::pending;
use std::io;
use std::time::Duration;
use tokio::time::{self, Instant};

/// How much time is asked for while the process starts.
const START_EXTENSION: Duration = Duration::from_secs(60);
/// How often: well before what was asked for is over.
const START_EXTENDED_EVERY: Duration = Duration::from_secs(20);
/// What systemd is to wait beyond the deadline: the process must have the last word, and its exit code.
pub(crate) const STOP_MARGIN: Duration = Duration::from_secs(5);

/// Tells the socket that the environment names, if it does, until the process has been told to stop. Never
/// resolves.
pub(super) async fn keep_informed(process: &Process) {
    if socket().is_some() {
        keep_telling(process, |state| tell(&state)).await;
    }
    pending::<()>().await;
}

/// Tells the socket that the environment names, if it does.
pub(crate) fn tell(state: &str) {
    let Some(socket) = socket() else { return };
    if let Err(error) = send(&socket, state) {
        tracing::warn!(%error, ?socket, "systemd could not be told: {state:?}");
    }
}

fn socket() -> Option<OsString> {
    std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty())
}

async fn keep_telling(process: &Process, tell: impl Fn(String)) {
    let stop = process.told_to_stop();
    let phases = async {
        while time::timeout(START_EXTENDED_EVERY, process.settled()).await.is_err() {
            let waiting_for = process.progress.borrow().waiting_for.unwrap_or("the start");
            tell(format!(
                "STATUS=Waiting for {waiting_for}\nEXTEND_TIMEOUT_USEC={}",
                START_EXTENSION.as_micros()
            ));
        }
        if process.is_ready() {
            tell("READY=1\nSTATUS=Serving".to_owned());
        }
        process.lifecycle.reached(Phase::Leaving).await;
        tell("STATUS=Leaving: serves those who have not heard of it".to_owned());
        pending::<()>().await;
    };
    let told = tokio::select! {
        biased;
        told = stop => told,
        () = phases => return,
    };
    let left = (told + process.settings.pace.ended_within() + STOP_MARGIN) - Instant::now();
    tell(format!("STOPPING=1\nSTATUS=Draining\nEXTEND_TIMEOUT_USEC={}", left.as_micros()));
}

/// One datagram to `socket`: a path, or `@` and a name in Linux' abstract namespace.
#[cfg(unix)]
fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    let address = match socket.as_bytes() {
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    let datagram = UnixDatagram::unbound()?;
    datagram.set_nonblocking(true)?; // Nobody waits for systemd, least of all the runtime.
    datagram.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(not(unix))]
fn send(_: &OsStr, _: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::LeaveCause;
    use crate::provider::serve::settings::ProviderBuilder;
    use std::sync::{Arc, Mutex};

    /// A process, and what systemd is told of it.
    fn told() -> (Arc<Process>, Arc<Mutex<Vec<String>>>) {
        let builder = ProviderBuilder::new(Some("orders")).drain_timeout(Duration::from_secs(20));
        let (process, states) = (builder.build().unwrap().into_process(), Arc::<Mutex<Vec<_>>>::default());
        let (of, said) = (process.clone(), states.clone());
        tokio::spawn(async move { keep_telling(&of, |state| said.lock().unwrap().push(state)).await });
        (process, states)
    }

    /// Lets everything go on for a while.
    async fn pass(seconds: u64) {
        time::sleep(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_that_takes_long_asks_for_more_time_before_it_is_ready() {
        let (process, states) = told();
        process.progress.send_modify(|progress| progress.waiting_for = Some("the registry"));
        pass(41).await;
        let waiting = "STATUS=Waiting for the registry\nEXTEND_TIMEOUT_USEC=60000000";
        assert_eq!(states.lock().unwrap()[..], [waiting, waiting]);
        process.lifecycle.serve();
        pass(100).await;
        assert_eq!(states.lock().unwrap()[2..], ["READY=1\nSTATUS=Serving"]);
    }

    #[tokio::test(start_paused = true)]
    async fn where_readiness_waits_for_the_warm_up_so_does_systemd() {
        let (process, states) = told();
        process.progress.send_modify(|progress| progress.warming = true);
        process.wait_for("the warm-up to end");
        process.lifecycle.serve();
        pass(21).await;
        let waiting = "STATUS=Waiting for the warm-up to end\nEXTEND_TIMEOUT_USEC=60000000";
        assert_eq!(states.lock().unwrap()[..], [waiting]);
        process.progress.send_modify(|progress| progress.warming = false);
        pass(1).await;
        assert_eq!(states.lock().unwrap()[1..], ["READY=1\nSTATUS=Serving"]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_before_it_is_warm_is_never_ready() {
        let (process, states) = told();
        process.progress.send_modify(|progress| progress.warming = true);
        process.lifecycle.serve();
        pass(1).await;
        process.asked.go_offline(LeaveCause::Offline);
        process.lifecycle.leave();
        pass(1).await;
        assert_eq!(states.lock().unwrap()[..], ["STATUS=Leaving: serves those who have not heard of it"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_until_the_deadline_is_asked_for_and_being_offline_is_no_end() {
        let (process, states) = told();
        process.lifecycle.serve();
        pass(1).await;
        process.asked.go_offline(LeaveCause::Offline);
        process.lifecycle.leave();
        pass(1).await;
        assert_eq!(states.lock().unwrap()[1..], ["STATUS=Leaving: serves those who have not heard of it"]);
        process.asked.shut_down(LeaveCause::Handle);
        pass(1).await;
        let stopping = "STOPPING=1\nSTATUS=Draining\nEXTEND_TIMEOUT_USEC=25000000";
        assert_eq!(states.lock().unwrap()[2..], [stopping]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_that_is_broken_off_is_never_ready() {
        let (process, states) = told();
        process.asked.shut_down(LeaveCause::Handle);
        process.lifecycle.leave();
        pass(1).await;
        assert!(states.lock().unwrap().iter().all(|state| !state.contains("READY")));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_socket_may_have_a_path_or_an_abstract_name() {
        use std::os::linux::net::SocketAddrExt as _;
        use std::os::unix::net::{SocketAddr, UnixDatagram};
        let name = format!("graceful-notify-{}", std::process::id());
        let path = std::env::temp_dir().join(&name);
        let at_path = UnixDatagram::bind(&path).unwrap();
        let at_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        for (socket, given) in
            [(at_path, path.clone().into_os_string()), (at_name, format!("@{name}").into())]
        {
            send(&given, "READY=1").unwrap();
            let mut state = [0; 16];
            let length = socket.recv(&mut state).unwrap();
            assert_eq!(&state[..length], b"READY=1");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(send(path.as_os_str(), "READY=1").is_err());
    }
}
