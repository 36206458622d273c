//! Where a password comes from: a file, the environment, a person, or a pipe. Never the command line, which
//! everyone on the machine can read.

use super::Failure;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::path::Path;
use tower_graceful::registry::Password;

/// Bytes of a line that is read: more than any password has.
const LINE_BYTES_MAX: u64 = 4096;

/// The first line of a file.
pub(super) fn from_file(path: &Path) -> Result<Password, Failure> {
    let line = File::open(path).and_then(|file| first_line(BufReader::new(file)));
    let line = line.map_err(|error| {
        let error = format!("the password cannot be read from {}: {error}", path.display());
        Failure { code: Failure::COULD_NOT, error: error.into() }
    })?;
    checked(&line)
}

/// What a variable holds, if it is set.
pub(super) fn from_environment(variable: &str) -> Result<Option<Password>, Failure> {
    let text = std::env::var(variable).ok().filter(|text| !text.is_empty());
    text.map(|text| checked(&text)).transpose()
}

/// What a person types, twice and unseen, or the first line of a pipe.
pub(super) fn from_stdin() -> Result<Password, Failure> {
    if !io::stdin().is_terminal() {
        return checked(&first_line(io::stdin().lock()).map_err(Failure::could_not)?);
    }
    let unseen = Unseen::begin().map_err(Failure::could_not)?;
    let [first, second] = [ask("Password: "), ask("Once more: ")];
    drop(unseen);
    let (first, second) = (first.map_err(Failure::could_not)?, second.map_err(Failure::could_not)?);
    if first != second {
        let error = "the two passwords are not the same";
        return Err(Failure { code: Failure::WRONG_USAGE, error: error.into() });
    }
    checked(&first)
}

/// What a person types, unseen, to be let in where it is known.
pub(super) fn typed() -> io::Result<String> {
    let unseen = Unseen::begin()?;
    let typed = ask("Password: ");
    drop(unseen);
    typed
}

fn ask(question: &str) -> io::Result<String> {
    let mut stderr = io::stderr();
    stderr.write_all(question.as_bytes())?;
    stderr.flush()?;
    let line = first_line(io::stdin().lock());
    stderr.write_all(b"\n")?; // The one that was typed was not shown.
    line
}

fn first_line(input: impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    input.take(LINE_BYTES_MAX).read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn checked(text: &str) -> Result<Password, Failure> {
    Password::new(text).map_err(|error| Failure { code: Failure::WRONG_USAGE, error: error.into() })
}

/// While it lives the terminal shows nothing of what is typed.
struct Unseen(Termios);

impl Unseen {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut unseen = before.clone();
        unseen.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &unseen)?;
        Ok(Self(before))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0); // A terminal that is gone shows nothing.
    }
}
