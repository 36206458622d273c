//! What the small concurrent pieces stand on: the standard library and `arc-swap`, or in their place `loom`,
//! which walks through every order in which threads can meet (`CONTRIBUTING.md` has the command).

#[cfg(not(all(test, graceful_loom)))]
pub(super) use arc_swap::{ArcSwap, Guard as Loaded};
#[cfg(not(all(test, graceful_loom)))]
pub(super) use std::sync::{Arc, Mutex, MutexGuard};

#[cfg(all(test, graceful_loom))]
pub(super) use loom::sync::{Arc, Mutex, MutexGuard};
#[cfg(all(test, graceful_loom))]
pub(super) use stand_in::{ArcSwap, Loaded};

/// In the place of `arc_swap`, which is taken as given: loads and stores that are atomic.
#[cfg(all(test, graceful_loom))]
mod stand_in {
    use std::sync::Arc;

    pub(in super::super) struct ArcSwap<T>(loom::sync::Mutex<Arc<T>>);

    pub(in super::super) type Loaded<T> = T;

    impl<T> ArcSwap<T> {
        pub(in super::super) fn from_pointee(value: T) -> Self {
            Self(loom::sync::Mutex::new(Arc::new(value)))
        }

        pub(in super::super) fn load(&self) -> Loaded<Arc<T>> {
            self.0.lock().unwrap().clone()
        }

        pub(in super::super) fn store(&self, value: Arc<T>) {
            *self.0.lock().unwrap() = value;
        }
    }
}
