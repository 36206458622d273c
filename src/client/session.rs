//! The life of one connection: what is due goes out, what the registry says comes in.

use super::connection::Connection;
use super::desired::Answer;
use super::desired::{Change, Step};
use super::failure::Failure;
use super::incoming;
use super::outgoing::{Done, check, log_in, perform, report};
use super::reports::Reports;
use super::settings::Settings;
use super::shared::Shared;
use crate::model::{InstanceKey, ServiceKey};
use crate::naming;
use crate::protocol::code;
use crate::protocol::message::{ConnectResetRequest, Message};
use std::future::pending;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Silence of the registry after which it is asked whether it is there, as Nacos' own clients do.
const HEALTH_AFTER: Duration = Duration::from_secs(5);
/// Requests on their way at one time: enough to bring hundreds of services back at once after a reconnect,
/// and a bound for a registry that answers none.
const UNDER_WAY_MAX: usize = 64;
/// How long a client that is closed waits for the registry to take its last report: a round trip or two, and
/// no reason to hold up the end of a process.
const LAST_WORDS_WITHIN: Duration = Duration::from_millis(100);

/// Runs until the connection is of no more use, and returns why; nothing once the client is closing and all
/// is taken off.
pub(super) async fn run(
    mut connection: Connection,
    shared: &Shared,
    reports: Option<&Reports>,
    settings: &Settings,
) -> Option<Failure> {
    let mut under_way = JoinSet::new();
    let (mut reporting, mut last_words) = (0, None);
    let (mut heard, mut checking, mut logging_in) = (Instant::now(), false, false);
    let caller = connection.caller();
    loop {
        let now = Instant::now();
        while under_way.len() < UNDER_WAY_MAX
            && let Some(step) = shared.next(now)
        {
            // What is known of an instance goes before it: afterwards it may be too late.
            let last =
                reports.zip(goes(&step)).map(|(reports, service)| reports.take_last(now, Some(service)));
            for last in last.into_iter().flatten() {
                reporting += 1;
                under_way.spawn(report(caller.clone(), last));
            }
            under_way.spawn(perform(caller.clone(), step));
        }
        if shared.is_closing() && shared.held() == 0 {
            let last =
                if last_words.is_none() { reports.map(|reports| reports.take_last(now, None)) } else { None };
            for last in last.into_iter().flatten() {
                reporting += 1;
                under_way.spawn(report(caller.clone(), last));
            }
            let until = *last_words.get_or_insert(now + LAST_WORDS_WITHIN);
            if reporting == 0 || now >= until {
                return None;
            }
        }
        let is_known =
            |service: &ServiceKey, instance: Option<&InstanceKey>| shared.is_known(service, instance);
        if let Some(reports) = reports.filter(|_| reporting == 0) {
            for next in reports.take(now, is_known) {
                reporting += 1;
                under_way.spawn(report(caller.clone(), next));
            }
        }
        let to_report = reports.filter(|_| reporting == 0).and_then(|reports| reports.due(now, is_known));
        if !checking && now >= heard + HEALTH_AFTER {
            checking = true;
            under_way.spawn(check(caller.clone()));
        }
        let health = (!checking).then_some(heard + HEALTH_AFTER);
        if !logging_in && caller.login_due().is_some_and(|due| due <= now) {
            logging_in = true;
            under_way.spawn(log_in(caller.clone()));
        }
        let login = caller.login_due().filter(|_| !logging_in);
        let due =
            health.into_iter().chain(login).chain(shared.tick(now)).chain(to_report).chain(last_words).min();

        tokio::select! {
            Some(done) = under_way.join_next() => {
                let done = match done {
                    Ok(done) => done,
                    Err(panicked) => return Some(Failure::broken("asking", panicked)),
                };
                if done.was_answered() {
                    heard = Instant::now();
                }
                checking &= !matches!(done, Done::Checked(_));
                logging_in &= !matches!(done, Done::LoggedIn(_));
                reporting -= usize::from(matches!(done, Done::Reported(_)));
                if let Err(failure) = done.settle(shared, reports) {
                    return Some(failure);
                }
            }
            arrived = connection.request() => match arrived {
                Err(failure) => return Some(failure),
                Ok((request, room)) => {
                    heard = Instant::now();
                    if let Some(answer) = incoming::answer(&request, shared, &settings.namespace) {
                        room.send(answer);
                    }
                    if request.kind() == ConnectResetRequest::KIND {
                        return Some(Failure::broken("staying connected", "the registry asked to reconnect"));
                    }
                }
            },
            () = shared.changed() => {}
            () = told(reports) => {}
            () = sleep_until(due.unwrap_or(now)), if due.is_some() => {}
        }
    }
}

