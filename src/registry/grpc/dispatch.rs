//! A unary request to its handler, by the name of its type.

use super::connection::Transport;
use super::report::report;
use super::rights::{Governed, admit, sender};
use crate::model::{Group, Instance, Namespace};
use crate::naming::Causes;
use crate::protocol::entity::{WireInstance, service_key};
use crate::protocol::message::{
    BATCH_REGISTER, BatchInstanceRequest, BatchInstanceResponse, DEREGISTER, ErrorResponse,
    GracefulDeregisterRequest, GracefulDeregisterResponse, HealthCheckRequest, HealthCheckResponse,
    InstanceRequest, InstanceResponse, Message, PersistentInstanceRequest, QueryServiceResponse, REGISTER,
    Request, Response, ServerCheckRequest, ServerCheckResponse, ServiceListRequest, ServiceListResponse,
    ServiceQueryRequest, SubscribeServiceRequest, SubscribeServiceResponse, UntoldCaller,
};
use crate::protocol::report::GracefulReportRequest;
use crate::protocol::{Payload, code};
use crate::registry::bound::Bound;
use crate::registry::command::{BATCH_MAX, Client, ConnectionId};
use crate::registry::error::Refusal;
use crate::registry::hub::{Farewell, Hub};
use crate::registry::large::LARGE_FROM;
use crate::registry::metrics::{Api, UnderWay};
use crate::registry::query::Clusters;
use crate::registry::write::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long consumers may take to acknowledge that an instance is gone: those that live do in milliseconds.
const TOLD_WITHIN: Duration = Duration::from_secs(2);
/// The longest time that a client may ask for.
const TOLD_WITHIN_MAX: Duration = Duration::from_secs(10);

/// The types of the requests that are answered, each with a number of its own in the metrics.
pub(in crate::registry) const KINDS: [&str; 10] = [
    ServerCheckRequest::KIND,
    HealthCheckRequest::KIND,
    InstanceRequest::KIND,
    BatchInstanceRequest::KIND,
    PersistentInstanceRequest::KIND,
    GracefulDeregisterRequest::KIND,
    GracefulReportRequest::KIND,
    SubscribeServiceRequest::KIND,
    ServiceQueryRequest::KIND,
    ServiceListRequest::KIND,
];

/// Answers one request of `transport`, and notes how long it took.
pub(super) async fn dispatch(transport: &Arc<Transport>, payload: Payload, under_way: &UnderWay) -> Payload {
    transport.heard();
    let since = Instant::now();
    let answer = answer_to(transport, &payload).await;
    let api = Api::Grpc(KINDS.iter().position(|kind| *kind == payload.kind()).unwrap_or(KINDS.len()));
    under_way.answered(api, since.elapsed(), answer.is_err());
    answer.unwrap_or_else(|failure| failure)
}

/// An answer to be sent; an error is one that says so.
type Answer = Result<Payload, Payload>;

async fn answer_to(transport: &Arc<Transport>, payload: &Payload) -> Answer {
    match payload.kind() {
        // Nobody is to come in while everyone is told to go.
        ServerCheckRequest::KIND if transport.is_closing() => {
            Err(failure(code::STARTING, "the registry is shutting down"))
        }
        ServerCheckRequest::KIND => Ok(Payload::new(&server_check(transport))),
        HealthCheckRequest::KIND => health_check(transport).await,
        InstanceRequest::KIND => handle(transport, payload, instance).await,
        BatchInstanceRequest::KIND => handle(transport, payload, batch).await,
        PersistentInstanceRequest::KIND => persistent(transport, payload).await,
        GracefulDeregisterRequest::KIND => leave(transport, payload).await,
        GracefulReportRequest::KIND => handle(transport, payload, report).await,
        SubscribeServiceRequest::KIND => handle(transport, payload, subscribe).await,
        ServiceQueryRequest::KIND => handle(transport, payload, query).await,
        ServiceListRequest::KIND => handle(transport, payload, list).await,
        kind => {
            let kind: String = kind.chars().take(64).collect();
            Err(failure(code::NO_HANDLER, format_args!("no handler for requests of type {kind:?}")))
        }
    }
}

