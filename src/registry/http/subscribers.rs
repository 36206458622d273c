//! `/service/subscribers`: who follows a service.

use super::extract::Parameters;
use super::respond::Json;
use crate::protocol::form::Form;
use crate::protocol::reply::Page as ReplyPage;
use crate::registry::error::Refusal;
use crate::registry::hub::Hub;
use crate::registry::hub::clients::Follows;
use crate::registry::query::Page;
use axum::extract::State;
use serde::Serialize;
use std::sync::Arc;

/// Subscribers on a page of versions 1 and 2, when nobody says how many; Nacos' number, as the next one.
const PAGE_SIZE: usize = 1000;
/// The same in version 3.
const PAGE_SIZE_V3: usize = 100;

/// A page of subscribers in versions 1 and 2.
#[derive(Serialize)]
pub(super) struct Subscribers {
    subscribers: Vec<Subscriber>,
    count: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Subscriber {
    addr_str: String,
    agent: String,
    app: String,
    ip: String,
    port: u16,
    namespace_id: String,
    /// `group@@name`.
    service_name: String,
    cluster: String,
}

/// A subscriber in version 3.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SubscriberV3 {
    namespace_id: String,
    group_name: String,
    service_name: String,
    ip: String,
    port: u16,
    address: String,
    agent: String,
    app_name: String,
}

pub(super) async fn v1(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<Subscribers>, Refusal> {
    let followers = hub.followers_of(&form.service()?);
    let page = page(&hub, &form, PAGE_SIZE)?;
    let shown = page.of(followers.iter());
    let subscribers = shown.into_iter().map(Subscriber::new).collect();
    Ok(Json(Subscribers { subscribers, count: followers.len() }))
}

pub(super) async fn v3(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<ReplyPage<SubscriberV3>>, Refusal> {
    let followers = hub.followers_of(&form.service()?);
    let page = page(&hub, &form, PAGE_SIZE_V3)?;
    let shown = page.of(followers.iter());
    let subscribers = shown.into_iter().map(SubscriberV3::new).collect();
    Ok(Json(ReplyPage::new(followers.len(), page.place(), subscribers)))
}

fn page(hub: &Hub, form: &Form, size: usize) -> Result<Page, Refusal> {
    Ok(hub.page(form.count("pageNo")?.unwrap_or(1), form.count("pageSize")?.unwrap_or(size)))
}

impl Subscriber {
    fn new(follows: &Follows) -> Self {
        let Follows { service, address, app, agent, clusters, .. } = follows;
        Self {
            addr_str: address.to_string(),
            agent: agent.clone(),
            app: app.clone(),
            ip: address.ip().to_canonical().to_string(),
            port: address.port(),
            namespace_id: service.namespace.to_string(),
            service_name: service.grouped(),
            cluster: clusters.clone(),
        }
    }
}

impl SubscriberV3 {
    fn new(follows: &Follows) -> Self {
        let Follows { service, address, app, agent, .. } = follows;
        Self {
            namespace_id: service.namespace.to_string(),
            group_name: service.group.to_string(),
            service_name: service.name.to_string(),
            ip: address.ip().to_canonical().to_string(),
            port: address.port(),
            address: address.to_string(),
            agent: agent.clone(),
            app_name: app.clone(),
        }
    }
}
