//! A registry as a process of its own, and what the system says of it.

use crate::report::OURS;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// Cores of the registry; the load comes from others.
const CORES: &str = "0,1";
/// Looks for a registry that starts, and the wait between two of them: ten seconds in all.
const LOOKS: u32 = 500;
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long a registry that has started is left alone before anything is counted.
const SETTLED_AFTER: Duration = Duration::from_millis(500);
/// Length of the clock tick in which the system counts CPU time: 100 a second on every Linux.
const TICK_US: f64 = 10_000.0;
/// Ports between which a free pair is looked for, below those that the system gives to clients.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// A registry that is measured.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    program: PathBuf,
}

impl Subject {
    /// Ours, and the peer where it is installed.
    pub(crate) fn all() -> Vec<Self> {
        let ours = Self { name: OURS, program: env!("CARGO_BIN_EXE_graceful").into() };
        let path = std::env::var_os("PATH").unwrap_or_default();
        let peer = std::env::split_paths(&path).map(|dir| dir.join("rnacos")).find(|file| file.is_file());
        let peer = peer.map(|program| Self { name: "rnacos", program });
        [Some(ours), peer].into_iter().flatten().collect()
    }

    /// Starts it on ports of its own, without anything in it.
    pub(crate) fn start(&self) -> io::Result<Registry> {
        let port = free_port()?;
        let data = std::env::temp_dir().join(format!("bench-registry-{}-{port}", std::process::id()));
        fs::create_dir_all(&data)?;
        let mut command = Command::new("taskset");
        command.args(["-c", CORES]).arg(&self.program);
        if self.name == OURS {
            command.args(["registry", "--http-port", &port.to_string(), "--data-dir"]).arg(&data);
        } else {
            command.env("RNACOS_HTTP_PORT", port.to_string());
            command.env("RNACOS_GRPC_PORT", (port + 1000).to_string());
            command.env("RNACOS_HTTP_CONSOLE_PORT", (port + 2000).to_string());
            command.env("RNACOS_DATA_DIR", &data).current_dir(&data);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let registry = Registry { child, port, data };
        for address in [registry.http(), registry.grpc()] {
            let mut looks = 0..LOOKS;
            while TcpStream::connect(address).is_err() {
                looks.next().ok_or_else(|| io::Error::other(format!("{} does not start", self.name)))?;
                sleep(LOOK_EVERY);
            }
        }
        sleep(SETTLED_AFTER);
        Ok(registry)
    }
}

/// A registry that runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Registry {
    child: Child,
    port: u16,
    data: PathBuf,
}

impl Registry {
    pub(crate) fn http(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub(crate) fn grpc(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port + 1000).into()
    }

    /// Memory that it occupies, in bytes.
    pub(crate) fn memory_bytes(&self) -> io::Result<f64> {
        let status = fs::read_to_string(self.of_system("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<f64>().ok());
        kib.map(|kib| kib * 1024.0).ok_or_else(|| io::Error::other("the system does not tell its memory"))
    }

    /// CPU time that it has used, in microseconds.
    pub(crate) fn cpu_us(&self) -> io::Result<f64> {
        let stat = fs::read_to_string(self.of_system("stat"))?;
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let ticks = after_name.split_whitespace().skip(11).take(2); // Of itself, and of the system for it.
        Ok(ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() * TICK_US)
    }

    fn of_system(&self, file: &str) -> PathBuf {
        Path::new("/proc").join(self.child.id().to_string()).join(file)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself, and whatever it has left behind is temporary.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.data);
    }
}

/// A port that is free, as are those 1000 and 2000 above it.
fn free_port() -> io::Result<u16> {
    let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let mut tried = std::iter::repeat_with(|| fastrand::u16(PORTS)).take(100);
    let found = tried.find(|port| [0, 1000, 2000].iter().all(|above| free(port + above)));
    found.ok_or_else(|| io::Error::other("no free ports"))
}
