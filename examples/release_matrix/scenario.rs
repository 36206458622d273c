//! The table of what is done to whom: protocols, scenarios, and their numbers.

use std::fmt;
use std::time::Duration;

/// What requests travel by.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
    Grpc,
}

/// What happens while requests go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// One provider after another is replaced: the new one first, then SIGTERM for the oldest.
    Steady,
    /// The same; every list reaches the consumer late.
    StaleList,
    /// The same; beside the load there are callers, each a process of its own, that ask rarely and whose
    /// lists are late too: most of them never hear from a provider that it leaves.
    RareCaller,
    /// The same, with a client that has nothing of ours: it keeps connections alive, reads the list every
    /// second, honours `connection: close` and GOAWAY, and asks elsewhere where it finds no connection.
    PlainClient,
    /// The same; the registry is killed as a provider has just been told to go, and comes back empty.
    RegistryRestart,
    /// The old one goes first, and the new one takes its address.
    SamePort,
    /// As `Steady`, with replacements as fast as they can follow each other.
    Churn,
    /// Two of three are told to go in the same moment, and nobody comes.
    ScaleIn,
    /// As `Steady`, but the old one is first told by `POST /offline?wait=30s`, and by SIGTERM when that
    /// has been answered.
    OfflineThenSigterm,
    /// As `StaleList`, with providers on plain axum that take themselves off the list at the signal, sleep for
    /// 2 s and then shut down gracefully. No cell of the matrix: it is what `--compare` puts beside them.
    BlindSleep,
}

/// One cell of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    pub protocol: Protocol,
    pub scenario: Scenario,
}

/// How much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    Full,
    /// For whoever waits for it.
    Short,
}

/// The numbers of a cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Requests of the steady load, spread evenly over `span`.
    pub requests: u32,
    /// How long the steady load lasts: past the end of the last replacement, so that it is seen whether
    /// anyone still calls where nobody is.
    pub span: Duration,
    /// When replacements begin, counted from the start of the load: by the clock, whether or not the one
    /// before has ended.
    pub rolls: Vec<Duration>,
    /// How much later than it changes the list reaches consumers.
    pub list_age: Duration,
    /// Callers beside the steady load, and how rarely each of them asks.
    pub rare: Option<(u32, Duration)>,
    /// Whether the load is sent by a client without anything of ours.
    pub plain: bool,
}

/// Providers at the start of each cell.
pub const PROVIDERS: usize = 3;
/// Callers that ask rarely.
const RARE_CALLERS: u32 = 20;

impl Protocol {
    const ALL: [Self; 3] = [Self::Http1, Self::Http2, Self::Grpc];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::Grpc => "gRPC",
        }
    }

    /// As a child is told it.
    pub const fn flag(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http2 => "http2",
            Self::Grpc => "grpc",
        }
    }
}

