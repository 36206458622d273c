//! Closed loop: so many connections on two threads, each with the next request as soon as it has its answer.

use std::sync::Barrier;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;
use tower_graceful::BoxError;

/// Connections, and requests under way.
pub(crate) const CONNECTIONS: usize = 64;
/// Threads of the load, one for each of its cores.
const THREADS: usize = 2;

#[expect(clippy::disallowed_types, reason = "virtual time measures nothing")]
pub(crate) type Moment = std::time::Instant;

/// One thread's runtime.
pub(crate) fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Opens a connection for each number below [`CONNECTIONS`] and gives it to `work` with those of `jobs` whose
/// turn it is; returns the time from the first request to the last answer.
pub(crate) fn drive<C: 'static>(
    jobs: usize,
    open: impl AsyncFn(usize) -> Result<C, BoxError> + Clone + Send + Sync + 'static,
    work: impl AsyncFn(&mut C, usize) -> Result<(), BoxError> + Clone + Send + Sync + 'static,
) -> Result<Duration, BoxError> {
    let ready = Barrier::new(THREADS);
    let run = |thread: usize| -> Result<(Moment, Moment), BoxError> {
        let (runtime, local) = (runtime()?, LocalSet::new());
        let mine = (0..CONNECTIONS).filter(|number| number % THREADS == thread);
        let opened = local.block_on(&runtime, async {
            let mut opened = Vec::new();
            for number in mine {
                opened.push((number, open(number).await?));
            }
            Ok::<_, BoxError>(opened)
        });
        ready.wait(); // Also after a failure, or the others would wait for ever.
        let opened = opened?;
        let started = Moment::now();
        let all = opened.into_iter().map(|(number, mut connection)| {
            let work = work.clone();
            local.spawn_local(async move {
                for job in (number..jobs).step_by(CONNECTIONS) {
                    work(&mut connection, job).await?;
                }
                Ok::<_, BoxError>(())
            })
        });
        let all: Vec<_> = all.collect();
        local.block_on(&runtime, async {
            for one in all {
                one.await??;
            }
            Ok::<_, BoxError>(())
        })?;
        Ok((started, Moment::now()))
    };
    let times = std::thread::scope(|scope| {
        let running: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || run(thread))).collect();
        let joined = running.into_iter().map(|thread| thread.join().expect("a thread ends with a result"));
        joined.collect::<Result<Vec<_>, BoxError>>()
    })?;
    let first = times.iter().map(|(started, _)| *started).min();
    let last = times.iter().map(|(_, ended)| *ended).max();
    Ok(first.zip(last).map(|(first, last)| last - first).unwrap_or_default())
}
