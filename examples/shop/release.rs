//! A rolling release under load, told from top to bottom.
//!
//! ```console
//! $ cargo run --release --features full --example shop -- release
//! ```
//!
//! It starts a registry, three instances of orders and a storefront, each a process of its own on loopback,
//! sends people to the storefront (to several with `--consumers`), and replaces the three instances one after another. One sees the work
//! pass from old to new, then a table with what was lost on the way (nothing), and the path of a picture.
//! With `--secure` the registry speaks TLS, has users, and is restarted on the way with another certificate.
//! `--compare` does the same without this crate's layers and shows both. With `--signal kill` the old ones
//! are not asked to go but killed: what is under way on them and cannot be sent again is then lost, and
//! listed one by one. With `--keep` everything stays up after the release, the people too, until it is
//! interrupted: look at it in the registry's console, whose address is said first.

use super::chart;
use super::common::line::Line;
use super::common::plan::Schedule;
use super::common::process::{Process, Signal};
use super::common::serving::{CLOSE_MAX, seconds};
use super::common::{BoxError, INTERRUPTED, interrupted, print, unless_interrupted};
use super::load;
use super::progress;
use super::record::{Instance, Record, Recorder};
use super::report::{Report, Verdict};
use super::secure::Secure;
use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tower_graceful::Clock;
use tower_graceful::client::Nacos;
use tower_graceful::model::{Address, Snapshot, UnixMillis, WarmUp, key};
use tower_graceful::naming::Snapshots;

/// Instances of orders.
const INSTANCES: usize = 3;
/// Load before the first and after the last replacement: enough requests for a percentile beside the one
/// during the release.
const STEADY: Duration = Duration::from_secs(4);
/// Until a new instance has its first request, which starts its warm-up. At the floor of the curve it gets
/// one in 300; a load so small that this takes longer cannot show a ramp.
const FIRST_REQUEST_MAX: Duration = Duration::from_secs(60);

/// Replace three instances under load, and count what is lost.
#[derive(clap::Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line, each for itself")]
pub struct Flags {
    /// Requests a second.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u16).range(1..=5_000))]
    rate: u16,
    /// Storefronts, each a process of its own; people are spread over them.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=32))]
    consumers: u8,
    /// What the old instances are told to go by.
    #[arg(long, value_enum, ignore_case = true, default_value_t = Told::Term)]
    signal: Told,
    /// Fixes what is asked, and when.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Warm-up of the new instances, in seconds; they are the old ones' successors when it has ended.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    warm_up: WarmUp,
    /// Replace the next instance at once, not when the warm-up of the last one has ended.
    #[arg(long)]
    no_wait: bool,
    /// The registry speaks TLS and lets in whom it knows; in the middle of the release its certificate is
    /// replaced, and it is restarted.
    #[arg(long)]
    secure: bool,
    /// Do the same again without the layers of this crate, and show both.
    #[arg(long)]
    compare: bool,
    /// Leave everything up after the release, the load too, until interrupted; for a look at the console.
    #[arg(long, conflicts_with = "compare")]
    keep: bool,
    /// Where the picture goes; the logs of the processes go beside it.
    #[arg(long, value_name = "PATH", default_value = "target/shop/release.svg")]
    svg: PathBuf,
    /// What is printed in the end.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    /// A table, and where the picture is.
    Table,
    /// One line of JSON.
    Json,
}

/// How an old instance is told to go.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// SIGTERM: it leaves by itself.
    Term,
    /// SIGKILL: it cannot even hear it.
    Kill,
}

/// How orders and the storefront are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Graceful,
    Plain,
}

/// Runs the release; interrupting it stops every process that it started.
///
/// # Errors
/// When the shop cannot be opened, or a process of it fails.
pub async fn run(flags: &Flags) -> Result<ExitCode, BoxError> {
    let outcome = unless_interrupted(Box::pin(compared(flags))).await?;
    let Some((outcome, kept)) = outcome else { return Ok(ExitCode::from(INTERRUPTED)) };
    if let Some(open) = kept {
        eprintln!("everything stays up until it is interrupted");
        interrupted().await?;
        eprintln!("closing the shop");
        if unless_interrupted(Box::pin(open.close())).await?.is_none() {
            return Ok(ExitCode::from(INTERRUPTED));
        }
    }
    Ok(outcome)
}

