//! What operators watch: the dashboard and the alert rules of `deploy/` name only what is exported.

use super::registry::Running;
use axum::Router;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use tokio::net::TcpListener;
use tower_graceful::consumer::BalanceLayer;
use tower_graceful::model::{Instance, Phase};
use tower_graceful::naming::{InProcess, Snapshots};
use tower_graceful::observe::Metrics;
use tower_graceful::provider::Provider;

/// Labels that Prometheus gives to what it scrapes.
const OF_TARGETS: [&str; 2] = ["instance", "job"];
/// What Grafana puts its own words for, as it sends an expression.
const OF_GRAFANA: [&str; 2] = ["$__rate_interval", "$__range"];
/// Words of the language that stand without parentheses, and those before lists of labels.
const OPERATORS: [&str; 4] = ["and", "or", "unless", "bool"];
const BEFORE_LABELS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
/// Rules that there must be, by the name of each.
const ALERTS: [&str; 14] = [
    "GracefulCalledAfterOffline",
    "GracefulRequestsRefused",
    "GracefulStartStuck",
    "GracefulDrainAbandoned",
    "GracefulSnapshotStale",
    "GracefulRegistryAway",
    "GracefulNoEndpoints",
    "GracefulAmplification",
    "RegistryAbsent",
    "RegistryStoreUnavailable",
    "RegistryPushesUnacknowledged",
    "RegistryInstancesExpired",
    "RegistryBoundReached",
    "RegistryFailing",
];

/// The values of each label of each metric.
type Exported = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// All that a registry, a provider and a consumer export.
async fn exported() -> Exported {
    let registry = Running::start().await;
    let (status, _) = registry.send("POST", "/instance?serviceName=orders&ip=10.0.0.7&port=80", "").await;
    assert_eq!(status, 200);
    let (_, of_registry) = registry.send("GET", "/metrics", "").await;

    let metrics = Metrics::alone();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let provider = Provider::builder("orders").registry(InProcess::new()).metrics(metrics.clone());
    let provider = provider.readiness_bind(any).offline_bind(any).metrics_bind(any).without_signals();
    let provider = provider.build().unwrap();
    let (handle, shutdown) = (provider.handle(), provider.shutdown_handle());
    let serving = tokio::spawn(provider.serve(TcpListener::bind(any).await.unwrap(), Router::new()));
    handle.reached(Phase::Serving).await;
    let instances = vec![Instance::new("10.0.0.7:8080".parse().unwrap())];
    let snapshots = Snapshots::fixed("orders".parse().unwrap(), instances);
    let consumer = BalanceLayer::new(snapshots).with_observer(metrics.clone()).over(|_| ());
    consumer.pick().unwrap();
    let of_layers = metrics.text().unwrap();
    shutdown.shut_down();
    serving.await.unwrap().unwrap();

    let mut exported = Exported::new();
    let lines = of_registry.lines().chain(of_layers.lines()).filter(|line| !line.starts_with('#'));
    for line in lines.filter(|line| !line.is_empty()) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.trim_end_matches('}').split_once('{').unwrap_or((series, ""));
        let known = exported.entry(name.to_owned()).or_default();
        for label in labels.split("\",").filter(|label| !label.is_empty()) {
            let (label, value) = label.split_once("=\"").unwrap();
            known.entry(label.to_owned()).or_default().insert(value.trim_end_matches('"').to_owned());
        }
    }
    exported
}

fn deployed(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)).unwrap()
}

/// A piece of an expression.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

