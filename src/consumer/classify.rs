//! Which failures leave no doubt that the request was never applied.
//!
//! Only those may be retried for a request that is not idempotent (RFC 9110, 9.2.2). The class of the error
//! decides, and nothing else: HTTP clients poll a request's body as they send its head, so a body that nobody
//! has touched proves nothing, and neither does one that was read.
//!
//! | failure | [`Cause`] | class |
//! |---|---|---|
//! | no connection: refused, timed out, DNS, TLS | `Connect` | [`Never`](Applied::Never) |
//! | the connection ended before the request was handed to it | `Handshake` | [`Never`](Applied::Never) |
//! | the connection gave the request back before any of it was written | `GivenBack` | [`Never`](Applied::Never) |
//! | HTTP/2 stream refused (`REFUSED_STREAM`) | `RefusedStream` | [`Never`](Applied::Never) |
//! | the provider's layers refused without calling the handler | `Refused` | [`Never`](Applied::Never) |
//! | marked with [`NeverApplied`]: the instance's service did not get ready | `NotSent` | [`Never`](Applied::Never) |
//! | HTTP/2 GOAWAY after the request was handed over | `GoAway` | [`Unknown`](Applied::Unknown) |
//! | connection lost with the request under way | `Lost` | [`Unknown`](Applied::Unknown) |
//! | no answer began in time | `Timeout` | [`Unknown`](Applied::Unknown) |
//! | HTTP/2 stream reset for any other reason | `Reset` | [`Begun`](Applied::Begun) |
//! | whatever else | `Other` | [`Unknown`](Applied::Unknown) |
//!
//! A GOAWAY names the last stream that its sender has seen, but clients do not pass that on: a stream beyond
//! it, which was never applied, looks like one that was. The same holds for a connection that broke in the
//! queue of a port that closed.
//!
//! What it reads are hyper's errors, with the feature `http-client`; without it, only the marks
//! [`NeverApplied`] and [`NoConnection`] and timeouts are told apart. Other clients bring a function of their
//! own, see [`FailoverLayer::with_classifier`](super::FailoverLayer::with_classifier).

use super::marks::{HeaderTimeout, NeverApplied, NoConnection};
pub use crate::observe::Cause;
use std::error::Error;

/// Whether a request that failed may have been applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It was surely not: it can be sent again, to another instance, whatever its method.
    Never,
    /// It may have been: only an idempotent request can be sent again.
    Unknown,
    /// It was being handled.
    Begun,
}

impl Cause {
    /// What it says about the request.
    ///
    /// ```
    /// use tower_graceful::consumer::{Applied, classify::Cause};
    /// assert_eq!((Cause::GoAway.as_str(), Cause::GoAway.applied()), ("goaway", Applied::Unknown));
    /// ```
    pub fn applied(self) -> Applied {
        match self {
            Self::Connect
            | Self::Handshake
            | Self::GivenBack
            | Self::RefusedStream
            | Self::Refused
            | Self::NotSent => Applied::Never,
            Self::GoAway | Self::Lost | Self::Timeout | Self::Other => Applied::Unknown,
            Self::Reset => Applied::Begun,
        }
    }
}

