//! What providers and consumers tell the registry of themselves, and what it may order: this crate's own
//! messages. Nacos answers [`code::NO_HANDLER`](super::code), which ends the reports of a connection.

use super::code;
use super::lenient::null_as_default;
use super::message::{Message, Request, Response, request, response};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The one command there is: leave, as by a call of `/offline`.
pub(crate) const OFFLINE: &str = "offline";
/// Seconds of traffic that one report may carry: more have piled up only where the registry was away.
pub(crate) const SECONDS_MAX: usize = 300;
/// Events that one report may carry.
pub(crate) const EVENTS_MAX: usize = 200;
/// Lines that one report may carry of who still calls an instance that has left.
pub(crate) const LATE_CALLERS_MAX: usize = 20;

request! {
    /// What has happened to one instance, or in one consumer of a service, since the last report.
    GracefulReportRequest -> GracefulReportResponse, "naming" {
        namespace: String,
        service_name: String,
        group_name: String,
        /// `provider` or `consumer`.
        role: String,
        /// Of a provider: which instance it is.
        ip: String,
        port: u16,
        cluster: String,
        /// Start of the reporting process, in milliseconds since 1970.
        epoch: u64,
        /// The moment of sending by the sender's clock, in milliseconds since 1970.
        sent_at: u64,
        /// Requests under way at that moment.
        in_flight: u64,
        events: Vec<ReportedEvent>,
        traffic: Vec<ReportedSecond>,
        late_callers: Vec<ReportedCaller>,
        /// Events and seconds that were dropped, because too many had piled up.
        dropped: u64,
    }
}
response! { GracefulReportResponse {} }

/// Something that happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ReportedEvent {
    /// By the sender's clock, in milliseconds since 1970.
    pub(crate) at: u64,
    /// One word: `registered`, `leaving`, `put-aside` …
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) event: String,
    /// Why, or by what, in words; may be empty.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub(crate) detail: String,
    /// Of a consumer's event: the instance that it speaks of.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub(crate) instance: String,
}

/// The requests of one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ReportedSecond {
    /// Seconds since 1970 by the sender's clock.
    pub(crate) second: u64,
    /// From callers with our layers.
    pub(crate) governed: Requests,
    /// From all others.
    pub(crate) ungoverned: Requests,
}

impl ReportedSecond {
    /// Requests that began in it.
    pub(crate) fn started(&self) -> u64 {
        u64::from(self.governed.started) + u64::from(self.ungoverned.started)
    }

    /// Puts the requests of `other` to these.
    pub(crate) fn add(&mut self, other: &Self) {
        self.governed.add(other.governed);
        self.ungoverned.add(other.ungoverned);
    }
}

/// How many requests did what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Requests {
    pub(crate) started: u32,
    pub(crate) finished: u32,
    /// Those of the finished that were answered with a status from 500 on, or not at all.
    pub(crate) failed: u32,
}

impl Requests {
    fn add(&mut self, other: Self) {
        self.started = self.started.saturating_add(other.started);
        self.finished = self.finished.saturating_add(other.finished);
        self.failed = self.failed.saturating_add(other.failed);
    }
}

/// Somebody who called an instance after it had said that it leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ReportedCaller {
    /// The id in `graceful-caller`; empty for the ungoverned.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub(crate) caller: String,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub(crate) app: String,
    /// Where the connection comes from, without the port.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub(crate) address: String,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) path: String,
    pub(crate) requests: u64,
    /// The last one, by the sender's clock, in milliseconds since 1970.
    pub(crate) last: u64,
}

impl ReportedCaller {
    /// What tells it apart from others.
    pub(crate) fn who(&self) -> (&str, &str, &str) {
        (&self.caller, &self.address, &self.path)
    }
}

request! {
    /// Orders a provider to do something; goes down the stream of the connection that published the instance.
    GracefulCommandRequest -> GracefulCommandResponse, "naming" {
        namespace: String,
        service_name: String,
        group_name: String,
        ip: String,
        port: u16,
        cluster: String,
        /// Which of the processes at that address; 0 where its registration did not say.
        epoch: u64,
        /// [`OFFLINE`] is the only one.
        command: String,
        /// Who orders it, for the provider's log.
        actor: String,
    }
}
response! { GracefulCommandResponse {} }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_reads_back_and_may_leave_out_everything() {
        let second = ReportedSecond {
            second: 7,
            governed: Requests { started: 3, finished: 2, failed: 1 },
            ..ReportedSecond::default()
        };
        let report = GracefulReportRequest { traffic: vec![second], ..GracefulReportRequest::default() };
        let json = serde_json::to_string(&report).unwrap();
        let read: GracefulReportRequest = serde_json::from_str(&json).unwrap();
        assert_eq!(read.traffic, [second]);
        let empty: GracefulReportRequest =
            serde_json::from_str(r#"{"traffic":[{}],"events":[{"detail":null}],"lateCallers":null}"#)
                .unwrap();
        assert_eq!((empty.traffic, empty.events.len()), (vec![ReportedSecond::default()], 1));
    }
}
