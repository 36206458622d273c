//! `/instance`: registering, taking off, heartbeats and lists.

use super::extract::Parameters;
use super::question::Question;
use super::respond::{Json, Text};
use crate::model::Lease;
use crate::protocol::reply::{BeatAnswer, InstanceDetail, OK};
use crate::registry::error::Refusal;
use crate::registry::hub::Hub;
use crate::registry::query::Clusters;
use crate::registry::senders::Sender;
use crate::registry::texts::Form;
use crate::registry::write::Write;
use axum::extract::State;
use std::sync::Arc;

pub(super) async fn register(
    State(hub): State<Arc<Hub>>,
    sender: Sender,
    Parameters(form): Parameters,
) -> Result<&'static str, Refusal> {
    let (service, instance) = (form.service()?, form.instance()?);
    if instance.ephemeral {
        hub.publish_beaten(service, instance, sender)?;
    } else {
        hub.write(Write::Register { service, instance }).await?;
    }
    Ok(OK)
}

pub(super) async fn deregister(
    State(hub): State<Arc<Hub>>,
    sender: Sender,
    Parameters(form): Parameters,
) -> Result<&'static str, Refusal> {
    let (service, key) = (form.service()?, form.instance_key()?);
    if form.ephemeral()? {
        hub.withdraw_beaten(service, key.address, sender)?;
    } else {
        hub.write(Write::Deregister { service, key }).await?;
    }
    Ok(OK)
}

pub(super) async fn detail(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<InstanceDetail>, Refusal> {
    let (service, key) = (form.service()?, form.instance_key()?);
    let healthy_only = form.flag("healthyOnly")?.unwrap_or(false);
    let snapshot = hub.snapshot(&service);
    let instance = snapshot.get(&key).filter(|instance| instance.healthy || !healthy_only);
    Ok(Json(InstanceDetail::new(&service, instance.ok_or(Refusal::NotFound)?)))
}

/// The list for consumers; those that name a `udpPort` hear of its changes there.
pub(super) async fn list(State(hub): State<Arc<Hub>>, question: Question) -> Result<Text, Refusal> {
    let form = &question.form;
    let (service, clusters) =
        (form.service()?, Clusters::new(form.text("clusters").unwrap_or_default().to_owned())?);
    let healthy_only = form.flag("healthyOnly")?.unwrap_or(false);
    let view = question.view(&hub, &service, (&clusters, healthy_only), "udpPort");
    Ok(Text(view.written(Form::Http, &clusters, healthy_only)))
}

/// Renews a lease. A full heartbeat of an unknown instance registers it: so instances return after a restart
/// of the registry.
pub(super) async fn beat(
    State(hub): State<Arc<Hub>>,
    sender: Sender,
    Parameters(form): Parameters,
) -> Result<Json<BeatAnswer>, Refusal> {
    let beat = form.beat()?;
    if let Some(interval) = hub.beat_from(&beat.service, &beat.address, Some(sender.clone()))? {
        return Ok(Json(BeatAnswer::renewed(interval)));
    }
    let Some(instance) = beat.full else {
        return Ok(Json(BeatAnswer::unknown(Lease::default().interval())));
    };
    hub.publish_beaten(beat.service.clone(), instance, sender)?;
    let interval = hub.beat(&beat.service, &beat.address)?; // Which operators may have set.
    Ok(Json(BeatAnswer::renewed(interval.unwrap_or_else(|| Lease::default().interval()))))
}
