//! Who knows that an instance is off the list.

use std::fmt;

/// What the consumers of a service have said to the registry about a list without an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The processes that choose by this list from now on, by the id in their header
    /// [`CALLER`](super::header::CALLER).
    pub callers: Vec<u64>,
    /// Those that follow the service and have not said so.
    pub untold: Vec<Untold>,
}

/// A consumer that follows a service, and may still choose an instance that is off the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untold {
    /// The id in its header [`CALLER`](super::header::CALLER).
    pub caller: u64,
    /// What it calls itself; may be empty.
    pub app: String,
    /// Where its connection to the registry comes from, `10.0.0.9:54299`.
    pub address: String,
}

impl fmt::Display for Untold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { caller, app, address } = self;
        write!(f, "{caller:016x} ({app:?} at {address})")
    }
}
