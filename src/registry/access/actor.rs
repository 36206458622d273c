//! Who asks for what is being done, for as long as it is done.
//!
//! A request has one asker from its beginning to its end, and most of what is done for it need not know. So it
//! goes with the task, and whoever writes something down looks it up.

use super::user::{User, UserName};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use tokio::task::futures::TaskLocalFuture;

tokio::task_local! {
    static ACTOR: Asker;
}

/// Who asks for what is being done.
#[derive(Clone, Debug)]
pub(crate) enum Asker {
    User(Arc<User>),
    At(Whence),
}

/// What is done for whoever sends from somewhere.
pub(crate) type ActingFrom<F> = TaskLocalFuture<Asker, F>;

/// Where a request comes from whose sender is not asked who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Whence {
    pub(crate) ip: IpAddr,
    /// Who the command line says is at its keyboard. Nobody has checked it, and it opens nothing.
    pub(crate) says: Option<Arc<str>>,
}

impl fmt::Display for Whence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "operator from {}", self.ip.to_canonical())?;
        self.says.as_ref().map_or(Ok(()), |says| write!(f, " ({says})"))
    }
}

/// Whose change something is, as it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    /// Somebody who was let in.
    User(UserName),
    /// Whoever sends from an address, where nobody is asked who they are.
    At(Whence),
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => name.fmt(f),
            Self::At(whence) => whence.fmt(f),
        }
    }
}

/// Does `work` in the name of `user`.
pub(crate) async fn acting<W: Future>(user: Option<Arc<User>>, work: W) -> W::Output {
    match user {
        Some(user) => ACTOR.scope(Asker::User(user), work).await,
        None => work.await,
    }
}

/// In whose name this is being done, as they were when they were let in; nobody's where nobody was asked who
/// they are.
pub(crate) fn actor() -> Option<Arc<User>> {
    match ACTOR.try_with(Asker::clone).ok()? {
        Asker::User(user) => Some(user),
        Asker::At(_) => None,
    }
}

/// Does `work` for whoever sends from there, as long as nobody is known by name.
pub(crate) fn acting_from<F: Future>(whence: Whence, work: F) -> ActingFrom<F> {
    ACTOR.scope(Asker::At(whence), work)
}

/// Whose change it is that is being made: of somebody at no address where requests come over no port.
pub(crate) fn whoever() -> Operator {
    operator().unwrap_or_else(|| Operator::At(Whence { ip: Ipv4Addr::UNSPECIFIED.into(), says: None }))
}

/// Whose change it is that is being made, if that is known.
pub(crate) fn operator() -> Option<Operator> {
    let asker = ACTOR.try_with(Asker::clone).ok()?;
    Some(match asker {
        Asker::User(user) => Operator::User(user.name.clone()),
        Asker::At(whence) => Operator::At(whence),
    })
}
