//! Files that people name, read as far as they may be long: one on a device or a network may never end.

use std::io::{self, Read};

/// All that `input` has.
///
/// # Errors
/// When it cannot be read, and when it has more than `bytes_max`.
pub(super) fn read_within(input: impl Read, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = input.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if read as u64 > bytes_max {
        let words = format!("it is too long: accepted are up to {bytes_max} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, words));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_ends_is_read_up_to_the_bound_and_refused() {
        assert_eq!(read_within(&b"1234"[..], 4).unwrap(), b"1234");
        let said = read_within(io::repeat(b' '), 4).unwrap_err().to_string();
        assert_eq!(said, "it is too long: accepted are up to 4 bytes");
    }
}
