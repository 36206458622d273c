//! The instances of a service as one consumer has come to know them, and in which order they may be used.

use super::aside::Aside;
use super::bound::{Bound, Bounded, Part};
use super::endpoint::{Endpoint, Fleet};
use super::fade::Fade;
use super::gone::Gone;
use super::health::Failing;
use super::known::{Known, Leaving, Warming};
use super::member::{Heard, Life, Member};
use super::rules::{Rules, Subset};
use super::seat::Seats;
use super::since::News;
use super::table::{Slot, Table, Trials};
use crate::Clock;
use crate::consumer::pick::Weights;
use crate::model::Instance;
use crate::observe::{ConsumerEvent, State};
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
    pub(super) gone: Gone,
    bound: Bound,
    /// Whether all whom the last table used were failing.
    outage: bool,
    /// The revision of the last table, and whether anyone in it was failing.
    revision: u64,
    failing: bool,
    /// Whether anyone is told of the picks.
    observed: bool,
    /// What was told of last: nobody wants to hear of each tick.
    amplification: f64,
    /// The slots of the last table and the members they came from: used again while nobody comes or goes.
    slots: (Arc<[Slot<S>]>, Vec<usize>),
}

/// Makes the service of an instance.
pub(super) type Make<S> = Box<dyn Fn(&Instance) -> S + Send + Sync>;

impl<S: Clone> Roster<S> {
    /// The weight of the steepest usual ramp moves by less than 2 % within this time.
    const TICK_MIN: Duration = Duration::from_millis(100);

    /// A tenth of the load before is more than chance moves it.
    const AMPLIFICATION_STEP: f64 = 0.1;

    /// Renewing the table may cost a thousandth of the time.
    const TICK_PER_COST: u32 = 1000;

    /// However long a renewal took, which may only have waited for a processor: the steepest usual ramp moves
    /// by less than 2 % of the full weight within this time.
    const TICK_MAX: Duration = Duration::from_secs(1);

