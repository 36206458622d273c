//! The registry's pages for people: HTML, the same as JSON, and the same as a stream that is sent anew whenever
//! it changes.
//!
//! A page is a [`View`](page::View): what is asked for comes in, a struct goes out that is serialised for
//! programs and rendered for people by the template of its name in `pages/`. The frame around it is the same for
//! all. [`page::show`] is the one handler; which of the three forms is meant, the header `Accept` says.
//!
//! Who may look is asked where it is for the whole API (`http/rules`), before any of this. What a page is made
//! of is read through the hub, whose types are what programs get: nothing is known here that is not known there.

mod act;
mod assets;
mod chart;
mod clients;
mod diagnosis;
mod door;
mod frame;
mod instance;
mod links;
mod live;
mod login;
mod moment;
mod overview;
mod page;
mod routes;
mod service;
mod session;
mod settings;
mod traffic;
mod viewer;

pub(super) use routes::routes;
pub(super) use session::{refused, token};

#[cfg(test)]
mod tests;
