//! The last list of each service as a file, for a start while the registry is away.
//!
//! One JSON file for each service, in the wire form of a list:
//! `{"service":"public##DEFAULT_GROUP@@orders","written":1732060800000,"serviceInfo":{"name":"orders",...}}`.
//! It is written beside its place and then renamed, so that a reader sees the old file or the new one.

use super::shared::Shared;
use crate::Clock;
use crate::model::{ServiceKey, Snapshot, UnixMillis};
use crate::naming::header::CallerTag;
use crate::protocol::entity::ServiceInfo;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

/// Bytes of a file that is written or read: room for the largest list that a message of the registry brings,
/// with the fields that we write besides.
const FILE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Least time between two rounds of writing: in a release lists change many times a second, and only the
/// last one is of use.
const ROUND_EVERY: Duration = Duration::from_secs(1);
/// Characters of the service's name in its file's name, where most systems take 255 bytes in all.
const NAME_CHARS_MAX: usize = 100;

/// The files of one client, in one directory.
#[derive(Debug)]
pub(super) struct SnapshotFiles {
    directory: PathBuf,
    clock: Clock,
}

/// What stands in a file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Saved {
    /// Whose list it is, in full: the list itself does not name its namespace.
    service: String,
    /// When it was written, in milliseconds since 1970.
    written: u64,
    service_info: ServiceInfo,
}

impl SnapshotFiles {
    /// Files in `directory`, which is made if it is not there.
    pub(super) fn open(directory: &Path, clock: Clock) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        Ok(Self { directory: directory.to_owned(), clock })
    }

    /// Writes whatever list `shared` has come to believe, until the client is closed and the last is written.
    pub(super) async fn keep(self: Arc<Self>, shared: &Shared) {
        loop {
            let closing = shared.is_closing(); // Asked first: from then on nothing new comes.
            let lists = shared.take_unsaved();
            if !lists.is_empty() {
                let (files, next_round) = (self.clone(), Instant::now() + ROUND_EVERY);
                let written = spawn_blocking(move || lists.iter().for_each(|list| files.save_or_warn(list)));
                if written.await.is_err() {
                    return; // The runtime is shutting down.
                }
                while !shared.is_closing() && timeout_at(next_round, shared.to_save()).await.is_ok() {}
            } else if closing {
                return;
            } else {
                shared.to_save().await;
            }
        }
    }

    /// The list of `service` that was written last, and how old it is; nothing where there is none that can
    /// be used.
    pub(super) async fn load(self: Arc<Self>, service: ServiceKey) -> Option<(Snapshot, Duration)> {
        spawn_blocking(move || self.read_or_warn(&service)).await.ok()?
    }

    fn save_or_warn(&self, list: &Snapshot) {
        if let Err(error) = self.save(list) {
            tracing::warn!(service.name = %list.service(), directory = %self.directory.display(),
                error = &error as &dyn std::error::Error, "could not write a snapshot file");
        }
    }

    fn read_or_warn(&self, service: &ServiceKey) -> Option<(Snapshot, Duration)> {
        match self.read(service) {
            Ok(read) => Some(read),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(service.name = %service, directory = %self.directory.display(),
                    error = &error as &dyn std::error::Error, "could not read a snapshot file");
                None
            }
        }
    }

    fn save(&self, list: &Snapshot) -> io::Result<()> {
        let service = list.service();
        let saved = Saved {
            service: service.to_string(),
            written: self.clock.now().as_u64(),
            service_info: ServiceInfo::new(service, list.revision(), "", list.instances().iter()),
        };
        let bytes = serde_json::to_vec(&saved)?;
        if bytes.len() > FILE_BYTES_MAX {
            return Err(too_large(bytes.len()));
        }
        let path = self.directory.join(file_name(service));
        // Of this process alone, where several write into one directory.
        let beside = path.with_extension(format!("{:016x}.tmp", CallerTag::of_this_process("").id));
        let written = File::create(&beside).and_then(|mut file| {
            file.write_all(&bytes)?;
            file.sync_all()?; // Or a crash of the machine could leave the new name with nothing in it.
            fs::rename(&beside, &path)
        });
        if written.is_err() {
            let _ = fs::remove_file(&beside); // It may never have been there.
        }
        written
    }

    fn read(&self, service: &ServiceKey) -> io::Result<(Snapshot, Duration)> {
        let file = File::open(self.directory.join(file_name(service)))?;
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > FILE_BYTES_MAX {
            return Err(too_large(bytes.len()));
        }
        let Saved { service: of, written, service_info } = serde_json::from_slice(&bytes)?;
        if of != service.to_string() {
            let of: String = of.chars().take(NAME_CHARS_MAX).collect();
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("it is of another service: {of}"),
            ));
        }
        let list = service_info.into_model(service.clone(), |invalid| {
            tracing::warn!(service.name = %service, error = %invalid, "left out an instance that is not valid");
        });
        Ok((list, self.clock.now().since(UnixMillis::new(written))))
    }
}

