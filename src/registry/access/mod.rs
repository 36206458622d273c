//! Who may do what.
//!
//! A [`User`] has [`Grant`]s; [`decide`] is the whole rule. Users are facts like any other: changed by a
//! `Write`, stored by the clerk, and shown to readers by the hub as one immutable [`Accounts`]. Whoever shows a
//! password gets a token ([`token`]), which says whose it is and until when and is signed with a key that is
//! random and never leaves the storage; it dies with the password that it was given for. [`Access`] is what both wires ask,
//! each at one place: `http/guard` before a route, `grpc/dispatch` before a handler.
//!
//! Nobody is asked who they are while there are no users and only this machine can reach the ports, or when
//! the starter has said `no_auth`.

mod actor;
mod check;
mod decide;
#[cfg(feature = "console")]
mod ended;
mod grant;
mod known;
mod lockout;
mod offline;
mod password;
mod sight;
mod start;
mod token;
mod user;

pub(super) use actor::{ActingFrom, Operator, Whence, acting, acting_from, actor, operator, whoever};
pub(super) use check::{Access, Session};
pub(super) use decide::{Action, Denied, Place, Principal, decide};
pub use grant::{Grant, Role};
pub use offline::Users;
pub use password::Password;
#[cfg(feature = "console")]
pub(super) use password::random;
pub(super) use password::{HashError, PasswordHash};
pub(super) use sight::Sight;
pub use start::Admin;
pub(super) use start::prepare;
#[cfg(all(feature = "full", any(test, fuzzing)))]
pub(super) use token::Claims;
pub(super) use token::TokenKey;
pub(super) use user::{Accounts, Edit, User};
pub use user::{InvalidUser, UserName};

#[cfg(test)]
pub(super) mod staged;
