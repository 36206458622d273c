//! Who guesses passwords has to wait, longer each time.
//!
//! Pure: moments come in as arguments. An attempt is counted as a failure when it begins and taken back when
//! it succeeds, so that many at one time are no way around. Whether a user exists makes no difference.

use super::user::UserName;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;
use tokio::time::Instant;

/// Failures of one user from one source before somebody has to wait: a person who tries a few passwords.
const FREE_OF_USER: u32 = 5;
/// The same of all users from one source together: whoever tries one password on many names. A program with a
/// wrong password does not come near, because it waits as that user does.
const FREE_OF_SOURCE: u32 = 50;
/// The first wait, doubled with every further failure.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest one: a hundred guesses a day.
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);
/// When failures are forgotten, after the last one: twice the longest wait.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30 * 60);
/// Users and sources that are known at one time; of more, those that failed longest ago are forgotten. About a
/// megabyte.
const KNOWN_MAX: usize = 10_000;

/// What is counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    User(Option<UserName>, IpAddr),
    Source(IpAddr),
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Instant,
}

/// The failures of the last half hour.
#[derive(Debug, Default)]
pub(crate) struct Lockout {
    known: HashMap<Subject, Failures>,
}

impl Lockout {
    /// Begins an attempt, and counts it as failed until [`Lockout::succeeded`].
    ///
    /// # Errors
    /// With the time that is to be waited. Then nothing was begun, and nothing is counted.
    pub(crate) fn begin(
        &mut self,
        user: Option<&UserName>,
        source: IpAddr,
        now: Instant,
    ) -> Result<(), Duration> {
        let subjects = subjects(user, source);
        let waits = subjects.iter().filter_map(|subject| self.wait(subject, now));
        if let Some(longest) = waits.max() {
            return Err(longest);
        }
        for subject in subjects {
            let count = self.fresh(&subject, now).map_or(0, |failures| failures.count);
            if !self.known.contains_key(&subject) {
                self.make_room(now);
            }
            self.known.insert(subject, Failures { count: count.saturating_add(1), last: now });
        }
        Ok(())
    }

    /// Ends an attempt that succeeded: the user's failures are forgotten, and the source has one less.
    pub(crate) fn succeeded(&mut self, user: &UserName, source: IpAddr) {
        let [of_user, of_source] = subjects(Some(user), source);
        self.known.remove(&of_user);
        if let Some(failures) = self.known.get_mut(&of_source) {
            failures.count = failures.count.saturating_sub(1);
        }
    }

    /// Ends an attempt of which nothing came, right or wrong: it is counted no more.
    pub(crate) fn came_to_nothing(&mut self, user: Option<&UserName>, source: IpAddr) {
        for subject in subjects(user, source) {
            if let Some(failures) = self.known.get_mut(&subject) {
                failures.count = failures.count.saturating_sub(1);
            }
        }
    }

    fn wait(&self, subject: &Subject, now: Instant) -> Option<Duration> {
        let Failures { count, last } = self.fresh(subject, now)?;
        let free = match subject {
            Subject::User(..) => FREE_OF_USER,
            Subject::Source(_) => FREE_OF_SOURCE,
        };
        let doublings = count.checked_sub(free)?.min(16);
        let until = last + (FIRST_WAIT * (1 << doublings)).min(LONGEST_WAIT);
        Some(until.saturating_duration_since(now)).filter(|wait| !wait.is_zero())
    }

    fn fresh(&self, subject: &Subject, now: Instant) -> Option<Failures> {
        let failures = self.known.get(subject).copied();
        failures.filter(|failures| now.saturating_duration_since(failures.last) < FORGOTTEN_AFTER)
    }

    fn make_room(&mut self, now: Instant) {
        if self.known.len() < KNOWN_MAX {
            return;
        }
        self.known.retain(|_, failures| now.saturating_duration_since(failures.last) < FORGOTTEN_AFTER);
        if self.known.len() >= KNOWN_MAX {
            let oldest = self.known.iter().min_by_key(|(_, failures)| failures.last);
            let oldest = oldest.map(|(subject, _)| subject.clone());
            oldest.map(|subject| self.known.remove(&subject));
        }
    }
}

/// A name that nobody can have counts as one name.
fn subjects(user: Option<&UserName>, source: IpAddr) -> [Subject; 2] {
    let source = network(source);
    [Subject::User(user.cloned(), source), Subject::Source(source)]
}

