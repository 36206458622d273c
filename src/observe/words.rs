//! The few words that events are told in: closed lists, so that a label made of one is bounded.

use std::fmt;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$about])* $variant,)*
        }

        impl $name {
            /// All of them, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Their words, in the same order.
            pub const WORDS: &'static [&'static str] = &[$($word),*];

            /// Its word in logs and labels.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

words! {
    /// How an instance stands with a balancer: of several reasons, the one that weighs most.
    State {
        /// Takes its full share.
        Warm = "warm",
        /// Takes what its warm-up allows.
        Warming = "warming",
        /// Leaves, and takes less and less.
        Fading = "fading",
        /// Leaves, and takes nothing more.
        Aside = "aside",
        /// No connection to it could be made; it is tried again from time to time.
        Failing = "failing",
        /// The registry misses its heartbeats.
        Unhealthy = "unhealthy",
        /// Switched off in the registry, or registered with weight 0 or at port 0.
        Disabled = "disabled",
        /// The filters of the balancer leave it out.
        Outside = "outside",
    }
}

words! {
    /// Why a consumer put an instance aside.
    AsideCause {
        /// Its answer carried the offline tag.
        Tag = "tag",
        /// It sent a notice.
        Notice = "notice",
        /// No connection to it could be made.
        Connect = "connect",
    }
}

words! {
    /// What a request failed of; see `consumer::classify` for the class of each.
    Cause {
        /// No connection could be made.
        Connect = "connect",
        /// A connection was made, and ended before it could take the request.
        Handshake = "handshake",
        /// The connection gave the request back before any of it was written.
        GivenBack = "given_back",
        /// The HTTP/2 stream was refused.
        RefusedStream = "refused_stream",
        /// The provider's layers refused the request without calling the handler.
        Refused = "refused",
        /// The request was never handed to anyone.
        NotSent = "not_sent",
        /// The instance ended its HTTP/2 connection when the request had been handed over.
        GoAway = "goaway",
        /// The connection broke with the request under way.
        Lost = "lost",
        /// No answer began in time.
        Timeout = "timeout",
        /// The HTTP/2 stream was reset while the request was handled.
        Reset = "reset",
        /// An error that this crate does not know.
        Other = "other",
    }
}

words! {
    /// What a provider's layers made of a request. Probes are none.
    Outcome {
        /// Let through to the handler.
        Served = "served",
        /// Turned away, because the process does not serve yet.
        RefusedStarting = "refused_starting",
        /// Turned away, because the process leaves and has never served.
        RefusedLeaving = "refused_leaving",
        /// Let through to the handler although this instance has said that it leaves.
        AfterOffline = "after_offline",
    }
}

words! {
    /// What came of a notice that a leaving provider sent.
    NoticeResult {
        /// The consumer has taken it.
        Taken = "taken",
        /// The consumer has answered that it proves nothing, or is none.
        Refused = "refused",
        /// The consumer did not answer in time, or cannot be reached, or no time was left to ask it.
        Unanswered = "unanswered",
    }
}

words! {
    /// Who observes: the side of a service that it is on.
    Role {
        /// It makes requests to the service.
        Consumer = "consumer",
        /// It is an instance of the service.
        Provider = "provider",
    }
}

/// Why a provider leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LeaveCause {
    /// A signal of this name.
    Signal(&'static str),
    /// Somebody called `/offline`.
    Offline,
    /// The application said so, by a `ShutdownHandle`.
    Handle,
    /// An operator of the registry ordered it.
    Operator,
    /// Its start failed.
    StartFailed,
}

impl fmt::Display for LeaveCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signal(name) => name,
            Self::Offline => "/offline",
            Self::Handle => "the application",
            Self::Operator => "an operator of the registry",
            Self::StartFailed => "the start failed",
        })
    }
}
