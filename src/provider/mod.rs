//! A request coming in, and the process around it.
//!
//! Counted -> let through once serving -> handled -> answer tagged if leaving -> uncounted when its body
//! ends. Around it the process: bind, serve, register, wait, leave (tag, deregister, lame duck), drain, stop.
