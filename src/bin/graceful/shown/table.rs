//! Columns for people.

use super::text::printable;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns that a cell may take; JSON has the whole of it.
const CELL_WIDTH_MAX: usize = 100;
/// What stands between two columns.
const GAP: &str = "  ";
/// What a cell says that has nothing to say.
const NOTHING: &str = "-";

/// What a cell means; where there are colours it is shown in one, besides what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Passing,
    Bad,
}

/// A place in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
    is_number: bool,
}

impl Cell {
    /// Words, on the left.
    pub(crate) fn text(text: impl AsRef<str>) -> Self {
        let text = printable(text.as_ref());
        let text = if text.is_empty() { NOTHING.to_owned() } else { bounded(&text) };
        Self { text, tone: Tone::Plain, is_number: false }
    }

    /// A number, on the right, if there is one.
    pub(crate) fn number(number: Option<impl ToString>) -> Self {
        let text = number.map_or_else(|| NOTHING.to_owned(), |number| number.to_string());
        Self { text, tone: Tone::Plain, is_number: true }
    }

    pub(crate) fn with_tone(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }
}

impl Tone {
    /// The word in the colour, where there are colours.
    pub(crate) fn paint(self, word: &str, coloured: bool) -> String {
        match self.code().filter(|_| coloured) {
            Some(code) => format!("\u{1b}[{code}m{word}\u{1b}[0m"),
            None => word.to_owned(),
        }
    }

    /// The code of the colour; nothing for the terminal's own.
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Good => Some("32"),
            Self::Passing => Some("33"),
            Self::Bad => Some("31"),
        }
    }
}

/// The rows under their heads, each column as wide as its widest cell.
pub(crate) fn table(heads: &[&str], rows: &[Vec<Cell>], coloured: bool) -> String {
    let column = |at: usize| rows.iter().filter_map(move |row| row.get(at));
    let head = |(at, text): (usize, &&str)| Cell {
        text: (*text).to_owned(),
        tone: Tone::Plain,
        is_number: column(at).next().is_some_and(|cell| cell.is_number),
    };
    let heads: Vec<Cell> = heads.iter().enumerate().map(head).collect();
    let width = |(at, head): (usize, &Cell)| {
        column(at).map(|cell| cell.text.width()).fold(head.text.width(), usize::max)
    };
    let widths: Vec<usize> = heads.iter().enumerate().map(width).collect();
    let of_heads = |_: &Cell| coloured.then_some("1");
    let of_cells = |cell: &Cell| cell.tone.code().filter(|_| coloured);
    let lines = rows.iter().map(|row| line(row, &widths, of_cells));
    [line(&heads, &widths, of_heads)].into_iter().chain(lines).collect()
}

/// The heads of lines that come one by one, in columns of `widths`.
pub(crate) fn heads(heads: &[&str], widths: &[usize], coloured: bool) -> String {
    let cells: Vec<Cell> = heads.iter().map(Cell::text).collect();
    line(&cells, widths, |_| coloured.then_some("1"))
}

/// One such line; a longer cell moves the others.
pub(crate) fn row(cells: &[Cell], widths: &[usize], coloured: bool) -> String {
    line(cells, widths, |cell| cell.tone.code().filter(|_| coloured))
}

/// Cells side by side; nothing stands behind the last one.
fn line(cells: &[Cell], widths: &[usize], code: impl Fn(&Cell) -> Option<&'static str>) -> String {
    let mut line = String::new();
    for (at, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let gap = if at == 0 { "" } else { GAP };
        let blank = " ".repeat(width.saturating_sub(cell.text.width()));
        let text = match code(cell) {
            Some(code) => format!("\u{1b}[{code}m{}\u{1b}[0m", cell.text),
            None => cell.text.clone(),
        };
        let (before, after) = if cell.is_number { (&*blank, "") } else { ("", &*blank) };
        line.extend([gap, before, &text, after]);
    }
    line.truncate(line.trim_end_matches(' ').len());
    line.push('\n');
    line
}

/// Words that fit into a cell.
fn bounded(text: &str) -> String {
    if text.width() <= CELL_WIDTH_MAX {
        return text.to_owned();
    }
    let mut width = 1; // Of the dots.
    let fits = |c: &char| {
        width += c.width().unwrap_or(0);
        width <= CELL_WIDTH_MAX
    };
    text.chars().take_while(fits).chain(['\u{2026}']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_straight_in_every_script_and_numbers_stand_on_the_right() {
        let rows = [("\u{6f22}\u{5b57}", 7), ("orders", 12)];
        let rows =
            rows.map(|(name, count)| vec![Cell::text(name), Cell::number(Some(count)), Cell::text("")]);
        let shown = table(&["NAME", "COUNT", "END"], &rows, false);
        assert_eq!(shown, "NAME    COUNT  END\n\u{6f22}\u{5b57}        7  -\norders     12  -\n");
    }

    #[test]
    fn colours_change_no_width_and_are_there_only_when_wanted() {
        let rows = [vec![Cell::text("up").with_tone(Tone::Good), Cell::text("x")]];
        assert_eq!(table(&["A", "B"], &rows, false), "A   B\nup  x\n");
        let coloured = "\u{1b}[1mA\u{1b}[0m   \u{1b}[1mB\u{1b}[0m\n\u{1b}[32mup\u{1b}[0m  x\n";
        assert_eq!(table(&["A", "B"], &rows, true), coloured);
    }

    #[test]
    fn a_cell_is_bounded_and_cannot_steer() {
        let Cell { text, .. } = Cell::text("\u{6f22}".repeat(1000));
        assert_eq!((text.width(), text.ends_with('\u{2026}')), (99, true));
        assert_eq!(Cell::text("\u{1b}[2J").text, "\\u{1b}[2J");
    }
}
