//! One instance, and the lists that consumers without an SDK read, in versions 2 and 3.

use super::extract::Parameters;
use super::question::Question;
use super::respond::Json;
use crate::model::{Cluster, Instance, ServiceKey};
use crate::protocol::entity::{ServiceInfo, WireInstance};
use crate::protocol::form::Form;
use crate::protocol::reply::{InstanceDetailV2, Statuses};
use crate::registry::error::Refusal;
use crate::registry::hub::Hub;
use crate::registry::query::Clusters;
use crate::registry::query::POLL_MILLIS;
use axum::extract::State;
use std::sync::Arc;

pub(super) async fn detail_v2(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<InstanceDetailV2>, Refusal> {
    let (service, instance) = found(&hub, &form)?;
    Ok(Json(InstanceDetailV2::new(&service, &instance)))
}

pub(super) async fn detail_v3(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<WireInstance>, Refusal> {
    let (service, instance) = found(&hub, &form)?;
    Ok(Json(WireInstance::new(&service, &instance)))
}

/// As in version 1, but the clusters and the UDP port have other parameters.
pub(super) async fn list_v2(
    State(hub): State<Arc<Hub>>,
    question: Question,
) -> Result<Json<ServiceInfo>, Refusal> {
    let form = &question.form;
    let service = form.service()?;
    let clusters = Clusters::new(form.text("clusterName").unwrap_or_default().to_owned())?;
    let healthy_only = form.flag("healthyOnly")?.unwrap_or(false);
    let view = question.view(&hub, &service, (&clusters, healthy_only), "port");
    let info = view.service_info(&clusters, healthy_only);
    Ok(Json(info.grouped(&service, POLL_MILLIS)))
}

/// The instances alone, of the default cluster unless another one is asked for, as in Nacos.
pub(super) async fn list_client_v3(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<Vec<WireInstance>>, Refusal> {
    let asked = form.text("clusterName").map_or_else(|| Cluster::default().to_string(), str::to_owned);
    let view = hub.view(&form.service()?);
    Ok(Json(view.service_info(&Clusters::new(asked)?, false).hosts))
}

/// Addresses and health of a service that is named by one `key`, `namespace##group@@name`.
pub(super) async fn statuses(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<Statuses>, Refusal> {
    let service: ServiceKey = form.required("key")?.parse()?;
    Ok(Json(Statuses::new(hub.snapshot(&service).instances())))
}

fn found(hub: &Hub, form: &Form) -> Result<(ServiceKey, Instance), Refusal> {
    let (service, key) = (form.service()?, form.instance_key()?);
    let instance = hub.snapshot(&service).get(&key).cloned().ok_or(Refusal::NotFound)?;
    Ok((service, instance))
}
