//! What people see while a release goes on: a few lines on the terminal, redrawn in place.

use super::record::{Instance, Record, Recorder};
use std::future::pending;
use std::io::{IsTerminal, Write};
use std::time::Duration;
use tower_graceful::Clock;
use tower_graceful::model::UnixMillis;

const REDRAWN_EVERY: Duration = Duration::from_millis(250);
/// Shares are those of the requests of this span.
const SHARE_OF: Duration = Duration::from_secs(1);
/// Executions are told a little late; the share is that of a span that lies this far back.
const TOLD_BY: Duration = Duration::from_millis(400);
/// Characters of a bar that stands for all requests.
const BAR: usize = 40;

/// Shows `recorder` on standard error for ever; does nothing where that is no terminal.
pub async fn show(recorder: &Recorder) {
    let mut stderr = std::io::stderr();
    if !stderr.is_terminal() {
        pending::<()>().await;
    }
    let mut every = tokio::time::interval(REDRAWN_EVERY);
    let mut lines_above = 0;
    loop {
        every.tick().await;
        let view = view(&recorder.record(), Clock::system().now());
        let back = if lines_above > 0 { format!("\x1b[{lines_above}A") } else { String::new() };
        lines_above = view.lines().count();
        // Each line is cleared to its end, and what the last view had more than this one below it.
        let _ = write!(stderr, "{back}\r{}\x1b[J", view.replace('\n', "\x1b[K\n"));
    }
}

/// The record as a few lines of text at `now`.
fn view(record: &Record, now: UnixMillis) -> String {
    let (sent, failed) = (record.answers.len(), record.failures().count());
    let age = now.since(record.began).as_secs_f64();
    let Record { title, phase, .. } = record;
    let mut text = format!("{title}, {age:4.1} s: {sent} answered, {failed} failed. {phase}\n");
    let until = UnixMillis::new(now.as_u64().saturating_sub(duration_ms(TOLD_BY)));
    let from = UnixMillis::new(until.as_u64().saturating_sub(duration_ms(SHARE_OF)));
    let all: usize = record.instances.iter().map(|instance| instance.executed_between(from, until)).sum();
    for instance in record.instances.iter().filter(|instance| instance.exited.is_none()) {
        let share = instance.executed_between(from, until) as f64 / all.max(1) as f64;
        text.push_str(&line(instance, share));
    }
    text
}

fn line(instance: &Instance, share: f64) -> String {
    let Instance { release, address, in_flight, .. } = instance;
    let mark = match instance {
        Instance { signalled: Some(_), .. } => "leaving",
        Instance { ready: None, .. } => "starting",
        _ => "",
    };
    let bar: String = (0..BAR).map(|n| if (n as f64) < share * BAR as f64 { '#' } else { '.' }).collect();
    format!("  {release} {address} {bar} {:3.0} %  {in_flight:3} in flight  {mark}\n", share * 100.0)
}

fn duration_ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_last_second_and_those_gone_are_left_out() {
        let mut record = Record::new("test", 4.0, UnixMillis::new(0));
        for (port, executions) in [(1, 3), (2, 1), (3, 4)] {
            let mut instance = Instance::new("v1", ([127, 0, 0, 1], port).into());
            instance.ready = Some(UnixMillis::new(0));
            instance.executions = vec![(String::new(), UnixMillis::new(9_000)); executions];
            record.instances.push(instance);
        }
        record.instances[2].executions = vec![(String::new(), UnixMillis::new(8_000)); 4];
        record.instances[2].exited = Some(UnixMillis::new(8_500));
        let view = view(&record, UnixMillis::new(10_000));
        assert!(view.contains("127.0.0.1:1 ##############################..........  75 %"), "{view}");
        assert!(view.contains("127.0.0.1:2 ##########..............................  25 %"), "{view}");
        assert!(!view.contains("127.0.0.1:3"), "{view}");
    }
}
