//! Symptom 8: somebody still renews the entry of a provider that has stopped.

use super::check::{Answer, Finding};
use super::facts::{Facts, Listed, Seen, Subject};
use super::life::Life;
use super::words::{ago, counted, encoded};
use crate::model::UnixMillis;
use crate::registry::hub::{Flag, Publisher};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// An instance that says that it stops is off the list by then, or when its lease ends: heartbeats are given 30 s.
const GOES_WITHIN: Duration = Duration::from_secs(35);
/// Where heartbeats go, where nobody has moved the registry.
const HTTP_PORT: u16 = 8848;
/// Consumers that cannot connect to an instance for so long do not meet a restart.
const AWAY_FOR: Duration = Duration::from_secs(10);

pub(super) fn check(facts: &Facts) -> Answer {
    let mut looked_at = 0;
    let mut findings = Vec::new();
    for (subject, listed) in facts.listed() {
        looked_at += 1;
        findings.extend(why(facts, subject, listed).map(|cause| finding(facts, subject, listed, cause)));
    }
    Answer::new(findings, || match looked_at {
        0 => "nobody is on the list".to_owned(),
        many => format!(
            "{} on the list: each is kept there by one, who has not stopped",
            counted(many, "instance")
        ),
    })
}

/// What shows that the entry should not be there, or not by all of those who keep it.
fn why(facts: &Facts, subject: &Subject, listed: &Listed) -> Option<String> {
    let address = &subject.key.address;
    let renewed = renewed_by(facts, listed);
    if listed.flags.contains(&Flag::SeveralPublishers) {
        return Some(format!("{address} is kept on the list by more than one: {renewed}"));
    }
    let stopped = subject.lives.last().and_then(|life| life.stopped.as_ref().or(life.drained.as_ref()));
    if let Some(stopped) = stopped.filter(|said| facts.now.since(said.at) > GOES_WITHIN) {
        let when = ago(facts.now, stopped.at);
        return Some(format!("{address} stopped {when}, and is kept on the list by {renewed}"));
    }
    let away = away_since(&subject.seen)?;
    let is_new = subject.lives.last().and_then(Life::began).is_some_and(|began| began > away);
    let lasts = facts.now.since(away) >= AWAY_FOR && !is_new && listed.instance.enabled;
    lasts.then(|| {
        let when = ago(facts.now, away);
        format!(
            "consumers cannot connect to {address} (first {when}), and it is kept on the list by {renewed}"
        )
    })
}

/// Since when consumers have not been able to connect to it.
fn away_since(seen: &[Seen]) -> Option<UnixMillis> {
    let mut since = None;
    for said in seen {
        match said.event.as_str() {
            "put-aside" if said.detail.starts_with("connect") => since = since.or(Some(said.at)),
            "returned" => since = None,
            _ => {}
        }
    }
    since
}

fn finding(facts: &Facts, subject: &Subject, listed: &Listed, cause: String) -> Finding {
    let (host, port) = (subject.key.address.host(), subject.key.address.port());
    let (service, namespace) = (&facts.service, &facts.service.namespace);
    let foreign =
        if listed.flags.contains(&Flag::ForeignPublisher) { ", on another machine than its own" } else { "" };
    let expected = format!("expected: one sender, at {host}");
    let seen = format!("seen: {}{foreign}", renewed_by(facts, listed));
    let which = format!(
        "serviceName={}&groupName={}&namespaceId={namespace}&clusterName={}&ip={host}&port={port}",
        encoded(service.name.as_str()),
        service.group,
        subject.key.cluster
    );
    let disable = format!("curl -X PUT 'http://REGISTRY/nacos/v1/ns/instance?{which}&enabled=false'");
    let mut commands = vec![disable];
    for (sender, ports) in senders(listed) {
        let ports: Vec<_> = ports.iter().map(|port| format!("-e :{port}")).collect();
        let ports = ports.join(" ");
        commands.push(format!("ssh {sender} \"ss -tnp | grep {ports}; ps -ef | grep -e {port}\""));
        commands.push(format!("ssh {sender} \"docker ps\""));
        commands.push(format!("kubectl get pods -A -o wide | grep -w {sender}"));
    }
    if listed.publishers.iter().any(|publisher| matches!(publisher, Publisher::Storage { .. })) {
        commands
            .push(format!("curl -X DELETE 'http://REGISTRY/nacos/v1/ns/instance?{which}&ephemeral=false'"));
    }
    let remedy = "disable the entry first, so that nobody is sent there; then find the process that renews it, and stop it: \
                  the next heartbeat or reconnect would bring a deleted entry back";
    Finding::new(cause, remedy).about(&subject.key).with_commands(commands).known_by([expected, seen])
}

