//! Namespaces: listed, named and given up, in the paths and words of all versions. They need not be created:
//! whatever is registered in one makes it. A name and a description are for people.

use super::extract::Parameters;
use super::respond::Json;
use crate::model::Namespace;
use crate::protocol::form::{Form, InvalidForm};
use crate::protocol::reply::{NamespaceEntry, Namespaces};
use crate::registry::access::Sight;
use crate::registry::error::Refusal;
use crate::registry::fact::NamespaceRecord;
use crate::registry::hub::Hub;
use crate::registry::write::Write;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use std::sync::Arc;

/// Characters of a name, and of a description: they are for people, and in every list.
const NAME_CHARS_MAX: usize = 256;
const DESCRIPTION_CHARS_MAX: usize = 1024;
/// Parameters that mean the namespace, in one version or another.
const IDS: [&str; 3] = ["customNamespaceId", "namespaceId", "namespace"];

/// Version 1, below `/console`.
pub(super) fn v1() -> Router<Arc<Hub>> {
    Router::new().route("/namespaces", changes(get(list_or_one)))
}

/// Version 2, below `/console`, and version 3, below `/core`.
pub(super) fn later_versions() -> Router<Arc<Hub>> {
    Router::new()
        .route("/namespace", changes(get(one)))
        .route("/namespace/list", get(list))
        .route("/namespace/check", get(check))
}

fn changes(reads: MethodRouter<Arc<Hub>>) -> MethodRouter<Arc<Hub>> {
    reads.post(create).put(describe).delete(delete)
}

async fn list(State(hub): State<Arc<Hub>>) -> Json<Vec<NamespaceEntry>> {
    Json(entries(&hub))
}

/// Version 1 has one path for all that is asked.
async fn list_or_one(state: State<Arc<Hub>>, Parameters(form): Parameters) -> Result<Response, Refusal> {
    if form.flag("checkNamespaceIdExist")? == Some(true) {
        let is_there = exists(&state.0, &namespace(&form)?);
        return Ok(Json(is_there).into_response());
    }
    if form.text("show") == Some("all") {
        return one(state, Parameters(form)).await.map(IntoResponse::into_response);
    }
    Ok(Json(Namespaces::new(entries(&state.0))).into_response())
}

async fn one(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<NamespaceEntry>, Refusal> {
    let namespace = namespace(&form)?;
    if !exists(&hub, &namespace) {
        return Err(Refusal::NoNamespace(namespace));
    }
    Ok(Json(entry(&hub, &namespace)))
}

/// How many namespaces have this name: none, or one.
async fn check(State(hub): State<Arc<Hub>>, Parameters(form): Parameters) -> Result<Json<u8>, Refusal> {
    Ok(Json(exists(&hub, &namespace(&form)?).into()))
}

async fn create(State(hub): State<Arc<Hub>>, Parameters(form): Parameters) -> Result<Json<bool>, Refusal> {
    let given = IDS.into_iter().find_map(|id| form.text(id));
    let namespace = given.map_or_else(|| Ok(any()), Namespace::new).map_err(InvalidForm::from)?;
    hub.write(Write::CreateNamespace { namespace, record: record(&form)? }).await?;
    Ok(Json(true))
}

async fn describe(State(hub): State<Arc<Hub>>, Parameters(form): Parameters) -> Result<Json<bool>, Refusal> {
    let (namespace, record) = (required(&form)?, record(&form)?);
    hub.write(Write::DescribeNamespace { namespace, record }).await?;
    Ok(Json(true))
}

async fn delete(State(hub): State<Arc<Hub>>, Parameters(form): Parameters) -> Result<Json<bool>, Refusal> {
    hub.write(Write::DeleteNamespace { namespace: required(&form)? }).await?;
    Ok(Json(true))
}

/// Those that whoever asks may see: to them there are no others.
fn seen(hub: &Hub) -> impl Iterator<Item = Namespace> {
    let sight = Sight::of_actor();
    hub.namespaces().into_iter().filter(move |namespace| sight.sees(namespace))
}

fn exists(hub: &Hub, namespace: &Namespace) -> bool {
    seen(hub).any(|seen| seen == *namespace)
}

fn entries(hub: &Hub) -> Vec<NamespaceEntry> {
    seen(hub).map(|namespace| entry(hub, &namespace)).collect()
}

fn entry(hub: &Hub, namespace: &Namespace) -> NamespaceEntry {
    let record = hub.namespace_record(namespace);
    NamespaceEntry::new(namespace, record.as_ref().map(|said| (&*said.name, &*said.description)))
}

/// The namespace that is meant, or the default one.
fn namespace(form: &Form) -> Result<Namespace, InvalidForm> {
    Ok(Namespace::new(IDS.into_iter().find_map(|id| form.text(id)).unwrap_or_default())?)
}

/// The same, where it must be said.
fn required(form: &Form) -> Result<Namespace, InvalidForm> {
    let given = IDS.into_iter().find_map(|id| form.text(id)).ok_or(InvalidForm::Missing("namespaceId"))?;
    Ok(Namespace::new(given)?)
}

fn record(form: &Form) -> Result<NamespaceRecord, InvalidForm> {
    let name = form.text("namespaceShowName").map_or_else(|| form.required("namespaceName"), Ok)?;
    let description = form.text("namespaceDesc").unwrap_or_default();
    let accepted = |text: &str, max| text.chars().count() <= max && !text.chars().any(char::is_control);
    if !accepted(name, NAME_CHARS_MAX) {
        return Err(InvalidForm::value("namespaceName", name, "up to 256 characters, no control characters"));
    }
    if !accepted(description, DESCRIPTION_CHARS_MAX) {
        let accepted = "up to 1024 characters, no control characters";
        return Err(InvalidForm::value("namespaceDesc", description, accepted));
    }
    Ok(NamespaceRecord { name: name.to_owned(), description: description.to_owned() })
}

/// One that nobody has, for whoever does not care which: written as a UUID, as Nacos does.
fn any() -> Namespace {
    let digits = format!("{:032x}", fastrand::u128(..));
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    Namespace::new(&parts.join("-")).unwrap_or_default() // Hexadecimal digits and `-` are a name.
}
