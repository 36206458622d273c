//! `/client`: who the clients are, what each publishes and follows. Nacos' own diagnosis, which knows less
//! than `/graceful/v1`.

use super::extract::Parameters;
use super::respond::Json;
use crate::model::ServiceKey;
use crate::protocol::form::{Form, InvalidForm};
use crate::registry::access::Sight;
use crate::registry::error::Refusal;
use crate::registry::hub::Hub;
use crate::registry::hub::clients::{Described, Follows, Kind, Publishes};
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use http::HeaderMap;
use http::header::HOST;
use serde::Serialize;
use std::sync::Arc;

/// One client; a port is a text in version 2, and a number in version 3.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Detail<P> {
    client_id: String,
    ephemeral: bool,
    last_updated_time: u64,
    client_type: &'static str,
    #[serde(flatten)]
    connection: Option<Connection<P>>,
}

/// What is known of a connection only.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Connection<P> {
    connect_type: &'static str,
    app_name: String,
    version: String,
    client_ip: String,
    client_port: P,
}

/// A service of a client, in version 2.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OfClientV2<I> {
    namespace: String,
    group: String,
    service_name: String,
    #[serde(flatten)]
    more: I,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum MoreV2 {
    RegisteredInstance { ip: String, port: u16, cluster: String },
    SubscriberInfo { app: String, agent: String, addr: String },
}

/// A client of a service, in version 2.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OfServiceV2 {
    client_id: String,
    ip: String,
    port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
}

/// That a client publishes in a service or follows it, in version 3.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LinkV3 {
    client_id: String,
    namespace_id: String,
    group_name: String,
    service_name: String,
    #[serde(flatten)]
    more: MoreV3,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
enum MoreV3 {
    PublisherInfo { client_id: String, ip: String, port: u16, cluster_name: String },
    SubscriberInfo { client_id: String, app_name: String, agent: String, address: String },
}

/// Which server answers for a client.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Responsible {
    responsible_server: String,
}

/// The routes below `/client` in version 2.
pub(super) fn v2() -> Router<Arc<Hub>> {
    every_version()
        .route("/client", get(detail_v2))
        .route("/client/publish/list", get(published_v2))
        .route("/client/subscribe/list", get(followed_v2))
        .route("/client/service/publisher/list", get(publishers_v2))
        .route("/client/service/subscriber/list", get(followers_v2))
}

/// The same in version 3.
pub(super) fn v3() -> Router<Arc<Hub>> {
    every_version()
        .route("/client", get(detail_v3))
        .route("/client/publish/list", get(published_v3))
        .route("/client/subscribe/list", get(followed_v3))
        .route("/client/service/publisher/list", get(publishers_v3))
        .route("/client/service/subscriber/list", get(followers_v3))
}

fn every_version() -> Router<Arc<Hub>> {
    Router::new().route("/client/list", get(list)).route("/client/distro", get(responsible))
}

async fn list(State(hub): State<Arc<Hub>>) -> Json<Vec<String>> {
    Json(hub.client_names(&Sight::of_actor()))
}

/// This one, under the name by which it was asked.
async fn responsible(headers: HeaderMap, Parameters(form): Parameters) -> Result<Json<Responsible>, Refusal> {
    form.address()?;
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    Ok(Json(Responsible { responsible_server: host.to_owned() }))
}

