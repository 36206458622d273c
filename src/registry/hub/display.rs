//! What the console shows of services, beyond what explains them: how each stands, and its instances in four
//! columns that do not depend on each other.

use super::explain::{Explained, Source};
use super::reports::VerdictLine;
use super::{Hub, State};
use crate::model::{
    Instance, InstanceKey, Namespace, Reason, ServiceKey, UnixMillis, WarmUp, WarmUpAge, Weight,
};
use crate::protocol::report::ReportedSecond;
use crate::registry::catalog::Tally;
use crate::registry::error::Refusal;
use crate::registry::events::{Recorded, Role, What};
use crate::registry::query::{Page, Search};
use crate::registry::traffic::{KEPT_SECONDS, Series};
use crate::registry::verdict::Left;
use serde::Serialize;
use std::cmp::Reverse;
use std::time::Duration;

/// Over how many seconds a rate is taken.
const RATE_OVER: u64 = 10;
/// How long an instance that has gone is shown with its service: a release, and the minutes after it.
const GONE_SHOWN_FOR: Duration = Duration::from_secs(15 * 60);
/// Instances that have gone and are shown with their service.
const GONE_SHOWN_MAX: usize = 50;
/// How long an instance that has registered may take to say that it is ready; after that it counts as serving.
const STARTING_MAX: Duration = Duration::from_secs(5 * 60);

/// One page of the services of a namespace, those with problems first.
#[derive(Debug, Serialize)]
pub(crate) struct Overview {
    /// Services that were looked for.
    pub(crate) count: usize,
    /// Those of them that have a problem.
    pub(crate) problems: usize,
    pub(crate) services: Vec<ServiceStanding>,
}

/// How a service stands.
#[derive(Debug, Serialize)]
pub(crate) struct ServiceStanding {
    pub(crate) group: String,
    pub(crate) name: String,
    pub(crate) revision: u64,
    #[serde(flatten)]
    pub(crate) tally: Tally,
    pub(crate) subscribers: usize,
    /// Requests a second over the last ten, as far as its instances report them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<Problem>,
}

/// What somebody should look at; the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Problem {
    /// There are instances, and none takes traffic.
    NobodyServes,
    /// Somebody follows a service that has no instances.
    NobodyThere,
    /// Some instances are unhealthy.
    Unhealthy,
    /// Somebody who follows it has been sent the present list, and has not acknowledged it in time.
    Behind,
}

impl Problem {
    fn of(tally: Tally, subscribers: usize, behind: impl FnOnce() -> bool) -> Option<Self> {
        match tally {
            Tally { instances: 0, .. } => (subscribers > 0).then_some(Self::NobodyThere),
            Tally { serving: 0, .. } => Some(Self::NobodyServes),
            Tally { unhealthy: 0, .. } => behind().then_some(Self::Behind),
            Tally { .. } => Some(Self::Unhealthy),
        }
    }

    /// As a person reads it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::NobodyServes => "no instance takes traffic",
            Self::NobodyThere => "followed, but has no instances",
            Self::Unhealthy => "some instances are unhealthy",
            Self::Behind => "some subscribers do not acknowledge its list",
        }
    }
}

/// A service with one page of its instances.
#[derive(Debug, Serialize)]
pub(crate) struct ServiceDisplay {
    pub(crate) revision: u64,
    /// Whether its instances stay until somebody takes them off.
    pub(crate) persistent: bool,
    pub(crate) protect_threshold: f64,
    pub(crate) metadata: Vec<(String, String)>,
    #[serde(flatten)]
    pub(crate) tally: Tally,
    pub(crate) shown: Vec<InstanceStanding>,
    /// Who has gone lately, the last one first.
    pub(crate) gone: Vec<GoneLine>,
}

/// An instance in four columns.
#[derive(Debug, Serialize)]
pub(crate) struct InstanceStanding {
    /// Who keeps it alive, and what it is meant to take.
    #[serde(flatten)]
    pub(crate) explained: Explained,
    /// What operators have set on it, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) set: Option<SetLine>,
    pub(crate) phase: PhaseLine,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) traffic: Option<TrafficNow>,
    /// How many of those who follow the service are known not to have it any more, of one that is disabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dropped: Option<Dropped>,
    /// How it goes out of use, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) verdict: Option<VerdictLine>,
}

