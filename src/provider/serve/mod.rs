//! The process around the layers, from bind to stop.
//!
//! [`run`] is the whole of it as one function: it binds, serves behind the gate, lets the application
//! [`prepare`] (calling [`oneself`], for instance), waits out the [`delay`], has [`register`] put the instance on the list, waits until asked to go, is a lame duck ([`leave`]) until every recent caller has
//! been [`told`] (some by a notice of their own, with the feature `notice`), and lets [`server`] end the connections of each of its [`listeners`]; whoever makes it wait for the [heads] of requests is cut. [`ports`] are the two
//! beside the application's, [`manage`] what they answer, [`settings`] what a provider can be told.

mod advertise;
mod app;
mod connection;
mod counted;
pub(crate) mod delay;
mod error;
mod handling;
mod heads;
mod hooks;
mod late;
mod leave;
mod listen;
mod listeners;
mod manage;
#[cfg(feature = "notice")]
mod notify;
mod oneself;
mod ordered;
mod ports;
mod prepare;
mod process;
mod pulse;
mod register;
mod report;
mod run;
pub(crate) mod server;
mod settings;
mod signal;
pub(crate) mod systemd;
mod told;
mod turned_away;
mod wire;

pub use app::App;
pub use error::{InvalidSetting, ServeError};
pub use listen::Listen;
pub use listeners::Server;
pub use oneself::Oneself;
pub use process::{Bound, ProviderHandle, ShutdownHandle};
pub use report::Report;
pub use run::Provider;
pub use settings::ProviderBuilder;
pub use wire::Accepted;

use super::{FirstRequest, GracefulLayer, InFlight, Lifecycle, ProbePaths, Tasks};