async fn detail_v2(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<Detail<String>>, Refusal> {
    Ok(Json(detail(hub.client(client(&form)?, &Sight::of_actor())?, |port| port.to_string())))
}

async fn detail_v3(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<Detail<u16>>, Refusal> {
    Ok(Json(detail(hub.client(client(&form)?, &Sight::of_actor())?, |port| port)))
}

fn detail<P>(described: Described, write_port: impl Fn(u16) -> P) -> Detail<P> {
    let Described { name, updated, kind } = described;
    let (client_type, ephemeral, connection) = match kind {
        Kind::Connection(peer) => {
            let connection = Connection {
                connect_type: "GRPC",
                app_name: peer.app.clone(),
                version: peer.version.clone(),
                client_ip: peer.address.ip().to_canonical().to_string(),
                client_port: write_port(peer.address.port()),
            };
            ("connection", true, Some(connection))
        }
        Kind::Http { ephemeral } => ("ipPort", ephemeral, None),
    };
    Detail { client_id: name, ephemeral, last_updated_time: updated.as_u64(), client_type, connection }
}

async fn published_v2(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<Vec<OfClientV2<MoreV2>>>, Refusal> {
    let published = hub.published_by(client(&form)?, &Sight::of_actor())?.into_iter();
    let line = |Publishes { service, instance, .. }| {
        let (ip, port) = (instance.address.host().to_owned(), instance.address.port());
        of_client(&service, MoreV2::RegisteredInstance { ip, port, cluster: instance.cluster.to_string() })
    };
    Ok(Json(published.map(line).collect()))
}

async fn followed_v2(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<Vec<OfClientV2<MoreV2>>>, Refusal> {
    let followed = hub.followed_by(client(&form)?, &Sight::of_actor())?.into_iter();
    let line = |Follows { service, app, agent, address, .. }| {
        of_client(&service, MoreV2::SubscriberInfo { app, agent, addr: address.to_string() })
    };
    Ok(Json(followed.map(line).collect()))
}

fn of_client(service: &ServiceKey, more: MoreV2) -> OfClientV2<MoreV2> {
    let ServiceKey { namespace, group, name } = service;
    let (namespace, group) = (namespace.to_string(), group.to_string());
    OfClientV2 { namespace, group, service_name: name.to_string(), more }
}

async fn publishers_v2(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<Vec<OfServiceV2>>, Refusal> {
    let line = |Publishes { client, instance, .. }| OfServiceV2 {
        client_id: client,
        ip: instance.address.host().to_owned(),
        port: instance.address.port(),
        cluster: Some(instance.cluster.to_string()),
    };
    Ok(Json(publishers(&hub, &form)?.map(line).collect()))
}

async fn followers_v2(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<Vec<OfServiceV2>>, Refusal> {
    let line = |Follows { client, address, .. }| {
        let (ip, port) = (address.ip().to_canonical().to_string(), address.port());
        OfServiceV2 { client_id: client, ip, port, cluster: None }
    };
    Ok(Json(followers(&hub, &form)?.map(line).collect()))
}

async fn published_v3(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<Vec<LinkV3>>, Refusal> {
    Ok(Json(
        hub.published_by(client(&form)?, &Sight::of_actor())?.into_iter().map(LinkV3::published).collect(),
    ))
}

async fn followed_v3(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<Vec<LinkV3>>, Refusal> {
    Ok(Json(hub.followed_by(client(&form)?, &Sight::of_actor())?.into_iter().map(LinkV3::followed).collect()))
}

async fn publishers_v3(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<Vec<LinkV3>>, Refusal> {
    Ok(Json(publishers(&hub, &form)?.map(LinkV3::published).collect()))
}

async fn followers_v3(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<Json<Vec<LinkV3>>, Refusal> {
    Ok(Json(followers(&hub, &form)?.map(LinkV3::followed).collect()))
}

/// Who publishes in a service, at one address if one is given.
fn publishers(hub: &Hub, form: &Form) -> Result<impl Iterator<Item = Publishes> + use<>, Refusal> {
    let one = form.text("ip").map(|_| form.address()).transpose()?;
    let all = hub.publishers_of(&form.service()?).into_iter();
    Ok(all.filter(move |publishes| one.as_ref().is_none_or(|one| publishes.instance.address == *one)))
}

/// Who follows a service, from one address if one is given.
fn followers(hub: &Hub, form: &Form) -> Result<impl Iterator<Item = Follows> + use<>, Refusal> {
    let one = form.text("ip").map(|_| form.address()).transpose()?.map(|address| address.to_string());
    let all = hub.followers_of(&form.service()?).into_iter();
    Ok(all.filter(move |follows| one.as_ref().is_none_or(|one| follows.address.to_string() == *one)))
}

fn client(form: &Form) -> Result<&str, InvalidForm> {
    form.required("clientId")
}

impl LinkV3 {
    fn published(publishes: Publishes) -> Self {
        let Publishes { service, instance, client } = publishes;
        let (ip, port) = (instance.address.host().to_owned(), instance.address.port());
        let (client_id, cluster_name) = (client.clone(), instance.cluster.to_string());
        Self::new(client, service, MoreV3::PublisherInfo { client_id, ip, port, cluster_name })
    }

    fn followed(follows: Follows) -> Self {
        let Follows { service, client, app, agent, address, .. } = follows;
        let (client_id, address) = (client.clone(), address.ip().to_canonical().to_string());
        Self::new(client, service, MoreV3::SubscriberInfo { client_id, app_name: app, agent, address })
    }

    fn new(client_id: String, ServiceKey { namespace, group, name }: ServiceKey, more: MoreV3) -> Self {
        let (namespace_id, group_name) = (namespace.to_string(), group.to_string());
        Self { client_id, namespace_id, group_name, service_name: name.to_string(), more }
    }
}
