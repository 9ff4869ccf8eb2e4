//! `theatre tail`: alerts, outcomes and dead letters as they are published.

use std::time::Duration;

use clap::Args;
use serde_json::json;
use theatre_actors::ports::PollLimit;
use theatre_schemas::records::{Alert, DeadLetter, Outcome};

use super::event_printer::{alert_line, outcome_line};
use super::output::write;
use super::service::Place;
use super::{Common, Failure, Output};

/// Follows an output topic.
#[derive(Debug, Args)]
pub(super) struct Tail {
    /// Topic of alerts, outcomes or dead letters.
    topic: String,
    /// From the beginning instead of from now.
    #[arg(long)]
    from_start: bool,
    /// Go on when the end is reached.
    #[arg(long)]
    follow: bool,
}

impl Tail {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let log = Place::of(common)?.look()?.log()?;
        let partitions = log
            .partitions(&self.topic)?
            .ok_or_else(|| Failure::Usage(format!("there is no topic '{}'", self.topic)))?;
        let mut readers = Vec::new();
        for partition in 0..partitions {
            let range = log.range(&self.topic, partition)?;
            readers.push(log.reader(
                &self.topic,
                partition,
                if self.from_start {
                    range.start
                } else {
                    range.end
                },
            )?);
        }
        loop {
            let mut lines = Vec::new();
            let mut more = false;
            for reader in &mut readers {
                let end = reader.poll(
                    PollLimit {
                        records: 1000,
                        bytes: 1 << 20,
                    },
                    &mut |record| lines.push(line(record.value, common.output)),
                )?;
                more |= !end.at_end;
            }
            write(&lines.concat())?;
            if !more && !self.follow {
                return Ok(());
            }
            if !more {
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

/// A message in one line, of whichever kind it is.
fn line(message: &[u8], output: Output) -> String {
    let (text, value) = if let Ok(alert) = Alert::decode(message) {
        (alert_line(&alert), json!(alert))
    } else if let Ok(outcome) = Outcome::decode(message) {
        (outcome_line(&outcome), json!(outcome))
    } else if let Ok(dead) = DeadLetter::decode(message) {
        (
            format!(
                "{} partition {} offset {}: {} {}",
                dead.topic, dead.partition, dead.offset, dead.reason, dead.detail
            ),
            json!(dead),
        )
    } else {
        (
            format!("{} bytes of another kind", message.len()),
            json!({"bytes": message.len()}),
        )
    };
    if output == Output::Json {
        format!("{value}\n")
    } else {
        format!("{text}\n")
    }
}
