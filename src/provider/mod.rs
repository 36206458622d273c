//! A request coming in, and the process around it.
//!
//! Counted -> let through once serving -> handled -> answer tagged if leaving -> uncounted when its body
//! ends. Around it the process: bind, serve, register, wait, leave (tag, deregister, lame duck), drain, stop.

#[cfg(feature = "serve")]
#[allow(dead_code, reason = "the process around the layers arrives with the next change")]
pub(crate) mod server;
#[cfg(feature = "serve")]
#[allow(dead_code, reason = "the process around the layers arrives with the next change")]
mod wire;
