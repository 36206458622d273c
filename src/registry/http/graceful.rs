//! `/graceful/v1`: what the registry knows, for people who ask why, and what they can order an instance.
//! `docs/registry-api.md` has an answer of each kind.

use super::extract::Parameters;
use super::kept::kept;
use super::openapi::openapi;
use super::operate;
use super::respond::Json;
use crate::model::{Address, InstanceKey};
use crate::protocol::form::{Form, InvalidForm};
use crate::registry::access::Sight;
use crate::registry::diagnosis::{DIAGNOSED, Diagnosis};
use crate::registry::error::Refusal;
use crate::registry::hub::{
    ClientLine, DeedLine, EventLine, Followers, Hub, Instances, ServiceLine, TrafficLines,
};
use crate::registry::query::Page;
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// Entries on a page, when nobody says how many.
const PAGE_SIZE: usize = 100;
/// Events in an answer, when nobody says how many.
const EVENTS_SHOWN: usize = 200;
/// Events in an answer at most: some megabytes.
const EVENTS_SHOWN_MAX: usize = 10_000;

/// A page of services.
#[derive(Serialize)]
struct Services {
    count: usize,
    services: Vec<ServiceLine>,
}

/// A page of clients.
#[derive(Serialize)]
struct Clients {
    count: usize,
    clients: Vec<ClientLine>,
}

/// The events of a service, the newest first.
#[derive(Serialize)]
struct Events {
    events: Vec<EventLine>,
    /// What operators have done to the service as a whole, where that is asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    service: Vec<DeedLine>,
}

pub(super) fn routes() -> Router<Arc<Hub>> {
    Router::new()
        .route("/openapi.json", get(openapi))
        .route("/kept", get(kept))
        .route("/services", get(services))
        .route("/instances", get(instances))
        .route("/subscribers", get(subscribers))
        .route("/events", get(events))
        .route("/traffic", get(traffic))
        .route("/diagnosis", get(diagnosis))
        .route("/clients", get(clients))
        .merge(operate::routes())
}

async fn services(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<Services>, Refusal> {
    let (count, services) = hub.service_lines(&form.namespace()?, page(&hub, &form)?);
    Ok(Json(Services { count, services }))
}

async fn instances(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<Instances>, Refusal> {
    hub.explained(&form.service()?).map(Json)
}

async fn subscribers(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<Followers>, Refusal> {
    Ok(Json(hub.subscribers(&form.service()?)))
}

async fn events(State(hub): State<Arc<Hub>>, Parameters(form): Parameters) -> Result<Json<Events>, Refusal> {
    let max = form.count("max")?.unwrap_or(EVENTS_SHOWN).min(EVENTS_SHOWN_MAX);
    let after = form.count("after")?.unwrap_or(0) as u64;
    let service = form.service()?;
    let of_service = form.text("ip").is_none(); // One instance is asked for otherwise.
    let deeds = if of_service { hub.deed_lines(&service, max) } else { Vec::new() };
    Ok(Json(Events { events: hub.event_lines(&service, wanted(&form)?, after, max), service: deeds }))
}

async fn traffic(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<TrafficLines>, Refusal> {
    let seconds = form.count("seconds")?.map_or(u64::MAX, |seconds| seconds as u64);
    Ok(Json(hub.traffic(&form.service()?, wanted(&form)?, seconds)))
}

async fn diagnosis(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<Diagnosis>, Refusal> {
    let period = form.count("seconds")?.map_or(DIAGNOSED, |seconds| Duration::from_secs(seconds as u64));
    Ok(Json(hub.diagnosis(&form.service()?, period, &Sight::of_actor())))
}

/// The instance that is asked for, or every one.
fn wanted(form: &Form) -> Result<impl Fn(&InstanceKey) -> bool + use<>, InvalidForm> {
    let one: Option<Address> = form.text("ip").map(|_| form.address()).transpose()?;
    Ok(move |key: &InstanceKey| one.as_ref().is_none_or(|one| *one == key.address))
}

async fn clients(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<Clients>, Refusal> {
    let (count, clients) = hub.client_lines(page(&hub, &form)?, &Sight::of_actor());
    Ok(Json(Clients { count, clients }))
}

fn page(hub: &Hub, form: &Form) -> Result<Page, InvalidForm> {
    Ok(hub.page(form.count("pageNo")?.unwrap_or(1), form.count("pageSize")?.unwrap_or(PAGE_SIZE)))
}
