//! What every subcommand says when it cannot do what it should: the reason and the next step.

use super::super::registry::Running;
use super::{ended, graceful, program};
use tower_graceful::registry::{Admin, Password, Settings};

#[tokio::test]
async fn a_registry_that_is_not_there_is_named_with_what_to_do() {
    let nowhere = "127.0.0.1:1".parse().unwrap();
    let silent = graceful(nowhere, "services").await;
    assert_eq!((silent.code, silent.stdout.as_str()), (Some(1), ""));
    for part in ["127.0.0.1:1", "`graceful registry` starts one", "--registry"] {
        assert!(silent.stderr.contains(part), "{}", silent.stderr);
    }
}

#[tokio::test]
async fn wrong_usage_is_told_from_what_could_not_be_done() {
    for arguments in [
        &["services", "--registry", "nonsense"][..],
        &["services", "--output", "yaml"],
        &["services", "--namespace", "no space"],
    ] {
        let wrong = ended(program(arguments)).await;
        assert_eq!((wrong.code, wrong.stdout.as_str()), (Some(2), ""), "{arguments:?} {}", wrong.stderr);
    }
}

#[tokio::test]
async fn users_are_asked_for_their_password_never_in_the_arguments() {
    let admin = Admin { name: "ops".parse().unwrap(), password: Password::new("correct horse").unwrap() };
    let registry =
        Running::start_with(Settings { http_port: 0, admin: Some(admin), ..Settings::default() }).await;
    let nobody = graceful(registry.http, "services").await;
    assert!(nobody.code == Some(1) && nobody.stderr.contains("--user NAME"), "{}", nobody.stderr);
    let without = graceful(registry.http, "services --user ops").await;
    assert!(without.code == Some(1) && without.stderr.contains("--password-file"), "{}", without.stderr);
    let address = registry.http.to_string();
    for (password, code) in [("correct horse", 0), ("guessed", 1)] {
        let mut ops = program(&["services", "--registry", &address, "--user", "ops"]);
        ops.env("GRACEFUL_REGISTRY_PASSWORD", password);
        let ended = ended(ops).await;
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
        assert!(code == 0 || ended.stderr.contains("is the password that of --user"), "{}", ended.stderr);
    }
}
