//! Who calls although this instance has said that it leaves: an operator wants their names.

use crate::observe::LateCaller;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Callers, each with one path, that are told apart between two looks. Beyond them it is many, not who.
const TOLD_APART_MAX: usize = 100;
/// Those that are told, most requests first.
const TOLD_MAX: usize = 20;
/// Characters of a path that are kept.
const PATH_CHARS_MAX: usize = 200;

/// The late callers of one provider.
#[derive(Debug, Default)]
pub(super) struct Late {
    begun: AtomicBool,
    callers: Mutex<Vec<LateCaller>>,
}

impl Late {
    /// From here on whoever calls is late.
    pub(super) fn begin(&self) {
        self.begun.store(true, Relaxed);
    }

    /// Whether whoever calls is late: what a request pays for while nobody is.
    pub(super) fn has_begun(&self) -> bool {
        self.begun.load(Relaxed)
    }

    /// Takes note of a request; `app` is asked for of those who are new.
    pub(super) fn called(
        &self,
        id: Option<u64>,
        address: Option<IpAddr>,
        path: &str,
        app: impl FnOnce() -> String,
    ) {
        let end = path.char_indices().nth(PATH_CHARS_MAX).map_or(path.len(), |(end, _)| end);
        let path = &path[..end];
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        let known = callers
            .iter_mut()
            .find(|known| known.id == id && known.path == path && (id.is_some() || known.address == address));
        if let Some(known) = known {
            known.requests += 1;
        } else if callers.len() < TOLD_APART_MAX {
            let mut caller = LateCaller::new(id, app(), address, path.to_owned());
            caller.requests = 1;
            callers.push(caller);
        }
    }

    /// Those who have called since this was asked last, most requests first.
    pub(super) fn take(&self) -> Vec<LateCaller> {
        let mut callers = std::mem::take(&mut *self.callers.lock().unwrap_or_else(PoisonError::into_inner));
        callers.sort_by_key(|caller| std::cmp::Reverse(caller.requests));
        callers.truncate(TOLD_MAX);
        callers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn a_process_is_one_caller_wherever_it_calls_from_and_others_are_their_address() {
        let late = Late::default();
        for last in 1..=3 {
            late.called(Some(7), Some(from(last)), "/orders", || "storefront".to_owned());
            late.called(None, Some(from(last % 2)), "/orders", String::new);
        }
        late.called(None, Some(from(1)), "/stock", String::new);
        let told: Vec<_> =
            late.take().into_iter().map(|c| (c.id, c.app, c.address, c.path, c.requests)).collect();
        let (orders, stock) = ("/orders".to_owned(), "/stock".to_owned());
        let expected = [
            (Some(7), "storefront".to_owned(), Some(from(1)), orders.clone(), 3),
            (None, String::new(), Some(from(1)), orders.clone(), 2),
            (None, String::new(), Some(from(0)), orders, 1),
            (None, String::new(), Some(from(1)), stock, 1),
        ];
        assert_eq!(told, expected);
        assert!(late.take().is_empty());
    }

    #[test]
    fn a_flood_takes_little_room() {
        let late = Late::default();
        for n in 0..1000 {
            late.called(None, Some(from(1)), &format!("/{n}/{}", "\u{fc}".repeat(500)), String::new);
        }
        assert_eq!(late.callers.lock().unwrap().len(), TOLD_APART_MAX);
        let told = late.take();
        assert_eq!((told.len(), told[0].path.chars().count()), (TOLD_MAX, PATH_CHARS_MAX));
    }
}
