//! Which failures leave no doubt that the request was never applied.
//!
//! Only those may be retried for a request that is not idempotent (RFC 9110, 9.2.2). The class of the error
//! decides, and nothing else: HTTP clients poll a request's body as they send its head, so a body that nobody
//! has touched proves nothing, and neither does one that was read.
//!
//! | failure | class |
//! |---|---|
//! | no connection: refused, timed out, DNS, TLS | [`Never`](Applied::Never) |
//! | the connection ended before the request was handed to it | [`Never`](Applied::Never) |
//! | the connection gave the request back before any of it was written | [`Never`](Applied::Never) |
//! | HTTP/2 stream refused (`REFUSED_STREAM`) | [`Never`](Applied::Never) |
//! | HTTP/2 GOAWAY after the request was handed over; connection lost; no answer in time | [`Unknown`](Applied::Unknown) |
//! | HTTP/2 stream reset for any other reason | [`Begun`](Applied::Begun) |
//!
//! What it reads are hyper's errors, with the feature `http-client`; without it, only [`NeverApplied`] says
//! never. Other clients bring a function of their own, see
//! [`FailoverLayer::with_classifier`](super::FailoverLayer::with_classifier).

use super::error::NeverApplied;
use std::error::Error;
use std::ops::ControlFlow;

/// Whether a request that failed may have been applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It was surely not: it can be sent again, to another instance, whatever its method.
    Never,
    /// It may have been.
    Unknown,
    /// It was being handled.
    Begun,
}

/// Classifies an error by the chain of its sources. See the [module docs](self).
///
/// ```
/// use tower_graceful::consumer::{NeverApplied, classify::{Applied, applied}};
/// assert_eq!(applied(&NeverApplied::new("queue full")), Applied::Never);
/// assert_eq!(applied(&std::io::Error::other("reset")), Applied::Unknown);
/// ```
pub fn applied(error: &(dyn Error + 'static)) -> Applied {
    let mut chain = std::iter::successors(Some(error), |&error| error.source());
    match chain.try_for_each(verdict) {
        ControlFlow::Break(applied) => applied,
        ControlFlow::Continue(()) => Applied::Unknown,
    }
}

/// The outermost error that can tell decides: below it may lie an error of something else, such as the body
/// that we were given.
fn verdict(error: &(dyn Error + 'static)) -> ControlFlow<Applied> {
    if error.is::<NeverApplied>() {
        return ControlFlow::Break(Applied::Never);
    }
    #[cfg(feature = "tonic")]
    if error.is::<tonic::ConnectError>() {
        return ControlFlow::Break(Applied::Never);
    }
    #[cfg(feature = "http-client")]
    http_client::verdict(error)?;
    ControlFlow::Continue(())
}

#[cfg(feature = "http-client")]
mod http_client {
    use super::Applied;
    use hyper_util::client::legacy;
    use std::error::Error;
    use std::ops::ControlFlow;

    pub(super) fn verdict(error: &(dyn Error + 'static)) -> ControlFlow<Applied> {
        if let Some(error) = error.downcast_ref::<legacy::Error>() {
            if pooled(error) {
                return ControlFlow::Break(Applied::Never);
            }
        } else if let Some(error) = error.downcast_ref::<hyper::Error>() {
            return ControlFlow::Break(connection(error));
        } else if let Some(error) = error.downcast_ref::<h2::Error>() {
            return ControlFlow::Break(stream(error));
        }
        ControlFlow::Continue(())
    }

    /// Whether the pool failed before it handed the request to a connection. A request that it cannot send
    /// at all has no source: sending it elsewhere would not help.
    fn pooled(error: &legacy::Error) -> bool {
        error.is_connect() || (error.connect_info().is_none() && error.source().is_some())
    }

    fn connection(error: &hyper::Error) -> Applied {
        if error.is_canceled() {
            return Applied::Never;
        }
        // Below a user's error lies what the user gave us, not what the connection met.
        let own = error.source().filter(|_| !error.is_user());
        own.and_then(|source| source.downcast_ref()).map_or(Applied::Unknown, stream)
    }

    fn stream(error: &h2::Error) -> Applied {
        match error.reason() {
            Some(h2::Reason::REFUSED_STREAM) if error.is_reset() && error.is_remote() => Applied::Never,
            Some(_) if error.is_reset() && error.is_remote() => Applied::Begun,
            Some(_) | None => Applied::Unknown,
        }
    }
}

#[cfg(test)]
#[cfg(feature = "http-client")]
mod tests;
