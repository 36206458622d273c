//! `graceful register`: puts an instance on a list.

use super::api::{Acted, Api, Connected, Kind, Listed, Of, Target, json, place};
use super::metadata::pair;
use super::shown::{Shown, note};
use super::signals::Signals;
use super::transfer::Version;
use super::{Failure, log, remote};
use clap::Args;
use http::Method;
use std::time::Duration;
use tower_graceful::model::{Address, Cluster, Instance, InstanceKey, Metadata, ServiceKey, Weight};
use tower_graceful::naming::Register as _;

/// How long the registry may take to acknowledge that the instance is off; without that it notices by itself.
const TAKEN_OFF_WITHIN: Duration = Duration::from_secs(5);

/// Registers an instance for as long as this command runs, or for good with --persistent.
///
/// For what has no client of its own: the command stands beside it, keeps a connection to the registry, registers
/// again after the registry was away, and deregisters at SIGTERM or SIGINT. Persistent instances stay until
/// `graceful deregister`; the registry probes them.
#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    of: Of,

    /// The instance: IP:PORT.
    #[arg(value_name = "INSTANCE")]
    instance: Address,

    /// Its cluster.
    #[arg(long, value_name = "CLUSTER", default_value = "DEFAULT")]
    cluster: Cluster,

    /// Its weight: 0 to 10000.
    #[arg(long, value_name = "WEIGHT", default_value = "1", value_parser = super::weight::weight)]
    weight: Weight,

    /// One entry of its metadata; may be given several times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    metadata: Vec<(String, String)>,

    /// Register it for good, and end at once.
    #[arg(long)]
    persistent: bool,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    connected: Connected,

    #[command(flatten)]
    shown: Shown,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    log::to_stderr(log::Format::Text, "warn");
    let service = arguments.of.key(&arguments.target.namespace)?;
    remote::block_on(async {
        let mut signals = Signals::install().map_err(Failure::could_not)?;
        let api = arguments.target.enter().await?;
        if arguments.persistent {
            return arguments.for_good(&api, &service).await;
        }
        arguments.while_it_runs(&api, &service, &mut signals).await
    })?
}

impl Arguments {
    fn instance(&self) -> Instance {
        let metadata: Metadata = self.metadata.iter().map(|(key, value)| (key, value)).collect();
        let key = InstanceKey { address: self.instance.clone(), cluster: self.cluster.clone() };
        Instance { key, weight: self.weight, ..Instance::new(self.instance.clone()) }.with_metadata(metadata)
    }

    async fn for_good(&self, api: &Api, service: &ServiceKey) -> Result<(), Failure> {
        let path = match api.kind {
            Kind::Ours | Kind::Nacos(Version::One) => "/nacos/v1/ns/instance",
            Kind::Nacos(Version::Three) => "/nacos/v3/admin/ns/instance",
        };
        let one = Listed { ephemeral: false, ..Listed::from(&self.instance()) };
        let said = [("weight", one.weight.to_string()), ("metadata", json(&one.metadata))];
        api.change(Method::POST, path, service, &[&place(&one)[..], &said].concat()).await?;
        self.shown.list(&[Acted::new(&one, "registered for good")], "")
    }

    async fn while_it_runs(
        &self,
        api: &Api,
        service: &ServiceKey,
        signals: &mut Signals,
    ) -> Result<(), Failure> {
        let (nacos, instance) = (self.connected.client(&self.target, api)?, self.instance());
        self.connected.look(api).await;
        tokio::select! {
            registered = nacos.register(service, &instance) => registered.map_err(|e| self.connected.failed(&e))?,
            _ = signals.next() => return Ok(()), // The connection ends with this process, and takes it off.
        }
        let one = Listed::from(&instance);
        self.shown.list(&[Acted::new(&one, "registered")], "")?;
        if self.shown.is_for_people() {
            note("registered while this command runs: Ctrl-C deregisters");
        }
        signals.next().await;
        nacos.close(TAKEN_OFF_WITHIN).await.map_err(|error| self.connected.failed(&error))?;
        self.shown.list(&[Acted::new(&one, "deregistered")], "")
    }
}
