//! Work that a process finishes before it ends, though no request is waiting for it.
//!
//! A caller that gives up drops the handler of its request with everything that the handler was doing. What
//! must be finished all the same, a charge that was begun or an event that must go out, belongs to a task of
//! its own; and a process that ends must know of it.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! use tower_graceful::provider::Tasks;
//! let tasks = Tasks::new();
//! let charge = tokio::spawn(tasks.track("charge order 7", async { "charged" }));
//! assert_eq!(tasks.names(), ["charge order 7"]);
//! tasks.idle().await; // Until nothing is under way.
//! assert_eq!(charge.await.unwrap(), "charged");
//! # });
//! ```

use pin_project_lite::pin_project;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::watch;

type Name = Cow<'static, str>;

/// Tasks under way; a clone is the same set. See the [module docs](self).
#[derive(Clone, Default)]
pub struct Tasks(Arc<watch::Sender<BTreeMap<u64, Name>>>);

impl Tasks {
    /// Nothing under way.
    pub fn new() -> Self {
        Self::default()
    }

    /// `future`, which counts as under way from now on until it has ended or is dropped. `name` is what is
    /// told of it if it does not end in time.
    pub fn track<F>(&self, name: impl Into<Name>, future: F) -> Tracked<F> {
        Tracked { inner: future, entry: Some(Entry::new(self.clone(), name.into())) }
    }

    /// The names of those under way, in the order in which they began.
    pub fn names(&self) -> Vec<String> {
        self.0.borrow().values().map(|name| name.clone().into_owned()).collect()
    }

    /// Waits for a moment at which nothing is under way.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn idle(&self) {
        // Refused only when the sender is gone, which lives in `self`.
        let _ = self.0.subscribe().wait_for(BTreeMap::is_empty).await;
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tasks").field(&self.names()).finish()
    }
}

pin_project! {
    /// Future made by [`Tasks::track`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Tracked<F> { #[pin] inner: F, entry: Option<Entry> }
}

impl<F: Future> Future for Tracked<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let output = ready!(this.inner.poll(cx));
        *this.entry = None; // Who holds on to a future that has ended holds up nothing.
        Poll::Ready(output)
    }
}

/// One task in its set, as long as this lives.
#[derive(Debug)]
struct Entry {
    tasks: Tasks,
    number: u64,
}

impl Entry {
    fn new(tasks: Tasks, name: Name) -> Self {
        let mut number = 0;
        tasks.0.send_modify(|names| {
            number = names.last_key_value().map_or(0, |(last, _)| last + 1);
            names.insert(number, name);
        });
        Self { tasks, number }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.tasks.0.send_modify(|names| _ = names.remove(&self.number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};
    use tokio_test::{assert_pending, assert_ready, assert_ready_eq, task};

    #[test]
    fn a_task_counts_until_it_has_ended_or_is_dropped() {
        let tasks = Tasks::new();
        let mut idle = task::spawn(tasks.idle());
        assert_ready!(idle.poll());
        let mut quick = task::spawn(tasks.track("quick", ready(7)));
        let endless = tasks.track(format!("endless {}", 1), pending::<()>());
        assert_eq!(tasks.names(), ["quick", "endless 1"]);
        let mut idle = task::spawn(tasks.idle());
        assert_ready_eq!(quick.poll(), 7);
        assert_eq!(tasks.clone().names(), ["endless 1"]);
        assert_pending!(idle.poll());
        drop(endless);
        assert!(idle.is_woken());
        assert_ready!(idle.poll());
    }

    #[test]
    fn a_task_that_panics_ends() {
        let tasks = Tasks::new();
        let panics = tasks.track("panics", async { panic!("oh") });
        let polled = std::panic::AssertUnwindSafe(|| task::spawn(panics).poll());
        assert!(std::panic::catch_unwind(polled).is_err());
        assert!(tasks.names().is_empty());
    }
}