impl Scenario {
    const ALL: [Self; 9] = [
        Self::Steady,
        Self::StaleList,
        Self::RareCaller,
        Self::PlainClient,
        Self::RegistryRestart,
        Self::SamePort,
        Self::Churn,
        Self::ScaleIn,
        Self::OfflineThenSigterm,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::StaleList => "stale-list",
            Self::RareCaller => "rare-caller",
            Self::PlainClient => "plain-client",
            Self::RegistryRestart => "registry-restart",
            Self::SamePort => "same-port",
            Self::Churn => "churn",
            Self::ScaleIn => "scale-in",
            Self::OfflineThenSigterm => "offline-then-sigterm",
            Self::BlindSleep => "blind-sleep",
        }
    }

    /// The numbers of this scenario.
    pub fn plan(self, length: Length) -> Plan {
        let short = length == Length::Short;
        let seconds = |full, in_short| Duration::from_secs_f64(if short { in_short } else { full });
        let late = seconds(10.0, 3.0);
        let every =
            |first: Duration, step: Duration, count: u32| (0..count).map(|n| first + step * n).collect();
        let steady = Plan {
            requests: if short { 2_000 } else { 30_000 },
            span: seconds(60.0, 5.0),
            rolls: every(seconds(5.0, 0.5), seconds(8.0, 1.5), if short { 2 } else { 6 }),
            list_age: Duration::ZERO,
            rare: None,
            plain: false,
        };
        match self {
            Self::Steady | Self::RegistryRestart | Self::SamePort | Self::OfflineThenSigterm => steady,
            Self::StaleList | Self::BlindSleep => Plan { list_age: late, ..steady },
            Self::RareCaller => Plan {
                rare: Some((RARE_CALLERS, seconds(20.0, 5.0))),
                list_age: late,
                // A provider waits up to 10 s for callers who have not heard.
                span: seconds(60.0, 13.0),
                ..steady
            },
            Self::PlainClient => Plan { plain: true, ..steady },
            Self::Churn => Plan {
                span: seconds(60.0, 12.0),
                rolls: every(seconds(0.5, 0.5), seconds(1.45, 1.35), if short { 8 } else { 40 }),
                ..steady
            },
            // Both at once: one event.
            Self::ScaleIn => Plan { rolls: vec![seconds(20.0, 1.0)], ..steady },
        }
    }
}

impl Case {
    /// What others do in this case, where that is to be seen.
    pub fn compared(self) -> Option<Self> {
        (self.scenario == Scenario::StaleList).then_some(Self { scenario: Scenario::BlindSleep, ..self })
    }
}

/// The cells whose name contains `pattern`, in any case.
pub fn cells(pattern: &str) -> Vec<Case> {
    let all = Protocol::ALL
        .into_iter()
        .flat_map(|protocol| Scenario::ALL.into_iter().map(move |scenario| Case { protocol, scenario }));
    let pattern = pattern.to_lowercase();
    all.filter(|case| case.to_string().to_lowercase().contains(&pattern)).collect()
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.protocol.name(), self.scenario.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_chooses_by_protocol_by_scenario_or_by_both() {
        assert_eq!(cells("").len(), 27);
        assert_eq!(cells("grpc").len(), 9);
        assert_eq!(cells("Stale-List").len(), 3);
        assert_eq!(cells("http/2 churn").len(), 1);
        assert_eq!(cells("no such thing").len(), 0);
    }

    #[test]
    fn only_the_providers_differ_in_what_is_compared() {
        let compared: Vec<_> =
            cells("").into_iter().filter_map(|case| Some((case, case.compared()?))).collect();
        assert_eq!(compared.len(), 3);
        for (ours, theirs) in compared {
            assert_eq!(ours.protocol, theirs.protocol);
            for length in [Length::Full, Length::Short] {
                assert_eq!(ours.scenario.plan(length), theirs.scenario.plan(length));
            }
        }
    }

    #[test]
    fn the_load_outlasts_every_replacement() {
        for (case, length) in
            cells("").into_iter().flat_map(|case| [(case, Length::Full), (case, Length::Short)])
        {
            let plan = case.scenario.plan(length);
            let last = *plan.rolls.last().unwrap();
            let takes = if plan.rare.is_some() { 10.5 } else { 1.5 };
            assert!(last + Duration::from_secs_f64(takes) < plan.span, "{case}");
            assert!(plan.list_age < plan.span, "{case}");
        }
    }

    #[test]
    fn the_numbers_are_those_that_are_promised() {
        let rolls = |scenario: Scenario, length| scenario.plan(length).rolls.len();
        assert_eq!((rolls(Scenario::Churn, Length::Full), rolls(Scenario::Churn, Length::Short)), (40, 8));
        assert!(cells("").iter().all(|case| case.scenario.plan(Length::Full).requests == 30_000));
        assert!(cells("").iter().all(|case| case.scenario.plan(Length::Short).requests == 2_000));
        let short: Duration = cells("").iter().map(|case| case.scenario.plan(Length::Short).span).sum();
        assert!(short < Duration::from_secs(200), "{short:?}: each cell starts and stops processes as well");
    }
}
