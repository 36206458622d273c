//! A request coming in, and the process around it.
//!
//! Counted -> let through once serving -> handled -> answer tagged if leaving -> uncounted when its body
//! ends. [`GracefulLayer`] is these four layers in their one right order; each is of use alone as well.
#![cfg_attr(
    feature = "serve",
    doc = "\n[`Provider`] is the process around them: bind, serve, register, wait, leave, drain, stop."
)]

pub mod drain;
pub mod gate;
mod lifecycle;
pub mod offline;
mod probes;
#[cfg(feature = "serve")]
pub(crate) mod serve;
mod stack;
pub mod tasks;
pub mod warmup;

pub use drain::{DrainLayer, InFlight};
pub use gate::GateLayer;
pub use lifecycle::Lifecycle;
pub use offline::OfflineLayer;
pub use probes::ProbePaths;
#[cfg(feature = "serve")]
pub use serve::{
    Accepted, App, Bound, InvalidSetting, Listen, Provider, ProviderBuilder, ProviderHandle, Report,
    ServeError, Server, ShutdownHandle,
};
pub use stack::GracefulLayer;
pub use tasks::Tasks;
pub use warmup::{FirstRequest, WarmUpLayer};
