//! A request coming in, and the process around it.
//!
//! Counted -> let through once serving -> handled -> answer tagged if leaving -> uncounted when its body
//! ends. Around it the process: bind, serve, register, wait, leave (tag, deregister, lame duck), drain, stop.

pub mod drain;
pub mod gate;
mod lifecycle;
pub mod offline;
mod probes;
mod stack;
pub mod warmup;

#[cfg(feature = "serve")]
mod advertise;
#[cfg(feature = "serve")]
mod error;
#[cfg(feature = "serve")]
mod leave;
#[cfg(feature = "serve")]
mod manage;
#[cfg(feature = "serve")]
mod process;
#[cfg(feature = "serve")]
mod register;
#[cfg(feature = "serve")]
mod report;
#[cfg(feature = "serve")]
mod run;
#[cfg(feature = "serve")]
pub(crate) mod server;
#[cfg(feature = "serve")]
mod settings;
#[cfg(feature = "serve")]
mod signal;
#[cfg(feature = "serve")]
mod told;
#[cfg(feature = "serve")]
mod wire;

pub use drain::{DrainLayer, InFlight};
pub use gate::GateLayer;
pub use lifecycle::Lifecycle;
pub use offline::OfflineLayer;
pub use probes::ProbePaths;
pub use stack::GracefulLayer;
pub use warmup::{FirstRequest, WarmUpLayer};

#[cfg(feature = "serve")]
pub use error::{InvalidSetting, ServeError};
#[cfg(feature = "serve")]
pub use process::{Bound, Handle, ShutdownHandle};
#[cfg(feature = "serve")]
pub use report::Report;
#[cfg(feature = "serve")]
pub use run::Provider;
#[cfg(feature = "serve")]
pub use settings::Builder;
