//! The process around the layers, from bind to stop.
//!
//! [`run`] is the whole of it as one function: it binds, serves behind the gate, has [`register`] put the
//! instance on the list, waits until asked to go, is a lame duck ([`leave`]) until every recent caller has
//! been [`told`], and lets [`server`] end its connections. [`manage`] holds the two ports beside the
//! application's, [`settings`] what a provider can be told.

mod advertise;
mod error;
mod leave;
mod manage;
mod process;
mod register;
mod report;
mod run;
pub(crate) mod server;
mod settings;
mod signal;
mod told;
mod wire;

pub use error::{InvalidSetting, ServeError};
pub use process::{Bound, ProviderHandle, ShutdownHandle};
pub use report::Report;
pub use run::Provider;
pub use settings::ProviderBuilder;

use super::{FirstRequest, GracefulLayer, InFlight, Lifecycle, ProbePaths};
