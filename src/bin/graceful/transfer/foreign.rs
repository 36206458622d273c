//! A running Nacos or r-nacos as the source of a document, over the open routes of version 3, or of version 1
//! where that is not there.
//!
//! These tell an instance as it is shown: what its registration says and what an operator has set are one
//! there, and become what is registered here. Ephemeral instances come by themselves when their applications
//! turn to another registry; they, and services that only exist because of them, are left out.

use super::document::{Checker, Cluster, Instance, Key, Place, Selector, Service, Words};
use super::server::{Server, Trouble};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::collections::BTreeMap;
use tower_graceful::model::Address;

/// The namespace that has no name on some wires.
const PUBLIC: &str = "public";
/// Services on a page of version 3: the most that Nacos gives.
const PAGE_SIZE_V3: usize = 500;
/// Services on a page of version 1, and instances: there is no bound, and r-nacos has nothing on its second page.
const PAGE_SIZE_V1: usize = 10_000;
/// Pages that are read: half a million services.
const PAGES_MAX: usize = 1000;

/// Everything that is worth keeping of a server's `namespaces`, or of all where none are named.
///
/// # Errors
/// When it does not answer, refuses, or answers what cannot be read.
pub(crate) async fn read(server: &Server, namespaces: &[String]) -> Result<Vec<Service>, Trouble> {
    let (version, there) = Version::asked(server).await?;
    let there = there.into_iter().map(|Namespace { namespace }| named(namespace));
    let mut services = Vec::new();
    for namespace in there.filter(|name| namespaces.is_empty() || namespaces.contains(name)) {
        for Line { name, group_name, .. } in version.services(server, &namespace).await? {
            let key = Key { namespace: namespace.clone(), group: group_name, name };
            let (said, instances) = version.service(server, &key).await?;
            services.extend(worth_keeping(key, said, instances));
        }
    }
    Ok(services)
}

/// Which version of the API is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Version {
    One,
    Three,
}

/// The part of an envelope that counts.
#[derive(Deserialize)]
pub(crate) struct Data<T> {
    pub(crate) data: T,
}

#[derive(Deserialize)]
struct Namespace {
    namespace: String,
}

/// A service in a list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) group_name: String,
    pub(crate) ip_count: Option<usize>,
    pub(crate) healthy_instance_count: Option<usize>,
}

#[derive(Deserialize)]
struct Page {
    #[serde(alias = "totalCount")]
    count: usize,
    #[serde(rename = "serviceList", alias = "pageItems")]
    lines: Vec<Line>,
}

/// What is said of a service, by any version.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Said {
    pub(crate) ephemeral: Option<bool>,
    pub(crate) protect_threshold: f64,
    #[serde(deserialize_with = "words")]
    pub(crate) metadata: Words,
    selector: Value,
    /// Of version 1.
    clusters: Vec<SaidOfCluster>,
    /// Of version 3.
    cluster_map: BTreeMap<String, SaidOfCluster>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SaidOfCluster {
    #[serde(alias = "clusterName")]
    name: String,
    #[serde(default)]
    health_checker: Value,
    healthy_check_port: Option<u16>,
    use_instance_port_for_check: Option<bool>,
    #[serde(default, deserialize_with = "words")]
    metadata: Words,
}

/// An instance in a list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shown {
    pub(crate) ip: String,
    pub(crate) port: u16,
    pub(crate) weight: f64,
    pub(crate) healthy: bool,
    #[serde(default = "yes")]
    pub(crate) enabled: bool,
    #[serde(default = "yes")]
    pub(crate) ephemeral: bool,
    pub(crate) cluster_name: String,
    #[serde(default, deserialize_with = "words")]
    pub(crate) metadata: Words,
}

/// Who follows a service, by any version.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Follower {
    #[serde(alias = "addrStr")]
    address: String,
    ip: String,
    port: u16,
    #[serde(alias = "appName")]
    pub(crate) app: String,
    pub(crate) agent: String,
}

impl Follower {
    /// Where it is; an r-nacos tells that in two words.
    pub(crate) fn at(&self) -> String {
        if self.address.is_empty() { format!("{}:{}", self.ip, self.port) } else { self.address.clone() }
    }
}

