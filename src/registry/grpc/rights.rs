//! Which right a request needs, and who has it: the one place over gRPC.
//!
//! A request that is handled for a connection is `Governed`, or it does not compile. `ServerCheckRequest`,
//! `HealthCheckRequest` and what goes over the stream are for everyone, as in Nacos: they say nothing of any
//! service.

use super::connection::Transport;
use crate::model::Namespace;
use crate::protocol::Payload;
use crate::protocol::message::{
    BatchInstanceRequest, GracefulDeregisterRequest, InstanceRequest, PersistentInstanceRequest, Request,
    ServiceListRequest, ServiceQueryRequest, SubscribeServiceRequest,
};
use crate::protocol::report::GracefulReportRequest;
use crate::registry::access::{Action, Denied, Place, Principal, decide};
use crate::registry::error::Refusal;

/// Header of a message, in its envelope, that holds the token.
const TOKEN: &str = "accessToken";

/// A request that not everyone may make.
pub(super) trait Governed: Request<Response: 'static> + Send + 'static {
    /// What it does.
    const ACTION: Action;

    /// Where; blank is the default namespace.
    fn namespace(&self) -> &str;
}

macro_rules! governed {
    ($($request:ident: $action:ident,)*) => {
        $(impl Governed for $request {
            const ACTION: Action = Action::$action;

            fn namespace(&self) -> &str {
                &self.namespace
            }
        })*
    };
}

governed! {
    InstanceRequest: Write,
    BatchInstanceRequest: Write,
    PersistentInstanceRequest: Write,
    GracefulDeregisterRequest: Write,
    // Of an instance only who has registered it reports.
    GracefulReportRequest: Read,
    SubscribeServiceRequest: Read,
    ServiceQueryRequest: Read,
    ServiceListRequest: Read,
}

/// Who sends a request, by the token in its envelope: known before its body is read.
pub(super) fn sender(transport: &Transport, payload: &Payload) -> Result<Principal, Denied> {
    let principal = transport.access().by_token(token(payload))?;
    if let Principal::User(user) = &principal {
        transport.note_user(&user.name);
    }
    Ok(principal)
}

/// Whether the sender may make this request.
pub(super) fn admit<R: Governed>(sender: &Principal, request: &R) -> Result<(), Refusal> {
    if let Principal::Anyone = sender {
        return Ok(());
    }
    let namespace = Namespace::new(request.namespace())?;
    Ok(decide(sender, R::ACTION, Place::Namespace(&namespace))?)
}

/// The names of headers are written in any case.
fn token(payload: &Payload) -> Option<&str> {
    let headers = &payload.metadata.as_ref()?.headers;
    let spelled =
        || headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(TOKEN)).map(|(_, token)| token);
    headers.get(TOKEN).or_else(spelled).map(String::as_str).filter(|token| !token.is_empty())
}