/// The service of which this client has an instance that the step takes off.
fn goes(step: &Step) -> Option<&ServiceKey> {
    match step {
        Step::Publish(service, Change::Deregister(_) | Change::Leave { .. }) => Some(service),
        Step::Publish(_, Change::Register(_)) | Step::Follow(..) => None,
    }
}

/// Waits until there may be something to report.
async fn told(reports: Option<&Reports>) {
    match reports {
        Some(reports) => reports.changed().await,
        None => pending().await,
    }
}

impl Done {
    /// Hands the outcome on. An error says that the connection is of no more use: the registry does not know
    /// it, is not there, or may or may not hold what was to be registered. A new connection holds nothing,
    /// so that it is known again what the registry holds.
    fn settle(self, shared: &Shared, reports: Option<&Reports>) -> Result<(), Failure> {
        match self {
            Self::Reported(Ok(())) => Ok(()),
            Self::Reported(Err(Failure::Refused { code: code::NO_HANDLER, .. })) => {
                tracing::debug!("the registry takes no reports");
                reports.into_iter().for_each(Reports::is_deaf);
                Ok(())
            }
            Self::Reported(Err(failure)) => {
                // It is lost: a connection that is broken is found out by what matters more.
                tracing::debug!(error = &failure as &dyn std::error::Error, "a report was not taken");
                Ok(())
            }
            Self::Checked(Ok(()) | Err(Failure::Busy { .. } | Failure::NotLoggedIn(_)))
            | Self::LoggedIn(Ok(())) => Ok(()),
            Self::LoggedIn(Err(failure)) => {
                // What is registered stays so, and the old token may be good for a while.
                tracing::warn!(error = &failure as &dyn std::error::Error, "could not log in again");
                Ok(())
            }
            Self::Checked(Err(failure)) => Err(failure),
            Self::Published(service, count, result) => {
                let answer = match result {
                    Ok(told) if count == 0 => {
                        tracing::info!(service.name = %service, "deregistered");
                        Answer::Yes(told)
                    }
                    Ok(told) => {
                        tracing::info!(service.name = %service, instances = count, "registered");
                        Answer::Yes(told)
                    }
                    Err(failure) => answer_of(failure, &service, "the registry refused a registration")?,
                };
                shared.published(&service, answer);
                Ok(())
            }
            Self::Followed(service, ask, result) => {
                let answer = match result {
                    Ok(list) => Answer::Yes(list),
                    Err(failure @ Failure::Broken(_)) => {
                        tracing::warn!(service.name = %service, ?ask, error = &failure as &dyn std::error::Error,
                            "no list came of the registry");
                        Answer::Later
                    }
                    Err(failure) => answer_of(failure, &service, "the registry refused a list")?,
                };
                shared.followed(&service, answer);
                Ok(())
            }
        }
    }
}

/// What an answered failure means for one service; an error where it means the connection.
fn answer_of<T>(failure: Failure, service: &ServiceKey, what: &'static str) -> Result<Answer<T>, Failure> {
    match failure {
        Failure::Refused { code, message } => {
            tracing::warn!(service.name = %service, code, message, "{what}");
            Ok(Answer::No(naming::Error::Refused { code, message }))
        }
        Failure::Busy { code, message } => {
            tracing::debug!(service.name = %service, code, message, "the registry is busy");
            Ok(Answer::Later)
        }
        Failure::NotLoggedIn(why) if why.is_refused() => {
            tracing::warn!(service.name = %service, error = %why, "{what}");
            Ok(Answer::No(naming::Error::Refused { code: code::FORBIDDEN, message: why.to_string() }))
        }
        Failure::NotLoggedIn(why) => {
            tracing::warn!(service.name = %service, error = &*why as &dyn std::error::Error, "could not log in");
            Ok(Answer::Later)
        }
        Failure::Unregistered | Failure::Broken(_) => Err(failure),
    }
}
