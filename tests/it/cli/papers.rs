//! `graceful service`, `completions` and `man`.

use super::super::registry::Running;
use super::super::registry_kept::Directory;
use super::{ended, graceful, program};
use serde_json::json;

#[tokio::test]
async fn a_service_is_told_with_what_has_happened_in_it_and_who_it_was() {
    let registry = Running::start().await;
    graceful(registry.http, "register shop@@orders 10.0.0.7:80 --persistent").await.told();
    graceful(registry.http, "register shop@@orders 10.0.0.7:81 --persistent").await.told();
    graceful(registry.http, "disable shop@@orders 10.0.0.7:80").await.told();
    let text = graceful(registry.http, "service orders --group shop").await.told();
    for part in [
        "Service      shop@@orders in namespace public\n",
        "Kind         persistent",
        "Instances    2, 1 of them serving\n",
        "Followed by  0 subscribers",
        "disabled  by an operator from 127.0.0.1\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let service = graceful(registry.http, "service shop@@orders --events 1 --output json").await.json();
    assert_eq!((&service["ephemeral"], &service["serving"]), (&json!(false), &json!(1)));
    assert_eq!(service["events"][0]["event"], "disabled");
    assert_eq!(service["events"].as_array().unwrap().len(), 1);
    let missing = graceful(registry.http, "service mail").await;
    assert!(missing.code == Some(1) && missing.stderr.contains("`graceful services"), "{}", missing.stderr);
}

#[tokio::test]
async fn every_shell_completes_every_subcommand() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = ended(program(&["completions", shell])).await.told();
        for subcommand in ["services", "watch", "offline"] {
            assert!(script.contains(subcommand), "{shell}: {subcommand}");
        }
    }
    assert_eq!(ended(program(&["completions", "tcsh"])).await.code, Some(2));
}

#[tokio::test]
async fn every_subcommand_has_a_man_page() {
    let directory = Directory::new("man");
    let pages = directory.0.join("man1");
    ended(program(&["man", pages.to_str().unwrap()])).await.told();
    let page = std::fs::read_to_string(pages.join("graceful-watch.1")).unwrap();
    assert!(page.starts_with(".ie") && page.contains("Follows services as a consumer does"), "{page}");
    let help = ended(program(&["help"])).await.told();
    let subcommands: Vec<&str> = help
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|n| !n.is_empty())
        .collect();
    assert!(subcommands.contains(&"services"), "{subcommands:?}");
    for name in subcommands.into_iter().filter(|name| !name.starts_with('-') && *name != "help") {
        assert!(pages.join(format!("graceful-{name}.1")).exists(), "{name}");
    }
    let file = directory.0.join("file");
    std::fs::write(&file, "").unwrap();
    let taken = ended(program(&["man", file.to_str().unwrap()])).await;
    assert!(taken.code == Some(1) && taken.stderr.contains("cannot write man pages"), "{}", taken.stderr);
}
