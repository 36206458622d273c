//! What the head of an answer says about its sender: read here, whoever asks for it, and taken off.

use super::endpoints::Endpoint;
use crate::naming::header::{OFFLINE, OfflineTag, REFUSED, REFUSED_TRUE};
use http::{HeaderMap, StatusCode};

/// Takes the tags off the headers of an answer from `endpoint`, acts on those that count, and counts those
/// that do not.
pub(super) fn goodbye(headers: &mut HeaderMap, endpoint: &Endpoint) {
    for value in headers.get_all(OFFLINE) {
        if let Some(tag) = OfflineTag::from_value(value).filter(|tag| counts(tag, endpoint)) {
            endpoint.put_aside(tag.epoch, tag.fade);
        } else {
            endpoint.fleet().ignore_tag(endpoint.instance().address(), format_args!("{value:?}"));
        }
    }
    headers.remove(OFFLINE);
}

/// Whether `tag` speaks of the instance that it came from.
fn counts(tag: &OfflineTag, from: &Endpoint) -> bool {
    if let Some(epoch) = from.epoch() {
        return tag.epoch == epoch;
    }
    let listed = from.fleet().snapshots().latest();
    let known = || listed.instances().iter().any(|instance| *instance.address() == tag.address);
    tag.address == *from.instance().address() || !known()
}

/// Takes the word of a provider's layers off the headers of an answer; `true` when they refused the request.
pub(super) fn refusal(status: StatusCode, headers: &mut HeaderMap) -> bool {
    let word = headers.remove(REFUSED);
    status == StatusCode::SERVICE_UNAVAILABLE && word == Some(REFUSED_TRUE)
}
