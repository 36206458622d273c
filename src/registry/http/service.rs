//! `/service`: which services there are.

use super::extract::Parameters;
use super::respond::Json;
use crate::protocol::reply::ServiceNames;
use crate::registry::error::Refusal;
use crate::registry::hub::Hub;
use crate::registry::query::Page;
use axum::extract::State;
use std::sync::Arc;

pub(super) async fn list(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<ServiceNames>, Refusal> {
    let page = Page::new(form.required_count("pageNo")?, form.required_count("pageSize")?);
    let (count, names) = hub.names(&form.namespace()?, &form.group()?, page);
    Ok(Json(ServiceNames::new(count, &names)))
}
