//! What happens now and then, and how it reads in a log.

use super::{AsideCause, Cause, LeaveCause, NoticeResult};
use crate::model::{Address, Instance, ServiceKey, Source, UnixMillis, WarmUpClock};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;
use tracing::Level;

/// What a consumer has come to know of the instances of a service, or has done about it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum ConsumerEvent<'a> {
    /// The picks go by a new list from here on.
    #[non_exhaustive]
    ListApplied {
        /// The registry's revision of it.
        revision: u64,
        /// How many instances it has, also those that take no traffic.
        instances: usize,
    },
    /// An instance is on the list that was not, or another process runs at its address.
    #[non_exhaustive]
    Joined {
        /// As it is listed.
        instance: &'a Instance,
    },
    /// An instance is on the list no more.
    #[non_exhaustive]
    Gone {
        /// As it was listed last.
        instance: &'a Instance,
    },
    /// An instance gets no new requests for a while, or fewer and fewer.
    #[non_exhaustive]
    PutAside {
        /// Where it is reached.
        instance: &'a Address,
        /// Which of the processes at that address, when that is known.
        epoch: Option<UnixMillis>,
        /// Over what time its weight falls to zero.
        fade: Duration,
        /// What told this consumer.
        cause: AsideCause,
    },
    /// An instance that no connection could be made to answers again.
    #[non_exhaustive]
    Returned {
        /// Where it is reached.
        instance: &'a Address,
    },
    /// An offline tag spoke of someone else than its sender.
    #[non_exhaustive]
    TagIgnored {
        /// Who sent it.
        instance: &'a Address,
        /// The header's value.
        tag: fmt::Arguments<'a>,
    },
    /// A notice did not prove whom it came from, or said what was known.
    #[non_exhaustive]
    NoticeIgnored {
        /// Whom it spoke of.
        instance: &'a Address,
        /// Which of the processes at that address.
        epoch: UnixMillis,
        /// Whether it proved that: then it only came twice.
        repeated: bool,
    },
    /// A request that failed goes to another instance.
    #[non_exhaustive]
    Retried {
        /// Where it failed.
        instance: &'a Address,
        /// What it failed of.
        cause: Cause,
    },
    /// A request that failed is not repeated.
    #[non_exhaustive]
    NotRetried {
        /// Where it failed.
        instance: &'a Address,
        /// What it failed of.
        cause: Cause,
        /// What forbids it: budget, body, tries, or that it is not idempotent.
        why: fmt::Arguments<'a>,
    },
    /// Warm instances get another multiple of their load before.
    #[non_exhaustive]
    AmplificationChanged {
        /// The multiple from here on, from 1.0 on.
        ratio: f64,
    },
}

impl ConsumerEvent<'_> {
    pub(super) fn trace(&self, service: &ServiceKey) {
        macro_rules! log {
            ($level:ident, $($rest:tt)*) => {
                tracing::event!(target: "tower_graceful::consumer", Level::$level, service.name = %service, $($rest)*)
            };
        }
        match *self {
            Self::ListApplied { revision, instances } => {
                log!(DEBUG, revision, instances, "a new list counts");
            }
            Self::Joined { instance } => log!(INFO, instance = %instance.address(), "instance joins"),
            Self::Gone { instance } => log!(INFO, instance = %instance.address(), "instance goes"),
            Self::PutAside { instance, epoch, fade, cause: AsideCause::Connect } => {
                log!(WARN, %instance, ?epoch, ?fade, "no connection to instance: put aside for a while");
            }
            Self::PutAside { instance, epoch, fade, cause } => {
                log!(INFO, %instance, ?epoch, ?fade, %cause, "instance leaves: put aside");
            }
            Self::Returned { instance } => log!(INFO, %instance, "instance answers again: back in use"),
            Self::TagIgnored { instance, tag } => {
                log!(DEBUG, %instance, value = %tag, "an offline tag speaks of someone else: ignored");
            }
            Self::NoticeIgnored { instance, epoch, repeated: true } => {
                log!(DEBUG, %instance, %epoch, "a notice says what is known");
            }
            Self::NoticeIgnored { instance, epoch, repeated: false } => {
                log!(DEBUG, %instance, %epoch, "a notice proves nothing: refused");
            }
            Self::Retried { instance, cause } => {
                log!(DEBUG, %cause, %instance, "a request that failed goes to another instance");
            }
            Self::NotRetried { instance, cause, why } => {
                log!(DEBUG, %cause, %instance, %why, "a request that failed is not repeated");
            }
            Self::AmplificationChanged { ratio } => {
                log!(DEBUG, ratio, "warm instances get another multiple of their load");
            }
        }
    }
}

