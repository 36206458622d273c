//! What must not break, whatever comes in: a function for each form of input that others send, which reads
//! it as the crate does, does what it says, and panics when something is not as it must be.
//!
//! `cargo fuzz` looks for inputs that break them (`fuzz`, `.ci/long`). What it has found of use, and what was
//! written to lead it, is in `tests/corpus`, a folder for each function, and is read again by a test here.

mod lists;

/// Takes one input.
pub type Target = fn(&[u8]);

/// The functions, by the names of their folders.
pub const TARGETS: [(&str, Target); 7] = [
    ("calls", crate::registry::fuzz::call),
    ("sessions", crate::registry::fuzz::session),
    ("requests", crate::registry::fuzz::requests),
    ("entries", crate::registry::fuzz::entry),
    ("tokens", crate::registry::fuzz::token),
    ("lists", lists::lists),
    ("words", crate::naming::fuzz::words),
];

/// Gives `input` to the function with this name.
///
/// # Panics
/// When something is not as it must be, or there is no such function.
pub fn run(name: &str, input: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(own, _)| *own == name).expect("a name of the list");
    target(input);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::Path;

    #[test]
    fn the_whole_corpus_is_survived() {
        for (name, target) in TARGETS {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name);
            let mut files: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
            files.sort();
            assert!(!files.is_empty(), "nothing in {}", folder.display());
            for file in files {
                let input = std::fs::read(&file).unwrap();
                let survived = catch_unwind(AssertUnwindSafe(|| target(&input)));
                assert!(survived.is_ok(), "{name} breaks at {}", file.display());
            }
        }
    }
}
