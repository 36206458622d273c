//! What a registry keeps, carried to another one: read as a [`Document`] from a registry of ours or a foreign
//! one, and brought about elsewhere by a plan of what is missing there.

mod document;
mod foreign;
mod namespaces;
mod ours;
mod plan;
mod report;
mod server;

pub(crate) use document::{Document, Key};
pub(crate) use foreign::{Data, Follower, Line, Said, Shown, Version, read as read_foreign};
pub(crate) use namespaces::read as read_namespaces;
pub(crate) use ours::{carry_out, present, read as read_ours};
pub(crate) use plan::Plan;
pub(crate) use report::Report;
pub(crate) use server::{Server, Trouble, Trust};
