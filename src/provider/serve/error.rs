//! What can be wrong with a provider before it serves.

use crate::naming::{self, BoxError};
use std::net::SocketAddr;
use std::{fmt, io};

/// A setting that is not valid: which, what was given, and what is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSetting {
    setting: &'static str,
    reason: String,
}

impl InvalidSetting {
    pub(super) fn new(setting: &'static str, given: impl fmt::Display, accepted: impl fmt::Display) -> Self {
        Self { setting, reason: format!("{given} is not valid: accepted is {accepted}") }
    }

    /// For a value whose own error says what is accepted.
    pub(super) fn because(setting: &'static str, error: &impl fmt::Display) -> Self {
        Self { setting, reason: error.to_string() }
    }

    /// The setting's name in the builder or in the environment.
    pub fn setting(&self) -> &'static str {
        self.setting
    }
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "setting `{}`: {}", self.setting, self.reason)
    }
}

impl std::error::Error for InvalidSetting {}

/// Why a provider did not serve.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// A setting that is wrong where this process runs.
    Setting(InvalidSetting),
    /// One of our own ports cannot be bound.
    Bind {
        /// The setting that moves it elsewhere.
        setting: &'static str,
        /// Where it was to be.
        address: SocketAddr,
        /// What stood in the way.
        source: io::Error,
    },
    /// The listener does not know its address.
    Listener(io::Error),
    /// The system gives no notice of signals.
    Signals(io::Error),
    /// What [`register_when`](super::ProviderBuilder::register_when) waits for failed, or panicked.
    Preparation(BoxError),
    /// The registry will never take this registration.
    Registration(naming::Error),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting(setting) => setting.fmt(f),
            Self::Bind { setting, address, .. } => write!(
                f,
                "cannot bind {address}: the setting `{setting}` moves it (port 0 takes any), and \
                 `without_{}` turns it off",
                setting.trim_end_matches("_bind")
            ),
            Self::Listener(_) => f.write_str("the listener does not know its address"),
            Self::Signals(_) => f.write_str("no notice of signals"),
            Self::Preparation(_) => f.write_str("the application could not be prepared"),
            Self::Registration(_) => f.write_str("this instance cannot be registered"),
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Setting(_) => None,
            Self::Bind { source, .. } | Self::Listener(source) | Self::Signals(source) => Some(source),
            Self::Preparation(source) => Some(&**source),
            Self::Registration(source) => Some(source),
        }
    }
}

impl From<InvalidSetting> for ServeError {
    fn from(setting: InvalidSetting) -> Self {
        Self::Setting(setting)
    }
}
