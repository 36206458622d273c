//! The allocator: one that gives back the memory of instances that have left, where the C library's keeps it.
//!
//! It gives pages back when it is called after they have been free for a while, and a registry that everyone has
//! left calls nothing. It does look at the end of a thread, though; so a short one runs now and then.

#[cfg(not(test))]
use mimalloc::MiMalloc;
use std::convert::Infallible;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

// Tests have one that counts.
#[cfg(not(test))]
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// How often free memory is given back: as often as the registry looks for what is of no more use.
const GIVEN_BACK_EVERY: Duration = Duration::from_secs(5);
/// How long a thread that has nothing to do is kept: for the next write to the disk, but not until
/// the next look.
pub(super) const THREAD_KEPT_FOR: Duration = Duration::from_secs(1);

/// Gives free memory back, for ever, on a runtime whose threads are kept for [`THREAD_KEPT_FOR`].
pub(super) async fn give_back() -> Infallible {
    loop {
        sleep(GIVEN_BACK_EVERY).await;
        // A thread that has allocated nothing is none to the allocator. Where there is none, the next one will do.
        let _ = spawn_blocking(|| Box::new(0_u8)).await;
    }
}