/// Somebody who calls an instance that has said that it leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LateCaller {
    /// The id of its process, if it has the consumer's layers.
    pub id: Option<u64>,
    /// What it calls itself; may be empty.
    pub app: String,
    /// Where its connection comes from, if that is known.
    pub address: Option<IpAddr>,
    /// What it asked for, without the query, 200 characters at most.
    pub path: String,
    /// How often, since this was told last.
    pub requests: u64,
}

impl LateCaller {
    /// One with no request yet.
    #[cfg(feature = "serve")]
    pub(crate) fn new(id: Option<u64>, app: String, address: Option<IpAddr>, path: String) -> Self {
        Self { id, app, address, path, requests: 0 }
    }
}

/// A request that is under way for long.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LongRequest {
    /// Its method.
    pub method: String,
    /// What it asks for, without the query, 48 characters at most.
    pub path: String,
    /// How long it has waited.
    pub age: Duration,
}

impl LongRequest {
    /// One of that age.
    #[cfg(feature = "serve")]
    pub(crate) fn new(method: String, path: String, age: Duration) -> Self {
        Self { method, path, age }
    }
}

impl fmt::Display for LongRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} for {:.1} s", self.method, self.path, self.age.as_secs_f64())
    }
}

/// What a provider has come to on its way from start to stop. With each goes the moment.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum ProviderEvent<'a> {
    /// The registry has taken the registration, and its own list shows this process.
    #[non_exhaustive]
    Registered {
        /// As it is registered.
        instance: &'a Instance,
    },
    /// Requests are let through from here on.
    Serving,
    /// The clock of the warm-up runs.
    #[non_exhaustive]
    WarmUpStarted {
        /// What started it.
        cause: WarmUpClock,
        /// The path of the request that did, if one did.
        path: Option<&'a str>,
        /// How long it takes.
        window: Duration,
    },
    /// Another word counts from here on for something that can be set while an instance runs: that of an
    /// operator, or this process's own again.
    #[non_exhaustive]
    SettingChanged {
        /// Key of the metadata.
        key: &'static str,
        /// What this process has registered, if anything.
        own: Option<&'a str>,
        /// What counts.
        counts: Option<&'a str>,
        /// Who has said it: nothing when it is this process's own, or when the registry does not tell.
        source: Option<Source>,
    },
    /// This instance is warm.
    #[non_exhaustive]
    WarmUpFinished {
        /// How long it took.
        window: Duration,
    },
    /// Answers say that this instance leaves.
    #[non_exhaustive]
    Leaving {
        /// Why.
        cause: LeaveCause,
        /// Requests under way.
        in_flight: u64,
    },
    /// The registry has acknowledged that this instance is off its list.
    #[non_exhaustive]
    Deregistered {
        /// Who.
        instance: &'a Address,
    },
    /// The registry has not: consumers learn it from answers only, and the entry stays until its lease ends.
    #[non_exhaustive]
    NotDeregistered {
        /// Who.
        instance: &'a Address,
        /// What the registry says, or for how long it said nothing.
        why: fmt::Arguments<'a>,
    },
    /// A recent caller was sent a notice.
    #[non_exhaustive]
    Notified {
        /// Where it hears notices.
        caller: &'a Address,
        /// What came of it.
        result: NoticeResult,
    },
    /// Somebody has called since this instance has said that it leaves, and any fade is over: told once a second at
    /// most of the same caller and path.
    #[non_exhaustive]
    CalledLate {
        /// Who.
        caller: &'a LateCaller,
    },
    /// Readiness is answered with no, although requests are let through, until this instance is warm: so it is
    /// set.
    #[non_exhaustive]
    ReadinessWaits {
        /// How long the warm-up takes.
        window: Duration,
    },
    /// Requests are still under way a second and more after this instance has left: told at growing distances,
    /// and when they are cut.
    #[non_exhaustive]
    HeldUp {
        /// The oldest few of those that take long.
        requests: &'a [LongRequest],
        /// How many are under way in all.
        in_flight: u64,
    },
    /// Consumers have had their time to turn away, and the last request has ended, or time was up.
    #[non_exhaustive]
    Drained {
        /// How long that took, from [`Leaving`](Self::Leaving) on.
        after: Duration,
        /// Requests that were under way when time was up, and were cut.
        abandoned: u64,
    },
    /// All is over.
    #[non_exhaustive]
    Stopped {
        /// Connections that were cut, upgraded ones included.
        cut_connections: usize,
        /// Tasks, and things to be done last, that had not ended.
        cut_tasks: usize,
    },
}