/// Answers a request that needs a connection.
#[expect(clippy::result_large_err, reason = "a success is as large")]
async fn handle<R: Governed>(
    transport: &Arc<Transport>,
    payload: &Payload,
    handler: fn(&Hub, ConnectionId, R) -> Result<R::Response, Refusal>,
) -> Answer {
    let connection = transport.connection().await.ok_or_else(unregistered)?;
    by_size(transport, payload, move |transport, payload| {
        let (request, hub) = (admitted::<R>(transport, payload)?, transport.hub());
        let id = request.request_id().to_owned();
        answer::<R>(hub, &id, handler(hub, connection, request))
    })
    .await
}

/// Whose request it is, and what it says; or what to answer instead, also to whoever may not make it.
async fn read<R: Governed>(
    transport: &Arc<Transport>,
    payload: &Payload,
) -> Result<(ConnectionId, R), Payload> {
    let connection = transport.connection().await.ok_or_else(unregistered)?;
    Ok((connection, by_size(transport, payload, admitted).await?))
}

/// Does what takes the longer the longer the message is.
async fn by_size<T: Send + 'static>(
    transport: &Arc<Transport>,
    payload: &Payload,
    work: impl FnOnce(&Transport, &Payload) -> T + Send + 'static,
) -> T {
    if payload.json().len() <= LARGE_FROM {
        return work(transport, payload);
    }
    let (transport, payload) = (transport.clone(), payload.clone());
    let large = transport.hub().large().clone();
    large.apart(move || work(&transport, &payload)).await
}

/// What a request says whose sender may make it.
#[expect(clippy::result_large_err, reason = "a success is as large")]
fn admitted<R: Governed>(transport: &Transport, payload: &Payload) -> Result<R, Payload> {
    let sender = sender(transport, payload).map_err(|denied| refused::<R>("", &denied.into()))?;
    let request: R = payload.read().map_err(|error| failure(code::UNREADABLE, Causes(&error)))?;
    admit(&sender, &request).map_err(|refusal| refused::<R>(request.request_id(), &refusal))?;
    Ok(request)
}

#[expect(clippy::result_large_err, reason = "a success is as large")]
fn answer<R: Request>(hub: &Hub, id: &str, result: Result<R::Response, Refusal>) -> Answer {
    match result {
        Ok(response) => Ok(Payload::new(&response.succeed(id))),
        Err(refusal) => {
            if let Some(bound) = refusal.bound() {
                hub.metrics().refuse(bound);
            }
            Err(refused::<R>(id, &refusal))
        }
    }
}

/// In the request's own response type: clients try an `ErrorResponse` several times over.
fn refused<R: Request>(id: &str, refusal: &Refusal) -> Payload {
    if let Refusal::Unregistered = refusal {
        return unregistered();
    }
    Payload::new(&R::Response::default().fail(id, error_code(refusal), Causes(refusal)))
}

fn server_check(transport: &Transport) -> ServerCheckResponse {
    let answer = ServerCheckResponse {
        connection_id: transport.id().to_owned(),
        support_ability_negotiation: true,
        ..ServerCheckResponse::default()
    };
    answer.succeed("")
}

/// Says whether the connection stands.
///
/// One that does not is a plain error here: Python 2 takes any code from 300 to 399 for healthy, and would
/// stay unregistered for ever after a restart of the registry.
async fn health_check(transport: &Transport) -> Answer {
    match transport.connection().await {
        Some(_) => Ok(Payload::new(&HealthCheckResponse::default().succeed(""))),
        None => Err(failure(code::SERVER_ERROR, "the connection is not set up")),
    }
}

