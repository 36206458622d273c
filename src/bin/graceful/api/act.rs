//! What an operator does to instances of a service, on whichever registry.

use super::{Api, Kind, Listed, Target, failed, key, missing};
use crate::shown::{Cell, Row, counted};
use crate::transfer::{Trouble, Version};
use crate::{Failure, confirm};
use clap::Args;
use http::{Method, StatusCode};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use tower_graceful::model::{Address, Cluster, ServiceKey};

/// Which instances are meant.
#[derive(Args)]
pub(crate) struct These {
    #[command(flatten)]
    of: super::Of,

    /// The instances, each as IP:PORT.
    #[arg(value_name = "INSTANCE", required = true)]
    instances: Vec<Address>,

    /// Their cluster; without it, the one in which the address is.
    #[arg(long, value_name = "CLUSTER")]
    cluster: Option<Cluster>,
}

/// Instances of a service that are there.
pub(crate) struct Found {
    pub(crate) service: ServiceKey,
    /// Those that are meant.
    pub(crate) meant: Vec<Listed>,
    /// Those that serve, besides them.
    others_serving: usize,
}

/// What was done to an instance, in one line.
#[derive(Serialize)]
pub(crate) struct Acted {
    ip: String,
    port: u16,
    cluster: String,
    done: String,
    #[serde(skip)]
    at: String,
}

