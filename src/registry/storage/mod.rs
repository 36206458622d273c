//! Where facts are kept, so that they are there again after a restart.
//!
//! A storage appends groups of facts and tells them all again at the start. A group is kept whole or not at
//! all, and once [`Storage::append`] has answered, neither the end of the process nor that of the machine
//! takes it away. Who asks what to append, and what becomes of it, is the clerk's business.

mod embedded;
mod memory;
mod record;

pub(super) use embedded::Embedded;
pub(super) use memory::Memory;
#[cfg(all(feature = "full", any(test, fuzzing)))]
pub(super) use record::{read as read_entry, write as write_entry};

use super::fact::Fact;
use crate::naming::BoxFuture;

/// Keeps facts. One caller at a time appends; reads happen at the start only.
pub(crate) trait Storage: std::fmt::Debug + Send + Sync {
    /// Keeps a group of facts, each in the place of an older one about its subject.
    ///
    /// # Errors
    /// When it is not known to be kept: part of it never is, but all of it may be. Later groups may succeed.
    fn append<'a>(&'a self, group: &'a [Fact]) -> BoxFuture<'a, Result<(), StorageError>>;

    /// Every fact that is kept.
    ///
    /// # Errors
    /// When they cannot be read or understood.
    fn replay(&self) -> Result<Vec<Fact>, StorageError>;
}

/// Why facts could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StorageError {
    #[error("the database failed")]
    Database(#[from] redb::Error),
    #[error("the directory of the database failed")]
    Directory(#[from] std::io::Error),
    #[error("the database has format {found}, and this version of the registry reads up to {known}")]
    Format { found: u64, known: u64 },
    #[error("the database holds what this version of the registry does not understand: {entry}")]
    Entry { entry: String, source: serde_json::Error },
    #[error("the database holds a name or an instance that breaks a rule: {entry}")]
    Rule { entry: String },
    #[error("the database's task ended before its work")]
    Interrupted,
}
