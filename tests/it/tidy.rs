//! The house rules that a compiler does not check: which module may know which, and what a manifest may hold.

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Each module with the modules that it may name. Arrows point one way: what stands lower knows only what
/// stands above it.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("clock", &["model"]),
    ("naming", &["model", "observe"]),
    ("observe", &["model"]),
    ("pem", &[]),
    ("protocol", &["model"]),
    ("consumer", &["model", "clock", "naming", "observe"]),
    ("provider", &["model", "clock", "naming", "observe"]),
    ("client", &["model", "clock", "naming", "observe", "pem", "protocol"]),
    ("registry", &["model", "clock", "naming", "pem", "protocol", "provider"]),
    ("fuzz", &["model", "clock", "naming", "consumer", "client", "registry"]),
];

/// What the pure part of the crate does without.
const NOT_IN_MODEL: &[&str] =
    &["async ", ".await", "tokio", "Mutex", "fastrand", "SystemTime", "std::net::Tcp"];

#[test]
fn modules_know_only_what_stands_above_them() {
    let mut wrong = Vec::new();
    for (module, allowed) in MAY_KNOW {
        for (file, text) in sources(module) {
            for named in crate_paths(&text) {
                let own = named == *module || allowed.contains(&named.as_str());
                // The crate root re-exports the clock and nothing that a module below may not name.
                if !own && named != "Clock" {
                    wrong.push(format!("{} names crate::{named}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_module_has_its_place_in_the_order() {
    let listed: BTreeSet<_> = MAY_KNOW.iter().map(|(module, _)| (*module).to_owned()).collect();
    let found: BTreeSet<_> = std::fs::read_dir(root().join("src"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|name| !["lib", "bin"].contains(&name.as_str()))
        .collect();
    assert_eq!(listed, found);
}

#[test]
fn every_source_file_is_compiled() {
    let mut stray = Vec::new();
    for (file, _) in sources("") {
        let (stem, folder) = (file.file_stem().unwrap().to_str().unwrap(), file.parent().unwrap());
        let (name, folder) = match stem {
            "lib" | "main" => continue,
            "mod" => (folder.file_name().unwrap().to_str().unwrap(), folder.parent().unwrap()),
            name => (name, folder),
        };
        let inside = ["mod.rs", "lib.rs", "main.rs"].map(|front| folder.join(front));
        let declared = inside.iter().chain([&folder.with_extension("rs")]).any(|above| {
            let text = std::fs::read_to_string(above).unwrap_or_default();
            text.lines()
                .any(|line| line.split_once("mod ").is_some_and(|(_, rest)| rest == format!("{name};")))
        });
        if !declared {
            stray.push(file);
        }
    }
    assert!(stray.is_empty(), "no module above names {stray:#?}");
}

#[test]
fn the_model_is_pure() {
    for (file, text) in sources("model") {
        for word in NOT_IN_MODEL {
            assert!(!text.contains(word), "{} contains {word:?}", file.display());
        }
    }
}

#[test]
fn dependencies_have_licences_that_suit_ours() {
    let allowed = [
        "MIT",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "ISC",
        "Unicode-3.0",
        "Zlib",
        "CC0-1.0",
        "0BSD",
        "CDLA-Permissive-2.0",
        "Unlicense",
        "MIT-0",
        "BSL-1.0",
    ];
    for package in packages() {
        let name = package["name"].as_str().unwrap();
        let licence = package["license"].as_str().unwrap_or("");
        let expression = spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX);
        let expression = expression.unwrap_or_else(|error| panic!("{name} is under {licence:?}: {error}"));
        let suits = expression.evaluate(|needed| {
            needed.license.id().is_some_and(|id| allowed.contains(&id.name)) || needed.addition.is_some()
        });
        assert!(suits, "{name} is under {licence:?}");
    }
}

#[test]
fn dependencies_build_with_our_minimum_rust() {
    let version = |text: &str| -> Vec<u32> { text.split('.').map(|part| part.parse().unwrap()).collect() };
    let packages = packages();
    let ours = packages.iter().find(|package| package["name"] == "tower-graceful").unwrap();
    let ours = version(ours["rust_version"].as_str().unwrap());
    let shipped = tree(&["--all-features"]);
    for package in packages {
        let (name, needs) = (package["name"].as_str().unwrap(), package["rust_version"].as_str());
        if let Some(needs) = needs.filter(|_| shipped.contains(name)) {
            assert!(version(needs) <= ours, "{name} needs Rust {needs}");
        }
    }
}

#[test]
fn the_layers_alone_are_light() {
    let crates = tree(&[]);
    assert!(crates.len() <= 30, "{} crates with default features: {crates:?}", crates.len());
}

#[test]
fn one_h2_reads_the_errors_that_hyper_makes() {
    let versions: Vec<_> = packages().into_iter().filter(|package| package["name"] == "h2").collect();
    assert_eq!(versions.len(), 1, "{versions:#?}");
}

#[test]
fn the_quick_starts_are_quick() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let blocks: Vec<&str> =
        readme.split("```rust").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    for needed in ["Provider::builder", "GracefulClientLayer::new", "http_client_h2()"] {
        assert!(blocks.iter().any(|block| block.contains(needed)), "no example of {needed}");
    }
    for block in blocks {
        let lines = block.lines().skip(1).filter(|line| !line.is_empty()).count();
        assert!(lines <= 25, "{lines} lines:{block}");
        assert!(!block.contains("\n# "), "a reader of the README sees hidden lines:{block}");
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files of a module, be it a file or a folder, with their texts; all files for no name.
fn sources(module: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open = vec![root().join("src").join(module), root().join("src").join(format!("{module}.rs"))];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") && path.exists() {
            found.push((path.clone(), std::fs::read_to_string(&path).unwrap()));
        }
    }
    assert!(!found.is_empty(), "no module {module}");
    found
}

/// The first segments of all paths from the crate's root, in code and in `use crate::{a, b::c}`. What
/// stands in comments or in tests does not count: a test may look anywhere.
fn crate_paths(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let code: String = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let mut named = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let list = rest.strip_prefix('{').map_or_else(|| vec![rest], |list| top_level(list));
        named.extend(list.into_iter().map(|path| {
            path.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>()
        }));
    }
    named.remove("");
    named
}

/// The parts of `a, b::{c, d}, e}` that a comma outside inner braces separates.
fn top_level(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                parts.push(&list[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts
}

/// Every package that some feature or test uses on this machine, as `cargo metadata` describes it.
fn packages() -> Vec<Value> {
    let about = Command::new("rustc").arg("-vV").output().unwrap().stdout;
    let about = String::from_utf8(about).unwrap();
    let host = about.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let json = cargo(&["metadata", "--format-version", "1", "--all-features", "--filter-platform", host]);
    let mut metadata: Value = serde_json::from_str(&json).unwrap();
    serde_json::from_value(metadata["packages"].take()).unwrap()
}

/// Names of the crates that a user of the library builds with the given features.
fn tree(features: &[&str]) -> BTreeSet<String> {
    let output = cargo(&[&["tree", "--edges", "normal", "--prefix", "none"], features].concat());
    let names = output.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "tower-graceful").map(str::to_owned).collect()
}

fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(arguments)
        .args(["--offline", "--manifest-path"])
        .arg(root().join("Cargo.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn paths_are_found_in_lists_and_code_but_not_in_comments_or_tests() {
    let text = "use crate::{model::{A, B}, naming};\n// crate::registry\nfn f() { crate::clock::now() }\n\
                #[cfg(test)]\nmod tests { use crate::client; }";
    let expected = ["clock", "model", "naming"].map(str::to_owned);
    assert_eq!(crate_paths(text), BTreeSet::from(expected));
}
