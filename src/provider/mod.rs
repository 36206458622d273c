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
#[allow(dead_code, reason = "the process around the layers arrives with the next change")]
pub(crate) mod server;
#[cfg(feature = "serve")]
#[allow(dead_code, reason = "the process around the layers arrives with the next change")]
mod wire;

pub use drain::{DrainLayer, InFlight};
pub use gate::GateLayer;
pub use lifecycle::Lifecycle;
pub use offline::OfflineLayer;
pub use probes::ProbePaths;
pub use stack::GracefulLayer;
pub use warmup::{FirstRequest, WarmUpLayer};
