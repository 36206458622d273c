//! How long after its start this process registers.
//!
//! Its own setting says so, unless an operator has said it of the service: who is about to register finds that in
//! the registry's list of the service, which it follows from here on anyway. The registry is asked while the
//! application prepares itself; one that is slow or away is not waited for beyond [`ANSWERED_WITHIN`], and of one
//! that does not tell (a real Nacos) the first list says so.

use super::process::Process;
use crate::model::{Snapshot, Source, key};
use crate::naming::Snapshots;
use crate::observe::ProviderEvent;
use std::future::pending;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{self, Instant};

/// The longest delay that can be set, by whomever: who waits longer has forgotten it.
pub(crate) const DELAY_MAX: Duration = Duration::from_secs(600);
/// How long after the start the registry is waited for: a healthy one answers within milliseconds, and one that
/// is away makes the registration wait by itself.
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);

/// What the registry says of the delay.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Word {
    /// Nothing yet.
    #[default]
    Awaited,
    /// That it is this process's own affair.
    None,
    /// An operator's.
    Said(Duration),
}

impl Word {
    /// Reads it from the list of the service. What cannot be followed says nothing.
    fn of(list: &Snapshot) -> Self {
        let seconds = list.setting(key::DELAY).and_then(|text| text.trim().parse().ok());
        let delay = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        delay.filter(|delay| *delay <= DELAY_MAX).map_or(Self::None, Self::Said)
    }

    /// How long after the start the registration may be, where this process's `own` setting is given.
    fn holds_until(self, own: Duration) -> Duration {
        match self {
            Self::Awaited => own.max(ANSWERED_WITHIN),
            Self::None => own,
            Self::Said(delay) => delay,
        }
    }

    /// What the start waits for.
    fn waits_for(self) -> &'static str {
        match self {
            Self::Awaited => "the registry to say when to register",
            Self::None => "the delay before the registration",
            Self::Said(_) => "the delay before the registration, which an operator has set",
        }
    }
}

/// Waits until it is time to register, by what the registry says meanwhile; `began` is the start.
pub(super) async fn delay(process: &Process, began: Instant, mut word: watch::Receiver<Word>) {
    let own = process.settings.register_after;
    loop {
        let now = *word.borrow_and_update();
        let until = began + now.holds_until(own);
        if until <= Instant::now() {
            return;
        }
        // Where the own delay is not over, that is what a person is told of.
        let awaited = if now == Word::Awaited && began + own > Instant::now() { Word::None } else { now };
        process.wait_for(awaited.waits_for());
        tokio::select! {
            () = time::sleep_until(until) => {}
            Ok(()) = word.changed() => {}
        }
    }
}

/// Hands on what the `list` of the service says once it comes, if it does. Never resolves.
pub(super) async fn listen(
    process: &Process,
    list: impl Future<Output = Option<Snapshots>>,
    word: &watch::Sender<Word>,
) {
    let Some(mut list) = list.await else {
        word.send_replace(Word::None);
        return pending().await;
    };
    let own = process.settings.register_after.as_secs_f64().to_string();
    let (mut latest, mut before) = (list.latest(), Word::None);
    loop {
        let now = Word::of(&latest);
        if now != before {
            let said = latest.setting(key::DELAY).filter(|_| now != Word::None);
            process.note(&ProviderEvent::SettingChanged {
                key: key::DELAY,
                own: Some(&own),
                counts: Some(said.unwrap_or(&own)),
                source: said.map(|_| Source::Service),
            });
        }
        word.send_replace(now);
        before = now;
        latest = list.changed().await;
    }
}

#[cfg(test)]
#[cfg(feature = "protocol")]
mod tests {
    use super::*;
    use crate::model::Sources;
    use crate::naming::Publisher;
    use crate::provider::Provider;
    use std::future::ready;
    use std::sync::Arc;

    const OWN: Duration = Duration::from_secs(10);

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn saying(delay: &str) -> Snapshot {
        let settings = [(key::DELAY, delay)].into_iter().collect();
        let list = Snapshot::new("orders".parse().unwrap(), 1, Vec::new());
        list.with_sources(Sources { settings, ..Sources::default() })
    }

