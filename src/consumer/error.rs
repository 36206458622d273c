//! What a call can fail with on its way out.

use super::endpoints::Endpoint;
use super::replay::Stopped;
use crate::model::{Address, Instance, ServiceKey, UnixMillis};
use crate::naming::BoxError;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// There was no instance to send the request to, and none came in time. Nothing was sent.
///
/// With the feature `tonic` its source is a `tonic::Status` of the code `Unavailable` that says the same.
#[derive(Debug)]
pub struct NoInstance {
    seen: Box<Seen>,
    #[cfg(feature = "tonic")]
    status: tonic::Status,
}

#[derive(Debug)]
pub(super) struct Seen {
    pub(super) service: ServiceKey,
    pub(super) waited: Duration,
    pub(super) tried: Vec<Address>,
    pub(super) listed: usize,
    /// Some of those listed, each with the reason why it is not used.
    pub(super) unused: Vec<(Address, String)>,
    pub(super) age: Option<Duration>,
}

impl Seen {
    /// As many instances as a line of a log has place for.
    pub(super) const NAMED: usize = 5;
}

impl NoInstance {
    pub(super) fn new(seen: Seen) -> Self {
        #[cfg(feature = "tonic")]
        let status = tonic::Status::unavailable(seen.to_string());
        Self {
            seen: Box::new(seen),
            #[cfg(feature = "tonic")]
            status,
        }
    }

    /// The service that has no instance.
    pub fn service(&self) -> &ServiceKey {
        &self.seen.service
    }

    /// How long the call waited for one.
    pub fn waited(&self) -> Duration {
        self.seen.waited
    }

    /// Where the request was sent before, in vain; nothing when this was its first try.
    pub fn tried(&self) -> &[Address] {
        &self.seen.tried
    }

    /// How many instances are listed, all of them disabled, without weight, at port 0 or outside the balancer's
    /// subset.
    pub fn listed(&self) -> usize {
        self.seen.listed
    }

    /// Age of the newest snapshot; nothing when none ever came.
    pub fn snapshot_age(&self) -> Option<Duration> {
        self.seen.age
    }
}

impl fmt::Display for NoInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.seen.fmt(f)
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, waited, tried, listed, unused, age } = self;
        write!(f, "no instance of {service} takes traffic (waited {waited:?}; ")?;
        for address in tried {
            write!(f, "tried {address} before; ")?;
        }
        match age {
            None => f.write_str("no list has come yet")?,
            Some(age) => write!(f, "the list is {age:?} old and names {listed}, none in use")?,
        }
        for (address, cause) in unused {
            write!(f, "; {address} is {cause}")?;
        }
        match listed.saturating_sub(unused.len()) {
            0 => f.write_str(")"),
            more => write!(f, "; and {more} more)"),
        }
    }
}

impl Error for NoInstance {
    #[cfg(feature = "tonic")]
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.status)
    }
}

/// A call to one instance failed; the source says how, and the message why the request was not sent to
/// another instance, when [`Failover`](super::Failover) looked at it.
///
/// With the feature `tonic` there is a `tonic::Status` in the chain of sources: the one that was there
/// already, or one of the code `Unavailable` whose message names the instance and the reason.
pub struct InstanceError {
    endpoint: Arc<Endpoint>,
    source: BoxError,
    not_again: Option<NotAgain>,
}

/// Why a request that failed is not sent to another instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotAgain {
    NotIdempotent,
    /// It may have been applied, and has been repeated once.
    Repeated,
    Begun,
    Tries(u32),
    Body(Stopped),
    Budget,
}

impl InstanceError {
    pub(super) fn new(endpoint: Arc<Endpoint>, source: BoxError) -> Self {
        #[cfg(feature = "tonic")]
        let source = status::in_chain(&endpoint, source);
        Self { endpoint, source, not_again: None }
    }

    /// The instance that was called, as it was registered when it was first seen.
    pub fn instance(&self) -> &Instance {
        self.endpoint.instance()
    }

    /// The instance's epoch, when its registration tells.
    pub fn epoch(&self) -> Option<UnixMillis> {
        self.endpoint.epoch()
    }

    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    pub(super) fn set_not_again(&mut self, why: NotAgain) {
        self.not_again = Some(why);
    }
}

impl fmt::Debug for InstanceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, source, not_again } = self;
        let mut out = f.debug_struct("InstanceError");
        out.field("endpoint", endpoint).field("source", source).field("not_again", not_again).finish()
    }
}

impl fmt::Display for InstanceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the call to instance {} failed", self.instance().address())?;
        self.not_again.map_or(Ok(()), |why| write!(f, " and was not repeated: {why}"))
    }
}

impl Error for InstanceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

impl fmt::Display for NotAgain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotIdempotent => f.write_str("it may have been applied, and is not idempotent"),
            Self::Repeated => f.write_str("it may have been applied, and has been repeated once"),
            Self::Begun => f.write_str("it was being handled"),
            Self::Tries(tries) => write!(f, "its tries ({tries}) are used up"),
            Self::Body(stopped) => stopped.fmt(f),
            Self::Budget => f.write_str("too many requests are being repeated"),
        }
    }
}

#[cfg(feature = "tonic")]
mod status {
    use super::{Arc, BoxError, Endpoint};
    use crate::consumer::classify::{Applied, applied};
    use crate::naming::Causes;
    use tonic::Status;

    /// tonic calls every foreign transport error `Unknown`, unless it finds a status among the sources. An
    /// error that tonic can name itself keeps its name; what was never applied is `Unavailable` in any case.
    pub(super) fn in_chain(endpoint: &Endpoint, source: BoxError) -> BoxError {
        let named = match applied(&*source) {
            Applied::Never => Err(source),
            Applied::Unknown | Applied::Begun => Status::try_from_error(source),
        };
        let status = named.unwrap_or_else(|source| {
            let address = endpoint.instance().address();
            let mut status = Status::unavailable(format!("instance {address}: {}", Causes(&*source)));
            status.set_source(Arc::from(source));
            status
        });
        status.into()
    }
}
