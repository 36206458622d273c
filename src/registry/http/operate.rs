//! What operators do through `/graceful/v1`: each has an answer that says what was done, and is written down with
//! whoever asked for it, by name or by address.

use super::extract::Parameters;
use super::overrides::named;
use super::respond::Json;
use crate::protocol::form::InvalidForm;
use crate::registry::access::whoever;
use crate::registry::error::Refusal;
use crate::registry::hub::{Actor, Hub};
use crate::registry::rollout::Rollout;
use crate::registry::write::{Edit, Set, Write};
use axum::Router;
use axum::extract::{FromRequestParts, State};
use axum::routing::post;
use http::request::Parts;
use serde::Serialize;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

/// An instance has taken an order.
#[derive(Serialize)]
struct Taken {
    taken: bool,
}

/// On how many instances something was set.
#[derive(Serialize)]
struct SetOn {
    set: usize,
}

/// What holds for the instances of a service from now on.
#[derive(Serialize)]
struct Holds {
    holds: BTreeMap<&'static str, String>,
}

/// A connection has been closed.
#[derive(Serialize)]
struct Closed {
    closed: bool,
    /// How many instances it published.
    instances: usize,
}

pub(super) fn routes() -> Router<Arc<Hub>> {
    Router::new()
        .route("/instances/offline", post(offline))
        .route("/instances/set", post(set))
        .route("/services/rollout", post(roll_out))
        .route("/clients/close", post(close))
}

/// Whoever asks for what a request does.
impl<S: Send + Sync> FromRequestParts<S> for Actor {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(whoever().into())
    }
}

/// Has an instance leave.
async fn offline(
    State(hub): State<Arc<Hub>>,
    actor: Actor,
    Parameters(form): Parameters,
) -> Result<Json<Taken>, Refusal> {
    hub.take_offline(&form.service()?, &form.address()?, actor).await?;
    Ok(Json(Taken { taken: true }))
}

/// Sets what is given on one instance or on several, which must be there.
async fn set(State(hub): State<Arc<Hub>>, Parameters(form): Parameters) -> Result<Json<SetOn>, Refusal> {
    let keys = match named(&form)? {
        Some(keys) => keys,
        None => vec![form.instance_key()?],
    };
    let (enabled, weight, metadata) = (form.enabled()?, form.weight()?, form.metadata()?);
    if enabled.is_none() && weight.is_none() && metadata.is_none() {
        return Err(InvalidForm::Missing("enabled, weight or metadata").into());
    }
    let (set, service) = (keys.len(), form.service()?);
    hub.write(Write::Override { service, keys, set: Set::Given { enabled, weight, metadata } }).await?;
    Ok(Json(SetOn { set }))
}

/// Says how all instances of a service start and leave, and leaves to each of them what is not given.
async fn roll_out(State(hub): State<Arc<Hub>>, Parameters(form): Parameters) -> Result<Json<Holds>, Refusal> {
    let rollout = Rollout::from_form(&form)?;
    let holds = rollout.words().into_iter().collect();
    hub.write(Write::Describe { service: form.service()?, edit: Edit::Rollout(rollout) }).await?;
    Ok(Json(Holds { holds }))
}

async fn close(
    State(hub): State<Arc<Hub>>,
    actor: Actor,
    Parameters(form): Parameters,
) -> Result<Json<Closed>, Refusal> {
    let connection = form.required_count("connection")? as u64;
    Ok(Json(Closed { instances: hub.close_connection(connection, &actor)?, closed: true }))
}
