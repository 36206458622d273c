//! The life of one connection: what is due goes out, what the registry says comes in.

use super::connection::{Caller, Connection};
use super::desired::{Answer, Step};
use super::failure::Failure;
use super::follow::Ask;
use super::publication::Change;
use super::settings::Settings;
use super::shared::Shared;
use crate::model::{Instance, Namespace, ServiceKey, Snapshot};
use crate::naming;
use crate::protocol::Payload;
use crate::protocol::entity::{ServiceInfo, WireInstance};
use crate::protocol::message::{
    BATCH_REGISTER, BatchInstanceRequest, ClientDetectionRequest, ClientDetectionResponse,
    ConnectResetRequest, ConnectResetResponse, DEREGISTER, HealthCheckRequest, InstanceRequest, Message,
    NotifySubscriberRequest, NotifySubscriberResponse, REGISTER, Response, ServiceQueryRequest,
    SubscribeServiceRequest,
};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Silence of the registry after which it is asked whether it is there, as Nacos' own clients do.
const HEALTH_AFTER: Duration = Duration::from_secs(5);
/// Requests on their way at one time: enough to bring hundreds of services back at once after a reconnect,
/// and a bound for a registry that answers none.
const UNDER_WAY_MAX: usize = 64;

/// A request that has come to an end.
enum Done {
    Published(ServiceKey, usize, Result<(), Failure>),
    Followed(ServiceKey, Ask, Result<Snapshot, Failure>),
    Checked(Result<(), Failure>),
}

/// Runs until the connection is of no more use, and returns why; nothing once the client is closing and all
/// is taken off.
pub(super) async fn run(mut connection: Connection, shared: &Shared, settings: &Settings) -> Option<Failure> {
    let mut under_way = JoinSet::new();
    let (mut heard, mut checking) = (Instant::now(), false);
    loop {
        let now = Instant::now();
        while under_way.len() < UNDER_WAY_MAX
            && let Some(step) = shared.next(now)
        {
            under_way.spawn(perform(connection.caller(), step));
        }
        if shared.is_closing() && shared.held() == 0 {
            return None;
        }
        if !checking && now >= heard + HEALTH_AFTER {
            checking = true;
            under_way.spawn(check(connection.caller()));
        }
        let health = (!checking).then_some(heard + HEALTH_AFTER);
        let due = health.into_iter().chain(shared.tick(now)).min();

        tokio::select! {
            Some(done) = under_way.join_next() => {
                let done = match done {
                    Ok(done) => done,
                    Err(panicked) => return Some(Failure::broken("asking", panicked)),
                };
                if !done.is_broken() {
                    heard = Instant::now();
                }
                checking &= !matches!(done, Done::Checked(_));
                if let Err(failure) = done.settle(shared) {
                    return Some(failure);
                }
            }
            arrived = connection.request() => match arrived {
                Err(failure) => return Some(failure),
                Ok((request, room)) => {
                    heard = Instant::now();
                    if let Some(answer) = answer(&request, shared, &settings.namespace) {
                        room.send(answer);
                    }
                    if request.kind() == ConnectResetRequest::KIND {
                        return Some(Failure::broken("staying connected", "the registry asked to reconnect"));
                    }
                }
            },
            () = shared.changed() => {}
            () = sleep_until(due.unwrap_or(now)), if due.is_some() => {}
        }
    }
}

/// Asks the registry for one step.
async fn perform(mut caller: Caller, step: Step) -> Done {
    match step {
        Step::Publish(service, change) => {
            let (count, published) = match change {
                Change::Register(instances) => {
                    (instances.len(), register(&mut caller, &service, &instances).await)
                }
                Change::Deregister(last) => {
                    let request = instance_request(&service, DEREGISTER, &last);
                    (0, caller.ask(&request).await.map(drop))
                }
            };
            Done::Published(service, count, published)
        }
        Step::Follow(service, ask) => {
            let asked = match ask {
                Ask::Subscribe | Ask::Unsubscribe => {
                    let request = SubscribeServiceRequest {
                        namespace: service.namespace.to_string(),
                        service_name: service.name.to_string(),
                        group_name: service.group.to_string(),
                        subscribe: ask == Ask::Subscribe,
                        ..SubscribeServiceRequest::default()
                    };
                    caller.ask(&request).await.map(|answer| answer.service_info)
                }
                Ask::Query => {
                    let request = ServiceQueryRequest {
                        namespace: service.namespace.to_string(),
                        service_name: service.name.to_string(),
                        group_name: service.group.to_string(),
                        ..ServiceQueryRequest::default()
                    };
                    caller.ask(&request).await.map(|answer| answer.service_info)
                }
            };
            let list = asked.map(|info| read_list(info, service.clone()));
            Done::Followed(service, ask, list)
        }
    }
}

/// Registers all of this client's instances of a service: one as an instance, several as a list.
async fn register(caller: &mut Caller, service: &ServiceKey, instances: &[Instance]) -> Result<(), Failure> {
    if let [instance] = instances {
        return caller.ask(&instance_request(service, REGISTER, instance)).await.map(drop);
    }
    let request = BatchInstanceRequest {
        namespace: service.namespace.to_string(),
        service_name: service.name.to_string(),
        group_name: service.group.to_string(),
        r#type: BATCH_REGISTER.to_owned(),
        instances: instances.iter().map(|instance| WireInstance::new(service, instance)).collect(),
        ..BatchInstanceRequest::default()
    };
    caller.ask(&request).await.map(drop)
}

