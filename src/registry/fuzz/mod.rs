//! A registry in memory on virtual time, to be asked for whatever one can think of.

mod entry;
mod grpc;
mod http;
mod token;

pub(crate) use entry::entry;
pub(crate) use grpc::{call, session};
pub(crate) use http::requests;
pub(crate) use token::token;

use super::access::Access;
use super::clerk;
use super::command::Limits;
use super::hub::Hub;
use super::settings::Settings;
use super::storage::Memory;
use crate::Clock;
use crate::model::UnixMillis;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime;

/// How long what others set is kept, as in the registry's defaults.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// Metadata of an instance: short enough for an input to pass it.
const METADATA_CHARS_MAX: usize = 1_000;
/// Instances in all: few enough for an input to pass them.
const INSTANCES_MAX: usize = 40;

/// Access for everyone: who may do what is another story.
fn everyone(hub: &Arc<Hub>) -> Arc<Access> {
    let settings = Settings { no_auth: true, ..Settings::default() };
    Arc::new(Access::new(hub.clone(), &settings).expect("the system gives randomness"))
}

/// Has a registry live for as long as `client` does.
///
/// Nothing leaves the process: persistent instances are not probed, and nobody is sent datagrams.
fn live<F: Future<Output = ()>>(client: impl FnOnce(Arc<Hub>) -> F) {
    let runtime = runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a thread can have a runtime").block_on(async {
        let clock = Clock::manual(UnixMillis::new(1_732_060_800_000)).0;
        let limits = Limits { metadata_chars_max: METADATA_CHARS_MAX, instances_max: INSTANCES_MAX };
        let hub = Arc::new(Hub::new(clock, limits));
        tokio::select! {
            () = hub.expire() => panic!("leases are watched for ever"),
            () = hub.clean(KEPT_FOR, KEPT_FOR) => panic!("services are cleaned for ever"),
            () = clerk::keep(&hub, &Memory, pending()) => panic!("changes are stored for ever"),
            () = client(hub.clone()) => {}
        }
    });
}