/// What is set on an instance.
pub(crate) type Set<'a> = &'a [(&'static str, String)];

impl These {
    /// Finds them, all or none.
    pub(crate) async fn find(&self, api: &Api, target: &Target) -> Result<Found, Failure> {
        let service = self.of.key(&target.namespace)?;
        let listed = api.instances(&service).await?;
        let mut meant = Vec::new();
        for at in &self.instances {
            meant.push(self.one(api, &service, &listed, at).await?);
        }
        let is_meant = |one: &Listed| meant.iter().any(|other: &Listed| other.is_at(one));
        let others_serving = listed.iter().filter(|one| one.serves() && !is_meant(one)).count();
        Ok(Found { service, meant, others_serving })
    }

    async fn one(
        &self,
        api: &Api,
        service: &ServiceKey,
        listed: &[Listed],
        at: &Address,
    ) -> Result<Listed, Failure> {
        let is_it = |one: &&Listed| {
            Address::new(&one.ip, one.port).is_ok_and(|address| address == *at)
                && self.cluster.as_ref().is_none_or(|cluster| one.cluster == cluster.as_str())
        };
        let found: Vec<&Listed> = listed.iter().filter(is_it).collect();
        match found[..] {
            [one] => Ok(one.clone()),
            [] => {
                // A Nacos does not list all that it has: a disabled instance can be asked for.
                let hidden = api.hidden(service, at, self.cluster.as_ref()).await?;
                hidden.ok_or_else(|| nobody_at(at, service, listed))
            }
            [..] => {
                let clusters: Vec<&str> = found.iter().map(|one| one.cluster.as_str()).collect();
                let clusters = clusters.join(" and ");
                Err(Failure::wrong_usage(format!(
                    "{at} is in the clusters {clusters}: say which with --cluster"
                )))
            }
        }
    }
}

fn nobody_at(at: &Address, service: &ServiceKey, listed: &[Listed]) -> Failure {
    const NAMED_MAX: usize = 5; // Enough to see a mistake by.
    let mut there: Vec<String> = listed.iter().take(NAMED_MAX).map(Listed::at).collect();
    if listed.len() > NAMED_MAX {
        there.push("..".to_owned());
    }
    let (name, namespace) = (service.grouped(), &service.namespace);
    let there = if there.is_empty() {
        "it has no instances at the moment".to_owned()
    } else {
        let there = there.join(", ");
        format!("there are {there}; `graceful instances {name} --namespace {namespace}` lists them")
    };
    Failure::could_not(format!("there is no instance {at} in {name}: {there}"))
}

impl Found {
    /// Asks whether it is meant so, if nobody would serve any more.
    pub(crate) fn leaves_nobody(&self, would: &str, sure: &confirm::Sure) -> Result<(), Failure> {
        let stops = self.meant.iter().any(Listed::serves);
        if self.others_serving > 0 || !stops {
            return Ok(());
        }
        sure.ask(&format!("no instance of {} would serve after this has {would}", self.service.grouped()))
    }

    /// How many serve who are not meant.
    pub(crate) fn others(&self) -> String {
        let serve = if self.others_serving == 1 { "serves" } else { "serve" };
        format!("{} of {} {serve}", counted(self.others_serving, "other instance"), self.service.grouped())
    }
}

impl Acted {
    pub(crate) fn new(of: &Listed, done: impl Into<String>) -> Self {
        Self { ip: of.ip.clone(), port: of.port, cluster: of.cluster.clone(), done: done.into(), at: of.at() }
    }
}

impl Row for Acted {
    const HEADS: &'static [&'static str] = &["INSTANCE", "CLUSTER", "DONE"];

    fn cells(&self) -> Vec<Cell> {
        vec![Cell::text(&self.at), Cell::text(&self.cluster), Cell::text(&self.done)]
    }
}

impl Api {
    /// Sets something on an instance, and leaves the rest.
    pub(crate) async fn set(&self, service: &ServiceKey, one: &Listed, set: Set<'_>) -> Result<(), Failure> {
        let (method, path) = match self.kind {
            Kind::Ours | Kind::Nacos(Version::One) => (Method::PATCH, "/nacos/v1/ns/instance"),
            Kind::Nacos(Version::Three) => (Method::PUT, "/nacos/v3/admin/ns/instance/partial"),
        };
        self.change(method, path, service, &[&place(one)[..], set].concat()).await
    }

    /// The same on several instances: on this crate's registry on all of them or none.
    pub(crate) async fn set_all(
        &self,
        service: &ServiceKey,
        meant: &[Listed],
        set: Set<'_>,
    ) -> Result<(), Failure> {
        if let Kind::Ours = self.kind {
            let named: Vec<_> = meant.iter().map(in_batch).collect();
            let set = [&[("instances", json(&named))], set].concat();
            return self.change(Method::POST, "/graceful/v1/instances/set", service, &set).await;
        }
        for one in meant {
            self.set(service, one, set).await?;
        }
        Ok(())
    }

    /// Has words of operators stand over an instance's own, or takes such words back; the others stay.
    pub(crate) async fn set_metadata(
        &self,
        service: &ServiceKey,
        one: &Listed,
        set: &BTreeMap<String, String>,
        unset: &[String],
    ) -> Result<(), Failure> {
        let path = match self.kind {
            Kind::Ours | Kind::Nacos(Version::One) => "/nacos/v1/ns/instance/metadata/batch",
            Kind::Nacos(Version::Three) => "/nacos/v3/admin/ns/instance/metadata/batch",
        };
        let named = [in_batch(one)];
        let kind = if one.ephemeral { "ephemeral" } else { "persist" };
        let unset: BTreeMap<&str, &str> = unset.iter().map(|key| (key.as_str(), "")).collect();
        let steps =
            [(Method::PUT, json(set), set.is_empty()), (Method::DELETE, json(&unset), unset.is_empty())];
        for (method, metadata, is_empty) in steps {
            if is_empty {
                continue;
            }
            let words =
                [("instances", json(&named)), ("consistencyType", kind.to_owned()), ("metadata", metadata)];
            let done = self.try_change(method, path, service, &words).await;
            if matches!(&done, Err(Trouble::Refused { status, .. }) if *status == StatusCode::NOT_FOUND) {
                // An r-nacos: it takes all words at once.
                let mut words = one.metadata.clone();
                words.extend(set.clone());
                words.retain(|key, _| !unset.contains_key(key.as_str()));
                return self.set(service, one, &[("metadata", json(&words))]).await;
            }
            done.map_err(failed)?;
        }
        Ok(())
    }

    /// Asks for a change in a service.
    pub(crate) async fn change(
        &self,
        method: Method,
        path: &str,
        service: &ServiceKey,
        set: Set<'_>,
    ) -> Result<(), Failure> {
        self.try_change(method, path, service, set).await.map_err(|trouble| missing(trouble, service))
    }

    pub(crate) async fn try_change(
        &self,
        method: Method,
        path: &str,
        service: &ServiceKey,
        set: Set<'_>,
    ) -> Result<(), Trouble> {
        let parameters = [&self.named(service)[..], set].concat();
        let parameters: Vec<_> = parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.server.change(method, path, &parameters).await
    }

    /// The parameters that name a service here.
    fn named(&self, service: &ServiceKey) -> Vec<(&'static str, String)> {
        let ServiceKey { namespace, group, name } = service;
        let namespace = ("namespaceId", namespace.to_string());
        match self.kind {
            Kind::Ours | Kind::Nacos(Version::One) => vec![namespace, ("serviceName", service.grouped())],
            Kind::Nacos(Version::Three) => {
                vec![namespace, ("groupName", group.to_string()), ("serviceName", name.to_string())]
            }
        }
    }

    /// An instance that a Nacos has and does not list.
    async fn hidden(
        &self,
        service: &ServiceKey,
        at: &Address,
        cluster: Option<&Cluster>,
    ) -> Result<Option<Listed>, Failure> {
        let Kind::Nacos(Version::One) = self.kind else { return Ok(None) };
        let cluster = cluster.cloned().unwrap_or_default();
        let found = Version::One.instance(&self.server, &key(service), (at, cluster.as_str())).await;
        Ok(found.map_err(failed)?.map(Listed::from))
    }
}

/// An instance as a batch names it.
fn in_batch(one: &Listed) -> BTreeMap<&'static str, Value> {
    let (ip, port, cluster) = (one.ip.clone().into(), one.port.into(), one.cluster.clone().into());
    BTreeMap::from([("ip", ip), ("port", port), ("clusterName", cluster)])
}

/// The parameters that name an instance.
pub(crate) fn place(one: &Listed) -> Vec<(&'static str, String)> {
    vec![
        ("ip", one.ip.clone()),
        ("port", one.port.to_string()),
        ("clusterName", one.cluster.clone()),
        ("ephemeral", one.ephemeral.to_string()),
    ]
}

/// Words and maps of words: what no JSON writer refuses.
pub(crate) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