fn instance_request(service: &ServiceKey, kind: &str, instance: &Instance) -> InstanceRequest {
    InstanceRequest {
        namespace: service.namespace.to_string(),
        service_name: service.name.to_string(),
        group_name: service.group.to_string(),
        r#type: kind.to_owned(),
        instance: WireInstance::new(service, instance),
        ..InstanceRequest::default()
    }
}

async fn check(mut caller: Caller) -> Done {
    Done::Checked(caller.ask(&HealthCheckRequest::default()).await.map(drop))
}

/// Reads a list; an instance that breaks a rule is left out, for the others are still good.
fn read_list(info: ServiceInfo, service: ServiceKey) -> Snapshot {
    let name = service.to_string();
    info.into_model(service, |invalid| {
        tracing::warn!(service.name = %name, error = %invalid, "left out an instance that is not valid");
    })
}

/// Does what the registry asks on the stream, and returns the answer, if it is to have one.
fn answer(request: &Payload, shared: &Shared, namespace: &Namespace) -> Option<Payload> {
    let read = match request.kind() {
        NotifySubscriberRequest::KIND => request.read().map(|push: NotifySubscriberRequest| {
            let id = push.request_id.clone();
            apply(push, shared, namespace);
            // Sent only now: it says that readers see the list.
            Payload::new(&NotifySubscriberResponse::default().succeed(&id))
        }),
        ClientDetectionRequest::KIND => request.read().map(|detection: ClientDetectionRequest| {
            Payload::new(&ClientDetectionResponse::default().succeed(&detection.request_id))
        }),
        ConnectResetRequest::KIND => request.read().map(|reset: ConnectResetRequest| {
            Payload::new(&ConnectResetResponse::default().succeed(&reset.request_id))
        }),
        kind => {
            tracing::debug!(kind, "took no notice of a message");
            return None;
        }
    };
    read.inspect_err(|error| tracing::warn!(%error, "could not read a message of the registry")).ok()
}

/// Publishes a pushed list. The registry names the service in the list, and mostly leaves the namespace out:
/// it is the one this client lives in.
fn apply(push: NotifySubscriberRequest, shared: &Shared, namespace: &Namespace) {
    let info = push.service_info;
    let (group, name) = info.name.split_once("@@").unwrap_or((&info.group_name, &info.name));
    let service = match (group.parse(), name.parse()) {
        (Ok(group), Ok(name)) => ServiceKey { namespace: namespace.clone(), group, name },
        (Err(error), _) | (_, Err(error)) => {
            return tracing::warn!(%error, "could not read whose list was pushed");
        }
    };
    tracing::debug!(
        service.name = %service, revision = info.last_ref_time, instances = info.hosts.len(), "a list was pushed"
    );
    shared.pushed(read_list(info, service));
}

impl Done {
    /// Whether nothing was heard of the registry.
    fn is_broken(&self) -> bool {
        let failure = match self {
            Self::Published(_, _, result) | Self::Checked(result) => result.as_ref().err(),
            Self::Followed(_, _, result) => result.as_ref().err(),
        };
        matches!(failure, Some(Failure::Broken(_)))
    }

    /// Hands the outcome on. An error says that the connection is of no more use: the registry does not know
    /// it, is not there, or may or may not hold what was to be registered. A new connection holds nothing,
    /// so that it is known again what the registry holds.
    fn settle(self, shared: &Shared) -> Result<(), Failure> {
        match self {
            Self::Checked(Ok(()) | Err(Failure::Busy { .. } | Failure::Refused { .. })) => Ok(()),
            Self::Checked(Err(failure)) => Err(failure),
            Self::Published(service, count, result) => {
                let answer = match result {
                    Ok(()) if count == 0 => {
                        tracing::info!(service.name = %service, "deregistered");
                        Answer::Yes(())
                    }
                    Ok(()) => {
                        tracing::info!(service.name = %service, instances = count, "registered");
                        Answer::Yes(())
                    }
                    Err(failure) => answer_of(failure, &service, "the registry refused a registration")?,
                };
                shared.published(&service, answer);
                Ok(())
            }
            Self::Followed(service, ask, result) => {
                let answer = match result {
                    Ok(list) => Answer::Yes(list),
                    Err(failure @ Failure::Broken(_)) => {
                        tracing::warn!(service.name = %service, ?ask, error = &failure as &dyn std::error::Error,
                            "no list came of the registry");
                        Answer::Later
                    }
                    Err(failure) => answer_of(failure, &service, "the registry refused a list")?,
                };
                shared.followed(&service, answer);
                Ok(())
            }
        }
    }
}

/// What an answered failure means for one service; an error where it means the connection.
fn answer_of<T>(failure: Failure, service: &ServiceKey, what: &'static str) -> Result<Answer<T>, Failure> {
    match failure {
        Failure::Refused { code, message } => {
            tracing::warn!(service.name = %service, code, message, "{what}");
            Ok(Answer::No(naming::Error::Refused { code, message }))
        }
        Failure::Busy { code, message } => {
            tracing::debug!(service.name = %service, code, message, "the registry is busy");
            Ok(Answer::Later)
        }
        Failure::Unregistered | Failure::Broken(_) => Err(failure),
    }
}
