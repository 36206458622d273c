//! The errors that say of themselves how far a request has come; [`classify`](super::classify) reads them.

use crate::naming::BoxError;
use std::error::Error;
use std::fmt;
use std::time::Duration;

/// No headers of an answer came in time; whether the request was handled is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderTimeout {
    /// How long the call waited.
    pub after: Duration,
}

impl fmt::Display for HeaderTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no answer began within {:?}", self.after)
    }
}

impl Error for HeaderTimeout {}

/// A mark for errors of requests that were never handed to anyone: wrap what your own service fails with
/// before it has sent anything, and the request is tried on another instance.
#[derive(Debug)]
pub struct NeverApplied(BoxError);

impl NeverApplied {
    /// Marks `source`.
    pub fn new(source: impl Into<BoxError>) -> Self {
        Self(source.into())
    }
}

impl fmt::Display for NeverApplied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request was not sent")
    }
}

impl Error for NeverApplied {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

/// A mark for errors of requests for which no connection to their instance could be made: the request was
/// never applied, and the instance is put aside for a while. For services of your own; what hyper and tonic
/// fail with is known without it.
#[derive(Debug)]
pub struct NoConnection(BoxError);

impl NoConnection {
    /// Marks `source`.
    pub fn new(source: impl Into<BoxError>) -> Self {
        Self(source.into())
    }
}

impl fmt::Display for NoConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no connection could be made")
    }
}

impl Error for NoConnection {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}