#[derive(Deserialize)]
struct Listed {
    list: Vec<Shown>,
}

impl Version {
    /// The newest that `server` has.
    ///
    /// # Errors
    /// When it does not answer, refuses, or answers what cannot be read.
    pub(crate) async fn of(server: &Server) -> Result<Self, Trouble> {
        Ok(Self::asked(server).await?.0)
    }

    /// The same with the namespaces, by which it is told.
    async fn asked(server: &Server) -> Result<(Self, Vec<Namespace>), Trouble> {
        Ok(match server.read("/nacos/v3/admin/core/namespace/list", &[]).await? {
            Some(Data { data }) => (Self::Three, data),
            None => (Self::One, server.get::<Data<_>>("/nacos/v1/console/namespaces", &[]).await?.data),
        })
    }

    /// All services of a namespace.
    ///
    /// # Errors
    /// When it does not answer, refuses, or cannot be paged through.
    pub(crate) async fn services(self, server: &Server, namespace: &str) -> Result<Vec<Line>, Trouble> {
        let size = match self {
            Self::One => PAGE_SIZE_V1,
            Self::Three => PAGE_SIZE_V3,
        };
        let (mut lines, size_text) = (Vec::new(), size.to_string());
        for page in 1..=PAGES_MAX {
            let page = page.to_string();
            let parameters =
                [("pageNo", page.as_str()), ("pageSize", &size_text), ("withInstances", "false")];
            let parameters = [&[("namespaceId", wire(namespace))], &parameters[..]].concat();
            let Page { count, lines: more } = match self {
                Self::One => server.get("/nacos/v1/ns/catalog/services", &parameters).await?,
                Self::Three => {
                    server.get::<Data<_>>("/nacos/v3/admin/ns/service/list", &parameters).await?.data
                }
            };
            let is_last = more.len() < size;
            // A page after a full one has something, or nobody knows what it hides.
            let hides = more.is_empty() && !lines.is_empty();
            lines.extend(more);
            if is_last {
                return if hides || lines.len() < count {
                    Err(Trouble::Pages(server.base().to_owned()))
                } else {
                    Ok(lines)
                };
            }
        }
        Err(Trouble::Pages(server.base().to_owned()))
    }

    /// What is said of a service, and its instances.
    ///
    /// # Errors
    /// When it does not answer, refuses, or has no such service.
    pub(crate) async fn service(self, server: &Server, key: &Key) -> Result<(Said, Vec<Shown>), Trouble> {
        let name = key.grouped();
        let (namespace, size) = (("namespaceId", wire(&key.namespace)), PAGE_SIZE_V1.to_string());
        match self {
            Self::One => {
                let parameters = [namespace, ("serviceName", &name)];
                let said = server.get("/nacos/v1/ns/service", &parameters).await?;
                let page = [("clusterName", ""), ("pageNo", "1"), ("pageSize", &size)];
                let parameters = [&parameters[..], &page].concat();
                let listed: Listed = server.get("/nacos/v1/ns/catalog/instances", &parameters).await?;
                Ok((said, listed.list))
            }
            Self::Three => {
                let parameters = [namespace, ("groupName", &key.group), ("serviceName", &key.name)];
                let said: Data<_> = server.get("/nacos/v3/admin/ns/service", &parameters).await?;
                let listed: Data<_> = server.get("/nacos/v3/admin/ns/instance/list", &parameters).await?;
                Ok((said.data, listed.data))
            }
        }
    }

    /// One instance, also where lists hide it for being disabled; nothing where there is none. Version 1 tells
    /// one that is missing as an error of its own, in words that differ.
    ///
    /// # Errors
    /// When it does not answer, or what cannot be read.
    pub(crate) async fn instance(
        self,
        server: &Server,
        key: &Key,
        (at, cluster): (&Address, &str),
    ) -> Result<Option<Shown>, Trouble> {
        let (name, port) = (key.grouped(), at.port().to_string());
        let which = [("ip", at.host()), ("port", &port), ("cluster", cluster), ("clusterName", cluster)];
        let parameters =
            [&[("namespaceId", wire(&key.namespace)), ("serviceName", &*name)], &which[..]].concat();
        match self {
            Self::One => match server.read("/nacos/v1/ns/instance", &parameters).await {
                Err(Trouble::Refused { status, .. }) if !status.is_client_error() => Ok(None),
                found => found,
            },
            Self::Three => Ok(None), // Its list has everyone.
        }
    }

