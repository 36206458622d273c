//! The instances of a service as one consumer has come to know them: how old each is, and in which order
//! they may be used.

use super::aside::{Aside, Tombstone};
use super::bound::{Bound, Bounded, Part};
use super::endpoint::{Endpoint, Fleet};
use super::fade::Fade;
use super::rules::{Rules, Subset};
use super::seat::Seats;
use super::since::{News, Since};
use super::table::{Slot, Table};
use crate::Clock;
use crate::consumer::pick::Weights;
use crate::model::{Instance, InstanceKey, UnixMillis, WarmUp, WarmUpAge, Weight};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What the next [`Table`] is made from.
pub(super) struct Roster<S> {
    /// Sorted by key, as snapshots are.
    members: Vec<Member<S>>,
    /// Of the list that they follow; nothing before the first.
    version: Option<u64>,
    subset: Subset,
    clock: Clock,
    make: Make<S>,
    gone: Gone,
    bound: Bound,
    /// The slots of the last table and the members they came from: used again while nobody comes or goes.
    slots: (Arc<[Slot<S>]>, Vec<usize>),
}

/// Makes the service of an instance.
pub(super) type Make<S> = Box<dyn Fn(&Instance) -> S + Send + Sync>;

struct Member<S> {
    listed: Instance,
    seats: Arc<Seats>,
    service: S,
    curve: Option<WarmUp>,
    /// When the ramp ends, once it has begun; an age beyond every clock has ended long ago.
    warm_at: Option<Instant>,
    life: Life,
}

/// What has begun for an instance, as far as the registry tells.
#[derive(Clone, Copy, Default)]
struct Life {
    warm_up: Option<Since>,
    leaving: Option<Fade>,
}

impl<S: Clone> Roster<S> {
    /// The weight of the steepest usual ramp moves by less than 2 % within this time.
    const TICK_MIN: Duration = Duration::from_millis(100);

    /// Renewing the table may cost a thousandth of the time.
    const TICK_PER_COST: u32 = 1000;

    pub(super) fn new(rules: Rules, make: Make<S>) -> Self {
        let Rules { max_amplification, subset, clock, policy: _ } = rules;
        let (bound, slots) = (Bound::new(max_amplification), (Arc::default(), Vec::new()));
        Self { members: Vec::new(), version: None, subset, clock, make, gone: Gone::default(), bound, slots }
    }

    /// The table of this moment.
    pub(super) fn renew(&mut self, fleet: &Arc<Fleet>) -> Table<S> {
        let (revision, version, now) = (fleet.revision(), fleet.snapshots().version(), Instant::now());
        if version > 0 && self.version != Some(version) {
            let (snapshot, published) = fleet.snapshots().latest_at();
            let news = News { first: self.version.is_none(), published, now };
            self.follow(snapshot.instances(), Heard { news, wall: self.clock.now(), fleet });
            let listed = snapshot.instances().iter();
            fleet.aside().keep_listed(listed.map(|instance| (instance.address(), instance.epoch())));
            self.version = Some(version);
        }
        let tick = || Self::TICK_MIN.max(now.elapsed() * Self::TICK_PER_COST);
        self.table(revision, &fleet.aside(), now, tick)
    }

    /// Brings the members in line with `list`, which is sorted by key. Whoever stays keeps age, service and
    /// calls in flight; another epoch at the same address is a newcomer.
    fn follow(&mut self, list: &[Instance], heard: Heard<'_>) {
        let now = heard.news.now;
        let mut before = std::mem::take(&mut self.members).into_iter().peekable();
        for listed in list.iter().filter(|listed| self.subset.has(listed)) {
            while let Some(gone) = before.next_if(|member| member.listed.key < listed.key) {
                self.gone.remember(gone, now);
            }
            let member = match before.next_if(|member| member.listed.key == listed.key) {
                Some(member) if member.listed == *listed => member,
                Some(member) if member.seats.endpoint().epoch() == listed.epoch() => {
                    member.renewed(listed, heard)
                }
                replaced => {
                    if let Some(replaced) = replaced {
                        self.gone.remember(replaced, now);
                    }
                    let (seats, life) = self.gone.recall(listed).unwrap_or_else(|| {
                        tracing::info!(instance = %listed.address(), "instance joins");
                        let endpoint = Endpoint::new(listed.clone(), heard.fleet.clone());
                        (Seats::new(endpoint), Life::default())
                    });
                    let service = (self.make)(listed);
                    let member =
                        Member { listed: listed.clone(), seats, service, curve: None, warm_at: None, life };
                    member.renewed(listed, heard)
                }
            };
            self.members.push(member);
        }
        before.for_each(|member| self.gone.remember(member, now));
        self.slots = (Arc::default(), Vec::new());
    }

    /// The members and their weights at `now`; while someone ramps or fades they change after `tick`, asked
    /// at the end.
    fn table(&mut self, revision: u64, aside: &Aside, now: Instant, tick: impl Fn() -> Duration) -> Table<S> {
        let Standings { ranked, live, ends, returns } = self.standings(aside, now);
        let (mut parts, mut window, mut warm) = (Vec::with_capacity(live), Duration::ZERO, None);
        for standing in &ranked[..live] {
            let member = &self.members[standing.index];
            parts.push(member.part(standing.presence, now));
            window = window.max(member.curve.map_or(Duration::ZERO, |curve| curve.window()));
            warm = sooner(warm, member.warm_at.filter(|&warm| warm > now));
        }
        let Bounded { weights, eases } = self.bound.apply(&parts, window, now);

        let (slots, order) = &mut self.slots;
        if !ranked.iter().map(|it| it.index).eq(order.iter().copied()) {
            order.clear();
            order.extend(ranked.iter().map(|it| it.index));
            *slots = order.iter().map(|&index| self.members[index].slot()).collect();
        }
        let weights = Weights::new(&weights);
        let moving = sooner(warm, ends).map(|end| end.min(now + tick()));
        let next_change = sooner(moving, sooner(returns, eases));
        Table { slots: slots.clone(), weights, revision, next_change }
    }

