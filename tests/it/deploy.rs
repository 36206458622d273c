//! The recipes of `deploy/`: as far as the checkers on this machine can tell, they are well-formed.

use super::registry_kept::Directory;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

/// How long the recipes let `/offline` take, in seconds.
const OFFLINE_WAIT: u64 = 30;
/// Default of `drain_timeout`, in seconds.
const DRAIN_TIMEOUT: u64 = 25;
/// Default of `warm_up`, in seconds.
const WARM_UP: u64 = 120;

fn recipe(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

/// Runs a checker; where it is not installed, says so and passes.
fn check(program: &str, arguments: &[&str], file: &str) {
    let outcome = match Command::new(program).args(arguments).arg(recipe(file)).output() {
        Ok(outcome) => outcome,
        Err(error) => return eprintln!("{file} is not checked: {program}: {error}"),
    };
    let said = [outcome.stdout, outcome.stderr].concat();
    assert!(outcome.status.success(), "{program} {file}: {}", String::from_utf8_lossy(&said));
}

#[test]
fn the_manifests_follow_the_schemas_of_kubernetes() {
    // The patch alone is no whole Deployment, so only the manifest that it changes is checked.
    check("kubeconform", &["-strict", "-summary"], "kubernetes.yaml");
}

#[test]
fn the_stop_script_is_a_posix_script_that_refuses_wrong_usage() {
    check("sh", &["-n"], "stop.sh");
    for wrong in [&[][..], &["orders"], &["1", "port"], &["0x1"], &["0"], &["00"]] {
        // In a group of its own: 0 means whoever is in the same one.
        let outcome =
            Command::new("sh").arg(recipe("stop.sh")).args(wrong).process_group(0).output().unwrap();
        assert_eq!(outcome.status.code(), Some(2), "{wrong:?}");
        assert!(String::from_utf8_lossy(&outcome.stderr).contains("usage: "), "{wrong:?}");
    }
}

#[test]
fn the_stop_script_passes_every_token_on_as_it_is() {
    if Command::new("curl").arg("--version").output().is_err() {
        return eprintln!("the token of stop.sh is not checked: there is no curl");
    }
    let token = r#"0123"456\789'$(x)`y`"#;
    let offline = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = offline.local_addr().unwrap().port().to_string();
    let asked = thread::spawn(move || {
        let (mut caller, _) = offline.accept().unwrap();
        let head = BufReader::new(&caller).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
        let given =
            head.filter_map(|line| Some(line.strip_prefix("Authorization: Bearer ")?.to_owned())).last();
        caller.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        given
    });
    let mut provider = Command::new("sleep").arg("60").spawn().unwrap();
    let pid = provider.id().to_string();
    let ended = thread::spawn(move || provider.wait().unwrap()); // Until then it could still be signalled.
    let mut script = Command::new("sh");
    script.arg(recipe("stop.sh")).args([&pid, &port]).env("GRACEFUL_OFFLINE_TOKEN", token);
    let outcome = script.output().unwrap();
    assert!(outcome.status.success(), "{}", String::from_utf8_lossy(&outcome.stderr));
    assert_eq!(asked.join().unwrap().as_deref(), Some(token));
    assert!(!ended.join().unwrap().success());
}

#[test]
fn every_recipe_gives_the_process_more_time_than_it_takes() {
    let read = |name| std::fs::read_to_string(recipe(name)).unwrap();
    let seconds = |text: &str, key: &str| -> u64 {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(key)).unwrap();
        line.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap()
    };
    let (manifest, unit) = (read("kubernetes.yaml"), read("orders.service"));
    assert!(seconds(&manifest, "terminationGracePeriodSeconds:") > OFFLINE_WAIT + DRAIN_TIMEOUT);
    assert!(seconds(&manifest, "minReadySeconds:") > WARM_UP);
    assert!(seconds(&unit, "TimeoutStopSec=") > OFFLINE_WAIT + DRAIN_TIMEOUT);
    for recipe in [&manifest, &unit, &read("stop.sh")] {
        assert!(recipe.contains(&format!("/offline?wait={OFFLINE_WAIT}s")));
    }
}

/// What a recipe sets of the registry, by its variables.
fn variables(text: &str) -> Vec<(String, String)> {
    let words = text.split_whitespace().filter_map(|word| {
        let at = word.find("GRACEFUL_REGISTRY_")?;
        let (name, value) = word[at..].split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    });
    words.filter(|(_, value)| value != "value").collect()
}