/// What operators have set on an instance.
#[derive(Debug, Serialize)]
pub(crate) struct SetLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) weight: Option<f64>,
    /// Keys of metadata.
    pub(crate) keys: Vec<String>,
    /// When it was set last, and by whom, as long as the event is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<Source>,
}

/// Where an instance is in its life.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct PhaseLine {
    /// `starting`, `cold`, `warming`, `serving`, `leaving`, or `untold` of one without our layers.
    pub(crate) word: &'static str,
    /// Of its full weight, while it warms up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) percent: Option<u8>,
    /// Since when, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<u64>,
}

/// What an instance has reported last.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct TrafficNow {
    pub(crate) rate: f64,
    pub(crate) in_flight: u64,
    /// In seconds since 1970.
    pub(crate) reported: u64,
}

/// An instance that is not listed any more.
#[derive(Debug, Serialize)]
pub(crate) struct GoneLine {
    pub(crate) ip: String,
    pub(crate) port: u16,
    pub(crate) cluster: String,
    pub(crate) at: u64,
    pub(crate) reason: &'static str,
    /// How many of those who follow the service are known not to have it any more.
    pub(crate) dropped: Dropped,
    /// How it went out of use.
    pub(crate) verdict: VerdictLine,
}

/// How many of those who follow a service are known to have a list without an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Dropped {
    pub(crate) by: usize,
    pub(crate) of: usize,
}

impl std::fmt::Display for Dropped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self { of: 0, .. } => f.write_str("nobody follows the service"),
            Self { by, of: 1 } => write!(f, "{by} of 1 subscriber has dropped it"),
            Self { by, of } => write!(f, "{by} of {of} subscribers have dropped it"),
        }
    }
}

impl Hub {
    /// The services of a namespace that are looked for, those with problems first.
    pub(crate) fn overview(&self, namespace: &Namespace, search: &Search, page: Page) -> Overview {
        let (mut state, now) = (self.state(), self.now());
        let all = state.catalog.of_namespace(namespace);
        let found: Vec<ServiceKey> = all.filter(|key| search.finds(key, state.catalog.keys(key))).collect();
        let mut ranked: Vec<_> = found.into_iter().map(|key| (state.problem(&key), key)).collect();
        ranked.sort_by_key(|(problem, _)| (problem.is_none(), *problem)); // Stable: by name among equals.
        let problems = ranked.iter().take_while(|(problem, _)| problem.is_some()).count();
        let shown = page.of(ranked.iter()).into_iter();
        let services = shown.map(|(problem, key)| state.standing(key, *problem, now)).collect();
        Overview { count: ranked.len(), problems, services }
    }

    /// A service with one page of its instances.
    ///
    /// # Errors
    /// When nobody publishes there, nothing is said of it, and nobody has left it lately.
    pub(crate) fn service_display(
        &self,
        service: &ServiceKey,
        page: Page,
    ) -> Result<ServiceDisplay, Refusal> {
        let (mut state, now) = (self.state(), self.now());
        let gone = state.gone(service, now);
        let described = state.described(service);
        if described.is_none() && gone.is_empty() {
            return Err(Refusal::NoService(service.clone()));
        }
        let (tally, list) = (state.catalog.tally(service), state.catalog.snapshot(service));
        let shown = page.of(list.instances().iter()).into_iter();
        let record = described.map(|described| (described.kind, described.record));
        let metadata = record.iter().flat_map(|(_, record)| record.metadata.iter());
        Ok(ServiceDisplay {
            revision: list.revision(),
            persistent: record
                .as_ref()
                .is_some_and(|(kind, _)| *kind == crate::registry::fact::Kind::Persistent),
            protect_threshold: record.as_ref().map_or(0.0, |(_, record)| record.protect_threshold),
            metadata: metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            tally,
            shown: shown.map(|instance| state.instance_standing(service, instance, now)).collect(),
            gone,
        })
    }

