//! The instances of a service as one consumer has come to know them: how old each is, and in which order
//! they may be used. Moments come in as arguments.

use super::aside::Aside;
use super::endpoint::{Endpoint, Fleet};
use super::table::{Slot, Table};
use crate::consumer::pick::Weights;
use crate::model::{Instance, InstanceKey, Snapshot, UnixMillis, WarmUp, WarmUpAge, Weight};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What the next [`Table`] is made from.
pub(super) struct Roster<S> {
    /// Sorted by key, as snapshots are.
    members: Vec<Member<S>>,
    gone: Gone,
    /// The slots of the last table and the members they came from: used again while nobody comes or goes.
    slots: (Arc<[Slot<S>]>, Vec<usize>),
}

struct Member<S> {
    listed: Instance,
    endpoint: Arc<Endpoint>,
    service: S,
    curve: Option<WarmUp>,
    started: Option<Started>,
}

/// The beginning of a warm-up, on our own clock.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Started {
    seen: Instant,
    /// Age at that moment.
    ahead: Duration,
}

/// A list, and the moments that belong to it.
pub(super) struct News<'a> {
    pub(super) snapshot: &'a Snapshot,
    /// Whether nothing was known before.
    pub(super) first: bool,
    pub(super) published: Instant,
    pub(super) now: Instant,
    pub(super) wall: UnixMillis,
}

impl<S: Clone> Roster<S> {
    pub(super) fn new() -> Self {
        Self { members: Vec::new(), gone: Gone::default(), slots: (Arc::default(), Vec::new()) }
    }

    /// Brings the members in line with a list. Whoever stays keeps age, service and calls in flight; another
    /// epoch at the same address is a newcomer.
    pub(super) fn follow(&mut self, news: &News<'_>, fleet: &Arc<Fleet>, make: &dyn Fn(&Instance) -> S) {
        let mut before = std::mem::take(&mut self.members).into_iter().peekable();
        for listed in news.snapshot.instances() {
            while let Some(gone) = before.next_if(|member| member.listed.key < listed.key) {
                self.gone.remember(gone, news.now);
            }
            let member = match before.next_if(|member| member.listed.key == listed.key) {
                Some(member) if member.listed == *listed => member,
                Some(member) if member.endpoint.epoch() == listed.epoch() => member.renewed(listed, news),
                replaced => {
                    if let Some(replaced) = replaced {
                        self.gone.remember(replaced, news.now);
                    }
                    let (endpoint, started) = self.gone.recall(listed).unwrap_or_else(|| {
                        tracing::info!(instance = %listed.address(), "instance joins");
                        (Endpoint::new(listed.clone(), fleet.clone()), None)
                    });
                    let service = make(listed);
                    let member = Member { listed: listed.clone(), endpoint, service, curve: None, started };
                    member.renewed(listed, news)
                }
            };
            self.members.push(member);
        }
        before.for_each(|member| self.gone.remember(member, news.now));
        self.slots = (Arc::default(), Vec::new());
    }

    /// Everyone on the list, for whoever must know who is not.
    pub(super) fn listed(&self) -> impl Iterator<Item = (&crate::model::Address, Option<UnixMillis>)> {
        self.members.iter().map(|member| (member.listed.address(), member.endpoint.epoch()))
    }

    /// The members and their weights at `now`; while someone ramps they change after `tick`, asked at the end.
    pub(super) fn table(&mut self, aside: &Aside, now: Instant, tick: impl Fn() -> Duration) -> Table<S> {
        let (order, live, returns) = self.standing(aside, now);
        if self.slots.1 != order {
            let slots = order.iter().map(|&index| self.members[index].slot()).collect();
            self.slots = (slots, order);
        }
        let chosen = || self.slots.1[..live].iter().map(|&index| &self.members[index]);
        let weights: Vec<f64> = chosen().map(|member| member.weight(now)).collect();
        let weights = Weights::new(&weights);
        let warm = chosen().filter_map(Member::warm_at).filter(|&warm| warm > now).min();
        let next_change = warm.map(|warm| warm.min(now + tick())).into_iter().chain(returns).min();
        Table { slots: self.slots.0.clone(), weights, next_change }
    }