/// The pieces of an expression, without numbers, times and white space.
fn tokens(expression: &str) -> Vec<Token> {
    let text = OF_GRAFANA.into_iter().fold(expression.to_owned(), |text, own| text.replace(own, "1m"));
    let (mut found, mut rest) = (Vec::new(), text.as_str());
    while let Some(first) = rest.chars().next() {
        let is_of_word = |c: char| c.is_ascii_alphanumeric() || "_:.".contains(c);
        let length = if first == '"' {
            let end = rest[1..].find('"').expect("a text ends") + 1;
            found.push(Token::Text(rest[1..end].to_owned()));
            end + 1
        } else if is_of_word(first) {
            let end = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
            if !first.is_ascii_digit() {
                found.push(Token::Word(rest[..end].to_owned()));
            }
            end
        } else {
            if !first.is_whitespace() {
                found.push(Token::Sign(first));
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    found
}

/// What is wrong with the names in an expression.
fn mistakes(expression: &str, exported: &Exported) -> Vec<String> {
    let (tokens, mut wrong, mut metrics, mut grouped) =
        (tokens(expression), Vec::new(), Vec::new(), Vec::new());
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        let Token::Word(word) = token else { continue };
        let opens = |sign: char| tokens.get(at) == Some(&Token::Sign(sign));
        // Up to the end of what stands in parentheses or braces after the word.
        let inside = |end: char| {
            let length = tokens[at..].iter().position(|token| *token == Token::Sign(end)).unwrap();
            &tokens[at + 1..at + length]
        };
        // promtool knows all functions, this test none: `sum(..)` and `sum by (..) (..)` are two.
        let before_labels =
            |token: &Token| matches!(token, Token::Word(word) if BEFORE_LABELS.contains(&word.as_str()));
        let is_function = !before_labels(token) && (opens('(') || tokens.get(at).is_some_and(before_labels));
        if OPERATORS.contains(&word.as_str()) || is_function {
            continue;
        }
        if BEFORE_LABELS.contains(&word.as_str()) {
            let labels = inside(')');
            at += labels.len() + 2;
            grouped.extend(labels.iter().filter_map(|token| match token {
                Token::Word(label) => Some(label.clone()),
                Token::Text(_) | Token::Sign(_) => None,
            }));
        } else if let Some(labels) = exported.get(word) {
            metrics.push(word.clone());
            if opens('{') {
                let matchers = inside('}');
                at += matchers.len() + 2;
                wrong.extend(
                    matchers
                        .split(|token| *token == Token::Sign(','))
                        .flat_map(|matcher| mismatches(word, labels, matcher)),
                );
            }
        } else {
            wrong.push(format!("{word} is not exported"));
        }
    }
    if metrics.is_empty() && wrong.is_empty() {
        wrong.push("no metric is named".to_owned());
    }
    for label in grouped {
        let known = metrics.iter().any(|metric| exported[metric].contains_key(&label));
        if !known && !OF_TARGETS.contains(&label.as_str()) {
            wrong.push(format!("none of {metrics:?} has the label {label}"));
        }
    }
    wrong
}

/// What is wrong with one condition on a label of a metric.
fn mismatches(metric: &str, labels: &BTreeMap<String, BTreeSet<String>>, condition: &[Token]) -> Vec<String> {
    let [Token::Word(label), .., Token::Text(wanted)] = condition else {
        return vec![format!("{metric}: {condition:?} is no condition")];
    };
    let Some(known) = labels.get(label) else {
        let of_target = OF_TARGETS.contains(&label.as_str());
        return if of_target { vec![] } else { vec![format!("{metric} has no label {label}")] };
    };
    let wanted = wanted.split('|').filter(|one| !one.starts_with('$') && !known.contains(*one));
    wanted.map(|one| format!("{metric}: {label} is never {one:?}")).collect()
}

#[tokio::test]
async fn every_name_in_the_dashboard_is_exported_and_every_panel_says_what_it_shows() {
    let exported = exported().await;
    let dashboard: Value = serde_json::from_str(&deployed("grafana-dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let (rows, panels): (Vec<_>, Vec<_>) = panels.iter().partition(|panel| panel["type"] == "row");
    let rows: Vec<_> = rows.iter().map(|row| row["title"].as_str().unwrap()).collect();
    assert_eq!(rows, ["Release at a glance", "Provider", "Consumer", "Registry"]);
    let (mut wrong, mut used, mut places) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for panel in &panels {
        let title = panel["title"].as_str().unwrap();
        assert!(panel["description"].as_str().is_some_and(|about| about.ends_with('.')), "{title}");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        let place = &panel["gridPos"];
        assert!(places.insert((place["y"].as_u64(), place["x"].as_u64())), "{title} lies over another");
        assert!(place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap() <= 24, "{title}");
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            wrong.extend(mistakes(expression, &exported).into_iter().map(|it| format!("{title}: {it}")));
            used.extend(tokens(expression));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let variables: Vec<_> = variables.iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(variables, ["datasource", "service"]);
    // And nothing that is exported is shown nowhere: of a histogram its counts will do.
    let unused = exported.keys().filter(|name| !used.contains(&Token::Word((*name).clone())));
    let unused: Vec<_> = unused.filter(|name| !name.ends_with("_sum") && !name.ends_with("_count")).collect();
    assert!(unused.is_empty(), "no panel shows {unused:?}");
}

#[tokio::test]
async fn every_name_in_the_alert_rules_is_exported_and_every_rule_says_what_to_do() {
    let exported = exported().await;
    let rules: Value = serde_yaml_ng::from_str(&deployed("alerts.yaml")).unwrap();
    let groups = rules["groups"].as_array().unwrap();
    let rules: Vec<&Value> = groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
    let names: Vec<_> = rules.iter().map(|rule| rule["alert"].as_str().unwrap()).collect();
    assert_eq!(names, ALERTS);
    let mut wrong = Vec::new();
    for rule in rules {
        let name = rule["alert"].as_str().unwrap();
        let expression = rule["expr"].as_str().unwrap();
        wrong.extend(mistakes(expression, &exported).into_iter().map(|it| format!("{name}: {it}")));
        let lasts = rule["for"].as_str().unwrap();
        assert!(lasts.trim_end_matches(['s', 'm']).parse::<u32>().is_ok(), "{name}: for {lasts}");
        assert!(["warning", "critical"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{name}");
        let said = |what: &str| rule["annotations"][what].as_str().unwrap_or_default().to_owned();
        assert!(!said("summary").is_empty() && said("description").len() > 150, "{name}");
        // Only labels that its expression leaves can stand in its words.
        for label in said("summary").split("$labels.").skip(1) {
            let label = label.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap();
            let aggregates = expression.contains(" by (");
            let left = if aggregates { expression.contains(label) } else { true };
            assert!(left, "{name}: {label} is aggregated away");
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn a_name_that_is_not_exported_is_found() {
    let exported = exported().await;
    for (expression, found) in [
        ("sum(graceful_request_total)", "graceful_request_total is not exported"),
        (r#"rate(graceful_requests_total{outcom="served"}[5m])"#, "has no label outcom"),
        (r#"rate(graceful_requests_total{outcome=~"served|lost"}[5m])"#, r#"outcome is never "lost""#),
        ("sum by (reason, phase) (rate(registry_expired_total[5m]))", "has the label phase"),
        ("1 > 0", "no metric is named"),
    ] {
        let wrong = mistakes(expression, &exported);
        assert!(wrong.len() == 1 && wrong[0].contains(found), "{expression}: {wrong:?}");
    }
    let right = r#"sum by (service, job) (rate(graceful_requests_total{outcome="served",service=~"$service"}[$__rate_interval])) > 1e3"#;
    assert_eq!(mistakes(right, &exported), Vec::<String>::new());
}
