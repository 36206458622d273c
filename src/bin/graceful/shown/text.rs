//! Words as a terminal may see them.

use std::borrow::Cow;
use std::fmt::Write as _;
use tower_graceful::model::UnixMillis;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// `text` with everything written out that could steer a terminal or mislead who reads it: `\u{1b}`.
///
/// Names and metadata come from whoever may register; what they say must not move a cursor, name another
/// file to a terminal, or show itself backwards.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    text.chars()
        .fold(String::new(), |mut out, c| {
            if steers(c) {
                out.extend(c.escape_unicode());
            } else {
                out.push(c);
            }
            out
        })
        .into()
}

/// The same for words on several lines.
pub(crate) fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// The same for JSON, which stays the same value: such characters stand in its strings only, where every one
/// of them may be written as `\u001b`.
pub(crate) fn printable_json(json: &str) -> Cow<'_, str> {
    let hidden = |c: char| c != '\n' && steers(c); // Between values, where JSON is written for people.
    if !json.contains(hidden) {
        return Cow::Borrowed(json);
    }
    json.chars()
        .fold(String::new(), |mut out, c| {
            if hidden(c) {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}"); // Text takes whatever is written into it.
                }
            } else {
                out.push(c);
            }
            out
        })
        .into()
}

/// Control characters; what changes the direction of writing, or has no width; and tags.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// How long ago `then` was, in the largest unit that is full: `4 s`, `3 min`, `2 h`, `5 d`.
pub(crate) fn age(then: UnixMillis, now: UnixMillis) -> String {
    let seconds = now.since(then).as_secs();
    match seconds {
        0..MINUTE => format!("{seconds} s"),
        MINUTE..HOUR => format!("{} min", seconds / MINUTE),
        HOUR..DAY => format!("{} h", seconds / HOUR),
        DAY.. => format!("{} d", seconds / DAY),
    }
}

/// The time of day, in UTC: `07:04:05.012Z`.
pub(crate) fn clock_time(at: UnixMillis) -> String {
    let (seconds, ms) = (at.as_u64() / 1000 % DAY, at.as_u64() % 1000);
    let (hour, minute) = (seconds / HOUR, seconds % HOUR / MINUTE);
    format!("{hour:02}:{minute:02}:{:02}.{ms:03}Z", seconds % MINUTE)
}

/// `1 instance`, `2 instances`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_is_printed() {
        let hostile = "a\u{1b}[31mb\u{7}\u{9b}2J\u{202e}c\r\n\u{200b}\u{7f}";
        let shown = printable(hostile);
        assert_eq!(shown, "a\\u{1b}[31mb\\u{7}\\u{9b}2J\\u{202e}c\\u{d}\\u{a}\\u{200b}\\u{7f}");
        assert!(
            matches!(printable("gr\u{fc}n \u{6f22}\u{5b57}"), Cow::Borrowed(_)),
            "other scripts are read"
        );
    }

    #[test]
    fn json_that_is_printable_is_the_same_value() {
        let value = serde_json::json!({"\u{9b}k": "\u{1b}]0;x\u{7}\u{202e}\u{e0041}\u{7f}\u{fc}"});
        let json = serde_json::to_string_pretty(&value).unwrap();
        let shown = printable_json(&json);
        assert!(!shown.contains(|c| c != '\n' && steers(c)), "{shown:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }

    #[test]
    fn the_time_of_day_is_that_of_utc() {
        assert_eq!(clock_time(UnixMillis::new(1_732_060_801_012)), "00:00:01.012Z");
        assert_eq!(clock_time(UnixMillis::new(1_732_060_799_999)), "23:59:59.999Z");
    }

    #[test]
    fn an_age_is_told_in_its_largest_full_unit() {
        let now = 1_000_000_000;
        let told = |then| age(UnixMillis::new(then), UnixMillis::new(now));
        for (ms, expected) in [(999, "0 s"), (59_999, "59 s"), (60_000, "1 min"), (7_200_000, "2 h")] {
            assert_eq!(told(now - ms), expected);
        }
        assert_eq!(told(0), "11 d");
        assert_eq!(told(now + 5), "0 s", "of a clock that is ahead");
    }
}
