//! The processes of a cell: a registry and providers that come and go.

use super::common::BoxError;
use super::common::line::Line;
use super::common::process::{Process, Signal};
use super::scenario::{Case, PROVIDERS, Scenario};
use super::tally::Tally;
use bytes::Bytes;
use futures_util::future::{try_join, try_join_all};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// How long a registry that was killed is away.
const REGISTRY_AWAY: Duration = Duration::from_millis(500);
/// For the answer to `POST /offline?wait=30s`.
const OFFLINE_MAX: Duration = Duration::from_secs(35);

/// A registry, and those who serve.
pub struct Fleet {
    case: Case,
    logs: PathBuf,
    tally: Tally,
    registry_addr: SocketAddr,
    registry: Mutex<Option<Process>>,
    /// Oldest first.
    serving: Mutex<VecDeque<Provider>>,
    /// One permit for each of those.
    any_serving: Semaphore,
}

struct Provider {
    place: usize,
    process: Process,
}

impl Fleet {
    /// Starts a registry and the first providers, and waits until they are ready. Logs go to `logs`.
    ///
    /// # Errors
    /// When one of them does not come up.
    pub async fn start(case: Case, logs: PathBuf, tally: Tally) -> Result<Self, BoxError> {
        std::fs::create_dir_all(&logs)?;
        let registry = Process::start("registry", &registry_arguments(0), &logs).await?;
        let fleet = Self {
            case,
            logs,
            tally,
            registry_addr: registry.ready.listen,
            registry: Mutex::new(Some(registry)),
            serving: Mutex::default(),
            any_serving: Semaphore::new(0),
        };
        try_join_all((0..PROVIDERS).map(|_| fleet.enter(None))).await?;
        Ok(fleet)
    }

    /// Where the registry is, also after it has been away.
    pub fn registry_addr(&self) -> SocketAddr {
        self.registry_addr
    }

    /// Replaces the oldest provider in the way of the scenario. Returns when it is gone.
    ///
    /// # Errors
    /// When a process does not come up, or ends otherwise than it should.
    pub async fn roll(&self, registry_dies: bool) -> Result<(), BoxError> {
        match self.case.scenario {
            Scenario::SamePort => {
                let old = self.oldest().await?;
                let listen = old.process.ready.listen;
                self.leave(old).await?;
                self.enter(Some(listen)).await
            }
            Scenario::ScaleIn => {
                let (one, another) = (self.oldest().await?, self.oldest().await?);
                try_join(self.leave(one), self.leave(another)).await.map(drop)
            }
            Scenario::OfflineThenSigterm => {
                self.enter(None).await?;
                let old = self.oldest().await?;
                self.tally.told(old.place);
                go_offline(&old.process).await?;
                self.terminate(old).await
            }
            Scenario::RegistryRestart if registry_dies => {
                self.enter(None).await?;
                let old = self.oldest().await?;
                try_join(self.leave(old), self.restart_registry()).await.map(drop)
            }
            Scenario::RegistryRestart
            | Scenario::Steady
            | Scenario::StaleList
            | Scenario::BlindSleep
            | Scenario::RareCaller
            | Scenario::PlainClient
            | Scenario::Churn => {
                self.enter(None).await?;
                let old = self.oldest().await?;
                self.leave(old).await
            }
        }
    }

    /// Everyone goes.
    ///
    /// # Errors
    /// When a process ends otherwise than it should, or something it said is missing.
    pub async fn end(self) -> Result<(), BoxError> {
        let serving = self.serving.into_inner().unwrap_or_else(PoisonError::into_inner);
        try_join_all(serving.into_iter().map(|provider| provider.process.ended())).await?;
        match self.registry.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(registry) => registry.ended().await,
            None => Ok(()),
        }
    }

    /// One more serves.
    async fn enter(&self, listen: Option<SocketAddr>) -> Result<(), BoxError> {
        let listen = listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
        let (registry, protocol) = (self.registry_addr, self.case.protocol.flag());
        let blind = if self.case.scenario == Scenario::BlindSleep { "--blind" } else { "" };
        let arguments = words(&format!(
            "provider --protocol {protocol} --registry {registry} --listen {listen} --warm-up 0 {blind}"
        ));
        let place = self.tally.provider();
        let mut process = Process::start(&format!("provider-{place}"), &arguments, &self.logs).await?;
        let tally = self.tally.clone();
        process.hear(move |line| {
            if let Line::Executed(executed) = line {
                tally.executed(place, executed);
            }
        });
        process.readiness().await?;
        self.serving().push_back(Provider { place, process });
        self.any_serving.add_permits(1);
        Ok(())
    }

    /// The one that has served longest; with fast replacements it may be on its way in still.
    async fn oldest(&self) -> Result<Provider, BoxError> {
        self.any_serving.acquire().await?.forget();
        self.serving().pop_front().ok_or_else(|| "nobody serves".into())
    }

    async fn leave(&self, old: Provider) -> Result<(), BoxError> {
        self.tally.told(old.place);
        self.terminate(old).await
    }

    async fn terminate(&self, Provider { place, process }: Provider) -> Result<(), BoxError> {
        process.signal(Signal::TERM)?;
        self.tally.exited(place, process.exited().await?);
        Ok(())
    }

    /// Kills the registry, and starts it again where it was.
    async fn restart_registry(&self) -> Result<(), BoxError> {
        let old = self.registry().take().ok_or("the registry is away already")?;
        old.signal(Signal::KILL)?;
        old.killed().await?;
        sleep(REGISTRY_AWAY).await;
        let arguments = registry_arguments(self.registry_addr.port());
        let new = Process::start("registry-again", &arguments, &self.logs).await?;
        *self.registry() = Some(new);
        Ok(())
    }

    fn serving(&self) -> MutexGuard<'_, VecDeque<Provider>> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn registry(&self) -> MutexGuard<'_, Option<Process>> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn registry_arguments(http_port: u16) -> Vec<String> {
    words(&format!("registry --http-port {http_port}"))
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Asks a provider to leave the list and waits until it has drained, as a preStop hook does.
async fn go_offline(process: &Process) -> Result<(), BoxError> {
    let offline = process.ready.offline.ok_or("a provider without an offline port")?;
    let uri = format!("http://{offline}/offline?wait=30s");
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let asked = async {
        let answer = client.request(http::Request::post(uri).body(Empty::new())?).await?;
        let (status, said) = (answer.status(), answer.into_body().collect().await?.to_bytes());
        let refused = || format!("/offline: {status} {}", String::from_utf8_lossy(&said)).into();
        if status.is_success() { Ok(()) } else { Err(refused()) }
    };
    timeout(OFFLINE_MAX, asked).await.map_err(|_| format!("/offline: no answer within {OFFLINE_MAX:?}"))?
}
