//! Where a provider's process stands between start and stop.

use std::fmt;

/// Phase of a provider's process. Time only moves it forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Not yet registered and seen in the registry's list; requests are refused by default.
    #[default]
    Starting,
    /// Registered, seen, taking requests.
    Serving,
    /// On the way out: still answers, and says in every answer that it leaves.
    Leaving,
    /// Takes nothing any more.
    Stopped,
}

impl Phase {
    /// All phases, in the order in which a process goes through them.
    pub const ALL: [Self; 4] = [Self::Starting, Self::Serving, Self::Leaving, Self::Stopped];

    /// Whether a process may go from this phase to `next`: forward only, and a process that leaves while
    /// it starts never serves.
    pub fn may_become(self, next: Self) -> bool {
        next > self
    }

    /// The name in lower case, as metrics and answers show it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Leaving => "leaving",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_never_goes_back_nor_stands_still() {
        for (at, phase) in Phase::ALL.into_iter().enumerate() {
            for (to, next) in Phase::ALL.into_iter().enumerate() {
                assert_eq!(phase.may_become(next), to > at, "{phase} to {next}");
            }
        }
    }
}