/// Runs the release, and tells of it; with `--keep` the shop is still open then.
async fn compared(flags: &Flags) -> Result<(ExitCode, Option<Open<'_>>), BoxError> {
    let (ours, kept) = watched(Way::Graceful, flags).await?;
    let plain = if flags.compare { Some(watched(Way::Plain, flags).await?.0) } else { None };

    let records: Vec<&Record> = [Some(&ours), plain.as_ref()].into_iter().flatten().collect();
    let drawn = std::fs::write(&flags.svg, chart::draw(&records));
    let report = Report::new(&ours, plain.as_ref());
    match flags.output {
        Output::Json => print(&serde_json::to_string(&report)?)?,
        Output::Table => {
            print(&format!("\n{}\npicture: {}", report.to_table(), flags.svg.display()))?;
        }
    }
    drawn.map_err(|error| format!("the picture {} is not written: {error}", flags.svg.display()))?;
    let code = match report.verdict() {
        Verdict::Whole => ExitCode::SUCCESS,
        Verdict::Lost => ExitCode::FAILURE,
        Verdict::Inconclusive => {
            eprintln!(
                "inconclusive: the generator was too late; try on a quieter machine or with less --rate"
            );
            ExitCode::from(2)
        }
    };
    Ok((code, kept))
}

async fn watched(way: Way, flags: &Flags) -> Result<(Record, Option<Open<'_>>), BoxError> {
    let record = Record::new(way.title(), flags.rate.into(), Clock::system().now());
    let recorder = Recorder::new(record);
    let kept = tokio::select! {
        done = release(way, flags, &recorder) => done?,
        () = progress::show(&recorder) => None,
    };
    let record = recorder.record().clone();
    Ok((record, kept))
}

/// The story. In its end the shop is closed, unless it is kept.
async fn release<'a>(way: Way, flags: &'a Flags, recorder: &Recorder) -> Result<Option<Open<'a>>, BoxError> {
    recorder.phase("opening the shop");
    let mut shop = Shop::open(way, flags, recorder.clone()).await?;
    let people = shop.people_come();

    recorder.phase("all three run v1");
    sleep(STEADY).await;
    recorder.record().rolled.0 = Some(Clock::system().now());
    for step in 1..=INSTANCES {
        shop.replace_the_oldest(step).await?;
        if step == 1 {
            shop.renew_the_registry().await?;
        }
    }
    recorder.record().rolled.1 = Some(Clock::system().now());
    recorder.phase("all three run v2");
    shop.all_are_warm().await?;
    sleep(STEADY).await;

    let open = Open { shop, people };
    recorder.record().ended = Clock::system().now();
    if flags.keep {
        recorder.phase("waiting for the last answers");
        sleep(load::ANSWER_MAX).await; // Whoever asked before the end has an answer by then, or has failed.
        recorder.close();
        return Ok(Some(open));
    }
    recorder.phase("closing the shop");
    open.close().await?;
    Ok(None)
}

/// A shop, and the people in it.
struct Open<'a> {
    shop: Shop<'a>,
    people: People,
}

impl Open<'_> {
    /// The people go, then those who serve them.
    async fn close(self) -> Result<(), BoxError> {
        self.people.go().await?;
        self.shop.close().await
    }
}

/// Everything that runs.
struct Shop<'a> {
    way: Way,
    flags: &'a Flags,
    recorder: Recorder,
    logs: PathBuf,
    /// Nothing while it restarts.
    registry: Option<Process>,
    registry_at: SocketAddr,
    secure: Option<Secure>,
    /// Oldest first, each with its place in the record.
    orders: VecDeque<(usize, Process)>,
    storefronts: Vec<Process>,
    nacos: Nacos,
    /// What the registry lists, as any consumer sees it.
    listed: Snapshots,
}

