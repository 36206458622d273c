//! What the registry keeps: it is there again after an orderly end, and after none.

use super::registry::{Running, SOON};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::Duration;
use tokio::time::timeout;
use tower_graceful::registry::{Error, Registry, Settings};

const LIST: &str = "/instance/list?serviceName=orders";

/// A directory that goes with the test.
pub(crate) struct Directory(pub(crate) PathBuf);

impl Directory {
    pub(crate) fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings { http_port: 0, data_dir: Some(self.0.clone()), ..Settings::default() }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn one(port: u16) -> String {
    format!("/instance?serviceName=orders&ip=10.0.0.7&port={port}&ephemeral=false")
}

#[tokio::test]
async fn a_persistent_instance_outlives_the_registry_and_an_ephemeral_one_does_not() {
    let directory = Directory::new("kept");
    let registry = Running::start_with(directory.settings()).await;
    let registered = registry.send("POST", &format!("{}&weight=3&metadata=zone=a", one(80)), "").await;
    assert_eq!(registered, (200, "ok".to_owned()));
    assert_eq!(registry.send("POST", &one(81), "").await.0, 200);
    let fleeting = "/instance?serviceName=mail&ip=10.0.0.7&port=90";
    assert_eq!(registry.send("POST", fleeting, "").await.0, 200);
    assert_eq!(registry.send("DELETE", &one(81), "").await.0, 200);
    assert_eq!(registry.send("DELETE", &one(81), "").await.0, 200, "nothing there is a success");
    let (_, before) = registry.send("GET", LIST, "").await;
    registry.stop().await;

    let registry = Running::start_with(directory.settings()).await;
    let (_, after) = registry.send("GET", LIST, "").await;
    for part in [r#""port":80"#, r#""weight":3.0"#, r#""ephemeral":false"#, r#""metadata":{"zone":"a"}"#] {
        assert!(before.contains(part) && after.contains(part), "{part}: {before} {after}");
    }
    assert!(!after.contains(r#""port":81"#), "{after}");
    assert!(registry.send("GET", "/instance/list?serviceName=mail", "").await.1.contains(r#""hosts":[]"#));
    // Heartbeats and the other kind's deregistration do not touch it.
    let ephemeral = one(80).replace("ephemeral=false", "ephemeral=true");
    assert_eq!(registry.send("DELETE", &ephemeral, "").await.0, 200);
    let (status, said) = registry.send("POST", &ephemeral, "").await;
    let words =
        "Current service DEFAULT_GROUP@@orders is persistent service, can't register ephemeral instance.";
    assert_eq!((status, said.as_str()), (400, words));
    assert!(registry.send("GET", LIST, "").await.1.contains(r#""port":80"#));
    registry.stop().await;
}

#[tokio::test]
async fn a_persistent_instance_is_probed_and_what_is_not_probed_is_set_by_hand() {
    let registry = Running::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let one = one(port).replace("10.0.0.7", "127.0.0.1");
    assert_eq!(registry.send("POST", &format!("{one}&healthy=true"), "").await.0, 200);
    let by_hand = one.replace("/instance", "/health") + "&healthy=false";
    let (status, said) = registry.send("PUT", &by_hand, "").await;
    let working = "health check is still working, service: DEFAULT_GROUP@@orders, cluster: DEFAULT";
    assert_eq!((status, said.as_str()), (400, working));
    drop(listener);
    let until = async |part: &str| {
        while !registry.send("GET", LIST, "").await.1.contains(part) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, until(r#""healthy":false"#)).await.unwrap();
    let cluster = r#"/cluster?serviceName=orders&clusterName=DEFAULT&checkPort=80&useInstancePort4Check=true&healthChecker={"type":"NONE"}"#;
    assert_eq!(registry.send("PUT", &cluster.replace('"', "%22"), "").await.1, "ok");
    assert_eq!(registry.send("PUT", &by_hand.replace("&healthy=false", "&healthy=true"), "").await.1, "ok");
    // Consumers are given it as healthy either way, now that the service has a record: it protects.
    let (_, seen) = registry.send("GET", "/nacos/v3/admin/ns/instance/list?serviceName=orders", "").await;
    assert!(seen.contains(r#""healthy":true"#), "{seen}");
    let (status, said) =
        registry.send("PUT", &cluster.replace('"', "%22").replace("orders", "none"), "").await;
    assert_eq!(
        (status, said.as_str()),
        (400, "service not found, namespace: public, serviceName: DEFAULT_GROUP@@none")
    );
    registry.stop().await;
}

#[tokio::test]
async fn the_health_of_an_ephemeral_instance_is_not_set_by_hand() {
    let registry = Running::start().await;
    let one = "serviceName=orders&ip=10.0.0.7&port=80";
    let set = format!("/health?{one}&healthy=false");
    assert_eq!(registry.send("PUT", &set, "").await.0, 404);
    assert_eq!(registry.send("POST", &format!("/instance?{one}"), "").await.0, 200);
    let words = "the instance is ephemeral: its connection or heartbeats say whether it is healthy";
    assert_eq!(registry.send("PUT", &set, "").await, (400, words.to_owned()));
    let later = format!("/nacos/v3/admin/ns/health/instance?{one}&healthy=false");
    let (status, said) = registry.send("PUT", &later, "").await;
    assert!(status == 400 && said.contains(words), "{said}");
    registry.stop().await;
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_read_is_no_empty_one() {
    let directory = Directory::new("broken");
    std::fs::write(directory.0.join("registry.redb"), "no database".repeat(1000)).unwrap();
    let error = Registry::bind(directory.settings()).await.unwrap_err();
    assert!(matches!(error, Error::Stored { .. }), "{error}");
    assert!(error.to_string().starts_with("data-dir: cannot read what "), "{error}");
}

/// Rounds of killing; `KILL_ROUNDS=1000` is the long form.
fn rounds() -> u16 {
    std::env::var("KILL_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(100)
}

/// Writers at once, each on a connection of its own.
const WRITERS: u16 = 4;

/// `graceful registry` as a process that will be killed.
struct Victim {
    child: Child,
    http: SocketAddr,
}

impl Victim {
    fn start(directory: &Path) -> Self {
        let mut program = Command::new(env!("CARGO_BIN_EXE_graceful"));
        program.args(["registry", "--http-port", "0", "--data-dir"]).arg(directory);
        program.env("RUST_LOG", "off").stdout(Stdio::piped());
        let mut child = program.spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let http = ready.strip_prefix("registry ready: http ").and_then(|rest| rest.split(',').next());
        Self { http: http.unwrap().parse().unwrap(), child }
    }

    /// Whether the answer was `ok`; a registry that is killed gives none.
    fn send(&self, method: &str, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.http).ok()?;
        stream.set_read_timeout(Some(SOON)).unwrap();
        let request = format!(
            "{method} /nacos/v1/ns{path} HTTP/1.1\r\nhost: registry\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
    }

    fn list(&self) -> String {
        self.send("GET", LIST).expect("a registry that has started answers")
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

/// What a writer knows of its own ports when the registry is gone.
#[derive(Default)]
struct Known {
    there: BTreeSet<u16>,
    /// Asked for and not answered: there or not.
    in_doubt: Option<u16>,
}

/// An instance that is always there, on which an operator sets a number again and again.
const OPERATED: u16 = 9_999;

/// The number that the operator knows is set, and the one that may be.
#[derive(Default)]
struct Numbers {
    set: u64,
    in_doubt: Option<u64>,
}

#[test]
fn nothing_acknowledged_is_lost_however_often_the_registry_is_killed() {
    let directory = Directory::new("killed");
    let (mut known, mut chance, mut acknowledged) = (Vec::new(), fastrand::Rng::with_seed(11), 0);
    known.resize_with(usize::from(WRITERS), Known::default);
    let mut numbers = Numbers::default();
    for round in 0..rounds() {
        let mut victim = Victim::start(&directory.0);
        if round == 0 {
            victim.send("POST", &one(OPERATED)).unwrap();
        }
        let list = victim.list();
        compare(round, &list, &mut known, &mut numbers);
        let (enough, seeds) = (chance.u16(1..40), (0..WRITERS).map(|_| chance.u64(..)).collect::<Vec<_>>());
        let written = AtomicU16::new(0);
        thread::scope(|scope| {
            let (running, written) = (&victim, &written);
            for (writer, (known, seed)) in known.iter_mut().zip(seeds).enumerate() {
                scope.spawn(move || write_until_killed(running, writer, known, seed, written));
            }
            scope.spawn(|| operate_until_killed(running, &mut numbers, written));
            // The moment is that of some number of answers: other groups are under way then.
            while written.load(Ordering::Relaxed) < enough {
                thread::yield_now();
            }
            let id = running.child.id().to_string();
            assert!(Command::new("kill").args(["-KILL", &id]).status().unwrap().success());
        });
        victim.child.wait().unwrap();
        acknowledged += written.into_inner();
    }
    assert!(acknowledged > rounds() && numbers.set > 0, "{acknowledged} changes say little");
}

/// Holds what a registry lists after its start against what its writers know, who learn of what was in doubt.
fn compare(round: u16, list: &str, known: &mut [Known], numbers: &mut Numbers) {
    let ports = list.split(r#""port":"#).skip(1);
    let mut found: BTreeSet<u16> =
        ports.map(|rest| rest.split(',').next().unwrap().parse().unwrap()).collect();
    assert!(found.remove(&OPERATED), "round {round}: {list}");
    for Known { there, in_doubt } in known {
        if let Some(port) = in_doubt.take() {
            there.remove(&port);
            there.extend(found.contains(&port).then_some(port));
        }
        for port in &*there {
            assert!(found.remove(port), "round {round}: {port} was acknowledged and is lost");
        }
    }
    assert!(found.is_empty(), "round {round}: {found:?} were taken off, or never acknowledged as there");
    let number = list.split(r#""number":""#).nth(1).and_then(|rest| rest.split('"').next());
    let number = number.map_or(0, |number| number.parse().unwrap());
    let Numbers { set, in_doubt } = std::mem::replace(numbers, Numbers { set: number, in_doubt: None });
    assert!(number == set || Some(number) == in_doubt, "round {round}: {number} is not {set}");
}

fn operate_until_killed(victim: &Victim, numbers: &mut Numbers, written: &AtomicU16) {
    loop {
        let next = numbers.set + 1;
        let set = format!("{}&metadata=number={next}", one(OPERATED));
        if victim.send("PUT", &set).is_none() {
            numbers.in_doubt = Some(next);
            return;
        }
        numbers.set = next;
        written.fetch_add(1, Ordering::Relaxed);
    }
}

fn write_until_killed(victim: &Victim, writer: usize, known: &mut Known, seed: u64, written: &AtomicU16) {
    let mut chance = fastrand::Rng::with_seed(seed);
    loop {
        let port = chance.u16(0..20) * WRITERS + u16::try_from(writer).unwrap();
        let goes = known.there.contains(&port);
        let method = if goes { "DELETE" } else { "POST" };
        if victim.send(method, &one(port)).is_none() {
            known.in_doubt = Some(port);
            return;
        }
        if goes {
            known.there.remove(&port)
        } else {
            known.there.insert(port)
        };
        written.fetch_add(1, Ordering::Relaxed);
    }
}
