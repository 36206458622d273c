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
/// turn it is; returns the time from the first request to the last answer, and what `look` sees then.
///
/// The connections are open until it has looked: one that ends makes work, which is not what is measured.
pub(crate) fn drive<C: 'static, T>(
    jobs: usize,
    open: impl AsyncFn(usize) -> Result<C, BoxError> + Clone + Send + Sync + 'static,
    work: impl AsyncFn(&mut C, usize) -> Result<(), BoxError> + Clone + Send + Sync + 'static,
    look: impl FnOnce() -> T,
) -> Result<(Duration, T), BoxError> {
    let ready = Barrier::new(THREADS);
    let [answered, looked] = [(); 2].map(|()| Barrier::new(THREADS + 1));
    let run = |thread: usize| -> Result<_, BoxError> {
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
                Ok::<_, BoxError>(connection)
            })
        });
        let all: Vec<_> = all.collect();
        let open = local.block_on(&runtime, async {
            let mut open = Vec::new();
            for one in all {
                open.push(one.await??);
            }
            Ok::<_, BoxError>(open)
        });
        Ok(((started, Moment::now()), open?, runtime))
    };
    let (times, seen) = std::thread::scope(|scope| {
        let thread = |thread: usize| {
            let ran = run(thread);
            answered.wait();
            looked.wait();
            ran.map(|(times, ..)| times)
        };
        let running: Vec<_> = (0..THREADS).map(|number| scope.spawn(move || thread(number))).collect();
        answered.wait();
        let seen = look();
        looked.wait();
        let joined = running.into_iter().map(|thread| thread.join().expect("a thread ends with a result"));
        Ok::<_, BoxError>((joined.collect::<Result<Vec<_>, BoxError>>()?, seen))
    })?;
    let first = times.iter().map(|(started, _)| *started).min();
    let last = times.iter().map(|(_, ended)| *ended).max();
    Ok((first.zip(last).map(|(first, last)| last - first).unwrap_or_default(), seen))
}
