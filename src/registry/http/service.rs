//! `/service`: which services there are, and what is said of them.

use super::extract::Parameters;
use super::respond::Json;
use crate::protocol::form::{Form, InvalidForm};
use crate::protocol::reply::{AllNames, OK, ServiceNames, ServiceNamesV2};
use crate::registry::access::Sight;
use crate::registry::error::Refusal;
use crate::registry::fact::{Kind, Selector};
use crate::registry::http::described::{DetailV1, DetailV2, DetailV3};
use crate::registry::hub::Hub;
use crate::registry::write::{Edit, Said, Write};
use axum::extract::State;
use serde::Deserialize;
use std::sync::Arc;

/// Services on a page of version 2, when nobody says how many; Nacos' number.
const PAGE_SIZE_V2: usize = 20;

/// A selector as Nacos writes it: `{"type":"label","expression":".."}`.
#[derive(Deserialize)]
struct WireSelector {
    r#type: String,
    #[serde(default)]
    expression: String,
}

/// Creates a service, by default a persistent one, as Nacos does in all versions.
pub(super) async fn create(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<&'static str, Refusal> {
    let ephemeral = form.flag("ephemeral")?.unwrap_or(false);
    let kind = if ephemeral { Kind::Ephemeral } else { Kind::Persistent };
    hub.write(Write::Create { service: form.service()?, kind, said: said(&form)? }).await?;
    Ok(OK)
}

pub(super) async fn update(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<&'static str, Refusal> {
    let edit = Edit::Said(said(&form)?);
    hub.write(Write::Describe { service: form.service()?, edit }).await?;
    Ok(OK)
}

pub(super) async fn delete(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<&'static str, Refusal> {
    hub.write(Write::Delete { service: form.service()? }).await?;
    Ok(OK)
}

pub(super) async fn detail_v1(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<DetailV1>, Refusal> {
    Ok(Json(DetailV1::new(&hub.described(&form.service()?)?)))
}

pub(super) async fn detail_v2(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<DetailV2>, Refusal> {
    Ok(Json(DetailV2::new(&hub.described(&form.service()?)?)))
}

pub(super) async fn detail_v3(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<DetailV3>, Refusal> {
    Ok(Json(DetailV3::new(&hub.described(&form.service()?)?)))
}

pub(super) async fn list_v1(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<ServiceNames>, Refusal> {
    let page = hub.page(form.required_count("pageNo")?, form.required_count("pageSize")?);
    let (count, names) = hub.names(&form.namespace()?, &form.group()?, page);
    Ok(Json(ServiceNames::new(count, &names)))
}

pub(super) async fn list_v2(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<ServiceNamesV2>, Refusal> {
    let page = hub.page(form.count("pageNo")?.unwrap_or(1), form.count("pageSize")?.unwrap_or(PAGE_SIZE_V2));
    let (count, names) = hub.names(&form.namespace()?, &form.group()?, page);
    Ok(Json(ServiceNamesV2::new(count, &names)))
}

/// Names that contain `expr`, of all namespaces that whoever asks may see.
pub(super) async fn names(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<AllNames>, Refusal> {
    let expr = form.text("expr").unwrap_or_default();
    let sight = Sight::of_actor();
    let (count, names) = hub.all_names(|key| sight.sees(&key.namespace) && key.name.as_str().contains(expr));
    Ok(Json(AllNames::new(count, &names)))
}

pub(super) async fn selector_types() -> Json<[&'static str; 2]> {
    Json(["none", "label"])
}

fn said(form: &Form) -> Result<Said, InvalidForm> {
    let (protect_threshold, metadata) = (form.protect_threshold()?, form.metadata()?);
    Ok(Said { protect_threshold, metadata, selector: selector(form)? })
}

fn selector(form: &Form) -> Result<Option<Selector>, InvalidForm> {
    let name = "selector";
    let Some(text) = form.text(name) else { return Ok(None) };
    let wire: WireSelector =
        serde_json::from_str(text).map_err(|source| InvalidForm::Json { name, source })?;
    match wire.r#type.as_str() {
        "none" => Ok(Some(Selector::None)),
        "label" => Ok(Some(Selector::Label { expression: wire.expression })),
        _ => Err(InvalidForm::value(name, text, r#"{"type":"none"} or {"type":"label","expression":".."}"#)),
    }
}
