//! Who asks for what is being done, for as long as it is done.
//!
//! A request has one asker from its beginning to its end, and most of what is done for it need not know. So it
//! goes with the task, and whoever writes something down looks it up.

use super::user::UserName;

tokio::task_local! {
    static ACTOR: UserName;
}

/// Does `work` in the name of `user`.
pub(crate) async fn acting<W: Future>(user: Option<UserName>, work: W) -> W::Output {
    match user {
        Some(user) => ACTOR.scope(user, work).await,
        None => work.await,
    }
}

/// In whose name this is being done; nobody's where nobody was asked who they are.
pub(crate) fn actor() -> Option<UserName> {
    ACTOR.try_with(UserName::clone).ok()
}
