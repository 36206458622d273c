//! Nacos' gRPC API: registrations and subscriptions that live as long as their connection.
//!
//! One HTTP/2 transport is one client, so the accept loop makes one [`Service`] for each. [`unary`] reads and
//! writes single requests, which [`dispatch`] answers; the client's one stream becomes a session, in
//! [`connection`]: set-up, pushes with their acknowledgements, and the question whether a silent client is
//! still there. The end of the stream, for whatever reason, is the end of the client.

mod connection;
mod detection;
mod dispatch;
mod report;
mod rights;
mod server;
mod unary;

pub(super) use dispatch::KINDS;
pub(super) use server::Service;

#[cfg(test)]
mod tests;
