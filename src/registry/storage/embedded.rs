//! Facts in a file: a redb database in the data directory.
//!
//! A group of facts is one transaction, so that many writers share one `fsync`. The database is opened again
//! after a failure, because redb takes no more writes after one: a disk that was full has room some day.

use super::record;
use super::{Storage, StorageError};
use crate::naming::BoxFuture;
use crate::registry::fact::Fact;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::spawn_blocking;

/// Name of the file in the data directory.
const FILE: &str = "registry.redb";
/// Facts by their subject, both as in `record`.
const FACTS: TableDefinition<'static, &str, &str> = TableDefinition::new("facts");
/// About the file itself.
const ABOUT: TableDefinition<'static, &str, u64> = TableDefinition::new("about");
/// Key of the format in [`ABOUT`].
const FORMAT: &str = "format";
/// The format that is written, and the newest that is read.
const FORMAT_KNOWN: u64 = 1;
/// Bytes of pages that are kept in memory. Facts are read at the start only, so this serves inner pages.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// A database in a directory; a clone is the same one.
#[derive(Clone)]
pub(crate) struct Embedded {
    open: Arc<dyn Fn() -> Result<Database, StorageError> + Send + Sync>,
    /// Nothing after a failure, until the next group.
    database: Arc<Mutex<Option<Database>>>,
}

impl Embedded {
    /// Opens the database in `directory`, or makes it. After a crash this repairs what was under way.
    ///
    /// # Errors
    /// When it cannot be opened or made, is no database, or has a format that is not known.
    pub(crate) fn open(directory: &Path) -> Result<Self, StorageError> {
        let directory = directory.to_owned();
        Self::new(move || {
            let database = builder().create(directory.join(FILE)).map_err(redb::Error::from)?;
            hide(&directory.join(FILE))?;
            // The file's name is durable too only when the directory is.
            std::fs::File::open(&directory)?.sync_all()?;
            Ok(database)
        })
    }

    /// As [`Embedded::open`], over something else than a file.
    #[cfg(test)]
    pub(super) fn over<B: redb::StorageBackend>(
        backend: impl Fn() -> B + Send + Sync + 'static,
    ) -> Result<Self, StorageError> {
        Self::new(move || Ok(builder().create_with_backend(backend()).map_err(redb::Error::from)?))
    }

    fn new(
        open: impl Fn() -> Result<Database, StorageError> + Send + Sync + 'static,
    ) -> Result<Self, StorageError> {
        let database = open()?;
        settle_format(&database)?;
        Ok(Self { open: Arc::new(open), database: Arc::new(Mutex::new(Some(database))) })
    }

    fn append_now(&self, entries: &[(String, Option<String>)]) -> Result<(), StorageError> {
        let mut held = self.database();
        let database = match held.take() {
            Some(database) => database,
            None => (self.open)()?,
        };
        write(&database, entries)?; // A failure drops the database: the next group opens it again.
        *held = Some(database);
        Ok(())
    }

    fn database(&self) -> MutexGuard<'_, Option<Database>> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner) // Then it is empty, and opened again.
    }
}

impl Storage for Embedded {
    fn append<'a>(&'a self, group: &'a [Fact]) -> BoxFuture<'a, Result<(), StorageError>> {
        Box::pin(async move {
            let entries: Result<Vec<_>, serde_json::Error> = group.iter().map(record::write).collect();
            let not_written = |source| StorageError::Entry { entry: "a new fact".to_owned(), source };
            let (this, entries) = (self.clone(), entries.map_err(not_written)?);
            let appended = spawn_blocking(move || this.append_now(&entries)).await;
            appended.map_err(|_| StorageError::Interrupted)?
        })
    }

    fn replay(&self) -> Result<Vec<Fact>, StorageError> {
        let held = self.database();
        let Some(database) = &*held else { return Err(StorageError::Interrupted) };
        read_all(database)
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").finish_non_exhaustive()
    }
}

/// Lets nobody but its owner read the file: it holds hashes of passwords, and the key of the tokens.
fn hide(file: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    #[cfg(not(unix))]
    let _ = file; // There it has the rights of its directory.
    Ok(())
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Writes the format into a new database, and reads it in one that is not.
fn settle_format(database: &Database) -> Result<(), StorageError> {
    let transaction = database.begin_write().map_err(redb::Error::from)?;
    let mut about = transaction.open_table(ABOUT).map_err(redb::Error::from)?;
    let found = about.get(FORMAT).map_err(redb::Error::from)?.map(|found| found.value());
    if let Some(found) = found {
        if found > FORMAT_KNOWN {
            return Err(StorageError::Format { found, known: FORMAT_KNOWN });
        }
        return Ok(());
    }
    about.insert(FORMAT, FORMAT_KNOWN).map_err(redb::Error::from)?;
    drop(about);
    transaction.open_table(FACTS).map_err(redb::Error::from)?;
    Ok(transaction.commit().map_err(redb::Error::from)?)
}

fn write(database: &Database, entries: &[(String, Option<String>)]) -> Result<(), StorageError> {
    let mut transaction = database.begin_write().map_err(redb::Error::from)?;
    transaction.set_durability(Durability::Immediate).map_err(redb::Error::from)?;
    let mut facts = transaction.open_table(FACTS).map_err(redb::Error::from)?;
    for (subject, value) in entries {
        match value {
            Some(value) => facts.insert(subject.as_str(), value.as_str()).map(drop),
            None => facts.remove(subject.as_str()).map(drop),
        }
        .map_err(redb::Error::from)?;
    }
    drop(facts);
    Ok(transaction.commit().map_err(redb::Error::from)?)
}

fn read_all(database: &Database) -> Result<Vec<Fact>, StorageError> {
    let transaction = database.begin_read().map_err(redb::Error::from)?;
    let facts = transaction.open_table(FACTS).map_err(redb::Error::from)?;
    let entries = facts.iter().map_err(redb::Error::from)?;
    let read = |entry: Result<(redb::AccessGuard<'_, &str>, redb::AccessGuard<'_, &str>), _>| {
        let (subject, value) = entry.map_err(redb::Error::from)?;
        record::read(subject.value(), value.value())
    };
    entries.map(read).collect()
}

#[cfg(test)]
mod tests;
