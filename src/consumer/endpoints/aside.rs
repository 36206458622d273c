//! Who has been put aside: a consumer's own judgement, which a stale list does not overrule.

use crate::model::{Address, UnixMillis};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Tombstones by address and epoch. Each holds until the registry has been seen without that incarnation,
/// or for [`Aside::HOLD`]; another incarnation at the same address is none of its business.
#[derive(Debug, Default)]
pub(super) struct Aside(BTreeMap<Incarnation, Instant>);

type Incarnation = (Address, UnixMillis);

impl Aside {
    /// Longer than any registry takes to notice that an instance is gone (30 s), and short enough that a
    /// wrong judgement heals.
    pub(super) const HOLD: Duration = Duration::from_secs(60);

    /// Bounds what a sender of ever new epochs can make us keep; more than any fleet replaces in a minute.
    const MAX: usize = 1024;

    /// Puts an incarnation aside from now on; `true` when it was not aside yet.
    pub(super) fn put(&mut self, address: &Address, epoch: UnixMillis, now: Instant) -> bool {
        let known = self.0.insert((address.clone(), epoch), now + Self::HOLD);
        if self.0.len() > Self::MAX {
            let first = self.0.iter().min_by_key(|(_, until)| **until).map(|(who, _)| who.clone());
            first.and_then(|first| self.0.remove(&first));
        }
        known.is_none_or(|until| until <= now)
    }

    /// Until when an instance is put aside; nothing when it is not. One whose epoch is unknown cannot be
    /// told from another incarnation at its address.
    pub(super) fn until(
        &self,
        address: &Address,
        epoch: Option<UnixMillis>,
        now: Instant,
    ) -> Option<Instant> {
        let until = self.of(address, epoch).map(|(_, until)| *until).max()?;
        (until > now).then_some(until)
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
            kept.extend(self.of(address, epoch).map(|(who, until)| (who.clone(), *until)));
        }
        self.0 = kept;
    }

    fn of(
        &self,
        address: &Address,
        epoch: Option<UnixMillis>,
    ) -> impl Iterator<Item = (&Incarnation, &Instant)> {
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

    #[tokio::test(start_paused = true)]
    async fn a_tombstone_speaks_of_one_incarnation() {
        let (mut aside, now) = (Aside::default(), Instant::now());
        assert!(aside.put(&address(1), UnixMillis::new(5), now));
        assert!(!aside.put(&address(1), UnixMillis::new(5), now));
        assert!(aside.until(&address(1), Some(UnixMillis::new(5)), now).is_some());
        assert!(aside.until(&address(1), None, now).is_some());
        assert!(aside.until(&address(1), Some(UnixMillis::new(6)), now).is_none());
        assert!(aside.until(&address(2), None, now).is_none());
        assert!(aside.until(&address(1), None, now + Aside::HOLD).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn ever_new_epochs_do_not_fill_the_memory() {
        let (mut aside, now) = (Aside::default(), Instant::now());
        for epoch in 0..2 * Aside::MAX as u64 {
            aside.put(&address(1), UnixMillis::new(epoch), now + Duration::from_millis(epoch));
        }
        assert_eq!(aside.0.len(), Aside::MAX);
        assert!(aside.until(&address(1), Some(UnixMillis::new(2 * Aside::MAX as u64 - 1)), now).is_some());
    }
}