#[test]
fn the_recipes_of_the_registry_say_what_it_understands_and_give_it_time() {
    let read = |name| std::fs::read_to_string(recipe(name)).unwrap();
    let (unit, image) = (read("registry.service"), read("Dockerfile"));
    for recipe in [&unit, &image] {
        let variables = variables(recipe);
        assert!(variables.len() >= 2, "{variables:?}");
        let mut program = Command::new(env!("CARGO_BIN_EXE_graceful"));
        let outcome = program.args(["registry", "--check-config"]).envs(variables).output().unwrap();
        assert!(outcome.status.success(), "{}", String::from_utf8_lossy(&outcome.stderr));
        let shown = String::from_utf8(outcome.stdout).unwrap();
        assert!(shown.contains("log-format = \"json\"") && shown.contains("data-dir = \"/"), "{shown}");
    }
    let takes = tower_graceful::registry::Settings::default().closed_within;
    assert!(unit.contains("TimeoutStopSec=30") && takes < Duration::from_secs(20));
    assert!(image.contains(r#"CMD ["/usr/local/bin/graceful", "health"]"#));
    // 2.0 of 10 is what systemd calls OK; the higher, the more the process could do.
    check(
        "systemd-analyze",
        &["security", "--offline=true", "--threshold=20", "--no-pager"],
        "registry.service",
    );
}

/// The words of the instructions of this name in the recipe of the image, continued lines as one.
fn instructions(name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(recipe("Dockerfile")).unwrap().replace("\\\n", " ");
    let found = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found.map(|words| words.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// What of the project goes into the image's build: whatever its list does not leave out.
fn build_context() -> Vec<String> {
    let ignored = std::fs::read_to_string(recipe("Dockerfile.dockerignore")).unwrap();
    let (nothing, but) = ignored.split_once('\n').unwrap();
    assert_eq!(nothing, "*");
    but.lines().map(|line| line.strip_prefix('!').unwrap().to_owned()).collect()
}

#[test]
fn the_image_is_built_of_what_is_there() {
    let directory = Directory::new("image");
    for name in build_context() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(&name);
        assert!(source.exists(), "{name}");
        std::os::unix::fs::symlink(source, directory.0.join(name)).unwrap();
    }
    // Every target that the manifest names is in what is copied, and nothing of the lock has to change.
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--offline", "--locked", "--format-version", "1"]);
    let outcome = cargo.current_dir(&directory.0).output().unwrap();
    assert!(outcome.status.success(), "{}", String::from_utf8_lossy(&outcome.stderr));
    let manifest: serde_json::Value = serde_json::from_slice(&outcome.stdout).unwrap();
    let package = &manifest["packages"][0];

    let built = instructions("RUN").concat();
    let after = |flag: &str| built.split_once(flag).unwrap().1.split(' ').next().unwrap().to_owned();
    let (program, feature) = (after("--bin "), after("--features "));
    assert!(package["features"].get(&feature).is_some(), "{feature}");
    let targets = package["targets"].as_array().unwrap();
    let target = targets.iter().find(|target| target["name"] == program.as_str()).unwrap();
    assert_eq!(target["required-features"], serde_json::json!([feature]));
    assert!(built.contains("--release --locked"), "{built}");

    let copied = instructions("COPY");
    let [all, binary, data] = &copied[..] else { panic!("{copied:?}") };
    let installed = format!("/usr/local/bin/{program}");
    assert_eq!(all, ". .");
    assert_eq!(
        *binary,
        format!("--from=build {}/target/release/{program} {installed}", instructions("WORKDIR")[0])
    );
    // The volume belongs to the user that the base image runs as.
    assert_eq!(data, "--from=build --chown=nonroot:nonroot /data /data");
    assert!(instructions("FROM")[1].ends_with(":nonroot") && built.contains("mkdir /data"));
    assert_eq!(instructions("VOLUME"), ["/data"]);
    assert_eq!(instructions("EXPOSE"), ["8848 9848"]);

    // What it runs is what there is: the program understands its own command lines.
    let words = |text: &str| -> Vec<String> { serde_json::from_str(text).unwrap() };
    assert_eq!(words(&instructions("ENTRYPOINT")[0]), [installed.as_str()]);
    let health = instructions("HEALTHCHECK").concat();
    let health = words(health.split_once("CMD ").unwrap().1);
    assert_eq!(health[0], installed);
    for arguments in [&words(&instructions("CMD")[0])[..], &health[1..]] {
        let outcome =
            Command::new(env!("CARGO_BIN_EXE_graceful")).args(arguments).arg("--help").output().unwrap();
        assert!(outcome.status.success(), "{arguments:?}");
    }
}

#[test]
fn the_unit_of_the_registry_is_one_that_systemd_takes() {
    // Where the unit is installed the program is, too; here it is somewhere else.
    let directory = Directory::new("unit");
    let unit = std::fs::read_to_string(recipe("registry.service")).unwrap();
    assert!(unit.contains("\nExecStart=/usr/local/bin/graceful registry\n"));
    let here = directory.0.join("registry.service");
    std::fs::write(&here, unit.replace("/usr/local/bin/graceful", env!("CARGO_BIN_EXE_graceful"))).unwrap();
    check("systemd-analyze", &["verify", "--recursive-errors=one", "--man=no"], here.to_str().unwrap());
}
