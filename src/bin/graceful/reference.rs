//! The command line as one Markdown document, made of what the program itself accepts.

use super::api::Target;
use super::shown::Shown;
use clap::builder::StyledStr;
use clap::{Arg, ArgAction, Args as _, Command};
use std::fmt::Write as _;

/// The subcommands that are about a registry's own work; their settings stand elsewhere.
const ELSEWHERE: &[(&str, &str)] = &[("registry", "[settings.md](settings.md), [access.md](access.md)")];

const FRONT: &str = "# The command line

Taken from the program itself: `graceful man` prints it, `graceful man DIR` writes the same as man pages, \
`graceful completions SHELL` what a shell completes.

Every subcommand that asks a registry finds it by `--registry` or `GRACEFUL_REGISTRY`; `export` and `import`, which \
carry from one to another, by `--from` and `--into` alone. Stdout is the answer, stderr \
what is said beside it: a table for people, `--output json` or `jsonl` for programs, in which a field is absent or \
`null` where the registry does not tell it. Colours and questions are for terminals only; `NO_COLOR` takes the \
colours away. Nothing that somebody has registered can steer the terminal: control characters and what turns the \
direction of writing are written out, as `\\u{1b}` in tables and `\\u001b` in JSON.

| exit code | |
|---|---|
| 0 | done; or stopped by SIGTERM or SIGINT, where that is the only end |
| 1 | it could not be done, or there is no such thing; stderr says why, and what to do next |
| 2 | wrong usage: nothing was asked or done |
| 1, 2 | of `graceful doctor`: something was found; something could not be checked, or wrong usage |
| 3 | a second signal cut what was under way (`graceful registry`) |

Where a registry is, who asks, and how the answer is written:
";

const PEERS: &str = "
Beside this crate's registry they ask a Nacos or an r-nacos, and say so where that cannot answer:

| | this crate's | Nacos | r-nacos |
|---|---|---|---|
| `services`, `service`, `instances`, `subscribers` | yes | without revisions, publishers, requests and acknowledgements | as Nacos, and without disabled instances |
| `clients` | yes | names only | no |
| `watch` | with reasons | without reasons | without reasons |
| `register`, `deregister`, `enable`, `disable`, `weight`, `metadata` | yes | yes | yes |
| `offline`, `rollout`, `close` | yes | no | no |
";

/// The whole of it.
pub(super) fn markdown(program: &Command) -> String {
    let mut text = [FRONT, &table(common().get_arguments()), PEERS].concat();
    for command in program.get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = command.get_name();
        let _ = write!(text, "\n## `{} {name}`\n\n{}\n", program.get_name(), about(command)); // Text takes it all.
        match ELSEWHERE.iter().find(|(elsewhere, _)| *elsewhere == name) {
            Some((_, at)) => {
                let _ = write!(text, "\nIts settings, and its users: {at}.\n");
            }
            None => text.push_str(&arguments(command)),
        }
    }
    text
}

fn about(command: &Command) -> String {
    let about = command.get_long_about().or_else(|| command.get_about());
    about.map(StyledStr::to_string).unwrap_or_default()
}

/// What all take that ask a registry.
fn common() -> Command {
    Shown::augment_args(Target::augment_args(Command::new("common")))
}

/// A table of what a subcommand takes besides that.
fn arguments(command: &Command) -> String {
    let common = common();
    let is_common = |arg: &&Arg| {
        common.get_arguments().any(|one| one.get_id() == arg.get_id() && one.get_help() == arg.get_help())
    };
    table(command.get_arguments().filter(|arg| !is_common(arg)))
}

fn table<'a>(arguments: impl Iterator<Item = &'a Arg>) -> String {
    let rows: Vec<String> = arguments.filter(|arg| !arg.is_hide_set()).map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    format!("\n| | environment | default | |\n|---|---|---|---|\n{}\n", rows.join("\n"))
}

fn row(arg: &Arg) -> String {
    let values: Vec<&str> = arg.get_value_names().unwrap_or_default().iter().map(AsRef::as_ref).collect();
    let takes = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    let value = if takes { values.join(" ") } else { String::new() };
    let name = match arg.get_long() {
        Some(long) if takes => format!("`--{long} {value}`"),
        Some(long) => format!("`--{long}`"),
        None if arg.is_required_set() => format!("`{value}`"),
        None => format!("`[{value}]`"),
    };
    let variable = arg.get_env().map(|name| format!("`{}`", name.display())).unwrap_or_default();
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.display().to_string()).collect();
    let default =
        if takes && !defaults.is_empty() { format!("`{}`", defaults.join(" ")) } else { String::new() };
    let accepted: Vec<_> =
        arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    let help = arg.get_long_help().or_else(|| arg.get_help()).map(StyledStr::to_string).unwrap_or_default();
    let accepted =
        if takes && !accepted.is_empty() { format!(": {}", accepted.join(", ")) } else { String::new() };
    format!("| {name} | {variable} | {default} | {}{accepted} |", help.replace('\n', " ").replace('|', "\\|"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Graceful;
    use clap::CommandFactory;

    #[test]
    fn the_documentation_is_what_the_program_accepts() {
        let (documented, wanted) = (include_str!("../../../docs/cli.md"), markdown(&Graceful::command()));
        assert!(documented == wanted, "docs/cli.md is not up to date: `graceful man > docs/cli.md`");
    }

    #[test]
    fn the_command_line_does_not_contradict_itself() {
        Graceful::command().debug_assert();
    }

    #[test]
    fn every_subcommand_and_each_of_its_arguments_is_described() {
        for command in Graceful::command().get_subcommands() {
            assert!(!about(command).is_empty(), "{}", command.get_name());
            for arg in command.get_arguments() {
                assert!(arg.get_help().is_some(), "{} {}", command.get_name(), arg.get_id());
            }
        }
    }
}
