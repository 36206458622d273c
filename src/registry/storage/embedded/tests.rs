//! A disk that loses what was not synced, and power that goes at any moment.

use super::*;
use crate::model::{Address, Instance, ServiceKey};
use redb::StorageBackend;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

/// How often the power goes in the long test.
const POWER_CUTS: u64 = 100;

fn fact(port: u16, weight: Option<u16>) -> Fact {
    let instance = Instance { ephemeral: false, ..Instance::new(Address::new("10.0.0.7", port).unwrap()) };
    let key = instance.key.clone();
    let weight = weight.map(|weight| crate::model::Weight::new(weight.into()).unwrap());
    let instance = weight.map(|weight| Instance { weight, ..instance });
    Fact::Instance { service: "orders".parse::<ServiceKey>().unwrap(), key, instance }
}

/// Groups between two cuts; the power goes before.
const GROUPS_MAX: usize = 200;

/// What an orderly reader would find after these facts.
fn present(facts: impl IntoIterator<Item = Fact>) -> BTreeMap<String, Fact> {
    let mut present = BTreeMap::new();
    for fact in facts {
        let (subject, value) = record::write(&fact).unwrap();
        match value {
            Some(_) => present.insert(subject, fact),
            None => present.remove(&subject),
        };
    }
    present
}

struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tower-graceful-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(unix)]
#[test]
fn nobody_but_its_owner_reads_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let directory = Directory::new("private");
    let mode = || std::fs::metadata(directory.0.join(FILE)).unwrap().permissions().mode() & 0o777;
    drop(Embedded::open(&directory.0).unwrap());
    assert_eq!(mode(), 0o600);
    std::fs::set_permissions(directory.0.join(FILE), PermissionsExt::from_mode(0o644)).unwrap();
    drop(Embedded::open(&directory.0).unwrap());
    assert_eq!(mode(), 0o600, "also one that was made before");
}

#[tokio::test]
async fn facts_are_there_again_and_the_newest_of_each_counts() {
    let directory = Directory::new("again");
    let storage = Embedded::open(&directory.0).unwrap();
    assert_eq!(storage.replay().unwrap(), []);
    storage.append(&[fact(1, Some(1)), fact(2, Some(1)), fact(3, Some(1))]).await.unwrap();
    storage.append(&[fact(1, Some(2)), fact(2, None)]).await.unwrap();
    drop(storage);
    let storage = Embedded::open(&directory.0).unwrap();
    assert_eq!(storage.replay().unwrap(), [fact(1, Some(2)), fact(3, Some(1))]);
}

#[tokio::test]
async fn what_is_no_database_or_too_new_a_one_is_refused_at_the_start() {
    let directory = Directory::new("format");
    std::fs::write(directory.0.join(FILE), "something else entirely".repeat(1000)).unwrap();
    assert!(matches!(Embedded::open(&directory.0), Err(StorageError::Database(_))));
    std::fs::remove_file(directory.0.join(FILE)).unwrap();
    let storage = Embedded::open(&directory.0).unwrap();
    let held = storage.database();
    let transaction = held.as_ref().unwrap().begin_write().unwrap();
    transaction.open_table(ABOUT).unwrap().insert(FORMAT, FORMAT_KNOWN + 1).unwrap();
    transaction.commit().unwrap();
    drop(held);
    drop(storage);
    let error = Embedded::open(&directory.0).unwrap_err();
    assert!(matches!(error, StorageError::Format { found: 2, known: 1 }), "{error}");
}

