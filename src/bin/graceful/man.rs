//! `graceful man`: the manual.

use super::{Failure, Graceful, reference, shown};
use clap::{Args, CommandFactory};
use std::path::PathBuf;

/// Writes the man pages, one for each subcommand, into a directory.
///
/// `graceful man ~/.local/share/man/man1` puts them where `man graceful-watch` finds them. Without a directory it
/// prints the same as one Markdown document.
#[derive(Args)]
pub(super) struct Arguments {
    /// The directory, made if it is not there.
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

pub(super) fn run(Arguments { directory }: &Arguments) -> Result<(), Failure> {
    let Some(directory) = directory else {
        return shown::bytes(reference::markdown(&Graceful::command()).as_bytes());
    };
    let written = std::fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(Graceful::command(), directory));
    written.map_err(|error| {
        Failure::could_not(format!("cannot write man pages in {}: {error}", directory.display()))
    })
}