fn instance(hub: &Hub, id: ConnectionId, request: InstanceRequest) -> Result<InstanceResponse, Refusal> {
    let service = service_key(&request.namespace, &request.group_name, &request.service_name)?;
    let client = Client::Connection(id);
    match request.r#type.as_str() {
        REGISTER => hub.publish(client, service, vec![request.instance.into_model()?])?,
        DEREGISTER => hub.withdraw(client, service)?,
        _ => return Err(request_type(&request.r#type, "registerInstance or deregisterInstance")),
    }
    Ok(InstanceResponse { r#type: request.r#type, ..InstanceResponse::default() })
}

fn batch(
    hub: &Hub,
    id: ConnectionId,
    request: BatchInstanceRequest,
) -> Result<BatchInstanceResponse, Refusal> {
    let service = service_key(&request.namespace, &request.group_name, &request.service_name)?;
    if request.r#type != BATCH_REGISTER {
        return Err(request_type(&request.r#type, BATCH_REGISTER));
    }
    let published = hub.publish(Client::Connection(id), service, models(request.instances)?);
    published.map_err(Refusal::of_batch)?;
    Ok(BatchInstanceResponse { r#type: request.r#type, ..BatchInstanceResponse::default() })
}

/// The instances of one request, which are counted before anything is made of them.
fn models(instances: Vec<WireInstance>) -> Result<Vec<Instance>, Refusal> {
    if instances.len() > BATCH_MAX {
        return Err(Refusal::TooMany { bound: Bound::Batch, max: BATCH_MAX });
    }
    Ok(instances.into_iter().map(WireInstance::into_model).collect::<Result<_, _>>()?)
}

/// As [`handle`], for the one request whose answer waits for the storage.
async fn persistent(transport: &Arc<Transport>, payload: &Payload) -> Answer {
    let (_, request): (_, PersistentInstanceRequest) = read(transport, payload).await?;
    let id = request.request_id.clone();
    let hub = transport.hub();
    answer::<PersistentInstanceRequest>(hub, &id, keep(hub, request).await)
}

async fn keep(hub: &Hub, request: PersistentInstanceRequest) -> Result<InstanceResponse, Refusal> {
    let service = service_key(&request.namespace, &request.group_name, &request.service_name)?;
    let instance = Instance { ephemeral: false, ..request.instance.into_model()? };
    let write = match request.r#type.as_str() {
        REGISTER => Write::Register { service, instance },
        DEREGISTER => Write::Deregister { service, key: instance.key },
        _ => return Err(request_type(&request.r#type, "registerInstance or deregisterInstance")),
    };
    hub.write(write).await?;
    Ok(InstanceResponse { r#type: request.r#type, ..InstanceResponse::default() })
}

/// As [`handle`], for the one request whose answer waits for others.
async fn leave(transport: &Arc<Transport>, payload: &Payload) -> Answer {
    let (connection, request) = read::<GracefulDeregisterRequest>(transport, payload).await?;
    let id = request.request_id.clone();
    let hub = transport.hub();
    answer::<GracefulDeregisterRequest>(hub, &id, take_off(hub, connection, request).await)
}

async fn take_off(
    hub: &Hub,
    id: ConnectionId,
    request: GracefulDeregisterRequest,
) -> Result<GracefulDeregisterResponse, Refusal> {
    let service = service_key(&request.namespace, &request.group_name, &request.service_name)?;
    let stay = models(request.instances)?;
    let within = match request.wait_ms {
        0 => TOLD_WITHIN,
        ms => Duration::from_millis(ms).min(TOLD_WITHIN_MAX),
    };
    let Farewell { revision, told, untold } = hub.take_off(id, service, stay, within).await?;
    let untold = untold.into_iter().map(|(caller, peer)| UntoldCaller {
        caller: format!("{caller:016x}"),
        app: peer.app,
        address: peer.address.to_string(),
    });
    Ok(GracefulDeregisterResponse {
        revision,
        told: told.into_iter().map(|caller| format!("{caller:016x}")).collect(),
        untold: untold.collect(),
        ..GracefulDeregisterResponse::default()
    })
}

fn subscribe(
    hub: &Hub,
    id: ConnectionId,
    request: SubscribeServiceRequest,
) -> Result<SubscribeServiceResponse, Refusal> {
    let service = service_key(&request.namespace, &request.group_name, &request.service_name)?;
    let clusters = Clusters::new(request.clusters)?;
    let view = if request.subscribe {
        hub.subscribe(id, &service, clusters.clone())?
    } else {
        hub.unsubscribe(id, &service)?;
        hub.view(&service)
    };
    let service_info = view.message(&clusters, false);
    Ok(SubscribeServiceResponse { service_info, ..SubscribeServiceResponse::default() })
}

fn query(hub: &Hub, _: ConnectionId, request: ServiceQueryRequest) -> Result<QueryServiceResponse, Refusal> {
    let service = service_key(&request.namespace, &request.group_name, &request.service_name)?;
    let clusters = Clusters::new(request.cluster)?;
    let service_info = hub.view(&service).message(&clusters, request.healthy_only);
    Ok(QueryServiceResponse { service_info, ..QueryServiceResponse::default() })
}

fn list(hub: &Hub, _: ConnectionId, request: ServiceListRequest) -> Result<ServiceListResponse, Refusal> {
    let ServiceListRequest { namespace, group_name, page_no, page_size, .. } = request;
    let (namespace, group) = (Namespace::new(&namespace)?, Group::new(&group_name)?);
    let [number, size] = [page_no, page_size].map(|n| usize::try_from(n).unwrap_or(usize::MAX));
    let (count, names) = hub.names(&namespace, &group, hub.page(number, size));
    let service_names = names.iter().map(ToString::to_string).collect();
    Ok(ServiceListResponse { count, service_names, ..ServiceListResponse::default() })
}

fn request_type(given: &str, accepted: &'static str) -> Refusal {
    Refusal::RequestType { given: given.chars().take(64).collect(), accepted }
}

fn unregistered() -> Payload {
    failure(code::UNREGISTERED, "the connection is not set up")
}

fn failure(code: i32, message: impl std::fmt::Display) -> Payload {
    Payload::new(&ErrorResponse::default().fail("", code, message))
}

fn error_code(refusal: &Refusal) -> i32 {
    match refusal {
        Refusal::Form(_)
        | Refusal::Name(_)
        | Refusal::Instance(_)
        | Refusal::Lease(_)
        | Refusal::MetadataTooLong { .. }
        | Refusal::NameTooLong { .. }
        | Refusal::Persistent
        | Refusal::NoService(_)
        | Refusal::NothingToSet(_)
        | Refusal::ServiceExists(_)
        | Refusal::NotEmpty(_)
        | Refusal::NamespaceExists(_)
        | Refusal::NamespaceInUse(_)
        | Refusal::DefaultNamespace
        | Refusal::Probed { .. }
        | Refusal::OtherKind { .. }
        | Refusal::OwnHealth
        | Refusal::RequestType { .. }
        | Refusal::NotYours
        | Refusal::NotTaken(_)
        | Refusal::TooMany { .. }
        | Refusal::User(_) => code::INVALID_PARAM,
        Refusal::Denied(_) | Refusal::UnknownUser => code::NO_RIGHT,
        Refusal::Unregistered => code::UNREGISTERED,
        Refusal::Busy { .. } | Refusal::TooManyLogins { .. } | Refusal::Hash(_) => code::OVER_LIMIT,
        Refusal::NotFound
        | Refusal::NoClient(_)
        | Refusal::NoNamespace(_)
        | Refusal::NoSwitches
        | Refusal::NoPermissions
        | Refusal::Storage(_)
        | Refusal::Full { .. }
        | Refusal::Closing => code::SERVER_ERROR,
    }
}
