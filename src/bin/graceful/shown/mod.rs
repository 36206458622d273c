//! How a subcommand shows what it has found: a table for people, JSON for programs. Nothing of it can steer a
//! terminal, whatever somebody has registered.

mod table;
mod text;

pub(crate) use table::{Cell, Tone};
pub(crate) use text::{age, clock_time, counted, printable, printable_lines};

use super::Failure;
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::io::{self, ErrorKind, IsTerminal, Write};

/// What is shown, and how.
#[derive(Args)]
pub(crate) struct Shown {
    /// How stdout is written: a table for people, one JSON document, or one JSON object a line.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Table,
    Json,
    Jsonl,
}

/// Something of which there are many.
pub(crate) trait Row: Serialize {
    /// What stands above its cells.
    const HEADS: &'static [&'static str];

    fn cells(&self) -> Vec<Cell>;
}

/// Something that comes one by one, without an end.
pub(crate) trait Streamed: Row {
    /// Columns that its cells mostly take.
    const WIDTHS: &'static [usize];
}

impl Shown {
    /// Shows one thing, which people read as `text`, in colours or without.
    pub(crate) fn one(
        &self,
        thing: &impl Serialize,
        text: impl FnOnce(bool) -> String,
    ) -> Result<(), Failure> {
        let text = match self.output {
            Format::Table => text(is_coloured()),
            Format::Json => json(thing, true)?,
            Format::Jsonl => json(thing, false)?,
        };
        write(text).map(drop)
    }

    /// That it can be shown without its end being known.
    pub(crate) fn goes_on(&self) -> Result<(), Failure> {
        match self.output {
            Format::Table | Format::Jsonl => Ok(()),
            Format::Json => Err(Failure::wrong_usage(
                "output: this has no end, so it is no JSON document: use --output jsonl",
            )),
        }
    }

    /// Begins to show things one by one.
    pub(crate) fn heads<R: Streamed>(&self) -> Result<(), Failure> {
        if self.is_for_people() {
            write(table::heads(R::HEADS, R::WIDTHS, is_coloured()))?;
        }
        Ok(())
    }

    /// Shows the next one; says whether somebody still reads.
    pub(crate) fn next<R: Streamed>(&self, row: &R) -> Result<bool, Failure> {
        if self.is_for_people() {
            write(table::row(&row.cells(), R::WIDTHS, is_coloured()))
        } else {
            write(json(row, false)?)
        }
    }

    /// Whether it is people who read.
    pub(crate) fn is_for_people(&self) -> bool {
        matches!(self.output, Format::Table)
    }

    /// Shows a list; people read `nothing` where it is empty, on stderr.
    pub(crate) fn list<R: Row>(&self, rows: &[R], nothing: &str) -> Result<(), Failure> {
        match self.output {
            Format::Table if rows.is_empty() => {
                note(nothing);
                Ok(())
            }
            Format::Table => write(self::rows(rows, is_coloured())).map(drop),
            Format::Json => write(json(&rows, true)?).map(drop),
            Format::Jsonl => {
                let lines: Result<String, Failure> = rows.iter().map(|row| json(row, false)).collect();
                write(lines?).map(drop)
            }
        }
    }
}

/// Rows under their heads.
pub(crate) fn rows<R: Row>(rows: &[R], coloured: bool) -> String {
    table::table(R::HEADS, &rows.iter().map(Row::cells).collect::<Vec<_>>(), coloured)
}

/// Writes what this program itself has made.
pub(crate) fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    write(bytes).map(drop)
}

/// Says something beside the answer, to people.
pub(crate) fn note(words: &str) {
    // Whoever does not listen misses nothing of the answer.
    let _ = writeln!(io::stderr(), "{}", printable(words));
}

fn json(value: &impl Serialize, pretty: bool) -> Result<String, Failure> {
    let written = if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
    Ok(text::printable_json(&written.map_err(Failure::could_not)?).into_owned() + "\n")
}

/// Writes to stdout, and says whether somebody reads it: who reads no further has read enough.
fn write(text: impl AsRef<[u8]>) -> Result<bool, Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_ref()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::could_not(error)),
    }
}

/// Whether stdout shows colours, and wants them.
fn is_coloured() -> bool {
    let says = |name: &str| std::env::var(name).unwrap_or_default();
    io::stdout().is_terminal() && says("NO_COLOR").is_empty() && says("TERM") != "dumb"
}
