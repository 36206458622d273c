//! The console as people use it: in a browser, which `driver` steers and `visitor` looks through. Where there is
//! no browser these tests are skipped, and say so; with `CI=true` or `GRACEFUL_BROWSER=required` they fail then.

mod access;
mod acting;
mod checks;
mod driver;
mod reading;
mod release;
mod stage;
mod visitor;