#[tokio::test]
async fn a_disk_that_fails_and_recovers_is_written_again() {
    let disk = Disk::default();
    let storage = disk.open().unwrap();
    storage.append(&[fact(1, Some(1))]).await.unwrap();
    disk.state().operations_left = 0;
    assert!(storage.append(&[fact(2, Some(1))]).await.is_err());
    assert!(storage.append(&[fact(2, Some(1))]).await.is_err());
    disk.state().operations_left = u64::MAX;
    storage.append(&[fact(3, Some(1))]).await.unwrap();
    assert_eq!(storage.replay().unwrap(), [fact(1, Some(1)), fact(3, Some(1))]);
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_the_power_goes_and_no_group_is_torn() {
    for survive in [0.0, 0.5] {
        let mut chance = fastrand::Rng::with_seed(7);
        let disk = Disk::default();
        let mut acknowledged: Vec<Fact> = Vec::new();
        let mut in_doubt: Vec<Fact> = Vec::new();
        let mut acknowledged_groups = 0;
        for cut in 0..POWER_CUTS {
            disk.state().operations_left = chance.u64(0..250);
            if let Ok(storage) = disk.open() {
                // While the power is on; it may go during the start, too.
                if let Ok(found) = storage.replay() {
                    let (found, before) = (present(found), present(acknowledged.clone()));
                    let with_the_last = present([acknowledged.clone(), in_doubt.clone()].concat());
                    assert!(found == before || found == with_the_last, "cut {cut}, {survive} survive");
                    acknowledged = found.into_values().collect();
                    in_doubt.clear();
                    for _ in 0..GROUPS_MAX {
                        let len = chance.usize(1..20);
                        let mut some =
                            || fact(chance.u16(0..50), Some(chance.u16(0..100)).filter(|n| n % 4 > 0));
                        let group: Vec<Fact> = (0..len).map(|_| some()).collect();
                        if storage.append(&group).await.is_err() {
                            in_doubt = group;
                            break;
                        }
                        acknowledged_groups += 1;
                        acknowledged.extend(group);
                    }
                }
            }
            disk.lose_what_was_not_synced(|| chance.f64() < survive);
        }
        assert!(acknowledged_groups > POWER_CUTS, "{acknowledged_groups} groups say little");
    }
}

/// A disk with a cache of its own, which power loss empties.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<DiskState>>);

#[derive(Debug, Default)]
struct DiskState {
    durable: Vec<u8>,
    /// What readers see: `durable`, and what was written since.
    cached: Vec<u8>,
    unsynced: Vec<Unsynced>,
    /// Until the power goes.
    operations_left: u64,
}

#[derive(Clone, Debug)]
enum Unsynced {
    Length(usize),
    Bytes(usize, Vec<u8>),
}

impl Disk {
    fn state(&self) -> MutexGuard<'_, DiskState> {
        self.0.lock().unwrap()
    }

    fn open(&self) -> Result<Embedded, StorageError> {
        let disk = self.clone();
        if disk.state().durable.is_empty() {
            disk.state().operations_left = u64::MAX; // The first start is not what is tested here.
        }
        let left = disk.state().operations_left;
        let opened = Embedded::over(move || disk.clone());
        let mut state = self.state();
        if left == u64::MAX && state.operations_left > left / 2 {
            state.operations_left = 400;
        }
        opened
    }

    fn lose_what_was_not_synced(&self, mut survives: impl FnMut() -> bool) {
        let mut state = self.state();
        let survivors: Vec<_> =
            std::mem::take(&mut state.unsynced).into_iter().filter(|_| survives()).collect();
        for write in survivors {
            write.to(&mut state.durable);
        }
        state.cached = state.durable.clone();
    }
}

impl DiskState {
    fn operate(&mut self) -> io::Result<&mut Self> {
        self.operations_left =
            self.operations_left.checked_sub(1).ok_or_else(|| io::Error::other("no power"))?;
        Ok(self)
    }

    fn write(&mut self, write: Unsynced) {
        write.clone().to(&mut self.cached);
        self.unsynced.push(write);
    }
}

impl Unsynced {
    fn to(self, bytes: &mut Vec<u8>) {
        match self {
            Self::Length(len) => bytes.resize(len, 0),
            Self::Bytes(at, data) => {
                let end = at + data.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[at..end].copy_from_slice(&data);
            }
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().operate()?.cached.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.state();
        let at = usize::try_from(offset).unwrap();
        let bytes = state.operate()?.cached.get(at..at + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.state().operate()?.write(Unsynced::Length(usize::try_from(len).unwrap()));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        state.unsynced.clear();
        state.durable = state.cached.clone();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.state().operate()?.write(Unsynced::Bytes(usize::try_from(offset).unwrap(), data.to_vec()));
        Ok(())
    }
}
