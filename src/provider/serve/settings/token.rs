//! The secret that `/offline` asks for.

use super::super::error::InvalidSetting;
use std::fmt;

/// A shorter token is guessed in a day over a fast network.
const TOKEN_CHARS_MIN: usize = 16;

/// A secret that never shows in logs.
#[derive(Clone)]
pub(in crate::provider::serve) struct Token(Box<str>);

impl Token {
    pub(super) fn new(setting: &'static str, token: &str) -> Result<Self, InvalidSetting> {
        let chars = token.chars().count();
        let given = if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            "a token with blanks, or with characters beyond ASCII".to_owned()
        } else if chars < TOKEN_CHARS_MIN {
            format!("a token of {chars} characters")
        } else {
            return Ok(Self(token.into()));
        };
        let accepted = format_args!("one of {TOKEN_CHARS_MIN} or more visible ASCII characters");
        Err(InvalidSetting::new(setting, given, accepted))
    }

    /// Takes the same time wherever the first difference lies.
    pub(in crate::provider::serve) fn is(&self, given: &str) -> bool {
        let differences = self.0.bytes().zip(given.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
        self.0.len() == given.len() && differences == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}
