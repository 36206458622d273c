//! How a request to the registry can fail, by what follows from it.

use super::login::NotLoggedIn;
use crate::naming::{self, BoxError};
use crate::protocol::code;
use std::fmt;
use std::sync::Arc;

/// Why a request did not succeed.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// The registry said no, and will again.
    Refused { code: i32, message: String },
    /// The registry cannot do it now.
    Busy { code: i32, message: String },
    /// The registry does not know the connection, so a new one is needed.
    Unregistered,
    /// The registry wants to know who asks, and this client could not log in.
    NotLoggedIn(Arc<NotLoggedIn>),
    /// There is no answer, or none that can be read: nobody knows what the registry did.
    Broken(Arc<Broken>),
}

/// What was tried and what stood in the way.
#[derive(Debug)]
pub(super) struct Broken {
    tried: &'static str,
    source: BoxError,
}

impl Failure {
    /// Reads code and words of a failure that the registry answered.
    pub(super) fn answered(code: i32, message: &str) -> Self {
        let message = message.to_owned();
        match code {
            code::UNREGISTERED => Self::Unregistered,
            code::STARTING | code::OVER_LIMIT => Self::Busy { code, message },
            _ => Self::Refused { code, message },
        }
    }

    /// Nothing that can be read came back.
    pub(super) fn broken(tried: &'static str, source: impl Into<BoxError>) -> Self {
        Self::Broken(Arc::new(Broken { tried, source: source.into() }))
    }

    /// Whether the registry does not let this client in, and will not the next time either.
    pub(super) fn is_shut_out(&self) -> bool {
        matches!(self, Self::NotLoggedIn(why) if why.is_refused())
    }

    /// As callers see it who have waited in vain.
    pub(super) fn to_unavailable(&self, tried: String) -> naming::Error {
        naming::Error::Unavailable { tried, source: Arc::new(self.clone()) }
    }
}

impl From<NotLoggedIn> for Failure {
    fn from(why: NotLoggedIn) -> Self {
        Self::NotLoggedIn(Arc::new(why))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { code, message } => write!(f, "the registry refused (code {code}): {message}"),
            Self::Busy { code, message } => write!(f, "the registry is busy (code {code}): {message}"),
            Self::Unregistered => f.write_str("the registry does not know this connection"),
            Self::NotLoggedIn(why) => why.fmt(f),
            Self::Broken(broken) => broken.fmt(f),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotLoggedIn(why) => why.source(),
            Self::Broken(broken) => broken.source(),
            Self::Refused { .. } | Self::Busy { .. } | Self::Unregistered => None,
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed", self.tried)
    }
}

impl std::error::Error for Broken {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let of = |code| Failure::answered(code, "words");
        assert!(matches!(of(301), Failure::Unregistered));
        assert!(matches!(of(300), Failure::Busy { code: 300, .. }));
        assert!(matches!(of(503), Failure::Busy { code: 503, .. }));
        for code in [0, 302, 400, 403, 500, 502, 22001] {
            assert!(matches!(of(code), Failure::Refused { code: answered, .. } if answered == code));
        }
    }
}
