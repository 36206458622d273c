//! What comes in: lists, and what the registry asks of this client on the stream.

use super::desired::Listing;
use super::shared::Shared;
use crate::model::{Address, Cluster, InstanceKey, Namespace, ServiceKey, UnixMillis};
use crate::naming::{BoxError, Order, Told, Untold};
use crate::protocol::entity::ServiceInfo;
use crate::protocol::message::{
    ClientDetectionRequest, ClientDetectionResponse, ConnectResetRequest, ConnectResetResponse,
    GracefulDeregisterResponse, Message, NotifySubscriberRequest, NotifySubscriberResponse, Response,
};
use crate::protocol::report::{GracefulCommandRequest, GracefulCommandResponse, OFFLINE};
use crate::protocol::{Payload, code};

/// Does what the registry asks on the stream, and returns the answer, if it is to have one.
pub(super) fn answer(request: &Payload, shared: &Shared, namespace: &Namespace) -> Option<Payload> {
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
        GracefulCommandRequest::KIND => request.read().map(|command: GracefulCommandRequest| {
            let (id, answer) = (command.request_id.clone(), GracefulCommandResponse::default());
            Payload::new(&match obey(command, shared, namespace) {
                Ok(()) => answer.succeed(&id),
                Err(why) => answer.fail(&id, code::INVALID_PARAM, why),
            })
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

/// Hands on what the registry orders one of this client's instances; an error says why nobody took it.
fn obey(command: GracefulCommandRequest, shared: &Shared, namespace: &Namespace) -> Result<(), BoxError> {
    let GracefulCommandRequest { group_name, service_name, ip, port, cluster, epoch, command, actor, .. } =
        command;
    if command != OFFLINE {
        return Err(format!("this client knows no command {command:?}").into());
    }
    let service =
        ServiceKey { namespace: namespace.clone(), group: group_name.parse()?, name: service_name.parse()? };
    let key = InstanceKey { address: Address::new(&ip, port)?, cluster: Cluster::new(&cluster)? };
    let epoch = (epoch > 0).then(|| UnixMillis::new(epoch));
    if shared.order(&service, &key, epoch, Order::offline(actor)) {
        Ok(())
    } else {
        Err("no provider of this client is that instance".into())
    }
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

/// Reads a list; an instance that breaks a rule is left out, for the others are still good.
pub(super) fn read_list(info: ServiceInfo, service: ServiceKey) -> Listing {
    let (name, removed) = (service.to_string(), info.removed());
    let snapshot = info.into_model(service, |invalid| {
        tracing::warn!(service.name = %name, error = %invalid, "left out an instance that is not valid");
    });
    Listing { snapshot, removed }
}

/// Reads who knows that an instance has gone; an id that cannot be read is of nobody we would meet.
pub(super) fn read_told(answer: GracefulDeregisterResponse) -> Told {
    let id = |text: &str| u64::from_str_radix(text, 16).ok();
    let untold = answer.untold.into_iter().filter_map(|untold| {
        Some(Untold { caller: id(&untold.caller)?, app: untold.app, address: untold.address })
    });
    Told { callers: answer.told.iter().filter_map(|text| id(text)).collect(), untold: untold.collect() }
}
