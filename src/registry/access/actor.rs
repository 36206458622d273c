//! Who asks for what is being done, for as long as it is done.
//!
//! A request has one asker from its beginning to its end, and most of what is done for it need not know. So it
//! goes with the task, and whoever writes something down looks it up.

use super::user::User;
use std::sync::Arc;

tokio::task_local! {
    static ACTOR: Arc<User>;
}

/// Does `work` in the name of `user`.
pub(crate) async fn acting<W: Future>(user: Option<Arc<User>>, work: W) -> W::Output {
    match user {
        Some(user) => ACTOR.scope(user, work).await,
        None => work.await,
    }
}

/// In whose name this is being done, as they were when they were let in; nobody's where nobody was asked who
/// they are.
pub(crate) fn actor() -> Option<Arc<User>> {
    ACTOR.try_with(Arc::clone).ok()
}
