//! `POST /instance` of version 3 for clients: one call that registers and, with `heartBeat=true`, renews.

use super::extract::Parameters;
use super::instance;
use super::wrap::Fault;
use crate::protocol::reply::OK;
use crate::registry::error::Refusal;
use crate::registry::hub::Hub;
use crate::registry::senders::Sender;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// Registers; or renews what is registered, of which only the address is read then: whoever lets metadata go
/// with a heartbeat has not changed them.
pub(super) async fn register_or_renew(
    State(hub): State<Arc<Hub>>,
    sender: Sender,
    Parameters(form): Parameters,
) -> Result<Response, Refusal> {
    if form.flag("heartBeat")? != Some(true) {
        return instance::register(State(hub), sender, Parameters(form))
            .await
            .map(IntoResponse::into_response);
    }
    let (service, address) = (form.service()?, form.address()?);
    let renewed = hub.beat_from(&service, &address, Some(sender))?;
    // No failure of the request, and so no failure in HTTP: the caller is to register in full.
    Ok(renewed.map_or_else(|| Fault::INSTANCE_NOT_FOUND.into_response(), |_| OK.into_response()))
}
