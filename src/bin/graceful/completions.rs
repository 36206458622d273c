//! `graceful completions`: what a shell completes.

use super::{Failure, Graceful, shown};
use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

/// Prints what a shell needs to complete the arguments of this program.
///
/// For bash: `graceful completions bash > ~/.local/share/bash-completion/completions/graceful`; for zsh into a file
/// `_graceful` in a directory of `$fpath`; for fish into `~/.config/fish/completions/graceful.fish`.
#[derive(Args)]
pub(super) struct Arguments {
    /// The shell.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub(super) fn run(Arguments { shell }: &Arguments) -> Result<(), Failure> {
    let (mut command, mut script) = (Graceful::command(), Vec::new());
    let name = command.get_name().to_owned();
    generate(*shell, &mut command, name, &mut script);
    shown::bytes(&script)
}
