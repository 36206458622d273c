//! Structured fields (RFC 9651), as far as our headers need them: a string with parameters.

use http::HeaderValue;
use std::fmt::{self, Write as _};

/// A parameter, if there is one: `;app="storefront"`.
pub(super) struct Parameter<'a>(pub(super) &'static str, pub(super) Option<Quoted<'a>>);

impl fmt::Display for Parameter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name, value) = self;
        value.as_ref().map_or(Ok(()), |value| write!(f, ";{name}={value}"))
    }
}

/// Text as an RFC 9651 string; characters outside visible ASCII become `?`.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                ' '..='~' => f.write_char(c)?,
                _ => f.write_char('?')?,
            }
        }
        f.write_char('"')
    }
}

/// A structured-field item whose bare item is a string.
pub(super) struct Item {
    pub(super) text: String,
    parameters: Vec<(String, Bare)>,
}

enum Bare {
    Integer(i64),
    String(String),
    /// A kind of value that none of our headers uses; skipped, so that a later version may add one.
    Other,
}

/// More parameters than this make a value foreign.
const PARAMETERS_MAX: usize = 16;

impl Item {
    pub(super) fn parse(value: &HeaderValue) -> Option<Self> {
        let mut input = Input(value.to_str().ok()?.trim_matches(' '));
        let text = input.string()?;
        let mut parameters = Vec::new();
        while !input.0.is_empty() {
            input.expect(b';')?;
            input.0 = input.0.trim_start_matches(' ');
            let name = input.key()?;
            let value = if input.expect(b'=').is_some() { input.bare()? } else { Bare::Other };
            parameters.push((name.to_owned(), value));
            if parameters.len() > PARAMETERS_MAX {
                return None;
            }
        }
        Some(Self { text, parameters })
    }

    /// RFC 9651, 4.2.3.2: of a repeated parameter the last one counts.
    fn parameter(&self, name: &str) -> Option<&Bare> {
        self.parameters.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    pub(super) fn integer(&self, name: &str) -> Option<u64> {
        match self.parameter(name)? {
            Bare::Integer(number) => u64::try_from(*number).ok(),
            Bare::String(_) | Bare::Other => None,
        }
    }

    pub(super) fn string(&self, name: &str) -> Option<&str> {
        match self.parameter(name)? {
            Bare::String(text) => Some(text),
            Bare::Integer(_) | Bare::Other => None,
        }
    }
}

/// What is left to read.
struct Input<'a>(&'a str);

impl<'a> Input<'a> {
    fn expect(&mut self, byte: u8) -> Option<()> {
        self.0 = self.0.strip_prefix(char::from(byte))?;
        Some(())
    }

    fn take_while(&mut self, accept: impl Fn(u8) -> bool) -> &'a str {
        let end = self.0.bytes().position(|byte| !accept(byte)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    fn key(&mut self) -> Option<&'a str> {
        let first = *self.0.as_bytes().first()?;
        let key = self.take_while(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.*".contains(&b));
        (first.is_ascii_lowercase() || first == b'*').then_some(key)
    }

    fn bare(&mut self) -> Option<Bare> {
        match *self.0.as_bytes().first()? {
            b'"' => self.string().map(Bare::String),
            b'-' | b'0'..=b'9' => self.number(),
            _ => {
                let skipped = self.take_while(|b| b.is_ascii_graphic() && !b"\";,\\".contains(&b));
                (!skipped.is_empty()).then_some(Bare::Other)
            }
        }
    }

    fn number(&mut self) -> Option<Bare> {
        let digits = self.take_while(|b| b == b'-' || b == b'.' || b.is_ascii_digit());
        if digits.contains('.') {
            return digits.parse::<f64>().ok().map(|_| Bare::Other);
        }
        let bounded = digits.trim_start_matches('-').len() <= 15; // RFC 9651, 3.3.1.
        digits.parse().ok().filter(|_| bounded).map(Bare::Integer)
    }

    fn string(&mut self) -> Option<String> {
        self.expect(b'"')?;
        let mut text = String::new();
        loop {
            let (c, rest) = (self.0.chars().next()?, &self.0[1..]);
            self.0 = rest;
            match c {
                '"' => return Some(text),
                '\\' => {
                    let escaped = self.0.chars().next().filter(|c| matches!(c, '"' | '\\'))?;
                    self.0 = &self.0[1..];
                    text.push(escaped);
                }
                ' '..='~' => text.push(c),
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_read_is_a_structured_field(text in r#"("[0-9a-f:.\\]{0,6}"|[;=a-z0-9"?:.-]){0,12}"#) {
            let value = HeaderValue::from_str(&text).unwrap();
            if Item::parse(&value).is_some() {
                let oracle = sfv::Parser::new(&text).parse::<sfv::Item>();
                prop_assert!(oracle.is_ok(), "{text:?}: {oracle:?}");
            }
        }
    }
}
