//! What a registry can answer other than yes, and how errors are told.

use std::fmt;
use std::sync::Arc;

/// Why a registry did not do what it was asked, by what the caller can do about it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The registry understood and said no; the same call will be refused again.
    Refused {
        /// The registry's own code.
        code: i32,
        /// The registry's own words.
        message: String,
    },
    /// The registry could not be reached, or did not answer in time; a later call may succeed.
    Unavailable {
        /// What was tried.
        tried: String,
        /// What stood in the way.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The call cannot be right: nothing was sent.
    Invalid {
        /// What is wrong, and what is accepted.
        message: String,
    },
    /// This handle has been closed.
    Closed,
}

impl Error {
    /// Whether the same call may succeed later.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { code, message } => write!(f, "the registry refused (code {code}): {message}"),
            Self::Unavailable { tried, .. } => write!(f, "the registry is unavailable ({tried})"),
            Self::Invalid { message } => f.write_str(message),
            Self::Closed => f.write_str("the handle on the registry has been closed"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unavailable { source, .. } => Some(&**source),
            Self::Refused { .. } | Self::Invalid { .. } | Self::Closed => None,
        }
    }
}

/// Any error, boxed.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Shows an error with all its causes, on one line.
///
/// ```
/// use tower_graceful::naming::{Causes, Error};
/// let closed = Error::Unavailable { tried: "register".into(), source: std::sync::Arc::new(Error::Closed) };
/// assert_eq!(Causes(&closed).to_string(), format!("{closed}: {}", Error::Closed));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Causes<'a>(pub &'a (dyn std::error::Error + 'static));

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0, f)?;
        let mut causes = std::iter::successors(self.0.source(), |&cause| cause.source());
        causes.try_for_each(|cause| write!(f, ": {cause}"))
    }
}
