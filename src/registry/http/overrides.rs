//! `PUT` and `PATCH /instance`, `/instance/metadata/batch`: what operators set on instances.

use super::extract::Parameters;
use super::respond::Json;
use crate::model::{Address, Cluster, Instance, InstanceKey, ServiceKey};
use crate::protocol::form::{Form, InvalidForm};
use crate::protocol::reply::OK;
use crate::registry::error::Refusal;
use crate::registry::fact::{Kind, Overrides};
use crate::registry::hub::Hub;
use crate::registry::write::{Set, Write};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

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

/// Sets what is given, and takes back what is not; the instance need not be there.
pub(super) async fn replace(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<&'static str, Refusal> {
    let (enabled, weight, metadata) = (form.enabled()?, form.weight()?, form.metadata()?.unwrap_or_default());
    let set = Set::All(Overrides { enabled, weight, metadata });
    hub.write(Write::Override { service: form.service()?, keys: vec![form.instance_key()?], set }).await?;
    Ok(OK)
}

/// Sets what is given and leaves the rest; the instance must be there.
pub(super) async fn change(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<&'static str, Refusal> {
    let set = Set::Given { enabled: form.enabled()?, weight: form.weight()?, metadata: form.metadata()? };
    hub.write(Write::Override { service: form.service()?, keys: vec![form.instance_key()?], set }).await?;
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
pub(super) fn named(form: &Form) -> Result<Option<Vec<InstanceKey>>, InvalidForm> {
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