/// Classifies an error by the chain of its sources: the class of its [`cause`].
///
/// ```
/// use tower_graceful::consumer::{NeverApplied, classify::{Applied, applied}};
/// assert_eq!(applied(&NeverApplied::new("queue full")), Applied::Never);
/// assert_eq!(applied(&std::io::Error::other("reset")), Applied::Unknown);
/// ```
pub fn applied(error: &(dyn Error + 'static)) -> Applied {
    cause(error).applied()
}

/// Whether an error says that no connection could be made: the instance is down, or out of reach. That it got
/// one which could not take the request is another matter.
///
/// ```
/// use tower_graceful::consumer::{NeverApplied, NoConnection, classify::is_connect};
/// assert!(is_connect(&NeverApplied::new(NoConnection::new("no such socket"))));
/// assert!(!is_connect(&NeverApplied::new("queue full")));
/// ```
pub fn is_connect(error: &(dyn Error + 'static)) -> bool {
    cause(error) == Cause::Connect
}

/// What a request failed of, by the chain of its error's sources.
///
/// The outermost error that can tell decides: below it may lie an error of something else, such as the body
/// that we were given.
pub fn cause(error: &(dyn Error + 'static)) -> Cause {
    let mut chain = std::iter::successors(Some(error), |&error| error.source());
    chain.find_map(told).unwrap_or(Cause::Other)
}

fn told(error: &(dyn Error + 'static)) -> Option<Cause> {
    if error.is::<NoConnection>() {
        return Some(Cause::Connect);
    }
    if error.is::<NeverApplied>() {
        // Why it was not sent: only that there was no connection is told apart.
        let connect = error.source().map(cause) == Some(Cause::Connect);
        return Some(if connect { Cause::Connect } else { Cause::NotSent });
    }
    if error.is::<HeaderTimeout>() {
        return Some(Cause::Timeout);
    }
    #[cfg(feature = "tonic")]
    if error.is::<tonic::ConnectError>() {
        return Some(Cause::Connect);
    }
    #[cfg(feature = "http-client")]
    return http_client::told(error);
    #[cfg(not(feature = "http-client"))]
    None
}

#[cfg(feature = "http-client")]
mod http_client {
    use super::Cause;
    use hyper_util::client::legacy;
    use std::error::Error;

    pub(super) fn told(error: &(dyn Error + 'static)) -> Option<Cause> {
        if let Some(error) = error.downcast_ref::<legacy::Error>() {
            pooled(error)
        } else if let Some(error) = error.downcast_ref::<hyper::Error>() {
            Some(connection(error))
        } else {
            error.downcast_ref::<h2::Error>().map(stream)
        }
    }

    /// Why the pool failed before it handed the request to a connection. A request that it cannot send at all
    /// has no source: sending it elsewhere would not help.
    fn pooled(error: &legacy::Error) -> Option<Cause> {
        if error.is_connect() {
            return Some(Cause::Connect);
        }
        (error.connect_info().is_none() && error.source().is_some()).then_some(Cause::Handshake)
    }

    fn connection(error: &hyper::Error) -> Cause {
        if error.is_canceled() {
            return Cause::GivenBack;
        }
        if error.is_incomplete_message() {
            return Cause::Lost;
        }
        // Below a user's error lies what the user gave us, not what the connection met.
        let Some(own) = error.source().filter(|_| !error.is_user()) else {
            return Cause::Other;
        };
        own.downcast_ref()
            .map_or_else(|| if own.is::<std::io::Error>() { Cause::Lost } else { Cause::Other }, stream)
    }

    fn stream(error: &h2::Error) -> Cause {
        let by_peer = error.is_remote();
        match error.reason() {
            Some(h2::Reason::REFUSED_STREAM) if error.is_reset() && by_peer => Cause::RefusedStream,
            Some(_) if error.is_reset() && by_peer => Cause::Reset,
            Some(_) if error.is_go_away() && by_peer => Cause::GoAway,
            None if error.is_io() => Cause::Lost,
            Some(_) | None => Cause::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::io;
    use std::time::Duration;

    const CAUSES: [Cause; 11] = [
        Cause::Connect,
        Cause::Handshake,
        Cause::GivenBack,
        Cause::RefusedStream,
        Cause::Refused,
        Cause::NotSent,
        Cause::GoAway,
        Cause::Lost,
        Cause::Timeout,
        Cause::Reset,
        Cause::Other,
    ];

    #[test]
    fn each_cause_has_a_name_of_its_own() {
        let names: BTreeSet<_> = CAUSES.into_iter().map(Cause::as_str).collect();
        assert_eq!(names.len(), CAUSES.len());
    }

    #[test]
    fn the_outermost_error_that_can_tell_decides() {
        let late = HeaderTimeout { after: Duration::ZERO };
        let unsent = NeverApplied::new(late);
        assert_eq!(cause(&unsent), Cause::NotSent);
        assert_eq!(cause(&late), Cause::Timeout);
        assert_eq!(applied(&late), Applied::Unknown);
        assert_eq!(cause(&io::Error::from(io::ErrorKind::ConnectionRefused)), Cause::Other);
    }

    #[test]
    fn marks_say_whether_there_was_a_connection() {
        let told = |error: &(dyn Error + 'static)| (applied(error), is_connect(error));
        let refused = || NoConnection::new("no such socket");
        assert_eq!(told(&refused()), (Applied::Never, true));
        assert_eq!(told(&NeverApplied::new(refused())), (Applied::Never, true));
        assert_eq!(told(&NeverApplied::new("queue full")), (Applied::Never, false));
        assert_eq!(told(&io::Error::other("torn")), (Applied::Unknown, false));
    }

    #[cfg(feature = "http-client")]
    mod with_hyper {
        use super::super::*;
        use crate::consumer::http_client;
        use bytes::Bytes;
        use http_body_util::Empty;

        #[tokio::test]
        async fn what_was_not_sent_for_lack_of_a_connection_lacked_a_connection() {
            let nobody = http::Request::get("http://127.0.0.1:0/").body(Empty::<Bytes>::new()).unwrap();
            let error = http_client().request(nobody).await.unwrap_err();
            assert_eq!(cause(&error), Cause::Connect, "{error:?}");
            assert_eq!(cause(&NeverApplied::new(error)), Cause::Connect);
        }

        #[tokio::test]
        async fn what_cannot_be_sent_at_all_has_met_no_connection() {
            let relative = http::Request::get("/").body(Empty::<Bytes>::new()).unwrap();
            let error = http_client().request(relative).await.unwrap_err();
            assert_eq!(cause(&error), Cause::Other, "{error:?}");
        }
    }

    #[cfg(feature = "tonic")]
    #[test]
    fn a_channel_without_connection_has_sent_nothing() {
        let error = tonic::ConnectError(io::Error::from(io::ErrorKind::ConnectionRefused).into());
        assert_eq!(cause(&error), Cause::Connect);
    }
}