    pub(super) fn new(rules: Rules, make: Make<S>) -> Self {
        let Rules { max_amplification, subset, clock, policy: _, observers } = rules;
        let (bound, slots) = (Bound::new(max_amplification), (Arc::default(), Vec::new()));
        Self {
            members: Vec::new(),
            version: None,
            subset,
            clock,
            make,
            gone: Gone::default(),
            bound,
            outage: false,
            revision: 0,
            failing: false,
            observed: !observers.is_empty(),
            amplification: 1.0,
            slots,
        }
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
            let (revision, instances) = (snapshot.revision(), snapshot.instances().len());
            fleet.tell(&ConsumerEvent::ListApplied { revision, instances });
        }
        // Counted from here: to follow a list costs once what a tick does not.
        let aside = fleet.aside();
        let begun = Instant::now();
        let table = self.table(revision, &aside, now, || Self::tick(begun.elapsed()));
        drop(aside); // Whoever observes may ask for a view.
        self.tell_amplification(table.amplification, fleet);
        table
    }

    /// How long a table is good for that cost so much to make, while weights change.
    pub(super) fn tick(cost: Duration) -> Duration {
        cost.saturating_mul(Self::TICK_PER_COST).clamp(Self::TICK_MIN, Self::TICK_MAX)
    }

    /// Tells how much more a warm instance gets, when that has changed by as much as matters.
    fn tell_amplification(&mut self, ratio: f64, fleet: &Fleet) {
        let back_to_normal = ratio == 1.0 && self.amplification != 1.0;
        if back_to_normal || (ratio - self.amplification).abs() >= Self::AMPLIFICATION_STEP {
            self.amplification = ratio;
            fleet.tell(&ConsumerEvent::AmplificationChanged { ratio });
        }
    }

    /// Whether an instance counts at all for this balancer.
    pub(super) fn has(&self, instance: &Instance) -> bool {
        self.subset.has(instance)
    }

    /// Brings the members in line with `list`, which is sorted by key. Whoever stays keeps age, service and
    /// calls in flight; another epoch at the same address is a newcomer.
    fn follow(&mut self, list: &[Instance], heard: Heard<'_>) {
        let now = heard.news.now;
        let entries = self.compare(list);
        self.gone.make_room(self.members.len());
        let mut before = std::mem::take(&mut self.members).into_iter().peekable();
        for (listed, entry) in entries {
            while let Some(gone) = before.next_if(|member| member.listed.key < listed.key) {
                self.gone.remember(gone, heard.fleet);
            }
            let member = match (before.next_if(|member| member.listed.key == listed.key), entry) {
                (Some(member), Entry::Same) => member,
                (Some(member), Entry::Renewed) => member.renewed(listed, heard),
                (replaced, Entry::New(service)) => {
                    if let Some(replaced) = replaced {
                        self.gone.remember(replaced, heard.fleet);
                    }
                    heard.fleet.tell(&ConsumerEvent::Joined { instance: listed });
                    let recalled = self.gone.recall(listed);
                    if let Some((seats, _)) = &recalled {
                        // The registry vouches for it anew; without an epoch it may even be another one.
                        seats.endpoint().health().end_wait(now);
                    }
                    let (seats, life) = recalled.unwrap_or_else(|| {
                        let endpoint = Endpoint::new(listed.clone(), heard.fleet.clone());
                        (Seats::new(endpoint), Life::default())
                    });
                    let member =
                        Member { listed: listed.clone(), seats, service, curve: None, warm_at: None, life };
                    member.renewed(listed, heard)
                }
                (None, Entry::Same | Entry::Renewed) => unreachable!("only members stay"),
            };
            self.members.push(member);
        }
        before.for_each(|member| self.gone.remember(member, heard.fleet));
        self.slots = (Arc::default(), Vec::new());
    }

    /// What `list` says of whom, with a service for each newcomer. Filters and `make` are not ours and may
    /// panic: all of them have been asked before anything changes.
    fn compare<'a>(&self, list: &'a [Instance]) -> Vec<(&'a Instance, Entry<S>)> {
        let mut members = self.members.iter().peekable();
        let entry = |listed: &'a Instance| {
            while members.next_if(|member| member.listed.key < listed.key).is_some() {}
            let entry = match members.next_if(|member| member.listed.key == listed.key) {
                Some(member) if member.listed == *listed => Entry::Same,
                Some(member) if member.endpoint().epoch() == listed.epoch() => Entry::Renewed,
                _ => Entry::New((self.make)(listed)),
            };
            (listed, entry)
        };
        list.iter().filter(|listed| self.subset.has(listed)).map(entry).collect()
    }

    /// The members and their weights at `now`; while someone ramps or fades they change after `tick`, asked
    /// at the end.
    fn table(&mut self, revision: u64, aside: &Aside, now: Instant, tick: impl Fn() -> Duration) -> Table<S> {
        // Health changes with the revision only, so while nobody was failing a mere tick need not look.
        let looking = self.failing || self.revision != revision;
        let Standings { ranked, live, ends, returns } = self.standings(aside, now, looking);
        (self.revision, self.failing) = (revision, ranked.iter().any(|it| it.failing.is_some()));
        let (trials, next_trial) = self.trials(&ranked, now);
        let (mut parts, mut window, mut warm) = (Vec::with_capacity(live), Duration::ZERO, None);
        for standing in &ranked[..live] {
            let member = &self.members[standing.index];
            parts.push(member.part(standing.presence, now));
            window = window.max(member.curve.map_or(Duration::ZERO, |curve| curve.window()));
            warm = sooner(warm, member.warm_at.filter(|&warm| warm > now));
        }
        let Bounded { weights, eases, amplification } = self.bound.apply(&parts, window, now);

        let (slots, order) = &mut self.slots;
        if !ranked.iter().map(|it| it.index).eq(order.iter().copied()) {
            order.clear();
            order.extend(ranked.iter().map(|it| it.index));
            *slots = order.iter().map(|&index| self.members[index].slot()).collect();
        }
        let weights = Weights::new(&weights);
        let moving = sooner(warm, ends).map(|end| end.min(now + tick()));
        let next_change = sooner(sooner(moving, next_trial), sooner(returns, eases));
        let state = |it: &Standing| it.state(&self.members[it.index], now);
        let states = if self.observed { ranked.iter().map(state).collect() } else { Box::default() };
        Table { slots: slots.clone(), weights, revision, next_change, trials, states, amplification }
    }

    /// Whom to try again now, and when to look again. Only whoever would be in use then is worth a request.
    fn trials(&mut self, ranked: &[Standing], now: Instant) -> (Trials, Option<Instant>) {
        let Some(best) = ranked.first().map(|it| it.rank) else {
            return Default::default();
        };
        // The first who answers after all have failed must not carry everyone's load until their waits are
        // over: what had failed was most likely the way to them.
        let over = std::mem::replace(&mut self.outage, best.failing) && !best.failing;
        let (mut trials, mut next) = (Trials::default(), None::<Instant>);
        for (index, it) in ranked.iter().enumerate() {
            let worth = it.rank > best && Rank { failing: false, ..it.rank } <= best;
            let Some(failing) = it.failing.filter(|_| worth) else {
                continue;
            };
            if over {
                self.members[it.index].endpoint().health().end_wait(now);
            }
            trials.failing.push(index);
            if over || failing.trial_at() <= now {
                trials.due.get_or_insert(index);
            } else {
                next = sooner(next, Some(failing.trial_at()));
            }
        }
        (trials, next)
    }

    /// What is known of each member at `now`, of which `share` tells the part of all requests.
    pub(super) fn known(
        &self,
        aside: &Aside,
        now: Instant,
        share: impl Fn(&Arc<Endpoint>) -> f64,
    ) -> impl Iterator<Item = Known> {
        self.members.iter().map(move |member| {
            let fade = member.fade(member.tombstone(aside, now));
            let Part { full: _, factor } = member.part(1.0, now);
            let age = member.life.warm_up.map(|begun| begun.age(now));
            let warming = member.curve.map(|curve| Warming { age, window: curve.window() });
            Known {
                listed: member.listed.clone(),
                in_subset: true,
                warming: warming.filter(|_| factor < 1.0),
                leaving: fade.map(|fade| Leaving::new(fade, now)),
                failing: member.endpoint().health().failing(),
                factor: factor * fade.map_or(1.0, |fade| fade.factor(now)),
                share: share(member.endpoint()),
                in_flight: member.seats.taken(),
            }
        })
    }

    /// Who may be used, at `now`; who is failing only when `looking`.
    fn standings(&self, aside: &Aside, now: Instant, looking: bool) -> Standings {
        let mut all =
            Standings { ranked: Vec::with_capacity(self.members.len()), live: 0, ends: None, returns: None };
        let judged = !aside.is_empty(); // Hardly ever, and whoever looks at an endpoint waits for memory.
        for (index, member) in self.members.iter().enumerate() {
            if !member.listed.is_eligible() {
                continue;
            }
            let tombstone = if judged { member.tombstone(aside, now) } else { None };
            let fade = member.fade(tombstone);
            let presence = fade.map_or(1.0, |fade| fade.factor(now));
            let out = presence == 0.0;
            let failing = if looking { member.endpoint().health().failing() } else { None };
            let rank = Rank { failing: failing.is_some(), unhealthy: !member.listed.healthy, aside: out };
            // The last ones standing do not fade: of several, each takes its part.
            all.ranked.push(Standing { rank, index, presence: if out { 1.0 } else { presence }, failing });
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

/// What a list says of an instance.
enum Entry<S> {
    /// As before.
    Same,
    /// The same incarnation, but otherwise registered.
    Renewed,
    /// Nobody whom we know; this is its service.
    New(S),
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
    failing: Option<Failing>,
}

/// Only the best rank that anyone holds takes traffic; the others are a reserve for retries. What weighs most
/// comes first. That someone could not be connected to is what we have seen ourselves, and every request that
/// is sent there first has to be repeated: trials tell when it is back. Someone whose heartbeats stopped has
/// most likely stopped too, and may hang rather than refuse. Someone who leaves still answers for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    failing: bool,
    unhealthy: bool,
    aside: bool,
}

impl Standing {
    /// How it stands, in a word; [`InstanceView`](crate::consumer::balance::InstanceView) has the reasons.
    fn state<S: Clone>(&self, member: &Member<S>, now: Instant) -> State {
        match self.rank {
            Rank { unhealthy: true, .. } => State::Unhealthy,
            Rank { failing: true, .. } => State::Failing,
            Rank { aside: true, .. } => State::Aside,
            _ if self.presence < 1.0 => State::Fading,
            _ if member.part(1.0, now).factor < 1.0 => State::Warming,
            _ => State::Warm,
        }
    }
}
