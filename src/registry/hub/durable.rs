//! What the hub does with changes that must outlive the process: it queues them for the clerk, and makes
//! them when they are stored.

use super::{Asker, Event, Hub};
use crate::naming::Causes;
use crate::registry::access::{Operator, operator};
use crate::registry::clerk::{Group, Queue, Waiting};
use crate::registry::error::Refusal;
use crate::registry::fact::Fact;
use crate::registry::write::Write;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often leftovers are looked for. Nacos' value.
const CLEANED_EVERY: Duration = Duration::from_secs(5);
/// Leftovers that are dropped in one group.
const LEFTOVERS_MAX: usize = 1000;

impl Hub {
    /// Makes a change that is stored by the time this returns.
    ///
    /// # Errors
    /// When the change breaks a rule or contradicts what is there, when it could not be stored, and when the
    /// registry ends.
    ///
    /// # Cancel safety
    /// When this is dropped the change may be made all the same.
    pub(crate) async fn write(&self, write: Write) -> Result<(), Refusal> {
        if let Write::Register { instance, .. } = &write {
            self.limits.check_one(instance)?;
        }
        self.allowance.names.check_write(&write)?;
        let answered = {
            let mut state = self.state();
            if state.frozen {
                return Err(Refusal::Closing);
            }
            state.queue.join(write, operator())?
        };
        self.asked.notify_one();
        answered.await.unwrap_or(Err(Refusal::Closing))
    }

    /// Forgets services that have been empty for `empty_kept_for`, and drops what is said of instances and
    /// services that have been gone for `said_kept_for`, for ever.
    pub(crate) async fn clean(&self, empty_kept_for: Duration, said_kept_for: Duration) {
        loop {
            sleep(CLEANED_EVERY).await;
            self.lines.catch_up(self.now());
            let leftovers: Vec<Fact> = {
                let (mut state, now) = (self.state(), self.now());
                state.tidy(now);
                state.catalog.clean(empty_kept_for, now);
                let gone = state.catalog.leftovers(said_kept_for, now);
                gone.filter_map(|subject| state.ledger.leftover(subject)).take(LEFTOVERS_MAX).collect()
            };
            if leftovers.is_empty() {
                continue;
            }
            let dropped = leftovers.len();
            match self.write(Write::Drop { leftovers }).await {
                Ok(()) => tracing::info!(dropped, "forgot what was set on those who are gone"),
                Err(error) => tracing::warn!(error = %Causes(&error), "will be forgotten later"),
            }
        }
    }

    /// Takes over what a storage has told, before anyone is served.
    pub(crate) fn restore(&self, facts: Vec<Fact>) {
        let mut state = self.state();
        let (now, at) = (self.now(), Instant::now());
        self.show_accounts(&state, &facts);
        for fact in facts {
            state.ledger.enter(fact.clone());
            state.probe(&fact, at);
            state.show_namespace(&fact);
            if let Some(command) = fact.into_command() {
                state.apply(command, None, now, at);
            }
        }
    }

    /// Waits until somebody waits for the clerk.
    ///
    /// # Cancel safety
    /// Nobody is missed when this is dropped before it resolves.
    pub(crate) async fn asked(&self) {
        while self.state().queue.is_empty() {
            self.asked.notified().await;
        }
    }

    /// Whether nobody waits for the clerk.
    pub(crate) fn is_settled(&self) -> bool {
        self.state().queue.is_empty()
    }

    /// Takes everyone who waits out of the queue.
    pub(crate) fn take_waiting(&self) -> VecDeque<Waiting> {
        Queue::take(&mut self.state().queue)
    }

    /// Decides what everyone who waits asks for; the ledger has it from here on, readers do not.
    pub(crate) fn decide(&self) -> Group {
        let mut state = self.state();
        let state = &mut *state;
        let per_service_max = state.allowance.instances_per_service;
        Group::decide(state.queue.take(), &mut state.ledger, &state.catalog, state.limits, per_service_max)
    }

    /// As [`Hub::settle_for`], for nobody in particular.
    #[cfg(test)]
    pub(crate) fn settle(&self, facts: Vec<Fact>) {
        let actors = vec![None; facts.len()];
        self.settle_for(facts, actors);
    }

    /// Shows readers what is stored, also while the registry ends; each fact with whose change it is.
    pub(crate) fn settle_for(&self, facts: Vec<Fact>, actors: Vec<Option<Operator>>) {
        let (mut state, now) = (self.state(), Instant::now());
        let before = state.expiry.next();
        let at = self.now();
        self.show_accounts(&state, &facts);
        let make = |(fact, actor): (Fact, Option<Operator>)| {
            state.probe(&fact, now);
            state.show_namespace(&fact);
            state.note_deed(&fact, actor.as_ref(), at);
            let command = fact.into_command();
            command.map_or_else(Vec::new, |command| state.apply(command, actor.map(Asker::Operator), at, now))
        };
        let events: Vec<Event> = facts.into_iter().zip(actors).flat_map(make).collect();
        self.finish(state, before, &events);
        self.probed_earlier.notify_one();
    }

    /// Enters into the ledger what a group that was not stored was to replace.
    pub(crate) fn undo(&self, facts: impl Iterator<Item = Fact>) {
        let mut state = self.state();
        facts.for_each(|fact| _ = state.ledger.enter(fact));
    }
}