    /// Who may be used: the indices of the members, best first; how many of them are used while all is
    /// well; and when the first of those put aside returns.
    fn standing(&self, aside: &Aside, now: Instant) -> (Vec<usize>, usize, Option<Instant>) {
        let mut returns: Option<Instant> = None;
        let mut ranked: Vec<(Rank, usize)> = Vec::with_capacity(self.members.len());
        for (index, member) in self.members.iter().enumerate() {
            if !member.listed.enabled || member.listed.weight == Weight::NONE {
                continue;
            }
            let until = aside.until(member.listed.address(), member.endpoint.epoch(), now);
            returns = returns.into_iter().chain(until).min();
            ranked.push((Rank::of(member.listed.healthy, until.is_some()), index));
        }
        ranked.sort_unstable();
        let live = ranked.iter().take_while(|(rank, _)| *rank == ranked[0].0).count();
        (ranked.into_iter().map(|(_, index)| index).collect(), live, returns)
    }
}

/// Only the best rank that anyone holds takes traffic; the others are a reserve for retries. Someone who
/// leaves still answers for a while; someone unhealthy has most likely stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Good,
    Aside,
    Unhealthy,
    UnhealthyAside,
}

impl Rank {
    const fn of(healthy: bool, aside: bool) -> Self {
        match (healthy, aside) {
            (true, false) => Self::Good,
            (true, true) => Self::Aside,
            (false, false) => Self::Unhealthy,
            (false, true) => Self::UnhealthyAside,
        }
    }
}

impl<S: Clone> Member<S> {
    fn renewed(mut self, listed: &Instance, news: &News<'_>) -> Self {
        let warm_up = listed.warm_up(news.wall);
        self.curve = warm_up.map(|(curve, _)| curve);
        self.started = self.started.or_else(|| Started::heard(warm_up?.1, news));
        self.listed = listed.clone();
        self
    }

    fn slot(&self) -> Slot<S> {
        Slot { endpoint: self.endpoint.clone(), service: self.service.clone() }
    }

    fn weight(&self, now: Instant) -> f64 {
        let age = self.started.map_or(WarmUpAge::NotStarted, |started| WarmUpAge::Running(started.age(now)));
        self.listed.weight.as_f64() * self.curve.map_or(1.0, |curve| curve.factor(age))
    }

    /// When the ramp ends, once it has begun; an age beyond every clock has ended long ago.
    fn warm_at(&self) -> Option<Instant> {
        let started = self.started?;
        started.seen.checked_add(self.curve?.window().saturating_sub(started.ahead))
    }
}

impl Started {
    /// What was seen to appear is as old as the news of it, whatever the clocks say. Only of what stood in
    /// the first list already the age is told by wall clocks; one that runs ahead of ours makes it 0, from
    /// where it grows as time passes.
    fn heard(age: WarmUpAge, news: &News<'_>) -> Option<Self> {
        match age {
            WarmUpAge::NotStarted => None,
            WarmUpAge::Running(ahead) if news.first => Some(Self { seen: news.now, ahead }),
            WarmUpAge::Running(_) => Some(Self { seen: news.published, ahead: Duration::ZERO }),
        }
    }

    fn age(self, now: Instant) -> Duration {
        self.ahead.saturating_add(now.saturating_duration_since(self.seen))
    }
}

/// Those who went, so that one who returns after a flap of the list keeps its age and its calls in flight.
#[derive(Default)]
struct Gone(HashMap<(InstanceKey, Option<UnixMillis>), Memory>);

struct Memory {
    endpoint: Arc<Endpoint>,
    started: Option<Started>,
    since: Instant,
}

impl Gone {
    /// A flap takes a whole fleet and gives it back; what was replaced long before is not missed.
    const MAX: usize = 1024;

    fn remember<S>(&mut self, member: Member<S>, now: Instant) {
        tracing::info!(instance = %member.listed.address(), "instance goes");
        let Member { listed, endpoint, started, .. } = member;
        if self.0.len() == Self::MAX {
            let longest = self.0.iter().min_by_key(|(_, memory)| memory.since).map(|(who, _)| who.clone());
            longest.and_then(|longest| self.0.remove(&longest));
        }
        self.0.insert((listed.key, endpoint.epoch()), Memory { endpoint, started, since: now });
    }

    fn recall(&mut self, listed: &Instance) -> Option<(Arc<Endpoint>, Option<Started>)> {
        if self.0.is_empty() {
            return None;
        }
        let memory = self.0.remove(&(listed.key.clone(), listed.epoch()))?;
        Some((memory.endpoint, memory.started))
    }
}
