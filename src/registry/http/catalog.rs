//! `/catalog` and the lists of version 3: what operators see, disabled instances too, and all of them as they
//! are, whatever protection gives to consumers.

use super::described::{CatalogService, Detail, Summary};
use super::extract::Parameters;
use super::respond::Json;
use crate::model::{Instance, Snapshot};
use crate::protocol::entity::WireInstance;
use crate::protocol::form::Form;
use crate::protocol::reply::Page as ReplyPage;
use crate::registry::error::Refusal;
use crate::registry::hub::Hub;
use crate::registry::query::{Clusters, Described, Search};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::sync::Arc;

/// Instances or services on a page, when nobody says how many.
const PAGE_SIZE: usize = 100;

/// A page of instances in version 1.
#[derive(Serialize)]
pub(super) struct InstancesV1 {
    list: Vec<WireInstance>,
    count: usize,
}

/// A page of instances in version 2.
#[derive(Serialize)]
pub(super) struct InstancesV2 {
    instances: Vec<WireInstance>,
    count: usize,
}

/// A page of services in version 1.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ServicesV1 {
    count: usize,
    service_list: Vec<Summary>,
}

pub(super) async fn service_v1(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<CatalogService>, Refusal> {
    Ok(Json(CatalogService::new(&hub.described(&form.service()?)?)))
}

/// With their instances unless told otherwise, and then without a count, as in Nacos.
pub(super) async fn services_v1(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Response, Refusal> {
    let page = hub.page(form.required_count("pageNo")?, form.required_count("pageSize")?);
    let (count, found) = hub.find(&form.namespace()?, &search(&form, "hasIpCount")?, page);
    if form.flag("withInstances")?.unwrap_or(true) {
        return Ok(Json(details(&found)).into_response());
    }
    let service_list = found.iter().map(Summary::new).collect();
    Ok(Json(ServicesV1 { count, service_list }).into_response())
}

/// Services of a namespace whose names and groups contain what is asked for.
pub(super) async fn services_v3(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Response, Refusal> {
    let page = hub.page(form.count("pageNo")?.unwrap_or(1), form.count("pageSize")?.unwrap_or(PAGE_SIZE));
    let search = search(&form, "ignoreEmptyService")?;
    let (count, found) = hub.find(&form.namespace()?, &search, page);
    if form.flag("withInstances")?.unwrap_or(false) {
        return Ok(Json(ReplyPage::new(count, page.place(), details(&found))).into_response());
    }
    let summaries: Vec<_> = found.iter().map(Summary::new).collect();
    Ok(Json(ReplyPage::new(count, page.place(), summaries)).into_response())
}

pub(super) async fn instances_v1(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<InstancesV1>, Refusal> {
    let (count, list) = page_of_instances(&hub, &form)?;
    Ok(Json(InstancesV1 { list, count }))
}

pub(super) async fn instances_v2(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<InstancesV2>, Refusal> {
    let (count, instances) = page_of_instances(&hub, &form)?;
    Ok(Json(InstancesV2 { instances, count }))
}

/// All instances of a service: version 3 has no pages here.
pub(super) async fn instances_v3(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<Vec<WireInstance>>, Refusal> {
    let snapshot = hub.snapshot(&form.service()?);
    let shown = wanted(&snapshot, &form)?.into_iter();
    Ok(Json(shown.map(|instance| WireInstance::new(snapshot.service(), instance)).collect()))
}

fn page_of_instances(hub: &Hub, form: &Form) -> Result<(usize, Vec<WireInstance>), Refusal> {
    let snapshot = hub.snapshot(&form.service()?);
    let wanted = wanted(&snapshot, form)?;
    let page = hub.page(form.count("pageNo")?.unwrap_or(1), form.count("pageSize")?.unwrap_or(PAGE_SIZE));
    let shown = page.of(wanted.iter()).into_iter();
    Ok((wanted.len(), shown.map(|instance| WireInstance::new(snapshot.service(), instance)).collect()))
}

fn wanted<'a>(snapshot: &'a Snapshot, form: &Form) -> Result<Vec<&'a Instance>, Refusal> {
    let clusters = Clusters::new(form.text("clusterName").unwrap_or_default().to_owned())?;
    let healthy_only = form.flag("healthyOnly")?.unwrap_or(false);
    let enabled_only = form.flag("enabledOnly")?.unwrap_or(false);
    let wanted = |instance: &&Instance| {
        clusters.admit(&instance.key.cluster)
            && (instance.healthy || !healthy_only)
            && (instance.enabled || !enabled_only)
    };
    Ok(snapshot.instances().iter().filter(wanted).collect())
}

fn search(form: &Form, ignore_empty: &'static str) -> Result<Search, Refusal> {
    let part = |name: &str| form.text(name).unwrap_or_default().to_owned();
    let (name, group, address) = (part("serviceNameParam"), part("groupNameParam"), part("instance"));
    Ok(Search { name, group, address, ignore_empty: form.flag(ignore_empty)?.unwrap_or(false) })
}

fn details(found: &[Described]) -> Vec<Detail> {
    found.iter().map(Detail::with_instances).collect()
}