    /// One instance, if it is listed.
    pub(crate) fn instance_display(
        &self,
        service: &ServiceKey,
        key: &InstanceKey,
    ) -> Option<InstanceStanding> {
        let (mut state, now) = (self.state(), self.now());
        let list = state.catalog.snapshot(service);
        list.get(key).map(|instance| state.instance_standing(service, instance, now))
    }

    /// How many instances have reported traffic lately, and the most telling of them: those that came or left, then
    /// the busiest; as many as `max`, in the order in which they came.
    pub(crate) fn telling(&self, service: &ServiceKey, max: usize) -> (usize, Vec<InstanceKey>) {
        let (state, now) = (self.state(), self.now());
        let first = (now.as_u64() / 1000).saturating_sub(KEPT_SECONDS);
        let lately = |series: &&Series| series.reported >= first;
        let mut ranked: Vec<_> = state
            .traffic
            .of(service)
            .filter(|(_, series)| lately(series))
            .map(|(key, series)| {
                let came = series.member.map_or(0, |member| member.from().as_u64());
                let changed = came > first * 1000 || state.left(service, key).is_some();
                let started: u64 = series.since(first).map(ReportedSecond::started).sum();
                (Reverse(changed), Reverse(started), came, key)
            })
            .collect();
        ranked.sort_unstable();
        let count = ranked.len();
        ranked.truncate(max);
        ranked.sort_unstable_by_key(|(_, _, came, key)| (*came, *key));
        (count, ranked.into_iter().map(|(.., key)| key.clone()).collect())
    }
}

impl State {
    fn problem(&mut self, service: &ServiceKey) -> Option<Problem> {
        let (tally, followers) = (self.catalog.tally(service), self.followers.get(service));
        let behind = || {
            let mut followers = followers.into_iter().flat_map(std::collections::HashMap::values);
            followers.any(|follower| follower.pushes().is_behind(service))
        };
        Problem::of(tally, followers.map_or(0, std::collections::HashMap::len), behind)
    }

    fn followers_len(&self, service: &ServiceKey) -> usize {
        self.followers.get(service).map_or(0, std::collections::HashMap::len)
    }

    fn standing(
        &mut self,
        service: &ServiceKey,
        problem: Option<Problem>,
        now: UnixMillis,
    ) -> ServiceStanding {
        let rates = self.traffic.of(service).map(|(_, series)| series.rate(now.as_u64() / 1000, RATE_OVER));
        ServiceStanding {
            rate: rates.reduce(|all, one| all + one),
            group: service.group.to_string(),
            name: service.name.to_string(),
            revision: self.catalog.revision(service),
            tally: self.catalog.tally(service),
            subscribers: self.followers_len(service),
            problem,
        }
    }

    fn instance_standing(
        &self,
        service: &ServiceKey,
        instance: &Instance,
        now: UnixMillis,
    ) -> InstanceStanding {
        let key = &instance.key;
        let traffic = self.traffic.of_instance(service, key).map(|series| TrafficNow {
            rate: series.rate(now.as_u64() / 1000, RATE_OVER),
            in_flight: series.in_flight,
            reported: series.reported,
        });
        let events = || self.events.of_instance(service, key).map(|(_, event)| event);
        let set = self.ledger.overrides(service, key).map(|overrides| {
            let last = events().rfind(|event| matches!(event.what, What::Set(_) | What::Disabled));
            SetLine {
                enabled: overrides.enabled,
                weight: overrides.weight.map(Weight::as_f64),
                keys: overrides.metadata.iter().map(|(key, _)| key.to_owned()).collect(),
                at: last.map(|event| event.at.as_u64()),
                by: last.map(|event| Source::new(&event.by)),
            }
        });
        let phase = PhaseLine::of(instance, events(), now);
        let verdict = self.left(service, key).map(|left| self.verdict(service, key, Some(left), now));
        let off = || events().rfind(|event| matches!(event.what, What::Disabled));
        let dropped = (!instance.enabled).then(off).flatten().map(|event| self.dropped(service, event.list));
        let explained = self.explain(service, instance, now);
        InstanceStanding { explained, set, phase, traffic, dropped, verdict }
    }

