//! Prints what happens while a pipeline runs: procedures, alerts and outcomes as they come from
//! their topics, and a line of figures now and then.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::{LogReader, PollLimit, Result};
use theatre_schemas::decode::BatchBuilder;
use theatre_schemas::framing;
use theatre_schemas::records::{Alert, Outcome, Transition};

use super::output::{escaped, time};
use super::service::Service;

/// Topic of the procedures' events.
const PROCEDURE_EVENTS: &str = theatre_config::INPUT_TOPICS[2];
const EVERY: Duration = Duration::from_secs(5);

/// Follows a pipeline's output topics.
pub(super) struct EventPrinter {
    alerts: Vec<Box<dyn LogReader>>,
    outcomes: Vec<Box<dyn LogReader>>,
    /// Input: procedures that begin.
    procedures: Vec<Box<dyn LogReader>>,
    /// All alerts read so far, for the summary.
    pub(super) seen: Vec<Alert>,
    /// Outcomes read so far.
    pub(super) outcomes_seen: u64,
    last_line: Instant,
    last_records: u64,
    quiet: bool,
}

impl EventPrinter {
    /// Begins at the end of the topics as they are now.
    pub(super) fn begin(service: &Service, quiet: bool) -> Result<Self> {
        let readers = |topic: &str| -> Result<Vec<Box<dyn LogReader>>> {
            (0..service.params.partitions)
                .map(|partition| {
                    service.ports.log.reader(
                        topic,
                        partition,
                        service.ports.log.range(topic, partition)?.end,
                    )
                })
                .collect()
        };
        let topics = &service.params.output_topics;
        Ok(Self {
            alerts: readers(topics.get(OutputKind::Alert).unwrap_or_default())?,
            outcomes: readers(topics.get(OutputKind::Outcome).unwrap_or_default())?,
            procedures: if quiet {
                Vec::new()
            } else {
                readers(PROCEDURE_EVENTS)?
            },
            seen: Vec::new(),
            outcomes_seen: 0,
            last_line: Instant::now(),
            last_records: 0,
            quiet,
        })
    }

    /// Prints what has come since the last call.
    pub(super) fn print_new(&mut self, service: &Service) -> Result<()> {
        let limit = PollLimit {
            records: 1000,
            bytes: 1 << 20,
        };
        for reader in &mut self.procedures {
            reader.poll(limit, &mut |record| {
                if let Some(line) = begun_line(service, record.value) {
                    eprintln!("{line}");
                }
            })?;
        }
        let (seen, quiet) = (&mut self.seen, self.quiet);
        for reader in &mut self.alerts {
            reader.poll(limit, &mut |record| {
                let Ok(alert) = Alert::decode(record.value) else {
                    return;
                };
                if !quiet {
                    eprintln!("{}", alert_line(&alert));
                    let was_raised = |alert: &Alert| alert.transition == Transition::Raised;
                    if was_raised(&alert) && !seen.iter().any(was_raised) {
                        let after = service.started.elapsed().as_secs_f64();
                        eprintln!("-- first alert, {after:.1} s after the start");
                    }
                }
                seen.push(alert);
            })?;
        }
        let count = &mut self.outcomes_seen;
        for reader in &mut self.outcomes {
            reader.poll(limit, &mut |record| {
                let Ok(outcome) = Outcome::decode(record.value) else {
                    return;
                };
                *count += 1;
                if !quiet {
                    eprintln!("{}", outcome_line(&outcome));
                }
            })?;
        }
        if self.last_line.elapsed() >= EVERY {
            self.figures(service);
        }
        Ok(())
    }

    fn figures(&mut self, service: &Service) {
        let progress = service.pipeline.progress();
        let records = progress.records_in.load(Ordering::Relaxed);
        let rate = (records - self.last_records) as f64 / self.last_line.elapsed().as_secs_f64();
        let saved = progress.last_save_at.load(Ordering::Relaxed);
        let age = (service.ports.clock.now().0 - saved) as f64 / 1e6;
        let saved = if saved == 0 {
            "never".to_owned()
        } else {
            format!("{age:.1} s ago")
        };
        eprintln!(
            "-- {} actors, {rate:.0} records/s, lag {}, saved {saved}, {} lake files, {} warehouse rows, {} windows",
            progress.robots(),
            progress.lag_records(),
            progress.lake_files.load(Ordering::Relaxed),
            progress.warehouse_rows.load(Ordering::Relaxed),
            progress.outputs(OutputKind::Window),
        );
        for trouble in progress.troubles() {
            eprintln!("-- trouble: {trouble}");
        }
        (self.last_line, self.last_records) = (Instant::now(), records);
    }
}

