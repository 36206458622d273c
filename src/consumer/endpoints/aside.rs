//! Who has been put aside: a consumer's own judgement, which a stale list does not overrule.

use super::fade::Fade;
use super::since::Since;
use crate::model::{Address, UnixMillis};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Tombstones by address and epoch. Each holds until the registry has been seen without that incarnation,
/// or until [`Aside::HOLD`] after its fade; another incarnation at the same address is none of its business.
#[derive(Debug, Default)]
pub(super) struct Aside(BTreeMap<Incarnation, Tombstone>);

type Incarnation = (Address, UnixMillis);

/// What a consumer holds against an instance that has said that it leaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tombstone {
    pub(super) fade: Fade,
    /// From then on it is forgotten.
    pub(super) until: Instant,
}

impl Aside {
    /// Longer than any registry takes to notice that an instance is gone (30 s), and short enough that a
    /// wrong judgement heals.
    pub(super) const HOLD: Duration = Duration::from_secs(60);

    /// Bounds what a sender of ever new epochs can make us keep; more than any fleet replaces in a minute.
    const MAX: usize = 1024;

    /// Takes an incarnation out over `fade` from now on; `true` when that is news. What it said before holds
    /// where it was sooner: an instance that fades says so in every answer, from then on the same.
    pub(super) fn put(&mut self, address: &Address, epoch: UnixMillis, fade: Duration, now: Instant) -> bool {
        let said = Fade::new(Since::now(now), fade);
        let before = self.0.get(&(address.clone(), epoch)).filter(|before| before.until > now);
        let fade = before.map_or(said, |before| before.fade.sooner(said));
        let news = before.is_none_or(|before| before.fade != fade);
        let until = fade.end().max(now) + Self::HOLD;
        self.0.insert((address.clone(), epoch), Tombstone { fade, until });
        if self.0.len() > Self::MAX {
            let first =
                self.0.iter().min_by_key(|(_, tombstone)| tombstone.until).map(|(who, _)| who.clone());
            first.and_then(|first| self.0.remove(&first));
        }
        news
    }

    /// As nearly always.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is held against an instance. One whose epoch is unknown cannot be told from another incarnation
    /// at its address.
    pub(super) fn against(
        &self,
        address: &Address,
        epoch: Option<UnixMillis>,
        now: Instant,
    ) -> Option<Tombstone> {
        let holding =
            self.of(address, epoch).map(|(_, tombstone)| *tombstone).filter(|held| held.until > now);
        holding.reduce(|one, other| Tombstone {
            fade: one.fade.sooner(other.fade),
            until: one.until.max(other.until),
        })
    }

    /// Forgets whoever is not on the registry's list any more.
    pub(super) fn keep_listed<'a>(
        &mut self,
        listed: impl IntoIterator<Item = (&'a Address, Option<UnixMillis>)>,
    ) {
        if self.0.is_empty() {
            return;
        }
        let mut kept = BTreeMap::new();
        for (address, epoch) in listed {
            kept.extend(self.of(address, epoch).map(|(who, tombstone)| (who.clone(), *tombstone)));
        }
        self.0 = kept;
    }

    fn of(
        &self,
        address: &Address,
        epoch: Option<UnixMillis>,
    ) -> impl Iterator<Item = (&Incarnation, &Tombstone)> {
        let (first, last) = epoch.map_or((0, u64::MAX), |epoch| (epoch.as_u64(), epoch.as_u64()));
        let at = |epoch| (address.clone(), UnixMillis::new(epoch));
        self.0.range(at(first)..=at(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> Address {
        Address::new("10.0.0.7", port).unwrap()
    }

    const SECOND: Duration = Duration::from_secs(1);
    const AT_ONCE: Duration = Duration::ZERO;

    fn epoch(epoch: u64) -> UnixMillis {
        UnixMillis::new(epoch)
    }

    #[test]
    fn a_tombstone_speaks_of_one_incarnation() {
        let (mut aside, now) = (Aside::default(), Instant::now());
        assert!(aside.put(&address(1), epoch(5), AT_ONCE, now));
        assert!(!aside.put(&address(1), epoch(5), AT_ONCE, now));
        assert!(aside.against(&address(1), Some(epoch(5)), now).is_some());
        assert!(aside.against(&address(1), None, now).is_some());
        assert!(aside.against(&address(1), Some(epoch(6)), now).is_none());
        assert!(aside.against(&address(2), None, now).is_none());
        assert!(aside.against(&address(1), None, now + Aside::HOLD).is_none());
        assert!(aside.put(&address(1), epoch(5), AT_ONCE, now + Aside::HOLD), "it had been forgotten");
    }

    #[test]
    fn what_fades_says_so_again_and_again_and_that_is_no_news() {
        let (mut aside, now) = (Aside::default(), Instant::now());
        assert!(aside.put(&address(1), epoch(5), 20 * SECOND, now));
        assert!(!aside.put(&address(1), epoch(5), 20 * SECOND, now + 10 * SECOND));
        let half = aside.against(&address(1), None, now + 10 * SECOND).unwrap();
        assert_eq!((half.fade.factor(now + 10 * SECOND), half.fade.end()), (0.5, now + 20 * SECOND));
        assert_eq!(half.until, now + 20 * SECOND + Aside::HOLD);

        assert!(aside.put(&address(1), epoch(5), AT_ONCE, now + 15 * SECOND), "it goes sooner than it said");
        let out = aside.against(&address(1), None, now + 15 * SECOND).unwrap();
        assert_eq!((out.fade.factor(now + 15 * SECOND), out.until), (0.0, now + 75 * SECOND));
        assert!(!aside.put(&address(1), epoch(5), 20 * SECOND, now + 16 * SECOND));
        assert_eq!(aside.against(&address(1), None, now + 16 * SECOND).unwrap().fade, out.fade);
    }

    #[test]
    fn ever_new_epochs_do_not_fill_the_memory() {
        let (mut aside, now) = (Aside::default(), Instant::now());
        for millis in 0..2 * Aside::MAX as u64 {
            aside.put(&address(1), epoch(millis), AT_ONCE, now + Duration::from_millis(millis));
        }
        assert_eq!(aside.0.len(), Aside::MAX);
        assert!(aside.against(&address(1), Some(epoch(2 * Aside::MAX as u64 - 1)), now).is_some());
    }
}
