//! The flows with real sockets and real processes, in one binary: a module for each flow.
#![cfg(feature = "full")]

mod tidy;
