//! Which of the names that there are somebody may have meant.

/// The name that takes the fewest letters to be changed; nothing where there are no names.
pub(super) fn nearest<'a>(given: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names.min_by_key(|name| distance(given, name))
}

/// How many letters have to be put in, taken out or replaced to make one of the other.
pub(super) fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    // Of what has been read of `a` to each beginning of `b`.
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (read, a) in a.chars().enumerate() {
        let mut before = row[0]; // The one to the left in the row above.
        row[0] = read + 1;
        for (at, b) in b.iter().enumerate() {
            let replaced = before + usize::from(a != *b);
            before = row[at + 1];
            row[at + 1] = replaced.min(row[at] + 1).min(before + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_counted_that_differ() {
        for (a, b, wanted) in [
            ("", "", 0),
            ("bind", "bind", 0),
            ("bimd", "bind", 1),
            ("", "ab", 2),
            ("http-prot", "http-port", 2),
            ("port", "http-port", 5),
        ] {
            assert_eq!((distance(a, b), distance(b, a)), (wanted, wanted), "{a} {b}");
        }
        assert_eq!(nearest("http-prot", ["bind", "http-port", "grpc-port"].into_iter()), Some("http-port"));
    }
}
