//! When a leaving instance may go: the fade, if there is one, and the lame duck.
//!
//! While it fades, it stays on the list and hands its load over bit by bit. Then it is a lame duck.
//! The port stays open and everything is served, until nobody can be expected to call any more: the
//! deregistration is acknowledged or has failed, no request has begun for the quiet period, and every
//! recent caller has been told. Where that does not come about, a limit ends it.

#[cfg(feature = "notice")]
use super::notify::notify;
use super::process::Process;
use super::register::Registration;
use crate::model::Leaving;
use std::future::pending;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::SetOnce;
use tokio::time::{self, Instant, MissedTickBehavior};

/// Quiet is measured by looking at the count of requests this many times in each quiet period: no request
/// pays for a look at the clock.
const LOOKS_PER_QUIET_PERIOD: u32 = 10;
/// How long callers may take to hear it from us first: those that take notices always, the others where the
/// registry does not hear of them. It tells consumers within milliseconds, and a consumer that has turned away
/// gets no answer any more that could tell us that it knows: this order is what lets the lame duck end when
/// they all do, instead of at its limit.
const TELL_FIRST: Duration = Duration::from_millis(200);
/// The longest part of the lame duck that goes to this: where little time is given, the registry needs the rest.
const TELL_FIRST_SHARE: u32 = 2;
/// How often to look whether they have.
const TELL_FIRST_LOOK: Duration = Duration::from_millis(5);
/// How long the registry is given to take the instance off where the lame duck is shorter: an instance that is
/// still listed when its port closes goes on being called. One that is deaf holds up nothing beyond this.
const TAKEN_OFF_WITHIN: Duration = Duration::from_millis(500);

/// Announces that the instance leaves, and returns when its load is with others: when the fade is over.
pub(super) async fn fade(process: &Process, registration: &Registration<'_>) {
    let fade = process.settings.pace.leave_fade;
    if fade.is_zero() {
        return;
    }
    tracing::info!(?fade, "fading");
    let announced = async {
        let leaving = Leaving { since: process.settings.clock.now(), fade };
        tokio::join!(registration.announce_leaving(leaving), notify(process, registration, fade));
        pending::<()>().await;
    };
    // Dropped when it is over, so that nothing registers the instance once it is taken off the list.
    let _ = time::timeout(fade, announced).await;
}

/// Takes the instance off the list, and returns when it may go, latest after `limit` and when the registry has
/// had a moment to take it off.
pub(super) async fn lame_duck(process: &Process, registration: &Registration<'_>, limit: Duration) {
    let (began, taken_off) = (Instant::now(), SetOnce::new());
    let calm = async {
        let notified = SetOnce::new();
        // Who has faded has sent its notices; these are for those that have called since.
        let notices = async {
            notify(process, registration, Duration::ZERO).await;
            let _ = notified.set(()); // Set here alone.
        };
        let removal = async {
            let within = TELL_FIRST.min(limit / TELL_FIRST_SHARE);
            // Whoever is left hears it from the registry.
            let _ = time::timeout(within, callers_are_told(process, registration, &notified)).await;
            process.callers.know(&registration.leave().await.callers);
            let _ = taken_off.set(()); // Set here alone.
        };
        let mut deregistration = pin!(async { tokio::join!(notices, removal) });
        let mut deregistered = false;
        let quiet_period = process.settings.pace.quiet_period;
        let mut quiet = Quiet::new(process.in_flight.begun(), Instant::now());
        let mut looks = time::interval(quiet_period / LOOKS_PER_QUIET_PERIOD);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = &mut deregistration, if !deregistered => deregistered = true,
                now = looks.tick() => {
                    let is_quiet = quiet.lasts(process.in_flight.begun(), now) >= quiet_period;
                    if deregistered && is_quiet && process.callers.untold() == 0 {
                        return;
                    }
                }
            }
        }
    };
    let time_is_up = async {
        time::sleep_until(began + limit).await;
        let at_least = TAKEN_OFF_WITHIN.min(process.settings.pace.drain_timeout);
        let _ = time::timeout_at(began + at_least, taken_off.wait()).await; // Over already, mostly.
    };
    tokio::select! {
        biased;
        () = calm => {}
        () = time_is_up => {
            let untold = process.callers.untold();
            tracing::warn!(untold, ?limit, "consumers still call, or have not been told: time is up");
        }
    }
}

/// Without the feature nobody is sent anything.
#[cfg(not(feature = "notice"))]
fn notify(_: &Process, _: &Registration<'_>, _: Duration) -> std::future::Ready<()> {
    std::future::ready(())
}

/// Waits until callers have heard it from us, while this instance is still on their lists: of others they take
/// no notices.
async fn callers_are_told(process: &Process, registration: &Registration<'_>, notified: &SetOnce<()>) {
    notified.wait().await;
    while !registration.hears_of_consumers() && process.callers.untold() > 0 {
        time::sleep(TELL_FIRST_LOOK).await;
    }
}

/// Since when no request has begun, as far as looks at their count can tell.
#[derive(Debug)]
struct Quiet {
    begun: u64,
    since: Instant,
}

impl Quiet {
    fn new(begun: u64, now: Instant) -> Self {
        Self { begun, since: now }
    }

    /// How long it has been quiet at `now`, `begun` requests having begun in all.
    fn lasts(&mut self, begun: u64, now: Instant) -> Duration {
        if begun != self.begun {
            *self = Self::new(begun, now);
        }
        now - self.since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_begins_anew_with_every_request() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let mut quiet = Quiet::new(7, start);
        assert_eq!(quiet.lasts(7, after(400)), Duration::from_millis(400));
        assert_eq!(quiet.lasts(8, after(450)), Duration::ZERO);
        assert_eq!(quiet.lasts(8, after(900)), Duration::from_millis(450));
    }
}