    fn process(own: Duration) -> Arc<Process> {
        Provider::builder("orders").without_signals().register_after(own).build().unwrap().into_process()
    }

    fn waits_for(process: &Process) -> &'static str {
        process.progress.borrow().waiting_for.unwrap_or_default()
    }

    /// How long after the start it is time, where `list` comes.
    async fn waited(own: Duration, list: impl Future<Output = Option<Snapshots>>) -> Duration {
        let (process, word, began) = (process(own), watch::Sender::default(), Instant::now());
        tokio::select! {
            () = delay(&process, began, word.subscribe()) => {}
            () = listen(&process, list, &word) => {}
        }
        began.elapsed()
    }

    #[test]
    fn an_operator_counts_more_than_the_process_and_what_cannot_be_followed_is_nothing() {
        for (said, word) in [
            ("30", Word::Said(secs(30))),
            (" 0 ", Word::Said(Duration::ZERO)),
            ("2.5", Word::Said(Duration::from_millis(2500))),
            ("600", Word::Said(DELAY_MAX)),
            ("600.1", Word::None),
            ("-1", Word::None),
            ("NaN", Word::None),
            ("soon", Word::None),
        ] {
            assert_eq!(Word::of(&saying(said)), word, "{said:?}");
        }
        assert_eq!(Word::of(&Snapshot::empty("orders".parse().unwrap())), Word::None);
        assert_eq!(Word::Said(secs(30)).holds_until(OWN), secs(30));
        assert_eq!(Word::Said(Duration::ZERO).holds_until(OWN), Duration::ZERO);
        assert_eq!(Word::None.holds_until(OWN), OWN);
        assert_eq!(Word::Awaited.holds_until(OWN), OWN);
        assert_eq!(Word::Awaited.holds_until(Duration::ZERO), ANSWERED_WITHIN);
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_has_no_word_costs_no_time_and_one_that_is_slow_a_little() {
        let (publisher, list) = Publisher::new("orders".parse().unwrap());
        publisher.publish(Snapshot::new("orders".parse().unwrap(), 1, Vec::new()));
        assert_eq!(waited(Duration::ZERO, ready(Some(list.clone()))).await, Duration::ZERO);
        assert_eq!(waited(Duration::ZERO, ready(None)).await, Duration::ZERO);
        assert_eq!(waited(OWN, ready(Some(list))).await, OWN);
        assert_eq!(waited(OWN, ready(None)).await, OWN);
        assert!(waited(Duration::ZERO, pending()).await.abs_diff(ANSWERED_WITHIN) < secs(1) / 100);
        assert!(waited(OWN, pending()).await.abs_diff(OWN) < secs(1) / 100);
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_operator_changes_counts_while_a_process_waits() {
        let (publisher, list) = Publisher::new("orders".parse().unwrap());
        publisher.publish(saying("300"));
        let (process, word, began) = (process(OWN), watch::Sender::default(), Instant::now());
        let operator = async {
            time::sleep(secs(20)).await;
            assert_eq!(waits_for(&process), "the delay before the registration, which an operator has set");
            publisher.publish(saying("40"));
            pending::<()>().await;
        };
        tokio::select! {
            () = delay(&process, began, word.subscribe()) => {}
            () = listen(&process, ready(Some(list.clone())), &word) => {}
            () = operator => {}
        }
        assert_eq!(began.elapsed().as_secs(), 40);
        publisher.publish(saying("0"));
        assert_eq!(waited(OWN, ready(Some(list))).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn readiness_says_what_is_waited_for_before_the_registry_has_said_anything() {
        for (own, what) in [
            (Duration::ZERO, "the registry to say when to register"),
            (OWN, "the delay before the registration"),
        ] {
            let (process, word) = (process(own), watch::Sender::default());
            let delayed = delay(&process, Instant::now(), word.subscribe());
            assert!(time::timeout(Duration::from_millis(1), delayed).await.is_err());
            assert_eq!(waits_for(&process), what);
        }
    }
}
