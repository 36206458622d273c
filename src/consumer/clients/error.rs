//! What a request can fail with before there is a service to give it to.

use crate::model::ServiceKey;
use crate::naming::{BoxError, Error as NamingError};
use std::error::Error;
use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

/// There was no service to give a request to. Nothing was sent.
///
/// With the feature `tonic` its source is a `tonic::Status` that says the same, of the code `Unavailable`
/// when a later call may succeed, else `InvalidArgument` or `ResourceExhausted`.
#[derive(Debug)]
pub struct Unresolved {
    reason: Reason,
    #[cfg(feature = "tonic")]
    status: tonic::Status,
}

/// Why there was no service.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Reason {
    /// The request's URI names no host.
    NoHost,
    /// The host is not the name of a service.
    NotAService {
        /// The host, as it stands in the URI.
        host: String,
        /// What is wrong with it.
        message: String,
    },
    /// As many services are in use as may be.
    TooMany {
        /// The service that found no room.
        service: ServiceKey,
        /// The bound.
        services_max: NonZeroUsize,
    },
    /// The registry did not give its list.
    Registry {
        /// The service that was asked for.
        service: ServiceKey,
        /// The registry's answer.
        source: NamingError,
    },
    /// The first list of the service did not come in time.
    TooLate {
        /// The service that was asked for.
        service: ServiceKey,
        /// How long the call waited.
        waited: Duration,
    },
}

impl Reason {
    pub(super) fn not_a_service(host: &str, source: &BoxError) -> Self {
        let host = host.chars().take(64).collect(); // A host may be as long as a URI.
        Self::NotAService { host, message: source.to_string() }
    }

    #[cfg(feature = "tonic")]
    fn code(&self) -> tonic::Code {
        match self {
            Self::NoHost | Self::NotAService { .. } => tonic::Code::InvalidArgument,
            Self::TooMany { .. } => tonic::Code::ResourceExhausted,
            Self::Registry { .. } | Self::TooLate { .. } => tonic::Code::Unavailable,
        }
    }

    fn cause(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Registry { source, .. } => Some(source),
            Self::NoHost | Self::NotAService { .. } | Self::TooMany { .. } | Self::TooLate { .. } => None,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHost => {
                f.write_str("the URI of the request names no service: accepted is http://SERVICE/PATH")
            }
            Self::NotAService { host, message } => write!(f, "the host {host:?} is not a service: {message}"),
            Self::TooMany { service, services_max } => {
                write!(f, "no room for {service}: {services_max} services are in use")
            }
            Self::Registry { service, .. } => write!(f, "subscribing to {service} failed"),
            Self::TooLate { service, waited } => {
                write!(f, "the first list of {service} did not come within {waited:?}")
            }
        }
    }
}

impl Unresolved {
    /// Why.
    pub fn reason(&self) -> &Reason {
        &self.reason
    }
}

impl From<Reason> for Unresolved {
    fn from(reason: Reason) -> Self {
        Self {
            #[cfg(feature = "tonic")]
            status: status(&reason),
            reason,
        }
    }
}

/// The reason as tonic's clients understand it.
#[cfg(feature = "tonic")]
fn status(reason: &Reason) -> tonic::Status {
    let Some(cause) = reason.cause() else {
        return tonic::Status::new(reason.code(), reason.to_string());
    };
    tonic::Status::new(reason.code(), format!("{reason}: {}", crate::naming::Causes(cause)))
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl Error for Unresolved {
    #[cfg(feature = "tonic")]
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.status)
    }

    #[cfg(not(feature = "tonic"))]
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.reason.cause()
    }
}
