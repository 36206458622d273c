//! What a leaving instance says in its registration.

use super::UnixMillis;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Since when an instance leaves, and over what time its weight falls to zero: `1732060800000;20`.
///
/// ```
/// # use std::time::Duration;
/// use tower_graceful::model::{Leaving, UnixMillis};
/// let leaving: Leaving = "1732060800000;20".parse().unwrap();
/// assert_eq!(leaving.since, UnixMillis::new(1_732_060_800_000));
/// assert_eq!(leaving.fade, Duration::from_secs(20));
/// assert_eq!(leaving.to_string(), "1732060800000;20");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// When it began to leave.
    pub since: UnixMillis,
    /// Time over which its weight falls to zero, in a straight line; zero takes it out at once.
    pub fade: Duration,
}

impl fmt::Display for Leaving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};{}", self.since, self.fade.as_secs_f64())
    }
}

impl FromStr for Leaving {
    type Err = ();

    /// Reads leniently: without a fade that reads, the instance is out at once, for that it leaves is clear.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (since, fade) = text.split_once(';').unwrap_or((text, ""));
        let fade = fade.trim().parse().ok().and_then(|fade| Duration::try_from_secs_f64(fade).ok());
        Ok(Self { since: since.parse().map_err(drop)?, fade: fade.unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_it_leaves_counts_even_where_the_fade_does_not_read() {
        let leaving = |fade| Ok(Leaving { since: UnixMillis::new(7), fade: Duration::from_millis(fade) });
        for (text, read) in [
            ("7;20", leaving(20_000)),
            (" 7 ; 0.5 ", leaving(500)),
            ("7", leaving(0)),
            ("7;", leaving(0)),
            ("7;soon", leaving(0)),
            ("7;-1", leaving(0)),
            ("7;NaN", leaving(0)),
            ("7;1e99", leaving(0)),
            ("", Err(())),
            ("true", Err(())),
            (";20", Err(())),
        ] {
            assert_eq!(text.parse(), read, "{text:?}");
        }
    }
}