/// A procedure that begins, in a line; nothing for any other record. A record that cannot be
/// decoded is skipped: the pipeline makes a dead letter of it.
fn begun_line(service: &Service, value: &[u8]) -> Option<String> {
    let params = &service.params;
    let (id, datum) = framing::parse(value).ok()?;
    let writer = params.registry.lookup(id)?;
    let dataset = params.registry.datasets().get(writer.dataset_index).clone();
    let mut builder = BatchBuilder::new(dataset, writer.dataset_index, params.pseudonyms.clone());
    builder.push(&writer.plan, datum, 0, 0).ok()?;
    let batch = builder.finish()?;
    let text = |name: &str| {
        batch
            .dataset
            .column(name)
            .and_then(|column| batch.text(column, 0))
    };
    if text("step")? != "started" {
        return None;
    }
    let at = time(batch.event_times()[0]);
    let kind = text("procedure_type").unwrap_or("procedure");
    Some(format!(
        "{} begun   {kind} {} on {}",
        at.as_str().unwrap_or("-"),
        text("procedure_id")?,
        batch.robot_id(0)
    ))
}

/// An alert in a line.
pub(super) fn alert_line(alert: &Alert) -> String {
    // What wants a person to look stands out.
    let mark = match alert.transition {
        Transition::Raised => "ALERT",
        Transition::Updated => "UPDATED",
        Transition::Escalated => "ESCALATED",
        other => other.as_str(),
    };
    let value = alert.value.map_or(String::new(), |value| {
        format!(" ({})", measured(value, alert.unit.as_deref()))
    });
    let said = (alert.comment.as_deref()).map_or(String::new(), |comment| {
        format!(" - \"{}\"", escaped(comment))
    });
    let silenced = match (alert.transition, alert.silenced_until) {
        (Transition::Silenced, Some(until)) => {
            format!(" [until {}]", time(until).as_str().unwrap_or("-"))
        }
        (_, Some(_)) => " [silenced]".to_owned(),
        _ => String::new(),
    };
    let at = time(alert.event_time);
    format!(
        "{} {mark:<7} {:?} {} {}{value}: {}{said}{silenced}",
        at.as_str().unwrap_or("-"),
        alert.priority,
        escaped(&alert.robot_id),
        alert.rule_id,
        escaped(&alert.message)
    )
}

/// A value with its unit: flags as words, numbers without a unit alone.
fn measured(value: f64, unit: Option<&str>) -> String {
    match unit {
        Some("bool") => (value != 0.0).to_string(),
        None | Some("" | "1") if value.fract() == 0.0 => format!("{value:.0}"),
        None | Some("" | "1") => format!("{value:.2}"),
        Some(unit) => format!("{value:.2} {unit}"),
    }
}

/// An outcome in a line.
pub(super) fn outcome_line(outcome: &Outcome) -> String {
    let at = time(outcome.ended_at);
    format!(
        "{} outcome {:?} {} on {} (revision {}): {:.0} s, {} samples, {} alerts",
        at.as_str().unwrap_or("-"),
        outcome.status,
        escaped(&outcome.procedure_id),
        escaped(&outcome.robot_id),
        outcome.revision,
        outcome.duration_s.unwrap_or(0.0),
        outcome.telemetry_rows,
        outcome.alert_conditions.len()
    )
}

#[cfg(test)]
mod tests {
    use theatre_schemas::records::Priority;

    use super::*;

    #[test]
    fn a_transition_is_a_line_that_says_who_moved_it_and_whether_it_is_silenced() {
        let alert = |transition, message: &str| Alert {
            robot_id: "r1".to_owned(),
            rule_id: "hot".to_owned(),
            priority: Priority::High,
            event_time: 1_767_225_600_000_000,
            transition,
            message: message.to_owned(),
            ..Alert::default()
        };
        let raised = Alert {
            silenced_until: Some(1),
            ..alert(Transition::Raised, "raised: the motor is hot")
        };
        let acknowledged = Alert {
            comment: Some("on my\nway".to_owned()),
            ..alert(
                Transition::Acknowledged,
                "acknowledged by Anna: the motor is hot",
            )
        };
        let silenced = Alert {
            silenced_until: Some(1_767_225_660_000_000),
            ..alert(Transition::Silenced, "silenced by Anna: the motor is hot")
        };
        for (alert, line) in [
            (
                raised,
                "ALERT   High r1 hot: raised: the motor is hot [silenced]",
            ),
            (
                acknowledged,
                "acknowledged High r1 hot: acknowledged by Anna: the motor is hot - \"on my\\nway\"",
            ),
            (
                silenced,
                "silenced High r1 hot: silenced by Anna: the motor is hot [until 2026-01-01T00:01:00.000Z]",
            ),
        ] {
            assert_eq!(
                alert_line(&alert),
                format!("2026-01-01T00:00:00.000Z {line}")
            );
        }
    }
}
