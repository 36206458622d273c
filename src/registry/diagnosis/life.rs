//! What happened to the processes at an instance's address, one after the other, out of its events.

use crate::model::{Reason, UnixMillis};
use crate::registry::events::{By, Recorded, Role, What};

/// What one process came to, as far as anybody knows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Life {
    /// The id that its process has; nothing of clients other than ours.
    pub(crate) process: Option<u64>,
    /// When it came onto the list, and by whom.
    pub(crate) came: Option<(UnixMillis, By)>,
    /// When it said that the list shows it.
    pub(crate) registered: Option<UnixMillis>,
    /// When it let requests through.
    pub(crate) ready: Option<UnixMillis>,
    /// That readiness is answered with no until it is warm: so it is set.
    pub(crate) waits: Option<Said>,
    pub(crate) warming: Option<Said>,
    pub(crate) warm: Option<Said>,
    pub(crate) leaving: Option<Said>,
    /// Which requests held up its end, as it told last.
    pub(crate) held: Option<Said>,
    pub(crate) drained: Option<Said>,
    pub(crate) stopped: Option<Said>,
    pub(crate) went: Option<Gone>,
    /// Since when it is not healthy, or takes no traffic because an operator wants it so.
    pub(crate) unhealthy: Option<UnixMillis>,
    pub(crate) disabled: Option<(UnixMillis, By)>,
    /// How often it became healthy again.
    pub(crate) recovered: usize,
    /// Callers to whom it sent notices.
    pub(crate) notified: usize,
}

/// Something that a process said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) at: UnixMillis,
    pub(crate) detail: String,
}

/// How it went off the list.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Gone {
    pub(crate) at: UnixMillis,
    pub(crate) reason: Reason,
    pub(crate) by: By,
}

impl Life {
    /// When it first was there at all.
    pub(crate) fn began(&self) -> Option<UnixMillis> {
        let came = self.came.as_ref().map(|(at, _)| *at);
        [came, self.registered, self.ready].into_iter().flatten().min()
    }

    /// From when on it could take requests: when it said so; of who tells nothing, when it came.
    pub(crate) fn serving(&self) -> Option<UnixMillis> {
        let came = || self.came.as_ref().map(|(at, _)| *at);
        self.ready.or_else(|| if self.registered.is_none() { came() } else { None })
    }

    /// Until when it could, if it cannot any more. One that is leaving still takes what comes.
    pub(crate) fn ended(&self) -> Option<UnixMillis> {
        let [drained, stopped] = [&self.drained, &self.stopped].map(|said| said.as_ref().map(|said| said.at));
        let went = self.went.as_ref().map(|gone| gone.at);
        let disabled = self.disabled.as_ref().map(|(at, _)| *at);
        [drained, stopped, went, self.unhealthy, disabled].into_iter().flatten().min()
    }

    /// Whether it has our layers: it tells of itself.
    pub(crate) fn is_governed(&self) -> bool {
        self.registered.is_some() || self.ready.is_some() || self.leaving.is_some()
    }

    /// Whether it said itself that it goes.
    pub(crate) fn said_goodbye(&self) -> bool {
        self.leaving.is_some() || self.drained.is_some() || self.stopped.is_some()
    }
}

/// Reads lives out of what was written down of one instance, in that order: what a process tells comes a moment
/// after what the registry sees, and may come after its successor.
pub(crate) fn lives<'a>(events: impl IntoIterator<Item = &'a Recorded>) -> Vec<Life> {
    let mut lives: Vec<Life> = Vec::new();
    for event in events {
        let (at, process) = (event.at, process(&event.by));
        match &event.what {
            What::Came => {
                lives.push(Life { process, came: Some((at, event.by.clone())), ..Life::default() });
            }
            What::Went(reason) => {
                let gone = Gone { at, reason: *reason, by: event.by.clone() };
                present(&mut lives, None).went = Some(gone);
            }
            What::BecameHealthy => {
                let life = present(&mut lives, None);
                life.unhealthy = None;
                life.recovered += 1;
            }
            What::BecameUnhealthy => present(&mut lives, None).unhealthy = Some(at),
            What::Disabled => present(&mut lives, None).disabled = Some((at, event.by.clone())),
            What::Set(_) => present(&mut lives, None).disabled = None,
            What::Told(told) if told.role == Some(Role::Provider) => {
                let (life, said) = (present(&mut lives, process), Said { at, detail: told.detail.clone() });
                match told.event.as_str() {
                    "registered" => life.registered = Some(at),
                    "ready" => life.ready = Some(at),
                    "warm-up-started" => life.warming = Some(said),
                    "warm-up-finished" => life.warm = Some(said),
                    "readiness-waits" => life.waits = Some(said),
                    "held-up" => life.held = Some(said),
                    "leaving" => life.leaving = Some(said),
                    "drained" => life.drained = Some(said),
                    "stopped" => life.stopped = Some(said),
                    "notified" => life.notified += 1,
                    _ => {}
                }
            }
            What::Told(_) => {}
        }
    }
    lives
}

/// The life that an event belongs to: that of the process that tells it, or the last one.
fn present(lives: &mut Vec<Life>, process: Option<u64>) -> &mut Life {
    let own = lives.iter().rposition(|life| process.is_some() && life.process == process);
    let place = own.or_else(|| {
        // A process that is not known came while another was listed; one without an id is the last.
        let is_last = |life: &Life| process.is_none() || life.process.is_none();
        lives.last().is_some_and(is_last).then(|| lives.len() - 1)
    });
    let place = place.unwrap_or_else(|| {
        lives.push(Life { process, ..Life::default() });
        lives.len() - 1
    });
    &mut lives[place]
}

fn process(by: &By) -> Option<u64> {
    match by {
        By::Connection(_, peer) => peer.caller,
        By::Http(_) | By::Operator(_) | By::Storage => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::diagnosis::given::{Events, at};

    #[test]
    fn what_a_process_tells_late_is_told_of_its_own_life() {
        let events = Events::of(1).came(1).told(1, "registered", "").told(1, "ready", "");
        let events = events.told(50, "leaving", "SIGTERM").went(51, Reason::Deregistered);
        let events = events.by(2).came(52).told(52, "registered", "").by(1).told(53, "stopped", "");
        let lives = lives(&events.all());
        assert_eq!(lives.len(), 2);
        assert_eq!(lives[0].stopped.as_ref().map(|said| said.at), Some(at(53)));
        assert_eq!((lives[0].serving(), lives[0].ended()), (Some(at(1)), Some(at(51))));
        assert!(lives[1].stopped.is_none());
        assert_eq!((lives[1].serving(), lives[1].began()), (None, Some(at(52))), "it is not ready yet");
    }

    #[test]
    fn a_second_process_at_the_same_address_is_another_life() {
        let events = Events::of(1).came(1).told(1, "registered", "").by(2).told(5, "registered", "");
        let lives = lives(&events.all());
        assert_eq!(lives.iter().map(|life| life.process).collect::<Vec<_>>(), [Some(1), Some(2)]);
    }

    #[test]
    fn who_tells_nothing_serves_from_its_coming_to_its_going() {
        let events = Events::foreign().came(1).unhealthy(5).healthy(7).went(9, Reason::Expired);
        let lives = lives(&events.all());
        assert_eq!((lives[0].serving(), lives[0].ended()), (Some(at(1)), Some(at(9))));
        assert_eq!((lives[0].recovered, lives[0].is_governed()), (1, false));
    }
}
