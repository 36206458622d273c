//! The directory that belongs to one registry alone.

use super::error::Error;
use std::fs::{File, OpenOptions, TryLockError, create_dir_all};
use std::io::{self, Write};
use std::path::Path;

/// Name of the file that is locked.
const LOCK: &str = "registry.lock";

/// A directory that no other registry uses while this lives; the system opens the lock even when the process
/// is killed.
#[derive(Debug)]
pub(super) struct DataDir {
    _lock: File,
}

impl DataDir {
    /// Makes the directory if it is absent, and locks it.
    ///
    /// # Errors
    /// When it cannot be written, or another registry has it.
    pub(super) fn lock(path: &Path) -> Result<Self, Error> {
        let cannot = |source| Error::DataDir { path: path.to_owned(), source };
        create_dir_all(path).map_err(cannot)?;
        let open = OpenOptions::new().create(true).truncate(false).write(true).open(path.join(LOCK));
        let lock = open.map_err(cannot)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => Error::DataDirInUse { path: path.to_owned() },
            TryLockError::Error(source) => cannot(source),
        })?;
        write_process_id(&lock).map_err(cannot)?;
        Ok(Self { _lock: lock })
    }
}

/// Shows that there is room to write, and tells a person who holds the lock.
fn write_process_id(mut file: &File) -> io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_registry_at_a_time() {
        let path = std::env::temp_dir().join(format!("tower-graceful-lock-{}", std::process::id()));
        let first = DataDir::lock(&path.join("made/on/the/way")).unwrap();
        let second = DataDir::lock(&path.join("made/on/the/way")).unwrap_err();
        assert!(matches!(second, Error::DataDirInUse { .. }), "{second:?}");
        drop(first);
        assert!(DataDir::lock(&path.join("made/on/the/way")).is_ok());
        let file = path.join("made/on/the/way").join(LOCK);
        let error = DataDir::lock(&file).unwrap_err().to_string();
        assert!(error.starts_with("data-dir: cannot write in "), "{error}");
        std::fs::remove_dir_all(path).unwrap();
    }
}