    /// Who follows a service.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub(crate) async fn followers(self, server: &Server, key: &Key) -> Result<Vec<Follower>, Trouble> {
        let size = PAGE_SIZE_V1.to_string();
        let page = [("namespaceId", wire(&key.namespace)), ("pageNo", "1"), ("pageSize", &size)];
        let named = [("groupName", key.group.as_str()), ("serviceName", &key.name)];
        let parameters = [page.as_slice(), &named].concat(); // An r-nacos knows no group in the name here.
        let Followers { subscribers } = match self {
            Self::One => server.get("/nacos/v1/ns/service/subscribers", &parameters).await?,
            Self::Three => {
                server.get::<Data<_>>("/nacos/v3/admin/ns/service/subscribers", &parameters).await?.data
            }
        };
        Ok(subscribers)
    }
}

#[derive(Deserialize)]
struct Followers {
    #[serde(alias = "pageItems")]
    subscribers: Vec<Follower>,
}

/// A service, unless it is there only because of its ephemeral instances.
fn worth_keeping(key: Key, said: Said, shown: Vec<Shown>) -> Option<Service> {
    let has_ephemeral = shown.iter().any(|instance| instance.ephemeral);
    let is_empty = shown.is_empty();
    let clusters = said.clusters.into_iter().chain(said.cluster_map.into_values()).map(SaidOfCluster::read);
    let service = Service {
        protect_threshold: said.protect_threshold,
        metadata: said.metadata,
        // One that takes a plug-in to understand gives all instances here as there.
        selector: serde_json::from_value::<Selector>(said.selector).unwrap_or_default(),
        clusters: clusters.filter(|(_, cluster)| *cluster != Cluster::default()).collect(),
        instances: shown.into_iter().filter(|instance| !instance.ephemeral).map(Instance::from).collect(),
        ..Service::new(key.clone(), said.ephemeral.unwrap_or(has_ephemeral))
    };
    let of_itself = is_empty || !service.says_as(&Service::new(key, true)) || !service.clusters.is_empty();
    let kept = of_itself || !service.instances.is_empty();
    kept.then_some(Service { created: of_itself, ..service })
}

impl Said {
    /// Names of its clusters.
    pub(crate) fn clusters(&self) -> Vec<String> {
        self.clusters.iter().chain(self.cluster_map.values()).map(|cluster| cluster.name.clone()).collect()
    }
}

impl SaidOfCluster {
    fn read(self) -> (String, Cluster) {
        let port = self.healthy_check_port.filter(|_| self.use_instance_port_for_check == Some(false));
        // A kind of probe that is not known here: a connection tells whether somebody listens.
        let checker = match serde_json::from_value(self.health_checker).unwrap_or_default() {
            Checker::Http { path, headers, expected_response_code } => {
                let path = if path.is_empty() { "/".to_owned() } else { path };
                Checker::Http { path, headers, expected_response_code }
            }
            other @ (Checker::None | Checker::Tcp) => other,
        };
        (self.name, Cluster { checker, port, metadata: self.metadata })
    }
}

impl From<Shown> for Instance {
    fn from(shown: Shown) -> Self {
        let Shown { ip, port, weight, healthy, enabled, cluster_name, metadata, .. } = shown;
        Self { place: Place { ip, port, cluster: cluster_name }, weight, enabled, healthy, metadata }
    }
}

/// What the one who says nothing means.
fn yes() -> bool {
    true
}

fn named(namespace: String) -> String {
    if namespace.is_empty() { PUBLIC.to_owned() } else { namespace }
}

/// A namespace as all servers understand it.
fn wire(namespace: &str) -> &str {
    if namespace == PUBLIC { "" } else { namespace }
}