/// Machines of those who keep it, each with the ports by which their connections are found there.
fn senders(listed: &Listed) -> BTreeMap<IpAddr, BTreeSet<u16>> {
    let mut senders = BTreeMap::<IpAddr, BTreeSet<u16>>::new();
    for publisher in &listed.publishers {
        match publisher {
            Publisher::Connection { connection, .. } => {
                let address = connection.address.parse::<SocketAddr>();
                let own = address.into_iter().map(|address| (address.ip(), address.port()));
                own.for_each(|(ip, port)| _ = senders.entry(ip).or_default().insert(port));
            }
            Publisher::Heartbeats { senders: heard, .. } => {
                let ips = heard.iter().filter_map(|heard| heard.ip.parse().ok());
                ips.for_each(|ip| _ = senders.entry(ip).or_default().insert(HTTP_PORT));
            }
            Publisher::Storage { .. } => {}
        }
    }
    senders
}

fn renewed_by(facts: &Facts, listed: &Listed) -> String {
    let mut by = Vec::new();
    for publisher in &listed.publishers {
        match publisher {
            Publisher::Connection { connection, .. } => {
                let app = if connection.app.is_empty() { "a client without a name" } else { &connection.app };
                let since = ago(facts.now, UnixMillis::new(connection.connected_at));
                by.push(format!(
                    "connection {} of {app} at {} (opened {since})",
                    connection.connection, connection.address
                ));
            }
            Publisher::Heartbeats { senders, .. } => by.extend(senders.iter().map(|heard| {
                let agent = if heard.agent.is_empty() { "no user agent" } else { &heard.agent };
                format!(
                    "heartbeats from {} ({agent}, the last {})",
                    heard.ip,
                    ago(facts.now, UnixMillis::new(heard.last))
                )
            })),
            Publisher::Storage { .. } => {
                by.push("the registry's storage: it is persistent, and stays until it is deleted".to_owned());
            }
        }
    }
    by.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::command::ConnectionId;
    use crate::registry::diagnosis::given::{Events, Given, first, instance, peer};
    use crate::registry::events::Role;
    use crate::registry::hub::PeerLine;

    fn connection(n: u8) -> Publisher {
        Publisher::Connection { since: 1, connection: PeerLine::new(ConnectionId(n.into()), &peer(n)) }
    }

    fn found(given: Given) -> Finding {
        first(check(&given.facts()))
    }

    #[test]
    fn an_entry_that_its_own_process_keeps_is_well() {
        let given =
            Given::new().events(1, Events::of(1).started(10)).listed(instance(1), vec![connection(1)], &[]);
        assert!(matches!(check(&given.facts()), Answer::Pass(_)));
    }

    #[test]
    fn two_who_keep_one_entry_are_named_with_the_commands_to_find_them() {
        let flags = [Flag::SeveralPublishers, Flag::ForeignPublisher];
        let finding = found(Given::new().listed(instance(1), vec![connection(1), connection(7)], &flags));
        assert!(finding.cause.contains("connection 7 of app7 at 10.0.0.7:50000"), "{finding:?}");
        assert_eq!(finding.evidence[0], "expected: one sender, at 10.0.0.1");
        for part in
            ["enabled=false", "ss -tnp", "ps -ef", "docker ps", "kubectl get pods", "ssh 10.0.0.7", ":50000;"]
        {
            assert!(finding.commands.iter().any(|command| command.contains(part)), "{part}: {finding:?}");
        }
    }

    #[test]
    fn an_entry_that_outlives_its_process_is_found() {
        let events = Events::of(1).started(10).left(900);
        let finding = found(Given::new().events(1, events).listed(instance(1), vec![connection(2)], &[]));
        assert!(
            finding
                .cause
                .starts_with("10.0.0.1:80 stopped 1 min 39 s ago, and is kept on the list by connection 2")
        );
        let just_now = Events::of(1).started(10).left(990);
        let given = Given::new().events(1, just_now).listed(instance(1), vec![connection(2)], &[]);
        assert!(matches!(check(&given.facts()), Answer::Pass(_)), "its lease may not have ended yet");
    }

    #[test]
    fn an_entry_that_nobody_can_connect_to_is_found() {
        let refused =
            Events::foreign().came(10).by(3).said(Some(Role::Consumer), 900, "put-aside", "connect");
        let given = |events| {
            Given::new().events(1, events).listed(instance(1), vec![Publisher::Storage { since: 1 }], &[])
        };
        let finding = found(given(refused.clone()));
        assert!(finding.cause.starts_with("consumers cannot connect to 10.0.0.1:80"), "{finding:?}");
        assert!(finding.commands.iter().any(|command| command.contains("-X DELETE")), "{finding:?}");
        let returned = refused.said(Some(Role::Consumer), 905, "returned", "");
        assert!(matches!(check(&given(returned).facts()), Answer::Pass(_)));
    }
}
