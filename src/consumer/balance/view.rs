//! What a balancer makes of each instance at one moment, for a debug page.

use crate::consumer::endpoints::Known;
use crate::model::{Address, Instance, ServiceKey, UnixMillis, Weight};
pub use crate::observe::State;
use std::fmt;
use std::time::Duration;
use tokio::time::Instant;

/// The instances of a service as one balancer sees them at one moment. Made by
/// [`Balance::view`](super::Balance::view); its `Display` is a table, one line an instance.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct View {
    /// Whose instances these are.
    pub service: ServiceKey,
    /// Age of the newest list; nothing when none ever came.
    pub snapshot_age: Option<Duration>,
    /// All that are listed, also those that take no traffic, in the order of the list.
    pub instances: Vec<InstanceView>,
}

/// One instance as a balancer sees it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InstanceView {
    /// The instance as it is registered, with its weight.
    pub instance: Instance,
    /// What warm-up and way out leave of its weight now, in 0.0..=1.0. The elastic bound may let a share be
    /// larger than that.
    pub factor: f64,
    /// The part of all new requests that falls to it now, in 0.0..=1.0. Load may take away some of it.
    pub share: f64,
    /// Calls of this balancer that are in flight at it.
    pub in_flight: u32,
    /// How it stands.
    pub state: State,
    /// Why, in words; empty for a warm one.
    pub cause: String,
}

impl State {
    /// Whether it takes traffic only when nobody better is left.
    const fn is_reserve(self) -> bool {
        matches!(self, Self::Aside | Self::Failing | Self::Unhealthy)
    }
}

impl InstanceView {
    /// Where it is reached.
    pub fn address(&self) -> &Address {
        self.instance.address()
    }

    /// Start of its process, when its registration tells.
    pub fn epoch(&self) -> Option<UnixMillis> {
        self.instance.epoch()
    }

    pub(super) fn new(known: Known, now: Instant) -> Self {
        let reasons = reasons(&known, now);
        let state = reasons.first().map_or(State::Warm, |(state, _)| *state);
        let mut causes: Vec<String> = reasons.into_iter().map(|(_, cause)| cause).collect();
        if state.is_reserve() && known.share > 0.0 {
            causes.push("in use all the same, for nobody better is left".to_owned());
        }
        let Known { listed: instance, factor, share, in_flight, .. } = known;
        Self { instance, factor, share, in_flight, state, cause: causes.join("; ") }
    }
}

/// Everything that keeps an instance from its full share, what weighs most first.
fn reasons(known: &Known, now: Instant) -> Vec<(State, String)> {
    let Known { listed, in_subset, warming, leaving, failing, .. } = known;
    let mut reasons = Vec::new();
    let mut add = |state, cause: String| reasons.push((state, cause));
    if !in_subset {
        add(State::Outside, "outside the balancer's subset".to_owned());
    }
    if !listed.enabled {
        add(State::Disabled, "disabled in the registry".to_owned());
    }
    if listed.weight == Weight::NONE {
        add(State::Disabled, "registered with weight 0".to_owned());
    }
    if listed.address().port() == 0 {
        add(State::Disabled, "registered at port 0".to_owned());
    }
    if let Some(failing) = failing {
        let (count, since) = (failing.failures(), now.saturating_duration_since(failing.since()));
        let next = failing.trial_at().saturating_duration_since(now);
        add(
            State::Failing,
            format!("no connection for {since:.1?} (failure {count}); next trial in {next:.1?}"),
        );
    }
    if !listed.healthy {
        add(State::Unhealthy, "unhealthy in the registry".to_owned());
    }
    match leaving {
        Some(leaving) if leaving.left.is_zero() => add(State::Aside, "leaves".to_owned()),
        Some(leaving) => add(State::Fading, format!("leaves in {:.1?}", leaving.left)),
        None => {}
    }
    if let Some(warming) = warming {
        let cause = match warming.age {
            None => "its warm-up has not begun".to_owned(),
            Some(age) => format!("warm in {:.1?}", warming.window.saturating_sub(age)),
        };
        add(State::Warming, cause);
    }
    reasons
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, snapshot_age, instances } = self;
        match snapshot_age {
            None => writeln!(f, "{service}: no list has come yet")?,
            Some(age) => writeln!(f, "{service}: {} listed {age:.1?} ago", instances.len())?,
        }
        // As wide as the longest address, so that the columns stand.
        let addresses: Vec<String> = instances.iter().map(|it| it.address().to_string()).collect();
        let width = addresses.iter().map(String::len).max().unwrap_or_default().max("instance".len());
        writeln!(
            f,
            "{:width$} {:>13} {:>8} {:>6} {:>7} {:>9} {:9} cause",
            "instance", "epoch", "weight", "factor", "share", "in flight", "state",
        )?;
        for (address, it) in addresses.iter().zip(instances) {
            let epoch = it.epoch().map(|epoch| epoch.to_string()).unwrap_or_default();
            let (weight, factor, share) = (it.instance.weight.as_f64(), it.factor, it.share * 100.0);
            writeln!(
                f,
                "{address:width$} {epoch:>13} {weight:>8} {factor:>6.3} {share:>6.2}% {:>9} {:9} {}",
                it.in_flight, it.state, it.cause,
            )?;
        }
        Ok(())
    }
}
