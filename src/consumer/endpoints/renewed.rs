//! A value that is read without a lock, and renewed by whoever finds it old.

use super::sync::{ArcSwap, Loaded, Mutex, MutexGuard};
use std::sync::{Arc, PoisonError, TryLockError};

/// The value of now, and what the next one is made from.
pub(super) struct Renewed<T, M> {
    current: ArcSwap<T>,
    maker: Mutex<M>,
}

/// How a value stands to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    Fresh,
    /// One renews it, and the others go on with it meanwhile.
    Due,
    /// Nobody goes on with it: one renews it, and the others wait for that.
    Outdated,
}

impl<T, M> Renewed<T, M> {
    pub(super) fn new(first: T, maker: M) -> Self {
        Self { current: ArcSwap::from_pointee(first), maker: Mutex::new(maker) }
    }

    /// The value, which was not outdated when this was called; `renew` makes another if that takes it.
    #[inline]
    pub(super) fn load(&self, age: impl Fn(&T) -> Age, renew: impl FnOnce(&mut M) -> T) -> Loaded<Arc<T>> {
        let current = self.current.load();
        let elected = match age(&current) {
            Age::Fresh => return current,
            Age::Due => match self.try_lock() {
                Some(elected) => elected,
                None => return current,
            },
            Age::Outdated => self.lock(),
        };
        drop(current);
        self.renew(elected, age, renew);
        self.current.load()
    }

    /// The value as it is, however old.
    pub(super) fn peek(&self) -> Loaded<Arc<T>> {
        self.current.load()
    }

    /// Whoever comes here second finds the work done.
    #[cold]
    fn renew(&self, mut maker: MutexGuard<'_, M>, age: impl Fn(&T) -> Age, renew: impl FnOnce(&mut M) -> T) {
        if age(&self.current.load()) != Age::Fresh {
            self.current.store(Arc::new(renew(&mut maker)));
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, M> {
        // A panic can only have come from whatever makes a service; the next renewal goes on with what is left.
        self.maker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, M>> {
        match self.maker.try_lock() {
            Ok(elected) => Some(elected),
            Err(TryLockError::Poisoned(elected)) => Some(elected.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

#[cfg(all(test, graceful_loom))]
mod loom_tests {
    use super::*;
    use loom::sync::atomic::{AtomicU64, Ordering};
    use loom::thread;

    /// A world that has moved on, and a value that follows it; the maker counts how often it was asked.
    struct Following {
        world: AtomicU64,
        followed: Renewed<u64, u64>,
    }

    impl Following {
        fn load(&self, old: Age) -> u64 {
            let age =
                |&value: &u64| if value == self.world.load(Ordering::Acquire) { Age::Fresh } else { old };
            let renew = |made: &mut u64| {
                *made += 1;
                self.world.load(Ordering::Acquire)
            };
            *self.followed.load(age, renew)
        }
    }

    fn following() -> loom::sync::Arc<Following> {
        loom::sync::Arc::new(Following { world: AtomicU64::new(0), followed: Renewed::new(0, 0) })
    }

    #[test]
    fn loom_nobody_goes_on_with_what_is_outdated() {
        loom::model(|| {
            let shared = following();
            let other = shared.clone();
            let reader = thread::spawn(move || other.load(Age::Outdated));
            shared.world.store(1, Ordering::Release);
            assert_eq!(shared.load(Age::Outdated), 1, "what has been said counts from then on");
            assert!(reader.join().unwrap() <= 1);
            assert_eq!(*shared.followed.lock(), 1, "and is made once");
        });
    }

    #[test]
    fn loom_one_renews_what_is_due_and_nobody_waits_for_it() {
        loom::model(|| {
            let shared = following();
            shared.world.store(1, Ordering::Release);
            let readers = [(); 2].map(|()| {
                let shared = shared.clone();
                thread::spawn(move || shared.load(Age::Due))
            });
            let seen = readers.map(|reader| reader.join().unwrap());
            assert!(seen.contains(&1), "{seen:?}");
            assert_eq!(*shared.followed.lock(), 1);
            assert_eq!(shared.load(Age::Due), 1);
        });
    }

    #[test]
    fn loom_whoever_follows_two_changes_ends_with_the_second() {
        loom::model(|| {
            let shared = following();
            let other = shared.clone();
            let world = thread::spawn(move || {
                other.world.fetch_add(1, Ordering::Release);
                other.world.fetch_add(1, Ordering::Release);
                other.load(Age::Outdated)
            });
            assert!(shared.load(Age::Outdated) <= 2);
            assert_eq!(world.join().unwrap(), 2);
            assert_eq!(shared.load(Age::Outdated), 2);
        });
    }
}
