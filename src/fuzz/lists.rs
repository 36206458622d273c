//! Lists that a registry sends, and what a consumer makes of them.

use crate::Clock;
use crate::client::fuzz::Follower;
use crate::consumer::Balance;
use crate::consumer::balance::BalanceLayer;
use crate::model::{ServiceKey, UnixMillis};
use crate::naming::Publisher;
use std::time::Duration;
use tokio::runtime;
use tokio::time::advance;

/// Lists of one input that are read.
const LISTS_MAX: usize = 16;
/// Between two of them: an instance that is missing without an order is believed in for four.
const PAUSE: Duration = Duration::from_secs(15);

/// Lists of one service as JSON, a line each: the answer to the question for it, and then pushes. A line `!`
/// is a new connection, after which the next list is an answer again. Whatever they say, the shares of the
/// load are shares, and somebody is chosen where anybody can be.
pub(super) fn lists(input: &[u8]) {
    let runtime = runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a thread can have a runtime").block_on(async {
        let service: ServiceKey = "orders".parse().expect("a name");
        let (publisher, snapshots) = Publisher::new(service.clone());
        let (clock, hand) = Clock::manual(UnixMillis::new(1_732_060_800_000));
        let balance = BalanceLayer::new(snapshots).with_clock(clock).over(|_| ());
        let (mut follower, mut answered) = (Follower::new(service), false);
        for line in input.split(|&byte| byte == b'\n').take(LISTS_MAX) {
            if line == b"!" {
                follower.reconnect();
                answered = false;
                continue;
            }
            for believed in follower.hear(line, answered) {
                publisher.publish(believed);
                look(&balance);
            }
            answered = true;
            advance(PAUSE).await;
            hand.advance(PAUSE);
            look(&balance);
        }
    });
}

fn look(balance: &Balance<()>) {
    let view = balance.view();
    let shares: f64 = view.instances.iter().map(|instance| instance.share).sum();
    assert!(shares == 0.0 || (shares - 1.0).abs() < 1e-6, "shares of {shares} in all:\n{view}");
    for instance in &view.instances {
        let fine = [instance.share, instance.factor].iter().all(|part| (0.0..=1.0).contains(part));
        assert!(fine, "{instance:?}");
    }
    let picked = balance.pick();
    assert_eq!(picked.is_ok(), shares > 0.0, "{picked:?}:\n{view}");
    if let Ok(pick) = picked {
        pick.uri("/").expect("an address that can be called");
    }
}
