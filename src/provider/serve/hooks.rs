//! What an application does last: after its connections and tasks have ended, before the process does.

use super::process::Process;
use crate::naming::BoxFuture;
use std::borrow::Cow;
use tokio::task::JoinSet;

/// One of the things to do last.
pub(super) struct Hook {
    pub(super) name: Cow<'static, str>,
    pub(super) work: BoxFuture<'static, ()>,
}

/// Does them one after another, the last one first: what was set up last may need what was set up before.
/// Returns the names of those that time did not suffice for.
pub(super) async fn run(hooks: Vec<Hook>, process: &Process) -> Vec<String> {
    let mut cut = Vec::new();
    for Hook { name, work } in hooks.into_iter().rev() {
        // A task of its own: its panic is not the end of the others.
        let mut task = JoinSet::new();
        task.spawn(work);
        let ended = tokio::select! {
            biased;
            () = process.cuts() => None,
            ended = task.join_next() => ended,
        };
        match ended {
            None => cut.push(name.into_owned()),
            Some(Ok(())) => tracing::debug!(hook = %name, "done"),
            Some(Err(error)) => tracing::warn!(hook = %name, %error, "it failed"),
        }
    }
    cut
}