/// One machine has 2^64 addresses of version 6, and counts as one.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        IpAddr::V4(address) => address.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn name(text: &str) -> UserName {
        text.parse().unwrap()
    }

    #[test]
    fn waits_grow_with_each_failure_up_to_the_longest_and_end() {
        let (mut lockout, mut now) = (Lockout::default(), Instant::now());
        let ann = name("ann");
        for _ in 0..FREE_OF_USER {
            assert_eq!(lockout.begin(Some(&ann), ip("10.0.0.1"), now), Ok(()));
        }
        let mut waits = Vec::new();
        for _ in 0..12 {
            let wait = lockout.begin(Some(&ann), ip("10.0.0.1"), now).unwrap_err();
            waits.push(wait.as_secs());
            now += wait.saturating_sub(Duration::from_millis(1));
            assert!(lockout.begin(Some(&ann), ip("10.0.0.1"), now).is_err(), "not a moment earlier");
            now += Duration::from_millis(1);
            assert_eq!(lockout.begin(Some(&ann), ip("10.0.0.1"), now), Ok(()));
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
        now += FORGOTTEN_AFTER;
        for _ in 0..FREE_OF_USER {
            assert_eq!(lockout.begin(Some(&ann), ip("10.0.0.1"), now), Ok(()));
        }
    }

    #[test]
    fn a_success_takes_the_failures_back_and_others_are_not_held_up() {
        let (mut lockout, now) = (Lockout::default(), Instant::now());
        let (ann, bob) = (name("ann"), name("bob"));
        for _ in 0..FREE_OF_USER {
            lockout.begin(Some(&ann), ip("10.0.0.1"), now).unwrap();
        }
        assert!(lockout.begin(Some(&ann), ip("::ffff:10.0.0.1"), now).is_err(), "either notation");
        assert_eq!(lockout.begin(Some(&ann), ip("10.0.0.2"), now), Ok(()), "from elsewhere");
        assert_eq!(lockout.begin(Some(&bob), ip("10.0.0.1"), now), Ok(()), "somebody else");
        lockout.succeeded(&ann, ip("10.0.0.1"));
        assert_eq!(lockout.begin(Some(&ann), ip("10.0.0.1"), now), Ok(()));
        for _ in 0..1000 {
            lockout.begin(Some(&bob), ip("10.0.0.3"), now).unwrap();
            lockout.succeeded(&bob, ip("10.0.0.3"));
        }
    }

    #[test]
    fn what_the_registry_could_not_look_at_is_no_failure() {
        let (mut lockout, now) = (Lockout::default(), Instant::now());
        for _ in 0..1000 {
            lockout.begin(Some(&name("ann")), ip("10.0.0.1"), now).unwrap();
            lockout.came_to_nothing(Some(&name("ann")), ip("10.0.0.1"));
        }
    }

    #[test]
    fn one_password_on_many_names_has_to_wait_too() {
        let (mut lockout, now) = (Lockout::default(), Instant::now());
        let tries = |lockout: &mut Lockout, n: u32| {
            let from = format!("2001:db8::{n:x}"); // Each from another address of one network.
            lockout.begin(Some(&name(&format!("u{n}"))), ip(&from), now)
        };
        assert!((0..FREE_OF_SOURCE).all(|n| tries(&mut lockout, n).is_ok()));
        assert_eq!(tries(&mut lockout, FREE_OF_SOURCE), Err(FIRST_WAIT));
    }

    #[test]
    fn a_flood_of_sources_takes_bounded_room_and_drives_out_the_oldest() {
        let (mut lockout, start) = (Lockout::default(), Instant::now());
        for n in 0..u32::try_from(KNOWN_MAX).unwrap() {
            let source = std::net::Ipv4Addr::from_bits(n).into();
            lockout.begin(None, source, start + Duration::from_millis(n.into())).unwrap();
        }
        assert_eq!(lockout.known.len(), KNOWN_MAX);
        let newest = network(std::net::Ipv4Addr::from_bits(u32::try_from(KNOWN_MAX).unwrap() - 1).into());
        assert!(lockout.known.contains_key(&Subject::Source(newest)));
        assert!(!lockout.known.contains_key(&Subject::Source(ip("0.0.0.0"))));
    }
}
