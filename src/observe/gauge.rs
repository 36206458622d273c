//! What changes without an event, read when somebody asks.

use super::State;
use crate::model::Phase;
use std::time::Duration;

/// A balancer or a provider whose present state can be read.
pub trait Gauge: Send + Sync {
    /// How it stands now. It may cost as much as a thousand picks: read it when somebody looks.
    fn read(&self) -> Reading;
}

/// How a balancer or a provider stands at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Reading {
    /// A balancer.
    Consumer(ConsumerReading),
    /// A provider.
    Provider(ProviderReading),
}

/// How a balancer stands.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ConsumerReading {
    /// How all instances that are listed stand.
    pub endpoints: Vec<State>,
    /// Age of the newest list; nothing when none ever came.
    pub snapshot_age: Option<Duration>,
    /// For how long the registry has been away that tells of the instances; zero while it is there, and where lists
    /// come from none.
    pub registry_away: Duration,
    /// How many times its load before a warm instance gets, from 1.0 on.
    pub amplification: f64,
}

/// How a provider stands.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ProviderReading {
    /// Where it is on its way.
    pub phase: Phase,
    /// Requests under way, without probes.
    pub in_flight: u64,
    /// The part of its weight that it takes, in 0.0..=1.0.
    pub warm_up: f64,
    /// How long it has been leaving, or took until it was drained; nothing before it leaves.
    pub leaving: Option<Duration>,
    /// Requests since the start, without probes, from callers with the consumer's layers.
    pub governed: RequestCounts,
    /// Those from all others.
    pub ungoverned: RequestCounts,
}

/// Requests to a provider since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestCounts {
    /// They have come.
    pub started: u64,
    /// They have been answered, or given up by whoever waited; the body of an answer may be under way still.
    pub finished: u64,
    /// Those of them that were answered with a status from 500 on, or not at all.
    pub failed: u64,
}
