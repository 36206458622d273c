//! What goes out: one request of the registry for each step that is due.

use super::TOLD_WITHIN;
use super::connection::Caller;
use super::desired::{Ask, Change, Listing, Step};
use super::failure::Failure;
use super::incoming;
use crate::model::{Instance, ServiceKey};
use crate::naming::Told;
use crate::protocol::code;
use crate::protocol::entity::WireInstance;
use crate::protocol::message::{
    BATCH_REGISTER, BatchInstanceRequest, DEREGISTER, GracefulDeregisterRequest, HealthCheckRequest,
    InstanceRequest, REGISTER, ServiceQueryRequest, SubscribeServiceRequest,
};
use crate::protocol::report::GracefulReportRequest;

/// A request that has come to an end.
#[derive(Debug)]
pub(super) enum Done {
    /// With the number of instances.
    Published(ServiceKey, usize, Result<Told, Failure>),
    Followed(ServiceKey, Ask, Result<Listing, Failure>),
    Checked(Result<(), Failure>),
    LoggedIn(Result<(), Failure>),
    Reported(Result<(), Failure>),
}

impl Done {
    /// Whether the registry has answered on this connection: a login goes over one of its own, and proves
    /// nothing of it.
    pub(super) fn was_answered(&self) -> bool {
        let failure = match self {
            Self::Published(_, _, result) => result.as_ref().err(),
            Self::Checked(result) => result.as_ref().err(),
            Self::Followed(_, _, result) => result.as_ref().err(),
            Self::Reported(result) => result.as_ref().err(),
            Self::LoggedIn(_) => return false,
        };
        !matches!(failure, Some(Failure::Broken(_)))
    }
}

/// Asks the registry for one step.
pub(super) async fn perform(mut caller: Caller, step: Step) -> Done {
    match step {
        Step::Publish(service, change) => {
            let (count, published) = match change {
                Change::Register(instances) => {
                    (instances.len(), register(&mut caller, &service, &instances).await)
                }
                Change::Deregister(last) => (0, deregister(&mut caller, &service, &last).await),
                Change::Leave { gone, stay } => {
                    (stay.len(), leave(&mut caller, &service, &gone, &stay).await)
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
            if let Ok(info) = &asked {
                caller.hears().set(info.graceful.is_some());
            }
            let list = asked.map(|info| incoming::read_list(info, service.clone()));
            Done::Followed(service, ask, list)
        }
    }
}

/// Asks the registry whether it is there and knows this connection.
pub(super) async fn check(mut caller: Caller) -> Done {
    Done::Checked(caller.ask(&HealthCheckRequest::default()).await.map(drop))
}

/// Tells the registry what has happened in this process.
pub(super) async fn report(mut caller: Caller, report: GracefulReportRequest) -> Done {
    Done::Reported(caller.ask(&report).await.map(drop))
}

/// Logs in again; what comes of it is heard on another connection.
pub(super) async fn log_in(caller: Caller) -> Done {
    Done::LoggedIn(caller.log_in().await)
}

/// Registers all of this client's instances of a service: one as an instance, several as a list.
async fn register(
    caller: &mut Caller,
    service: &ServiceKey,
    instances: &[Instance],
) -> Result<Told, Failure> {
    if let [instance] = instances {
        return caller.ask(&instance_request(service, REGISTER, instance)).await.map(|_| Told::default());
    }
    let request = BatchInstanceRequest {
        namespace: service.namespace.to_string(),
        service_name: service.name.to_string(),
        group_name: service.group.to_string(),
        r#type: BATCH_REGISTER.to_owned(),
        instances: instances.iter().map(WireInstance::asked_for).collect(),
        ..BatchInstanceRequest::default()
    };
    caller.ask(&request).await.map(|_| Told::default())
}

/// Takes all of this client's instances of a service off, of which `last` is one.
async fn deregister(caller: &mut Caller, service: &ServiceKey, last: &Instance) -> Result<Told, Failure> {
    caller.ask(&instance_request(service, DEREGISTER, last)).await.map(|_| Told::default())
}

/// Takes instances off and hears which consumers know; of a registry that does not know itself, only the
/// first.
async fn leave(
    caller: &mut Caller,
    service: &ServiceKey,
    gone: &Instance,
    stay: &[Instance],
) -> Result<Told, Failure> {
    if caller.hears().get() {
        let request = GracefulDeregisterRequest {
            namespace: service.namespace.to_string(),
            service_name: service.name.to_string(),
            group_name: service.group.to_string(),
            instances: stay.iter().map(WireInstance::asked_for).collect(),
            wait_ms: u64::try_from(TOLD_WITHIN.as_millis()).unwrap_or(u64::MAX),
            ..GracefulDeregisterRequest::default()
        };
        match caller.ask_for(TOLD_WITHIN, &request).await {
            Ok(answer) => return Ok(incoming::read_told(answer)),
            Err(Failure::Refused { code: code::NO_HANDLER, .. }) => caller.hears().set(false),
            Err(failure) => return Err(failure),
        }
    }
    match stay {
        [] => deregister(caller, service, gone).await,
        stay => register(caller, service, stay).await,
    }
}

fn instance_request(service: &ServiceKey, kind: &str, instance: &Instance) -> InstanceRequest {
    InstanceRequest {
        namespace: service.namespace.to_string(),
        service_name: service.name.to_string(),
        group_name: service.group.to_string(),
        r#type: kind.to_owned(),
        instance: WireInstance::asked_for(instance),
        ..InstanceRequest::default()
    }
}
