//! An open-loop load whose every request is fixed beforehand.
//!
//! Open-loop: a request is sent when it is due, whatever became of those before it, so a slow service is not
//! spared. Nothing is ever sent again by whoever follows the plan.

use super::wish::Wish;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// The requests of a run, in the order of their moments: the same for the same seed and rate.
#[derive(Clone, Debug)]
pub struct Schedule {
    random: fastrand::Rng,
    rate: f64,
    number: u32,
}

/// One request to come.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// Its place in the plan, from 1 on.
    pub number: u32,
    /// When it is due, counted from the start of the load.
    pub due: Duration,
    /// What it asks.
    pub wish: Wish,
}

impl Planned {
    /// Its own name.
    pub fn id(&self) -> String {
        self.number.to_string()
    }
}

impl Schedule {
    /// `rate` requests a second, each somewhere within its own slot of time, so that none walk in step.
    pub fn new(seed: u64, rate: f64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), rate, number: 0 }
    }
}

impl Iterator for Schedule {
    type Item = Planned;

    fn next(&mut self) -> Option<Planned> {
        let slot = f64::from(self.number) + self.random.f64();
        let wish = Wish::draw(&mut self.random);
        self.number = self.number.checked_add(1)?;
        Some(Planned { number: self.number, due: Duration::from_secs_f64(slot / self.rate), wish })
    }
}

/// Calls `ask` with each request of `plan` when it is due, and with the moment from which the plan counts,
/// until the plan or `stop` ends; then waits for those under way, and returns.
pub async fn follow<F>(
    plan: impl Iterator<Item = Planned>,
    mut stop: oneshot::Receiver<()>,
    mut ask: impl FnMut(Planned, Instant) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let start = Instant::now();
    let mut under_way = JoinSet::new();
    for planned in plan {
        tokio::select! {
            biased;
            _ = &mut stop => break,
            () = sleep_until(start + planned.due) => {}
        }
        while under_way.try_join_next().is_some() {}
        under_way.spawn(ask(planned, start));
    }
    under_way.join_all().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(seed: u64, count: usize) -> Vec<Planned> {
        Schedule::new(seed, 300.0).take(count).collect()
    }

    #[test]
    fn a_seed_fixes_the_whole_schedule() {
        assert_eq!(planned(7, 1_000), planned(7, 1_000));
        assert_ne!(planned(7, 1_000), planned(8, 1_000));
    }

    #[test]
    fn requests_keep_the_rate_and_their_order_and_ask_for_everything() {
        let plan = planned(1, 3_000);
        assert!(plan.is_sorted_by_key(|planned| planned.due));
        for (second, due) in [(1, 300), (5, 1_500), (10, 3_000)] {
            let before = plan.iter().filter(|planned| planned.due < Duration::from_secs(second)).count();
            assert_eq!(before, due);
        }
        let count = |is: fn(&Wish) -> bool| plan.iter().filter(|planned| is(&planned.wish)).count();
        assert!((1_700..1_900).contains(&count(|wish| matches!(wish, Wish::Read))));
        assert!((500..700).contains(&count(|wish| matches!(wish, Wish::Create(_)))));
        assert!((230..370).contains(&count(|wish| matches!(wish, Wish::Slow(_)))));
        assert!((230..370).contains(&count(|wish| matches!(wish, Wish::Stream(_)))));
        let ids: std::collections::HashSet<_> = plan.iter().map(Planned::id).collect();
        assert_eq!(ids.len(), plan.len());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_is_sent_when_it_is_due_though_no_answer_comes() {
        let (done, stop) = oneshot::channel();
        let (sent, mut moments) = tokio::sync::mpsc::unbounded_channel();
        let ask = move |planned: Planned, start: Instant| {
            let _ = sent.send((start.elapsed(), planned.due));
            async { tokio::time::sleep(Duration::from_secs(60)).await }
        };
        follow(Schedule::new(1, 300.0).take(600), stop, ask).await;
        drop(done);
        let mut count = 0;
        while let Some((at, due)) = moments.recv().await {
            assert!(at <= due + Duration::from_millis(1), "{at:?} {due:?}");
            count += 1;
        }
        assert_eq!(count, 600);
    }
}
