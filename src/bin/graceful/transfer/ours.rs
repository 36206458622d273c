//! This crate's registry as the source of a document, and as its destination.

use super::document::{Checker, Cluster, Document, Instance, Key, Named, Override, Place, Service};
use super::plan::{Plan, Step};
use super::report::Report;
use super::server::{Server, Trouble};
use http::Method;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Where namespaces are made and named.
const NAMESPACES: &str = "/nacos/v1/console/namespaces";

/// A portion of what a registry keeps.
#[derive(Deserialize)]
struct Kept {
    services: Vec<Service>,
    next: Option<String>,
}

/// Everything that a registry keeps; nothing where it is no registry of this crate.
///
/// # Errors
/// When it does not answer, or refuses.
pub(crate) async fn read(server: &Server) -> Result<Option<Vec<Service>>, Trouble> {
    let (mut services, mut after) = (Vec::new(), String::new());
    loop {
        // It ends: each portion begins after the one before, and what is kept is bounded.
        let Some(kept) = server.read::<Kept>("/graceful/v1/kept", &[("after", &after)]).await? else {
            return Ok(None);
        };
        services.extend(kept.services);
        match kept.next {
            Some(next) => after = next,
            None => return Ok(Some(services)),
        }
    }
}

/// What a registry has of the services in `wanted`, those included of which it keeps nothing.
///
/// # Errors
/// When it does not answer, refuses, or is no registry of this crate.
pub(crate) async fn present(server: &Server, wanted: &Document) -> Result<BTreeMap<Key, Service>, Trouble> {
    let kept = read(server).await?.ok_or_else(|| Trouble::Unreadable {
        url: server.base().to_owned(),
        words: "it is no registry of this program".to_owned(),
    })?;
    let mut present: BTreeMap<Key, Service> =
        kept.into_iter().map(|service| (service.key.clone(), service)).collect();
    for Service { key, .. } in &wanted.services {
        if !present.contains_key(key)
            && let Some(ephemeral) = kind(server, key).await?
        {
            present.insert(key.clone(), Service::new(key.clone(), ephemeral));
        }
    }
    Ok(present)
}

/// Whether a service is ephemeral; nothing where there is none.
async fn kind(server: &Server, key: &Key) -> Result<Option<bool>, Trouble> {
    #[derive(Deserialize)]
    struct Detail {
        ephemeral: bool,
    }
    #[derive(Deserialize)]
    struct Envelope {
        data: Detail,
    }
    let name = key.grouped();
    let parameters = [("namespaceId", key.namespace.as_str()), ("serviceName", &name)];
    match server.read::<Envelope>("/nacos/v3/admin/ns/service", &parameters).await {
        Ok(found) => Ok(found.map(|found| found.data.ephemeral)),
        Err(Trouble::Refused { words, .. }) if words.contains("service not exist") => Ok(None),
        Err(trouble) => Err(trouble),
    }
}

/// Carries out a plan, every step of it, whatever becomes of the others; with `dry_run`, none.
pub(crate) async fn carry_out(plan: &Plan<'_>, server: &Server, dry_run: bool) -> Report {
    let mut report = Report::new(plan, dry_run);
    for step in &plan.steps {
        let outcome = if dry_run { Ok(()) } else { take(step, server).await };
        report.note(step, outcome);
    }
    report
}

async fn take(step: &Step<'_>, server: &Server) -> Result<(), Trouble> {
    let change = async |Service { key, .. }: &Service, method, path, parameters: &Made| {
        let name = key.grouped();
        let service = [("namespaceId", key.namespace.as_str()), ("serviceName", &name)];
        server.change(method, path, &[&service[..], &pairs(parameters)].concat()).await
    };
    match step {
        Step::Make(named) => server.change(Method::POST, NAMESPACES, &pairs(&called(named))).await,
        Step::Name(named) => server.change(Method::PUT, NAMESPACES, &pairs(&called(named))).await,
        Step::Create(of) => change(of, Method::POST, "/nacos/v1/ns/service", &said(of)).await,
        Step::Describe(of) => change(of, Method::PUT, "/nacos/v1/ns/service", &said(of)).await,
        Step::Probe(of, cluster) => {
            let said = of.clusters.get(*cluster).map(|said| probed(cluster, said)).unwrap_or_default();
            change(of, Method::PUT, "/nacos/v1/ns/cluster", &said).await
        }
        Step::Register(of, instance) => {
            change(of, Method::POST, "/nacos/v1/ns/instance", &registered(instance)).await
        }
        Step::Set(of, set) => change(of, Method::PUT, "/nacos/v1/ns/instance", &overridden(set)).await,
    }
}

/// Parameters whose values were made for this one request.
type Made = Vec<(&'static str, String)>;

fn pairs(made: &Made) -> Vec<(&str, &str)> {
    made.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// Words and enums of words: what no JSON writer refuses.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn called(Named { namespace, name, description }: &Named) -> Made {
    // One is what creates it by, the other what it is described by.
    let ids = ["customNamespaceId", "namespace"].map(|id| (id, namespace.clone()));
    [&ids[..], &[("namespaceName", name.clone()), ("namespaceDesc", description.clone())]].concat()
}

fn said(service: &Service) -> Made {
    vec![
        ("ephemeral", service.ephemeral.to_string()),
        ("protectThreshold", service.protect_threshold.to_string()),
        ("metadata", json(&service.metadata)),
        ("selector", json(&service.selector)),
    ]
}

fn probed(name: &str, Cluster { checker, port, metadata }: &Cluster) -> Made {
    let checker: &Checker = checker;
    let mut made = vec![
        ("clusterName", name.to_owned()),
        ("healthChecker", json(checker)),
        ("useInstancePort4Check", port.is_none().to_string()),
        ("metadata", json(metadata)),
    ];
    made.extend(port.map(|port| ("checkPort", port.to_string())));
    made
}

fn placed(Place { ip, port, cluster }: &Place) -> Made {
    vec![("ip", ip.clone()), ("port", port.to_string()), ("clusterName", cluster.clone())]
}

fn registered(Instance { place, weight, enabled, healthy, metadata }: &Instance) -> Made {
    let mut made = placed(place);
    made.extend([
        ("ephemeral", false.to_string()),
        ("weight", weight.to_string()),
        ("enabled", enabled.to_string()),
        ("healthy", healthy.to_string()),
        ("metadata", json(metadata)),
    ]);
    made
}

fn overridden(Override { place, weight, enabled, metadata }: &Override) -> Made {
    let mut made = placed(place);
    made.extend(weight.map(|weight| ("weight", weight.to_string())));
    made.extend(enabled.map(|enabled| ("enabled", enabled.to_string())));
    made.push(("metadata", json(metadata)));
    made
}