impl ProviderEvent<'_> {
    pub(super) fn trace(&self, service: &ServiceKey) {
        macro_rules! log {
            ($level:ident, $($rest:tt)*) => {
                tracing::event!(target: "tower_graceful::provider", Level::$level, service.name = %service, $($rest)*)
            };
        }
        match *self {
            Self::Registered { instance } => log!(INFO, instance = %instance.address(), "registered"),
            Self::Serving => log!(INFO, "serving"),
            Self::WarmUpStarted { cause: WarmUpClock::FirstRequest, path, window } => {
                log!(INFO, ?window, path, "the first request came: warming up");
            }
            Self::WarmUpStarted { cause: WarmUpClock::Registration, window, .. } => {
                log!(INFO, ?window, "registered: warming up");
            }
            Self::SettingChanged { key, own, counts, .. } if own == counts => {
                log!(INFO, key, own, "this process's own setting counts again");
            }
            Self::SettingChanged { key, own, counts, source } => {
                let set_on = source.map(Source::as_str);
                log!(
                    INFO,
                    key,
                    own,
                    counts,
                    set_on,
                    "what operators have set counts more than this process's own setting"
                );
            }
            Self::WarmUpFinished { window } => log!(INFO, ?window, "warm"),
            Self::Leaving { cause, in_flight } => log!(INFO, %cause, in_flight, "leaving"),
            Self::Deregistered { instance } => log!(INFO, %instance, "deregistered"),
            Self::NotDeregistered { instance, why } => {
                log!(WARN, %instance, %why, "deregistration failed: only the answers tell it now");
            }
            Self::Notified { caller, result } => log!(DEBUG, %caller, %result, "a caller was sent a notice"),
            Self::ReadinessWaits { window } => log!(INFO, ?window, "readiness waits for the warm-up"),
            Self::HeldUp { requests, in_flight } => {
                let oldest: Vec<_> = requests.iter().map(ToString::to_string).collect();
                log!(INFO, ?oldest, in_flight, "requests hold up the end");
            }
            Self::CalledLate { caller } => {
                let LateCaller { id, app, address, path, requests } = caller;
                let id = id.map(|id| format!("{id:016x}"));
                log!(
                    DEBUG,
                    caller = id,
                    app,
                    ?address,
                    path,
                    requests,
                    "called after it has said that it leaves"
                );
            }
            Self::Drained { after, abandoned: 0 } => log!(INFO, ?after, "drained"),
            Self::Drained { after, abandoned } => log!(WARN, ?after, abandoned, "time is up: not drained"),
            Self::Stopped { cut_connections, cut_tasks } => {
                log!(DEBUG, cut_connections, cut_tasks, "stopped");
            }
        }
    }
}
