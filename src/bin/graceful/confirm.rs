//! Asks a person whether they mean it.

use super::Failure;
use super::shown::printable;
use clap::Args;
use std::io::{self, BufRead, IsTerminal, Read, Write};

/// Bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 64;

/// Whether somebody is sure.
#[derive(Args)]
pub(super) struct Sure {
    /// Do it without asking, also where no instance would be left that serves.
    #[arg(long)]
    yes: bool,
}

impl Sure {
    /// Goes on when whoever asks is sure of `what`: they have said so, or say so now.
    pub(super) fn ask(&self, what: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() {
            return Err(Failure::could_not(format!("{what}: give --yes if that is meant")));
        }
        let mut answer = String::new();
        let asked = write!(io::stderr(), "{}. Go on? [y/N] ", printable(what))
            .and_then(|()| io::stdin().lock().take(ANSWER_BYTES_MAX).read_line(&mut answer));
        asked.map_err(Failure::could_not)?;
        let sure = ["y", "yes"].contains(&answer.trim().to_lowercase().as_str());
        sure.then_some(()).ok_or_else(|| Failure::could_not("nothing was done"))
    }
}