impl<'a> Shop<'a> {
    async fn open(way: Way, flags: &'a Flags, recorder: Recorder) -> Result<Self, BoxError> {
        let logs = flags.svg.parent().unwrap_or_else(|| Path::new("")).to_owned();
        std::fs::create_dir_all(&logs)?;
        let secure =
            if flags.secure { Some(Secure::set_up(logs.join(format!("{way}-secure"))).await?) } else { None };
        let registry = start_registry(&format!("{way}-registry"), 0, secure.as_ref(), &logs).await?;
        let registry_at = registry.ready.listen;
        if flags.keep {
            let as_whom = secure.as_ref().map(Secure::as_whom).unwrap_or_default();
            let scheme = if secure.is_some() { "https" } else { "http" };
            eprintln!("look at {scheme}://{registry_at}/console{as_whom}");
        }
        let builder = Nacos::builder(&registry_at.to_string()).app("release");
        let builder = match &secure {
            Some(secure) => secure.admit(builder),
            None => builder,
        };
        let nacos = builder.connect()?;
        let listed = nacos.subscribe("orders").await?;
        let mut shop = Self {
            way,
            flags,
            recorder,
            logs,
            registry: Some(registry),
            registry_at,
            secure,
            orders: VecDeque::new(),
            storefronts: Vec::new(),
            nacos,
            listed,
        };
        for _ in 0..INSTANCES {
            shop.start_orders("v1", WarmUp::NONE).await?;
        }
        for _ in 0..flags.consumers {
            let storefront = shop.start("storefront", "v1", WarmUp::NONE).await?;
            storefront.readiness().await?;
            shop.storefronts.push(storefront);
        }
        Ok(shop)
    }

    /// People come to the storefronts until they are told to go.
    fn people_come(&self) -> People {
        let storefronts = self.storefronts.iter().map(|storefront| storefront.ready.listen).collect();
        let schedule = Schedule::new(self.flags.seed, self.flags.rate.into());
        let began = Clock::system().now();
        self.recorder.record().began = began;
        let (enough, stop) = oneshot::channel();
        let sending = load::send(schedule, storefronts, began, self.recorder.clone(), stop);
        People { enough, sending: tokio::spawn(sending) }
    }

    /// One step of a rolling release: the new one first, and only when it carries its part the old one goes.
    async fn replace_the_oldest(&mut self, step: usize) -> Result<(), BoxError> {
        let recorder = self.recorder.clone();
        let say = |what: &str| recorder.phase(format!("{step} of {INSTANCES}: {what}"));
        say("starting a new instance");
        let curve = self.flags.warm_up;
        let new = self.start_orders("v2", curve).await?;
        if !self.flags.no_wait {
            say("waiting for the end of its warm-up");
            self.is_warm(new).await?;
        }
        let (old, process) = self.orders.pop_front().ok_or("there is nothing to replace")?;
        say("waiting for the exit of the old one");
        let killed = self.flags.signal == Told::Kill;
        self.recorder.change(old, |instance| {
            (instance.signalled, instance.killed) = (Some(Clock::system().now()), killed);
        });
        process.signal(if killed { Signal::KILL } else { Signal::TERM })?;
        let exited = if killed { process.killed().await? } else { process.exited().await? };
        self.recorder.change(old, |instance| (instance.exited, instance.in_flight) = (Some(exited), 0));
        Ok(())
    }

    /// Where it is secured, the registry gets another certificate and is restarted; nobody waits for its clients.
    async fn renew_the_registry(&mut self) -> Result<(), BoxError> {
        let Some(secure) = &self.secure else { return Ok(()) };
        self.recorder.phase("the registry restarts with another certificate");
        secure.replace_certificate()?;
        if let Some(registry) = self.registry.take() {
            registry.signal(Signal::TERM)?;
            registry.exited().await?;
        }
        let (name, port) = (format!("{}-registry-again", self.way), self.registry_at.port());
        self.registry = Some(start_registry(&name, port, Some(secure), &self.logs).await?);
        Ok(())
    }

    /// Everyone goes, those who ask before those who answer.
    async fn close(self) -> Result<(), BoxError> {
        self.nacos.close(CLOSE_MAX).await?;
        let orders = self.orders.into_iter().map(|(_, process)| process);
        for process in self.storefronts.into_iter().chain(orders).chain(self.registry) {
            process.ended().await?;
        }
        Ok(())
    }

