//! Stores changes before they are made, many at a time.
//!
//! Whoever asks for a change that must outlive the process waits in a bounded queue. The clerk takes all who
//! wait as one group: each change is decided on the ledger, their facts are appended together, which costs
//! one `fsync` for all, and only then does the catalog learn of them and everyone gets an answer. While a
//! group is being stored the next one gathers. One clerk, so changes are made in the order in which they are
//! stored, and a restart finds what readers had seen.
//!
//! A group that could not be stored is undone in the ledger and refused; readers have never seen it. Whether
//! it is on the disk nobody can know, so what it was to replace is written again before anything else is.

use super::access::Operator;
use super::catalog::Catalog;
use super::command::Limits;
use super::error::Refusal;
use super::fact::Fact;
use super::hub::Hub;
use super::ledger::Ledger;
use super::storage::{Storage, StorageError};
use super::write::{Present, Write};
use crate::naming::Causes;
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Changes that may wait: what one group takes. With the largest metadata that is 64 MiB.
pub(crate) const WAITING_MAX: usize = 1024;

type Answer = oneshot::Sender<Result<(), Refusal>>;

/// Those who wait for the clerk.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: VecDeque<Waiting>,
}

/// A change, and whom to answer.
#[derive(Debug)]
pub(crate) struct Waiting {
    write: Write,
    /// In whose name.
    actor: Option<Operator>,
    answer: Answer,
}

/// A group that is decided: its facts are in the ledger.
#[derive(Debug, Default)]
pub(crate) struct Group {
    facts: Vec<Fact>,
    /// Whose change each of them is.
    actors: Vec<Option<Operator>>,
    /// What undoes the facts, in their order.
    undo: Vec<Fact>,
    answers: Vec<Answer>,
}

impl Queue {
    /// Takes a place, and returns what will hold the answer.
    ///
    /// # Errors
    /// When all places are taken.
    pub(crate) fn join(
        &mut self,
        write: Write,
        actor: Option<Operator>,
    ) -> Result<oneshot::Receiver<Result<(), Refusal>>, Refusal> {
        if self.waiting.len() >= WAITING_MAX {
            return Err(Refusal::Busy { max: WAITING_MAX });
        }
        let (answer, answered) = oneshot::channel();
        self.waiting.push_back(Waiting { write, actor, answer });
        Ok(answered)
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Everyone who waits.
    pub(crate) fn take(&mut self) -> VecDeque<Waiting> {
        std::mem::take(&mut self.waiting)
    }
}

impl Group {
    /// Decides each change on what the ones before it leave, and enters its facts into the ledger. Who is
    /// refused hears it at once.
    pub(crate) fn decide(
        waiting: VecDeque<Waiting>,
        ledger: &mut Ledger,
        catalog: &Catalog,
        limits: Limits,
        per_service_max: usize,
    ) -> Self {
        let mut group = Self::default();
        for Waiting { write, actor, answer } in waiting {
            match write.decide(Present { ledger, catalog, limits, per_service_max }) {
                Ok(facts) => {
                    group.undo.extend(facts.iter().map(|fact| ledger.enter(fact.clone())));
                    group.actors.extend(facts.iter().map(|_| actor.clone()));
                    group.facts.extend(facts);
                    group.answers.push(answer);
                }
                Err(refusal) => _ = answer.send(Err(refusal)), // Whoever has gone needs no answer.
            }
        }
        group
    }
}

/// Stores what is asked for until `closing` resolves, and then whatever still waits.
pub(crate) async fn keep(hub: &Hub, storage: &dyn Storage, closing: impl Future<Output = ()>) {
    let mut closing = pin!(closing);
    let mut owed = Vec::new();
    loop {
        tokio::select! {
            () = hub.asked() => {}
            () = &mut closing => break,
        }
        store(hub, storage, &mut owed).await;
    }
    while !hub.is_settled() {
        store(hub, storage, &mut owed).await;
    }
}

/// Stores everyone who waits, as one group; `owed` is what is to be written before anything else.
async fn store(hub: &Hub, storage: &dyn Storage, owed: &mut Vec<Fact>) {
    if let Err(error) = append(hub, storage, owed).await {
        let error = Arc::new(error);
        for waiting in hub.take_waiting() {
            refuse(waiting.answer, &error);
        }
        return;
    }
    owed.clear();
    let Group { facts, actors, undo, answers } = hub.decide();
    match append(hub, storage, &facts).await {
        Ok(()) => {
            hub.settle_for(facts, actors);
            for answer in answers {
                let _ = answer.send(Ok(()));
            }
        }
        Err(error) => {
            *owed = undo.into_iter().rev().collect();
            hub.undo(owed.iter().cloned());
            let error = Arc::new(error);
            for answer in answers {
                refuse(answer, &error);
            }
        }
    }
}

async fn append(hub: &Hub, storage: &dyn Storage, facts: &[Fact]) -> Result<(), StorageError> {
    if facts.is_empty() {
        return Ok(());
    }
    let appended = storage.append(facts).await;
    hub.metrics().stored(appended.is_ok());
    if let Err(error) = &appended {
        tracing::error!(error = %Causes(error), facts = facts.len(), "changes cannot be stored");
    }
    appended
}

fn refuse(answer: Answer, error: &Arc<StorageError>) {
    let _ = answer.send(Err(Refusal::Storage(error.clone())));
}

#[cfg(test)]
mod tests;