    /// Who of those who follow a service is known to have the list at `revision` or a later one.
    fn dropped(&self, service: &ServiceKey, revision: u64) -> Dropped {
        let followers = self.followers.get(service).into_iter().flat_map(std::collections::HashMap::values);
        let connected = followers.filter_map(|follower| follower.pushes().acknowledged(service));
        let ears = self.audience.ears();
        let listening = ears.of(service).map(|(_, _, acknowledged, _)| acknowledged);
        let (mut by, mut of) = (0, 0);
        for acknowledged in connected.chain(listening) {
            of += 1;
            by += usize::from(acknowledged >= revision);
        }
        Dropped { by, of }
    }

    fn verdict(
        &self,
        service: &ServiceKey,
        key: &InstanceKey,
        left: Option<Left>,
        now: UnixMillis,
    ) -> VerdictLine {
        let silent = Series::default();
        let series = self.traffic.of_instance(service, key).unwrap_or(&silent);
        VerdictLine::new(&series.verdict(left, now))
    }

    /// Who has gone from a service lately, the last one first.
    fn gone(&mut self, service: &ServiceKey, now: UnixMillis) -> Vec<GoneLine> {
        let list = self.catalog.snapshot(service);
        let gone = self
            .events
            .ends(service)
            .filter(|(key, event)| list.get(key).is_none() && now.since(event.at) < GONE_SHOWN_FOR);
        let mut gone: Vec<_> = gone.collect();
        gone.sort_by_key(|(key, event)| (Reverse(event.at), *key));
        gone.truncate(GONE_SHOWN_MAX);
        let line = |(key, event): (&InstanceKey, &Recorded)| GoneLine {
            ip: key.address.host().to_owned(),
            port: key.address.port(),
            cluster: key.cluster.to_string(),
            at: event.at.as_u64(),
            reason: if let What::Went(reason) = event.what {
                reason.as_str()
            } else {
                Reason::Deregistered.as_str()
            },
            dropped: self.dropped(service, event.list),
            verdict: self.verdict(service, key, self.left(service, key), now),
        };
        gone.into_iter().map(line).collect()
    }
}

impl PhaseLine {
    /// By what an instance has registered, and what its process has told since it came.
    fn of<'a>(
        instance: &Instance,
        events: impl DoubleEndedIterator<Item = &'a Recorded>,
        now: UnixMillis,
    ) -> Self {
        let told = |word, percent, since: Option<UnixMillis>| Self {
            word,
            percent,
            since: since.map(UnixMillis::as_u64),
        };
        let provider = |event: &'a Recorded| {
            let What::Told(told) = &event.what else { return None };
            (told.role == Some(Role::Provider)).then_some((told.event.as_str(), event.at))
        };
        let mut newest_first = events.rev().filter_map(provider);
        let step = newest_first.find(|(word, _)| ["registered", "ready", "leaving"].contains(word));
        if let Some(leaving) = instance.leaving() {
            return told("leaving", None, Some(leaving.since));
        }
        match (instance.warm_up(now), step) {
            (_, Some(("leaving", at))) => told("leaving", None, Some(at)),
            (_, Some(("registered", at))) if now.since(at) < STARTING_MAX => told("starting", None, Some(at)),
            (Some((curve, age)), _) => Self::on_the_curve(&curve, age, now),
            (None, Some((_, at))) => told("serving", None, Some(at)),
            (None, None) if instance.is_governed() => told("serving", None, None),
            (None, None) => told("untold", None, None),
        }
    }

    fn on_the_curve(curve: &WarmUp, age: WarmUpAge, now: UnixMillis) -> Self {
        let factor = curve.factor(age);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a factor lies between 0 and 1"
        )]
        let percent = (factor * 100.0).floor() as u8;
        match age {
            _ if factor >= 1.0 => Self { word: "serving", percent: None, since: None },
            WarmUpAge::NotStarted => Self { word: "cold", percent: Some(percent), since: None },
            WarmUpAge::Running(age) => {
                let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
                Self {
                    word: "warming",
                    percent: Some(percent),
                    since: Some(now.as_u64().saturating_sub(age_ms)),
                }
            }
        }
    }
}
