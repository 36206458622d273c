//! The nouns of the crate: values with rules, and nothing else.
//!
//! Nothing here is async, reads a clock, draws a random number or takes a lock; time comes in as an
//! argument. That is what lets every rule be tested by values.
//!
//! A *service* is named by a [`ServiceKey`] and consists of [`Instance`]s, each an ip:port with a
//! [`Weight`], [`Metadata`] and an *epoch* (the start time of its process). A [`Snapshot`] is the list of
//! a service's instances at one revision. [`WarmUp`] says how much of its weight a young instance takes,
//! [`Phase`] where a process stands between start and stop, [`Lease`] what keeps an instance listed.

mod address;
mod instance;
mod lease;
mod leaving;
mod metadata;
mod name;
mod phase;
#[cfg(feature = "protocol")]
#[cfg_attr(
    not(all(feature = "client", feature = "registry")),
    allow(dead_code, reason = "the registry writes reasons, and the client reads them")
)]
mod removal;
mod snapshot;
mod source;
mod time;
mod warmup;
mod weight;

pub use address::{Address, InvalidAddress};
pub use instance::{Instance, InstanceKey};
pub use lease::{InvalidLease, Lease, Liveness};
pub use leaving::Leaving;
pub use metadata::Metadata;
pub use name::{Cluster, Group, InvalidName, Namespace, ServiceKey, ServiceName};
pub use phase::Phase;
#[cfg(feature = "protocol")]
#[cfg_attr(
    not(all(feature = "client", feature = "registry")),
    allow(unused_imports, reason = "the registry writes reasons, and the client reads them")
)]
pub(crate) use removal::{Reason, Removal};
pub use snapshot::{Diff, Snapshot};
pub use source::Source;
#[cfg(feature = "protocol")]
pub(crate) use source::Sources;
pub use time::UnixMillis;
pub use warmup::{InvalidWarmUp, WarmUp, WarmUpAge, WarmUpClock};
pub use weight::{InvalidWeight, Weight};

/// The keys of registration metadata that belong to this crate, and the values it reads besides.
pub mod key {
    /// Version of this crate in the provider; its presence means that the instance wears our layers.
    pub const VERSION: &str = "graceful.version";
    /// Start of the provider's process, in milliseconds since 1970.
    pub const EPOCH: &str = "graceful.epoch";
    /// Warm-up window in seconds.
    pub const WARM_UP: &str = "graceful.warmup";
    /// Exponent of the warm-up curve.
    pub const WARM_UP_EXPONENT: &str = "graceful.warmup.exponent";
    /// Lowest factor of the warm-up curve.
    pub const WARM_UP_FLOOR: &str = "graceful.warmup.floor";
    /// What starts the warm-up: `first-request` or `registration`.
    pub const WARM_UP_CLOCK: &str = "graceful.warmup.clock";
    /// Moment the warm-up began, in milliseconds since 1970; absent until then.
    pub const WARM_UP_START: &str = "graceful.warmup.start";
    /// Since when the instance leaves, in milliseconds since 1970, and over how many seconds its weight falls
    /// to zero: `1732060800000;20`, a [`Leaving`](super::Leaving). Absent until then.
    pub const LEAVING: &str = "graceful.leaving";
    /// `true` when the instance sends notices to the consumers that ask for them, as it leaves.
    pub const NOTICE: &str = "graceful.notice";
    /// Hex SHA-256 of the secret that a notice of this instance reveals.
    pub const NOTICE_KEY: &str = "graceful.notice.key";
    /// Seconds after its start before which an instance does not register, 0 to 600. Said of a service, for those
    /// of its instances that are yet to start; no instance registers it.
    pub const DELAY: &str = "graceful.delay";
    /// Dubbo's start of the provider, in milliseconds since 1970. Read where [`WARM_UP`] is absent.
    pub const DUBBO_TIMESTAMP: &str = "timestamp";
    /// Dubbo's warm-up window in milliseconds. Read where [`WARM_UP`] is absent.
    pub const DUBBO_WARM_UP: &str = "warmup";
}
