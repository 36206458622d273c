//! The texts of one list that readers have asked for, each written once.
//!
//! A list is read far more often than it changes: by clients that poll, and by all its subscribers at once when
//! it has changed. So whoever asks first has it written, and the others get the same bytes. The texts go with
//! the list; and all lists together keep no more than a budget of them.

use super::query::Clusters;
use crate::protocol::entity::ServiceInfo;
use crate::protocol::written::Written;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Texts of one list: over HTTP and over gRPC, of all clusters and of one or the other.
const OF_LIST_MAX: usize = 8;
/// Bytes of all texts together: the lists of some ten thousand instances, far more than change and are read
/// within seconds. One that finds no room is written for each reader.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// How a reader wants a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Under its bare name.
    Grpc,
    /// Under its grouped name, for a client that polls.
    Http,
}

/// Bytes that the texts of all lists take; a clone counts the same ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Budget(Arc<AtomicUsize>);

impl Budget {
    /// Whether texts are written again and again because there is no room.
    pub(crate) fn is_used_up(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= BYTES_MAX
    }

    /// The last one in may exceed the bound by itself.
    fn take(&self, bytes: usize) -> bool {
        let fits = !self.is_used_up();
        if fits {
            self.0.fetch_add(bytes, Ordering::Relaxed);
        }
        fits
    }

    fn give_back(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The texts of one list.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    kept: Mutex<Vec<Kept>>,
    budget: Budget,
}

#[derive(Debug)]
struct Kept {
    form: Form,
    clusters: Clusters,
    healthy_only: bool,
    text: Written,
}

impl Texts {
    /// None yet; they will count in `budget`.
    pub(crate) fn new(budget: Budget) -> Self {
        Self { kept: Mutex::default(), budget }
    }

    /// The text for these words of a reader: the one that is kept, or that of `list`.
    ///
    /// Others who want it at the same time wait for it, which takes no longer than to write it themselves.
    pub(crate) fn get_or_write(
        &self,
        (form, clusters, healthy_only): (Form, &Clusters, bool),
        list: impl FnOnce() -> ServiceInfo,
    ) -> Written {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner); // Entries are whole.
        let asked = |kept: &&Kept| {
            (kept.form, kept.healthy_only) == (form, healthy_only) && kept.clusters == *clusters
        };
        if let Some(found) = kept.iter().find(asked) {
            return found.text.clone();
        }
        let text = Written::new(&list());
        if kept.len() < OF_LIST_MAX && self.budget.take(text.len()) {
            kept.push(Kept { form, clusters: clusters.clone(), healthy_only, text: text.clone() });
        }
        text
    }
}

impl Drop for Texts {
    fn drop(&mut self) {
        let kept = self.kept.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.budget.give_back(kept.iter().map(|kept| kept.text.len()).sum());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(clusters: &Clusters) -> ServiceInfo {
        ServiceInfo { clusters: clusters.asked().to_owned(), ..ServiceInfo::default() }
    }

    fn clusters(asked: &str) -> Clusters {
        Clusters::new(asked.to_owned()).unwrap()
    }

    #[test]
    fn a_text_is_written_once_for_those_who_ask_in_the_same_words() {
        let texts = Texts::default();
        let mut times_written = 0;
        for asked in ["a", "b", "a", "a,b"] {
            for (form, healthy_only) in [(Form::Grpc, false), (Form::Http, false), (Form::Http, true)] {
                if asked == "a,b" && (form, healthy_only) != (Form::Grpc, false) {
                    continue;
                }
                let clusters = clusters(asked);
                let text = texts.get_or_write((form, &clusters, healthy_only), || {
                    times_written += 1;
                    list(&clusters)
                });
                assert_eq!(text, Written::new(&list(&clusters)));
            }
        }
        assert_eq!(times_written, 7, "three forms of two, and one of the last");
    }

    #[test]
    fn what_is_kept_is_bounded_and_given_back() {
        let budget = Budget::default();
        let texts = Texts::new(budget.clone());
        for number in 0..2 * OF_LIST_MAX {
            let clusters = clusters(&number.to_string());
            texts.get_or_write((Form::Grpc, &clusters, false), || list(&clusters));
        }
        assert_eq!(texts.kept.lock().unwrap().len(), OF_LIST_MAX);
        budget.0.fetch_add(BYTES_MAX, Ordering::Relaxed);
        assert!(budget.is_used_up());
        let late = Texts::new(budget.clone());
        late.get_or_write((Form::Grpc, &clusters(""), false), || list(&clusters("")));
        assert!(late.kept.lock().unwrap().is_empty());
        drop((texts, late));
        assert_eq!(budget.0.load(Ordering::Relaxed), BYTES_MAX);
    }
}