    /// Starts an instance of orders and waits until it is ready; returns its place in the record.
    async fn start_orders(&mut self, release: &'static str, curve: WarmUp) -> Result<usize, BoxError> {
        let mut process = self.start("orders", release, curve).await?;
        let mut instance = Instance::new(release, process.ready.listen);
        instance.warm_up = (!curve.window().is_zero()).then_some(curve);
        let place = self.recorder.add(instance);
        let recorder = self.recorder.clone();
        process.hear(move |line| {
            if let Line::Executed(executed) = line {
                recorder.executed(place, executed);
            }
        });
        process.readiness().await?;
        self.recorder.change(place, |instance| instance.ready = Some(Clock::system().now()));
        self.orders.push_back((place, process));
        Ok(place)
    }

    async fn start(&self, service: &str, release: &str, curve: WarmUp) -> Result<Process, BoxError> {
        let arguments = format!(
            "{service} --registry {} --release {release} --warm-up {}{}",
            self.registry_at,
            curve.window().as_secs_f64(),
            if self.way == Way::Plain { " --plain" } else { "" },
        );
        let arguments: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
        let number = self.recorder.record().instances.len() + self.storefronts.len() + 1;
        let name = format!("{}-{service}-{release}-{number}", self.way);
        let environment = self.secure.as_ref().map(Secure::environment).unwrap_or_default();
        Process::start_in(environment, &name, &arguments, &self.logs).await
    }

    /// Waits for the end of the warm-ups that nobody has waited for.
    async fn all_are_warm(&mut self) -> Result<(), BoxError> {
        for new in self.orders.iter().map(|(place, _)| *place).collect::<Vec<_>>() {
            self.is_warm(new).await?;
        }
        Ok(())
    }

    /// Waits until the warm-up of the new instance at `place` has ended, and notes when it began: with its
    /// first request. With the layers the registry tells of that, without them the instance itself.
    async fn is_warm(&mut self, place: usize) -> Result<(), BoxError> {
        let Instance { address, warm_up, .. } = self.recorder.record().instances[place];
        let Some(curve) = warm_up else { return Ok(()) };
        let address = Address::from(address);
        let began = async {
            match self.way {
                Way::Graceful => {
                    let listed = self.listed.wait_for(|listed| warm_up_start(listed, &address).is_some());
                    warm_up_start(&*listed.await, &address)
                }
                Way::Plain => Some(self.recorder.first_execution(place).await),
            }
        };
        let never =
            || format!("no request within {FIRST_REQUEST_MAX:?} for a new instance: try a larger --rate");
        let began = timeout(FIRST_REQUEST_MAX, began).await.ok().flatten().ok_or_else(never)?;
        self.recorder.change(place, |instance| instance.warm_up_start = Some(began));
        sleep((began + curve.window()).since(Clock::system().now())).await;
        Ok(())
    }
}

async fn start_registry(
    name: &str,
    http_port: u16,
    secure: Option<&Secure>,
    logs: &Path,
) -> Result<Process, BoxError> {
    let mut arguments = vec!["registry".to_owned(), "--http-port".to_owned(), http_port.to_string()];
    arguments.extend(secure.into_iter().flat_map(|secure| ["--secure".to_owned(), secure.directory()]));
    Process::start(name, &arguments, logs).await
}

/// When the warm-up of the instance at `address` began, as the registry lists it.
fn warm_up_start(listed: &Snapshot, address: &Address) -> Option<UnixMillis> {
    let instance = listed.instances().iter().find(|instance| instance.address() == address)?;
    instance.metadata.parse(key::WARM_UP_START)
}

/// The load while it goes on.
struct People {
    enough: oneshot::Sender<()>,
    sending: JoinHandle<()>,
}

impl People {
    /// Nobody asks any more; returns when the last one has its answer.
    async fn go(self) -> Result<(), BoxError> {
        drop(self.enough);
        Ok(self.sending.await?)
    }
}

impl Way {
    const fn title(self) -> &'static str {
        match self {
            Self::Graceful => "tower-graceful",
            Self::Plain => "plain axum",
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Graceful => "graceful",
            Self::Plain => "plain",
        })
    }
}