fn too_large(bytes: usize) -> io::Error {
    let message = format!("{bytes} bytes are too many: accepted are {FILE_BYTES_MAX}");
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// A name for the file of `service` that every file system takes: what of the service's own name is harmless,
/// and a number that tells it from all that look like it then.
fn file_name(service: &ServiceKey) -> String {
    let key = service.to_string();
    let harmless = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' };
    let readable: String = service.name.as_str().chars().map(harmless).take(NAME_CHARS_MAX).collect();
    format!("{readable}-{:016x}.json", fnv1a(key.as_bytes()))
}

/// The 64-bit FNV-1a hash: the same in every process and version, which the standard library's is not.
fn fnv1a(bytes: &[u8]) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    bytes.iter().fold(BASIS, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Instance, Metadata};
    use std::collections::HashSet;

    fn directory(test: &str) -> PathBuf {
        let name = format!("tower-graceful-{test}-{:016x}", CallerTag::of_this_process("").id);
        std::env::temp_dir().join(name)
    }

    fn orders() -> ServiceKey {
        "test##shop@@orders".parse().unwrap()
    }

    fn list(revision: u64, instances: u16) -> Snapshot {
        let instance = |port| Instance::new(crate::model::Address::new("10.0.0.7", port).unwrap());
        let metadata = Metadata::from_iter([("graceful.epoch", "5")]);
        let instances = (0..instances).map(|port| instance(port).with_metadata(metadata.clone()));
        Snapshot::new(orders(), revision, instances.collect())
    }

    #[test]
    fn a_list_survives_its_file_and_tells_its_age() {
        let directory = directory("survives");
        let (clock, hand) = Clock::manual(UnixMillis::new(1_000));
        let files = SnapshotFiles::open(&directory, clock).unwrap();
        assert!(files.read_or_warn(&orders()).is_none());
        files.save(&list(6, 9)).unwrap();
        files.save(&list(7, 2)).unwrap();
        hand.advance(Duration::from_secs(90));
        assert_eq!(files.read(&orders()).unwrap(), (list(7, 2), Duration::from_secs(90)));
        let names: Vec<_> = fs::read_dir(&directory).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(names, [&*file_name(&orders())], "nothing is left beside it");
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_used_is_as_good_as_none() {
        let directory = directory("unusable");
        let files = SnapshotFiles::open(&directory, Clock::system()).unwrap();
        let path = directory.join(file_name(&orders()));
        files.save(&list(7, 2)).unwrap();
        let whole = fs::read(&path).unwrap();
        let other = String::from_utf8(whole.clone()).unwrap().replace("test##", "prod##");
        let large = vec![b' '; FILE_BYTES_MAX + 1];
        for (bytes, said) in [
            (&whole[..whole.len() - 1], "EOF"),
            (b"{}", "missing field"),
            (other.as_bytes(), "another service: prod##shop@@orders"),
            (&large, "too many"),
        ] {
            fs::write(&path, bytes).unwrap();
            let error = files.read(&orders()).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
            assert!(files.read_or_warn(&orders()).is_none());
        }
        fs::remove_dir_all(&directory).unwrap();
        assert!(files.save(&list(8, 1)).is_err(), "there is no such place any more");
        files.save_or_warn(&list(8, 1));
    }

    #[test]
    fn every_service_has_a_file_of_its_own_with_a_harmless_name() {
        let names = [
            "orders",
            "Orders",
            "shop@@orders",
            "test##orders",
            "../../etc/passwd",
            "..",
            "a/b",
            "a_b",
            "CON:1?",
            &"x".repeat(511),
            &"x".repeat(512),
        ];
        let files: Vec<String> = names.iter().map(|name| file_name(&name.parse().unwrap())).collect();
        for file in &files {
            assert!(file.len() <= 140 && file.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_'));
            let stem = file.strip_suffix(".json").unwrap();
            assert!(stem.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)), "{file}");
        }
        let differing: HashSet<String> = files.iter().map(|file| file.to_ascii_lowercase()).collect();
        assert_eq!(differing.len(), names.len());
        assert_eq!(files[0], "orders-ba62cf1d5e64dfb6.json", "the same in every version");
    }
}
