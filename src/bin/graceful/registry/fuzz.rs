//! Files of settings, whatever stands in them. `cargo fuzz` takes this file in, for it can link no program.

use super::options::ALL;
use super::sources::{Effective, Mistake, Said};

/// Reads a file of settings. Mistakes are told in words; what can be read is shown as a file that says the
/// same.
pub(super) fn file(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let effective = match read(text) {
        Ok(effective) => effective,
        Err(mistakes) => {
            let told = mistakes.iter().all(|mistake| !mistake.to_string().is_empty());
            return assert!(told && !mistakes.is_empty(), "{mistakes:?}");
        }
    };
    let shown = effective.shown(ALL);
    let again = read(&shown).unwrap_or_else(|mistakes| panic!("{mistakes:?} in\n{shown}"));
    assert_eq!(format!("{:?}", again.chosen), format!("{:?}", effective.chosen), "shown as\n{shown}");
    // What can be seen to be wrong without touching the machine is told, too.
    let _ = effective.chosen.settings().map(|settings| settings.check());
}

fn read(text: &str) -> Result<Effective, Vec<Mistake>> {
    let file = Some(("registry.toml".into(), text.to_owned()));
    Effective::new(ALL, &Said { file, ..Said::default() })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn the_whole_corpus_is_survived() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/settings");
        let files: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!files.is_empty());
        for file in files {
            super::file(&std::fs::read(file).unwrap());
        }
    }
}
