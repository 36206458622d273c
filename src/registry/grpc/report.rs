//! Reads what a process reports of itself.

use crate::model::{Address, Cluster, InstanceKey, UnixMillis};
use crate::protocol::entity::{InvalidInstance, service_key};
use crate::protocol::report::{
    EVENTS_MAX, GracefulReportRequest, GracefulReportResponse, LATE_CALLERS_MAX, ReportedEvent, SECONDS_MAX,
};
use crate::registry::command::ConnectionId;
use crate::registry::error::Refusal;
use crate::registry::events::{Role, Told};
use crate::registry::hub::{Hub, Report};

pub(super) fn report(
    hub: &Hub,
    id: ConnectionId,
    request: GracefulReportRequest,
) -> Result<GracefulReportResponse, Refusal> {
    hub.report(id, read(request)?)?;
    Ok(GracefulReportResponse::default())
}

/// What is too much, or says nothing, is left out: the rest is worth as much without it.
fn read(request: GracefulReportRequest) -> Result<Report, Refusal> {
    let service = service_key(&request.namespace, &request.group_name, &request.service_name)?;
    // Whoever is no consumer is an instance.
    let role = if request.role == Role::Consumer.as_str() { Role::Consumer } else { Role::Provider };
    let instance = match role {
        Role::Consumer => None,
        Role::Provider => {
            let address = Address::new(&request.ip, request.port).map_err(InvalidInstance::from)?;
            Some(InstanceKey { address, cluster: Cluster::new(&request.cluster)? })
        }
    };
    let event = |event: ReportedEvent| {
        let about = match &instance {
            Some(own) => own.address.clone(),
            None => event.instance.parse().ok()?,
        };
        Some((UnixMillis::new(event.at), about, Told::new(Some(role), event.event, &event.detail)?))
    };
    Ok(Report {
        events: request.events.into_iter().take(EVENTS_MAX).filter_map(event).collect(),
        service,
        instance,
        sent_at: UnixMillis::new(request.sent_at),
        in_flight: request.in_flight,
        seconds: request.traffic.into_iter().take(SECONDS_MAX).collect(),
        late: request.late_callers.into_iter().take(LATE_CALLERS_MAX).collect(),
    })
}