/// Metadata in which a word may be `null`, or all of them.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Words, D::Error> {
    let words = Option::<BTreeMap<String, Option<String>>>::deserialize(deserializer)?;
    let words = words.unwrap_or_default().into_iter();
    Ok(words.filter_map(|(key, value)| Some((key, value?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(said: &str, shown: &str) -> Option<Service> {
        let key = Key { namespace: PUBLIC.to_owned(), group: "shop".to_owned(), name: "billing".to_owned() };
        worth_keeping(key, serde_json::from_str(said).unwrap(), serde_json::from_str(shown).unwrap())
    }

    #[test]
    fn a_follower_is_known_by_its_address_in_the_words_of_every_version() {
        for told in [
            r#"{"addrStr":"10.0.0.9:41000","agent":"a","app":"web","ip":"10.0.0.9","port":0}"#,
            r#"{"address":"10.0.0.9:41000","agent":"a","appName":"web","ip":"10.0.0.9","port":41000}"#,
            r#"{"serviceName":"orders","groupName":"g","namespaceId":"public","ip":"10.0.0.9","port":41000}"#,
        ] {
            assert_eq!(serde_json::from_str::<Follower>(told).unwrap().at(), "10.0.0.9:41000", "{told}");
        }
    }

    const PLAIN: &str = r#"{"protectThreshold":0.0,"metadata":{},"selector":{"type":"none"},"clusters":[{"name":"DEFAULT","healthChecker":{"type":"TCP"},"metadata":{}}]}"#;

    fn instance(port: u16, ephemeral: bool) -> String {
        format!(
            r#"{{"ip":"10.0.0.7","port":{port},"weight":2.0,"healthy":true,"enabled":false,"ephemeral":{ephemeral},"clusterName":"DEFAULT","metadata":{{"z":"a","n":null}}}}"#
        )
    }

    #[test]
    fn persistent_instances_are_kept_as_they_are_shown_and_ephemeral_ones_are_not() {
        let kept = keep(PLAIN, &format!("[{},{}]", instance(80, false), instance(81, true))).unwrap();
        assert_eq!((kept.instances.len(), kept.created), (1, false));
        let Instance { place, weight, enabled, metadata, .. } = &kept.instances[0];
        assert_eq!((place.to_string().as_str(), *weight, *enabled), ("10.0.0.7:80 DEFAULT", 2.0, false));
        assert_eq!(*metadata, [("z".to_owned(), "a".to_owned())].into());
        assert_eq!(keep(PLAIN, &format!("[{}]", instance(81, true))), None, "it comes by itself");
    }

    #[test]
    fn a_service_is_kept_for_what_is_said_of_it_or_because_somebody_created_it() {
        let created = keep(PLAIN, "[]").unwrap();
        assert!(created.created && !created.ephemeral && created.clusters.is_empty());
        let said = r#"{"ephemeral":true,"protectThreshold":0.8,"metadata":{"graceful.warmup":"60"},"selector":{"type":"label","expression":"x"},
            "clusterMap":{"a":{"clusterName":"a","healthChecker":{"type":"HTTP","path":"","headers":"","expectedResponseCode":204},"healthyCheckPort":81,"useInstancePortForCheck":false,"metadata":null}}}"#;
        let kept = keep(said, &format!("[{}]", instance(80, true))).unwrap();
        assert!(kept.created && kept.ephemeral && kept.instances.is_empty());
        assert_eq!(kept.selector, Selector::Label { expression: "x".to_owned() });
        let http =
            Checker::Http { path: "/".to_owned(), headers: String::new(), expected_response_code: 204 };
        let cluster = Cluster { checker: http, port: Some(81), metadata: Words::new() };
        assert_eq!(kept.clusters, [("a".to_owned(), cluster)].into());
        let odd =
            r#"{"selector":{"type":"plugin"},"clusters":[{"name":"a","healthChecker":{"type":"MYSQL"}}]}"#;
        let odd = keep(odd, "[]").unwrap();
        assert!(odd.selector == Selector::None && odd.clusters.is_empty(), "what nobody here understands");
    }
}
