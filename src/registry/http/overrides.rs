//! `PUT` and `PATCH /instance`, `/instance/metadata/batch`: what operators set on instances; and the lists in
//! which they see everyone, disabled instances too.

use super::extract::Parameters;
use super::respond::Json;
use crate::model::{Address, Cluster, Instance, InstanceKey, ServiceKey, Snapshot};
use crate::protocol::entity::WireInstance;
use crate::protocol::form::{Form, InvalidForm};
use crate::protocol::reply::OK;
use crate::registry::error::Refusal;
use crate::registry::fact::{Kind, Overrides};
use crate::registry::hub::Hub;
use crate::registry::query::{Clusters, Page};
use crate::registry::write::{Set, Write};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Instances on a page, when nobody says how many.
const PAGE_SIZE: usize = 100;

/// An instance that a batch names.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    ip: String,
    port: u16,
    #[serde(default)]
    cluster_name: String,
}

/// Instances whose metadata a batch has changed, as Nacos writes them: `10.1.2.3:8080:unknown:DEFAULT:ephemeral`.
#[derive(Serialize)]
pub(super) struct Updated {
    updated: Vec<String>,
}

/// A page of instances in version 1.
#[derive(Serialize)]
pub(super) struct ListV1 {
    list: Vec<WireInstance>,
    count: usize,
}

/// A page of instances in version 2.
#[derive(Serialize)]
pub(super) struct ListV2 {
    instances: Vec<WireInstance>,
    count: usize,
}

/// Sets what is given, and takes back what is not; the instance need not be there.
pub(super) async fn replace(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<&'static str, Refusal> {
    let (enabled, weight, metadata) = (form.enabled()?, form.weight()?, form.metadata()?.unwrap_or_default());
    let set = Set::All(Overrides { enabled, weight, metadata });
    hub.write(Write::Override { service: form.service()?, key: form.instance_key()?, set }).await?;
    Ok(OK)
}

/// Sets what is given and leaves the rest; the instance must be there.
pub(super) async fn change(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<&'static str, Refusal> {
    let set = Set::Given { enabled: form.enabled()?, weight: form.weight()?, metadata: form.metadata()? };
    hub.write(Write::Override { service: form.service()?, key: form.instance_key()?, set }).await?;
    Ok(OK)
}

pub(super) async fn merge_metadata(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<Updated>, Refusal> {
    change_metadata(&hub, &form, false).await
}

pub(super) async fn remove_metadata(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<Updated>, Refusal> {
    change_metadata(&hub, &form, true).await
}

pub(super) async fn list_v1(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<ListV1>, Refusal> {
    let (count, list) = everyone(&hub, &form)?;
    Ok(Json(ListV1 { list, count }))
}

pub(super) async fn list_v2(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<ListV2>, Refusal> {
    let (count, instances) = everyone(&hub, &form)?;
    Ok(Json(ListV2 { instances, count }))
}

/// All instances of a service: version 3 has no pages here.
pub(super) async fn list_v3(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<Vec<WireInstance>>, Refusal> {
    let snapshot = hub.snapshot(&form.service()?);
    let (clusters, healthy_only) = (clusters(&form)?, form.flag("healthyOnly")?.unwrap_or(false));
    let shown = wanted(&snapshot, &clusters).filter(|instance| instance.healthy || !healthy_only);
    Ok(Json(shown.map(|instance| WireInstance::new(snapshot.service(), instance)).collect()))
}

fn everyone(hub: &Hub, form: &Form) -> Result<(usize, Vec<WireInstance>), Refusal> {
    let snapshot = hub.snapshot(&form.service()?);
    let clusters = clusters(form)?;
    let page = Page::new(form.count("pageNo")?.unwrap_or(1), form.count("pageSize")?.unwrap_or(PAGE_SIZE));
    let page = page.of(wanted(&snapshot, &clusters));
    let shown = page.into_iter().map(|instance| WireInstance::new(snapshot.service(), instance)).collect();
    Ok((wanted(&snapshot, &clusters).count(), shown))
}

fn clusters(form: &Form) -> Result<Clusters, Refusal> {
    Clusters::new(form.text("clusterName").unwrap_or_default().to_owned())
}

fn wanted<'a>(snapshot: &'a Snapshot, clusters: &'a Clusters) -> impl Iterator<Item = &'a Instance> {
    snapshot.instances().iter().filter(|instance| clusters.admit(&instance.key.cluster))
}

async fn change_metadata(hub: &Hub, form: &Form, remove: bool) -> Result<Json<Updated>, Refusal> {
    let service = form.service()?;
    let metadata = form.metadata()?.ok_or(InvalidForm::Missing("metadata"))?;
    let named = named(form)?;
    let of_kind = match form.text("consistencyType") {
        Some("ephemeral") => Some(Kind::Ephemeral),
        Some("persist") => Some(Kind::Persistent),
        Some(_) | None => None,
    };
    let snapshot = hub.snapshot(&service);
    let meant = snapshot.instances().iter().filter(|instance| {
        named.as_ref().is_none_or(|keys| keys.contains(&instance.key))
            && of_kind.is_none_or(|kind| kind == Kind::of(instance))
    });
    let updated: Vec<&Instance> = meant.collect();
    let keys = updated.iter().map(|instance| instance.key.clone()).collect();
    hub.write(Write::Metadata { service: ServiceKey::clone(&service), keys, metadata, remove }).await?;
    Ok(Json(Updated { updated: updated.into_iter().map(told).collect() }))
}

/// The instances that are named; nothing when all are meant.
fn named(form: &Form) -> Result<Option<Vec<InstanceKey>>, InvalidForm> {
    let name = "instances";
    let Some(text) = form.text(name) else { return Ok(None) };
    let named: Vec<Named> =
        serde_json::from_str(text).map_err(|source| InvalidForm::Json { name, source })?;
    let key = |Named { ip, port, cluster_name }: Named| {
        Ok(InstanceKey { address: Address::new(&ip, port)?, cluster: Cluster::new(&cluster_name)? })
    };
    let keys = named.into_iter().map(key).collect::<Result<Vec<_>, InvalidForm>>()?;
    Ok(Some(keys).filter(|keys| !keys.is_empty()))
}

fn told(instance: &Instance) -> String {
    let InstanceKey { address, cluster } = &instance.key;
    let kind = if instance.ephemeral { "ephemeral" } else { "persist" };
    format!("{}:{}:unknown:{cluster}:{kind}", address.host(), address.port())
}
