//! Numbers as people say them.

use super::facts::Facts;
use crate::model::{Reason, UnixMillis};
use crate::registry::access::Operator;
use crate::registry::events::By;
use crate::registry::traffic::KEPT_SECONDS;
use std::time::Duration;

/// `1 instance`, `2 instances`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// `0.9 s`, `48 s`, `3 min`, `3 min 20 s`, `2 h 5 min`.
pub(super) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", span.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// `48 s ago`.
pub(super) fn ago(now: UnixMillis, at: UnixMillis) -> String {
    format!("{} ago", span(now.since(at)))
}

/// The part of the time that is looked at of which requests are known.
pub(super) fn lately(facts: &Facts) -> String {
    let looked_at = facts.now.since(facts.since);
    format!("in the last {}", span(looked_at.min(Duration::from_secs(KEPT_SECONDS))))
}

/// A name as it stands in the query of a URL, where it can say nothing else, neither there nor to a shell.
pub(super) fn encoded(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let letter = |byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    name.bytes().map(letter).collect()
}

/// Who brought something about, by all that is known.
pub(super) fn by(by: &By) -> String {
    match by {
        By::Connection(id, peer) => {
            let app = if peer.app.is_empty() { "a client without a name" } else { &peer.app };
            format!("{app} at {} over connection {}", peer.address, id.0)
        }
        By::Http(Some(sender)) if sender.agent.is_empty() => format!("{} over HTTP", sender.ip),
        By::Http(Some(sender)) => format!("{} over HTTP ({})", sender.ip, sender.agent),
        By::Http(None) => "somebody over HTTP".to_owned(),
        By::Operator(Some(Operator::User(user))) => format!("the operator {user}"),
        By::Operator(Some(Operator::At(whence))) => format!("an {whence}"),
        By::Operator(None) => "an operator".to_owned(),
        By::Storage => "the registry's storage".to_owned(),
    }
}

/// A way to go off the list.
pub(super) fn gone(reason: Reason) -> &'static str {
    match reason {
        Reason::Deregistered => "was deregistered",
        Reason::Disabled => "was disabled",
        Reason::Expired => "expired",
        Reason::ConnectionLost => "went with its connection",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_as_long_as_they_are() {
        let said = [400, 48_900, 200_000, 7_500_000].map(|ms| span(Duration::from_millis(ms)));
        assert_eq!(said, ["0.4 s", "48 s", "3 min 20 s", "2 h 5 min"]);
        assert_eq!(encoded("a'; $(b)"), "a%27%3B%20%24%28b%29");
        assert_eq!([counted(1, "instance"), counted(0, "instance")], ["1 instance", "0 instances"]);
    }
}
