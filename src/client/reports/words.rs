//! What has happened, in the words of a report.

use super::subject::Note;
use crate::model::UnixMillis;
use crate::observe::{ConsumerEvent, ProviderEvent};

/// What a provider came to at `at`; nothing of what is told by other means.
pub(super) fn of_provider(at: UnixMillis, event: &ProviderEvent<'_>) -> Option<Note> {
    let (event, detail) = match *event {
        ProviderEvent::Registered { .. } => ("registered", String::new()),
        ProviderEvent::Serving => ("ready", String::new()),
        ProviderEvent::WarmUpStarted { path: Some(path), window, .. } => {
            ("warm-up-started", format!("by a request for {path}, for {window:?}"))
        }
        ProviderEvent::WarmUpStarted { path: None, window, .. } => {
            ("warm-up-started", format!("by the registration, for {window:?}"))
        }
        ProviderEvent::SettingChanged { key, counts, source, .. } => {
            let by = source.map_or_else(String::new, |source| format!(", set on the {}", source.as_str()));
            ("setting-changed", format!("{key}={}{by}", counts.unwrap_or("none")))
        }
        ProviderEvent::WarmUpFinished { window } => ("warm-up-finished", format!("after {window:?}")),
        ProviderEvent::Leaving { cause, in_flight } => {
            ("leaving", format!("{cause}, {in_flight} requests under way"))
        }
        ProviderEvent::Deregistered { .. } => ("deregistered", String::new()),
        ProviderEvent::NotDeregistered { why, .. } => ("not-deregistered", why.to_string()),
        ProviderEvent::Notified { result, .. } => ("notified", result.to_string()),
        ProviderEvent::Drained { after, abandoned: 0 } => {
            ("drained", format!("after {:.1} s", after.as_secs_f64()))
        }
        ProviderEvent::Drained { after, abandoned } => {
            ("drained", format!("after {:.1} s, {abandoned} requests cut", after.as_secs_f64()))
        }
        ProviderEvent::Stopped { cut_connections: 0, cut_tasks: 0 } => ("stopped", String::new()),
        ProviderEvent::Stopped { cut_connections, cut_tasks } => {
            ("stopped", format!("{cut_connections} connections and {cut_tasks} tasks cut"))
        }
        ProviderEvent::ReadinessWaits { window } => {
            ("readiness-waits", format!("for the warm-up, {window:?}"))
        }
        ProviderEvent::HeldUp { requests, in_flight } => {
            let oldest: Vec<_> = requests.iter().map(ToString::to_string).collect();
            ("held-up", format!("{in_flight} under way, oldest: {}", oldest.join(", ")))
        }
        ProviderEvent::CalledLate { .. } => return None, // It is a line of its own.
    };
    Some(Note { at, event, detail, instance: String::new() })
}

/// What a consumer did about an instance; nothing of what is seen without it.
pub(super) fn of_consumer(at: UnixMillis, event: &ConsumerEvent<'_>) -> Option<Note> {
    let (event, instance, detail) = match *event {
        ConsumerEvent::PutAside { instance, cause, .. } => ("put-aside", instance, cause.to_string()),
        ConsumerEvent::Returned { instance } => ("returned", instance, String::new()),
        ConsumerEvent::TagIgnored { instance, .. } => ("tag-ignored", instance, String::new()),
        ConsumerEvent::NoticeIgnored { repeated: true, .. } => return None,
        ConsumerEvent::NoticeIgnored { instance, .. } => ("notice-ignored", instance, String::new()),
        ConsumerEvent::Retried { instance, cause } => ("retried", instance, cause.to_string()),
        ConsumerEvent::NotRetried { instance, cause, why } => {
            ("not-retried", instance, format!("{cause}: {why}"))
        }
        ConsumerEvent::ListApplied { .. }
        | ConsumerEvent::Joined { .. }
        | ConsumerEvent::Gone { .. }
        | ConsumerEvent::AmplificationChanged { .. } => return None,
    };
    Some(Note { at, event, detail, instance: instance.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::WarmUpClock;
    use crate::observe::LeaveCause;
    use std::time::Duration;

    fn provider(event: &ProviderEvent<'_>) -> (&'static str, String) {
        let note = of_provider(UnixMillis::new(7), event).unwrap();
        (note.event, note.detail)
    }

    #[test]
    fn a_provider_says_what_it_came_to_and_by_what() {
        let window = Duration::from_secs(120);
        let (cause, path) = (WarmUpClock::FirstRequest, Some("/orders"));
        assert_eq!(
            provider(&ProviderEvent::WarmUpStarted { cause, path, window }),
            ("warm-up-started", "by a request for /orders, for 120s".to_owned())
        );
        let leaving = ProviderEvent::Leaving { cause: LeaveCause::Signal("SIGTERM"), in_flight: 3 };
        assert_eq!(provider(&leaving), ("leaving", "SIGTERM, 3 requests under way".to_owned()));
        let drained = ProviderEvent::Drained { after: Duration::from_millis(940), abandoned: 2 };
        assert_eq!(provider(&drained), ("drained", "after 0.9 s, 2 requests cut".to_owned()));
    }

    #[test]
    fn a_consumer_says_what_it_did_about_whom() {
        let instance = "10.0.0.7:80".parse().unwrap();
        let note = |event| of_consumer(UnixMillis::new(7), &event);
        let returned = note(ConsumerEvent::Returned { instance: &instance }).unwrap();
        assert_eq!((returned.event, &*returned.instance), ("returned", "10.0.0.7:80"));
        assert!(note(ConsumerEvent::AmplificationChanged { ratio: 1.2 }).is_none());
    }
}
