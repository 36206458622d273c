//! How much memory a registry occupies: idle, for each instance, and after they have left.

use crate::fleet::{Member, SPREAD, WHOLE_LIST};
use crate::http::{Connection, request};
use crate::load::{Moment, drive};
use crate::process::Subject;
use crate::rates::{expect_ok, register};
use std::thread::sleep;
use std::time::Duration;
use tower_graceful::BoxError;

/// Instances that are registered.
pub(crate) const INSTANCES: usize = 100_000;
/// How long after the last one left memory may be given back: what is told of those who have gone is told
/// for a minute.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(75);
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Bytes of the process.
pub(crate) struct Memory {
    pub(crate) idle: f64,
    pub(crate) per_instance: f64,
    /// The least of the time after they left.
    pub(crate) after: f64,
}

pub(crate) fn memory(subject: &Subject) -> Result<Memory, BoxError> {
    let registry = subject.start()?;
    let address = registry.http();
    let open = async move |_| Ok(Connection::open(address).await?);
    let idle = registry.memory_bytes()?;
    let member = |job| Member { service: job % (SPREAD / WHOLE_LIST), index: job / (SPREAD / WHOLE_LIST) };
    let arrive = async move |connection: &mut Connection, job| register(connection, member(job)).await;
    drive(INSTANCES, open, arrive, || ())?;
    let full = registry.memory_bytes()?;
    let leave = async move |connection: &mut Connection, job| {
        expect_ok(connection.ask(&request("DELETE", &member(job).deregister_path())).await?)
    };
    drive(INSTANCES, open, leave, || ())?;
    let left_at = Moment::now();
    let mut after = registry.memory_bytes()?;
    while left_at.elapsed() < GIVEN_BACK_WITHIN {
        sleep(LOOK_EVERY);
        after = after.min(registry.memory_bytes()?);
    }
    Ok(Memory { idle, per_instance: (full - idle) / INSTANCES as f64, after })
}
