//! What a balancer knows of each instance at one moment, for people to look at.

use super::fade::Fade;
use super::health::Failing;
use crate::model::Instance;
use std::time::Duration;
use tokio::time::Instant;

/// One instance of the list.
#[derive(Clone, Debug)]
pub(in crate::consumer) struct Known {
    pub(in crate::consumer) listed: Instance,
    /// Whether the balancer's filters let it through; nothing else is known of others.
    pub(in crate::consumer) in_subset: bool,
    pub(in crate::consumer) warming: Option<Warming>,
    pub(in crate::consumer) leaving: Option<Leaving>,
    pub(in crate::consumer) failing: Option<Failing>,
    /// What warm-up and way out leave of its weight, before the elastic bound.
    pub(in crate::consumer) factor: f64,
    /// The part of all new requests that falls to it.
    pub(in crate::consumer) share: f64,
    pub(in crate::consumer) in_flight: u32,
}

/// An instance with a warm-up that has not ended.
#[derive(Clone, Copy, Debug)]
pub(in crate::consumer) struct Warming {
    /// Nothing while it has not begun.
    pub(in crate::consumer) age: Option<Duration>,
    pub(in crate::consumer) window: Duration,
}

/// An instance that has said that it leaves.
#[derive(Clone, Copy, Debug)]
pub(in crate::consumer) struct Leaving {
    /// Until it takes nothing any more; zero from then on.
    pub(in crate::consumer) left: Duration,
}

impl Leaving {
    pub(super) fn new(fade: Fade, now: Instant) -> Self {
        Self { left: fade.end().saturating_duration_since(now) }
    }
}

impl Known {
    /// Someone whom the balancer's filters leave out.
    pub(super) fn outside(listed: &Instance) -> Self {
        Self {
            listed: listed.clone(),
            in_subset: false,
            warming: None,
            leaving: None,
            failing: None,
            factor: 0.0,
            share: 0.0,
            in_flight: 0,
        }
    }
}
