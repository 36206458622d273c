//! The page of an act: its fields, or what will happen.

use crate::protocol::form::Form;
use askama::Template;

/// That a form was sent, and what stands in it is what somebody typed.
const TYPED: &str = "typed";

/// What stands in `<main>`.
#[derive(Template)]
#[template(path = "act.html")]
pub(super) struct Sheet {
    pub(super) title: &'static str,
    /// What it is about.
    pub(super) subject: String,
    /// Where it is sent to.
    pub(super) path: &'static str,
    /// What is sent along and is not typed in.
    pub(super) meant: Vec<(&'static str, String)>,
    pub(super) fields: Vec<Field>,
    /// What will happen, once that is known.
    pub(super) plan: Option<Plan>,
    /// What is wrong, where it is no field.
    pub(super) wrong: Option<String>,
    /// What the button says that does it.
    pub(super) button: &'static str,
    /// Where one comes from, and goes to.
    pub(super) back: String,
}

/// What will happen.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) will: Vec<Line>,
    /// What whoever does it may not want.
    pub(super) warnings: Vec<String>,
}

/// Something of a plan: words of others, and ours about them.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) theirs: String,
    pub(super) ours: String,
}

impl Line {
    pub(super) fn new(theirs: &(impl ToString + ?Sized), ours: impl Into<String>) -> Self {
        Self { theirs: theirs.to_string(), ours: ours.into() }
    }
}

/// A place to type something in.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    label: &'static str,
    hint: &'static str,
    kind: Kind,
    pub(super) value: String,
    pub(super) wrong: Option<String>,
}

#[derive(Debug)]
enum Kind {
    Line,
    /// Of several lines.
    Text,
    /// One of these, by value and words.
    Choice(&'static [(&'static str, &'static str)]),
}

impl Field {
    /// A line, with what was typed, or else what it begins with.
    pub(super) fn line(form: &Form, name: &'static str, label: &'static str, begins: &str) -> Self {
        Self::new(form, name, label, begins, Kind::Line)
    }

    pub(super) fn text(form: &Form, name: &'static str, label: &'static str, begins: &str) -> Self {
        Self::new(form, name, label, begins, Kind::Text)
    }

    pub(super) fn choice(
        form: &Form,
        name: &'static str,
        label: &'static str,
        begins: &str,
        choices: &'static [(&'static str, &'static str)],
    ) -> Self {
        Self::new(form, name, label, begins, Kind::Choice(choices))
    }

    fn new(form: &Form, name: &'static str, label: &'static str, begins: &str, kind: Kind) -> Self {
        let otherwise = if form.text(TYPED).is_some() { "" } else { begins };
        let value = form.text(name).unwrap_or(otherwise).to_owned();
        Self { name, label, hint: "", kind, value, wrong: None }
    }

    /// Whether something is said about it.
    fn is_explained(&self) -> bool {
        !self.hint.is_empty() || self.wrong.is_some()
    }

    /// With words on what is accepted.
    pub(super) fn hint(self, hint: &'static str) -> Self {
        Self { hint, ..self }
    }
}
