//! The book of callers: who called when, and who knows. Pure, but for the connections that it looks at.

use super::super::wire::Wire;
use crate::model::Address;
use std::collections::HashMap;
use std::sync::Arc;

/// More callers than this are not told apart: about 1 MB of memory. One that finds no room counts as never
/// told, so that forgetting it cannot end the wait too early.
const CALLERS_MAX: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Caller {
    Process(u64),
    Connection(u64),
}

/// Who called when, and who knows.
#[derive(Debug)]
pub(super) struct Book {
    callers: HashMap<Caller, Entry>,
    /// In ticks.
    remembered_for: u32,
    /// When a caller last found no room.
    crowded_out: Option<u32>,
    /// Callers that answered a notice.
    told_by_notice: usize,
}

#[derive(Debug)]
struct Entry {
    last_seen: u32,
    /// The connection it last called on.
    wire: Arc<Wire>,
    /// Where it takes notices, if anywhere.
    notice: Option<Address>,
    /// Whether it has answered a notice, be it by refusing it: it is sent no other.
    #[cfg(feature = "notice")]
    answered: bool,
    knows: Knows,
}

#[derive(Debug)]
enum Knows {
    Nothing,
    /// As soon as this connection has been flushed more often than this, or has ended.
    Soon {
        wire: Arc<Wire>,
        flushes: u64,
    },
    All,
}

impl Book {
    pub(super) fn new(remembered_for: u32) -> Self {
        Self { callers: HashMap::new(), remembered_for, crowded_out: None, told_by_notice: 0 }
    }

    #[cfg(feature = "notice")]
    pub(super) fn waiting_for_notice(&self) -> Vec<(u64, Address)> {
        let waiting = self.callers.iter().filter_map(|(caller, entry)| match (caller, &entry.notice) {
            (Caller::Process(id), Some(at)) if !entry.answered && !matches!(entry.knows, Knows::All) => {
                Some((*id, at.clone()))
            }
            (Caller::Process(_) | Caller::Connection(_), _) => None,
        });
        waiting.collect()
    }

    #[cfg(feature = "notice")]
    pub(super) fn answered_notice(&mut self, caller: Caller, taken: bool) {
        self.told_by_notice += usize::from(taken);
        if let Some(entry) = self.callers.get_mut(&caller) {
            entry.answered = true;
            if taken {
                entry.knows = Knows::All;
            }
        }
    }

    /// A caller has called at `now`, in ticks, on this connection.
    pub(super) fn saw(&mut self, caller: Caller, wire: &Arc<Wire>, now: u32, notice: Option<Address>) {
        if let Some(entry) = self.callers.get_mut(&caller) {
            entry.last_seen = now;
            entry.wire = wire.clone();
            entry.notice = notice;
        } else if self.callers.len() < CALLERS_MAX {
            let entry = Entry {
                last_seen: now,
                wire: wire.clone(),
                notice,
                #[cfg(feature = "notice")]
                answered: false,
                knows: Knows::Nothing,
            };
            self.callers.insert(caller, entry);
        } else {
            self.crowded_out = Some(now);
        }
    }

    /// An answer that tells this caller waits to go out on `wire`.
    pub(super) fn queued(&mut self, caller: Caller, wire: &Arc<Wire>) {
        if let Some(entry) = self.callers.get_mut(&caller)
            && matches!(entry.knows, Knows::Nothing)
        {
            entry.knows = Knows::Soon { wire: wire.clone(), flushes: wire.flushes() };
        }
    }

    /// Looks which queued answers have gone out meanwhile. A flush that was under way when the answer was
    /// queued may count as its own; the quiet period that follows is a thousand times longer than that.
    pub(super) fn settle(&mut self) {
        for Entry { knows, .. } in self.callers.values_mut() {
            if let Knows::Soon { wire, flushes } = knows
                && (wire.flushes() > *flushes || wire.is_closed())
            {
                *knows = Knows::All;
            }
        }
    }

    pub(super) fn forget_old(&mut self, now: u32) {
        // A connection may have seen the next tick already.
        let is_recent = |seen: u32| now.saturating_sub(seen) <= self.remembered_for;
        self.callers.retain(|caller, entry| {
            let gone = matches!(caller, Caller::Connection(_)) && entry.wire.is_closed();
            is_recent(entry.last_seen) && !gone
        });
        self.crowded_out = self.crowded_out.filter(|seen| is_recent(*seen));
    }

    /// This caller has heard it elsewhere.
    pub(super) fn knows(&mut self, caller: Caller) {
        if let Some(entry) = self.callers.get_mut(&caller) {
            entry.knows = Knows::All;
        }
    }

    /// This caller calls no more.
    pub(super) fn forget(&mut self, caller: Caller) {
        self.callers.remove(&caller);
    }

    pub(super) fn told_by_notice(&self) -> usize {
        self.told_by_notice
    }

    pub(super) fn untold(&self) -> usize {
        let untold = self.callers.values().filter(|entry| !matches!(entry.knows, Knows::All)).count();
        untold + usize::from(self.crowded_out.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire() -> Arc<Wire> {
        Arc::new(Wire::new(None))
    }

    #[cfg(feature = "notice")]
    #[test]
    fn who_takes_notices_is_sent_one_until_it_answers() {
        let (mut book, wire) = (Book::new(3), wire());
        let at = |port| Address::new("10.0.0.9", port).ok();
        book.saw(Caller::Process(7), &wire, 1, at(1));
        book.saw(Caller::Process(7), &wire, 1, at(2));
        book.saw(Caller::Process(8), &wire, 1, None);
        book.saw(Caller::Connection(1), &wire, 1, at(3));
        assert_eq!(book.waiting_for_notice(), [(7, at(2).unwrap())], "where it said last");
        assert_eq!(book.waiting_for_notice().len(), 1, "to be sent one is not to know");
        assert_eq!((book.untold(), book.told_by_notice), (3, 0));
        book.saw(Caller::Process(8), &wire, 1, at(4));
        book.answered_notice(Caller::Process(8), false);
        assert_eq!((book.untold(), book.told_by_notice), (3, 0), "it has refused");
        book.answered_notice(Caller::Process(7), true);
        assert_eq!(book.waiting_for_notice(), [], "who has answered is asked no more");
        assert_eq!((book.untold(), book.told_by_notice), (2, 1));
    }

    #[test]
    fn a_caller_that_finds_no_room_counts_as_untold() {
        let mut book = Book::new(3);
        let wire = wire();
        wire.flush();
        for id in 0..=CALLERS_MAX as u64 {
            book.saw(Caller::Process(id), &wire, 1, None);
            book.queued(Caller::Process(id), &wire);
        }
        wire.flush();
        book.settle();
        assert_eq!((book.callers.len(), book.untold()), (CALLERS_MAX, 1));
        book.forget_old(5);
        assert_eq!(book.untold(), 0);
    }
}
