//! Who sends the heartbeats of an instance: so that one can be found that outlived its instance.

use crate::model::UnixMillis;
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

/// Senders that are told apart for one instance: a second one is the news, a fifth is not.
const SENDERS_MAX: usize = 4;
/// Characters that are kept of what a sender calls itself.
const AGENT_CHARS_MAX: usize = 128;
/// Names that are shared: more than there are clients and their versions. One beyond that is kept by itself.
const AGENTS_MAX: usize = 1000;

/// Whoever sent a request over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sender {
    pub(crate) ip: IpAddr,
    /// Its `User-Agent`; empty when it says none.
    pub(crate) agent: Arc<str>,
}

impl Sender {
    /// The sender at `ip` that calls itself `agent`.
    pub(crate) fn new(ip: IpAddr, agent: &str) -> Self {
        let end = agent.char_indices().nth(AGENT_CHARS_MAX).map_or(agent.len(), |(at, _)| at);
        Self { ip: ip.to_canonical(), agent: agent[..end].into() }
    }
}

/// The names of senders, each kept once: thousands of instances send the same.
#[derive(Debug, Default)]
pub(crate) struct Agents(HashSet<Arc<str>>);

impl Agents {
    /// The same sender, with the text of its name that others have.
    pub(crate) fn share(&mut self, sender: Sender) -> Sender {
        if let Some(agent) = self.0.get(&sender.agent) {
            return Sender { agent: agent.clone(), ..sender };
        }
        if self.0.len() < AGENTS_MAX {
            self.0.insert(sender.agent.clone());
        }
        sender
    }

    /// Forgets the names that nobody has any more.
    pub(crate) fn tidy(&mut self) {
        self.0.retain(|agent| Arc::strong_count(agent) > 1);
    }
}

/// The last senders for one instance, in the order in which they were first heard.
#[derive(Debug, Default)]
pub(crate) struct Senders(Vec<Heard>);

/// When a sender was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) sender: Sender,
    pub(crate) since: UnixMillis,
    pub(crate) last: UnixMillis,
}

impl Senders {
    /// Notes that `sender` was heard; of too many the one that has been silent for longest is forgotten.
    pub(crate) fn hear(&mut self, sender: Sender, now: UnixMillis) {
        if let Some(heard) = self.0.iter_mut().find(|heard| heard.sender == sender) {
            heard.last = now;
            return;
        }
        if self.0.len() == SENDERS_MAX {
            let silent = self.0.iter().enumerate().min_by_key(|(_, heard)| heard.last);
            silent.map(|(at, _)| at).map(|at| self.0.remove(at));
        }
        self.0.reserve_exact(1); // Mostly there is one, of each of a hundred thousand instances.
        self.0.push(Heard { sender, since: now, last: now });
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[Heard] {
        &self.0
    }

    /// Who was heard last.
    pub(crate) fn last(&self) -> Option<&Sender> {
        self.0.iter().max_by_key(|heard| heard.last).map(|heard| &heard.sender)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn sender(host: u8) -> Sender {
        Sender::new(Ipv4Addr::new(10, 0, 0, host).into(), "curl/8")
    }

    #[test]
    fn a_few_senders_are_told_apart_and_the_silent_ones_forgotten() {
        let mut senders = Senders::default();
        let at = UnixMillis::new;
        for (now, host) in [(1, 1), (2, 2), (3, 1), (4, 3), (5, 4), (6, 5)] {
            senders.hear(sender(host), at(now));
        }
        let hosts = [1, 3, 4, 5].map(sender);
        assert!(senders.all().iter().map(|heard| &heard.sender).eq(&hosts));
        assert_eq!(senders.all()[0], Heard { sender: sender(1), since: at(1), last: at(3) });
        assert_eq!(senders.last(), Some(&sender(5)));
        senders.hear(sender(1), at(7));
        assert_eq!((senders.all().len(), senders.last()), (4, Some(&sender(1))));
    }

    #[test]
    fn a_name_is_kept_once_for_as_long_as_a_sender_has_it() {
        let mut agents = Agents::default();
        let [first, second] = [1, 2].map(|host| agents.share(sender(host)));
        assert!(Arc::ptr_eq(&first.agent, &second.agent));
        drop(first);
        agents.tidy();
        assert_eq!(agents.0.len(), 1);
        drop(second);
        agents.tidy();
        assert_eq!(agents.0.len(), 0);
        for n in 0..2 * AGENTS_MAX {
            agents.share(Sender::new(sender(1).ip, &n.to_string()));
        }
        assert_eq!(agents.0.len(), AGENTS_MAX);
    }

    #[test]
    fn a_sender_is_known_by_its_address_in_either_notation_and_the_beginning_of_its_name() {
        let mapped = Sender::new("::ffff:10.0.0.1".parse().unwrap(), &"\u{fc}".repeat(1000));
        assert_eq!((mapped.ip, mapped.agent.chars().count()), (sender(1).ip, AGENT_CHARS_MAX));
    }
}