    /// Who may be used, at `now`.
    fn standings(&self, aside: &Aside, now: Instant) -> Standings {
        let mut all =
            Standings { ranked: Vec::with_capacity(self.members.len()), live: 0, ends: None, returns: None };
        let judged = !aside.is_empty(); // Hardly ever, and whoever looks at an endpoint waits for memory.
        for (index, member) in self.members.iter().enumerate() {
            if !member.listed.enabled || member.listed.weight == Weight::NONE {
                continue;
            }
            let tombstone = if judged { member.held_against(aside, now) } else { None };
            let fade = match (tombstone.map(|tombstone| tombstone.fade), member.life.leaving) {
                (Some(said), Some(listed)) => Some(said.sooner(listed)),
                (said, listed) => said.or(listed),
            };
            let presence = fade.map_or(1.0, |fade| fade.factor(now));
            let out = presence == 0.0;
            let rank = Rank::of(member.listed.healthy, out);
            // The last ones standing do not fade: of several, each takes its part.
            all.ranked.push(Standing { rank, index, presence: if out { 1.0 } else { presence } });
            all.ends = sooner(all.ends, fade.filter(|_| !out).map(Fade::end));
            all.returns = sooner(all.returns, tombstone.map(|tombstone| tombstone.until));
        }
        all.ranked.sort_unstable_by_key(|it| (it.rank, it.index));
        all.live = all.ranked.partition_point(|it| it.rank == all.ranked[0].rank);
        all
    }
}

/// Whichever comes first.
fn sooner(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// A list as it was heard.
#[derive(Clone, Copy)]
struct Heard<'a> {
    news: News,
    wall: UnixMillis,
    fleet: &'a Arc<Fleet>,
}

/// Who may be used, best first.
struct Standings {
    ranked: Vec<Standing>,
    /// How many of them are used while all is well.
    live: usize,
    /// When the first fade ends.
    ends: Option<Instant>,
    /// When the first of those put aside is forgiven.
    returns: Option<Instant>,
}

struct Standing {
    rank: Rank,
    index: usize,
    /// The part of its weight that it has not faded.
    presence: f64,
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
    fn renewed(mut self, listed: &Instance, heard: Heard<'_>) -> Self {
        let warm_up = listed.warm_up(heard.wall);
        self.curve = warm_up.map(|(curve, _)| curve);
        self.life.warm_up = self.life.warm_up.or_else(|| match warm_up?.1 {
            WarmUpAge::NotStarted => None,
            WarmUpAge::Running(told) => Some(Since::heard(told, heard.news)),
        });
        self.warm_at = self.life.warm_up.zip(self.curve).and_then(|(begun, it)| begun.at_age(it.window()));
        let known = self.life.leaving.map(Fade::since);
        self.life.leaving = listed.leaving().map(|leaving| {
            let told = heard.wall.since(leaving.since);
            Fade::new(known.unwrap_or_else(|| Since::heard(told, heard.news)), leaving.fade)
        });
        self.listed = listed.clone();
        self
    }

    fn held_against(&self, aside: &Aside, now: Instant) -> Option<Tombstone> {
        aside.against(self.listed.address(), self.seats.endpoint().epoch(), now)
    }

    fn slot(&self) -> Slot<S> {
        Slot { seats: self.seats.clone(), service: self.service.clone() }
    }

    fn part(&self, presence: f64, now: Instant) -> Part {
        let age = self.life.warm_up.map_or(WarmUpAge::NotStarted, |begun| WarmUpAge::Running(begun.age(now)));
        let factor = self.curve.map_or(1.0, |curve| curve.factor(age));
        Part { full: self.listed.weight.as_f64() * presence, factor }
    }
}

/// Those who went, so that one who returns after a flap of the list keeps its age and its calls in flight.
#[derive(Default)]
struct Gone(HashMap<(InstanceKey, Option<UnixMillis>), Memory>);

struct Memory {
    seats: Arc<Seats>,
    life: Life,
    since: Instant,
}

impl Gone {
    /// A flap takes a whole fleet and gives it back; what was replaced long before is not missed.
    const MAX: usize = 1024;

    fn remember<S>(&mut self, member: Member<S>, now: Instant) {
        tracing::info!(instance = %member.listed.address(), "instance goes");
        let Member { listed, seats, life, .. } = member;
        if self.0.len() == Self::MAX {
            let longest = self.0.iter().min_by_key(|(_, memory)| memory.since).map(|(who, _)| who.clone());
            longest.and_then(|longest| self.0.remove(&longest));
        }
        let epoch = seats.endpoint().epoch();
        self.0.insert((listed.key, epoch), Memory { seats, life, since: now });
    }

    fn recall(&mut self, listed: &Instance) -> Option<(Arc<Seats>, Life)> {
        if self.0.is_empty() {
            return None;
        }
        let memory = self.0.remove(&(listed.key.clone(), listed.epoch()))?;
        Some((memory.seats, memory.life))
    }
}
