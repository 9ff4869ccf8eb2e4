//! The oracle: all processors over the whole log in one piece, and what must follow from them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Result, ensure};
use theatre_actors::control;
use theatre_actors::outputs::{ALL, DeadReason, OutputEvent, OutputKind, Outputs, Topic};
use theatre_actors::ports::CheckpointStore;
use theatre_actors::position::Positions;
use theatre_actors::processor::{IntakeProcessor, Processor};
use theatre_actors::time::{LogTime, Tick};
use theatre_pipeline::intake::{Entry, Intake, IntakeParams};
use theatre_pipeline::{PipelineParams, Ports};
use theatre_testkit::memory::store::MemoryStore;

use super::pager::Pager;

/// Compares everything that is there with what follows from the log. Returns how many alerts the
/// receiver is sent, if there is one.
pub(super) fn check(
    params: &PipelineParams,
    ports: &Ports,
    pager: Option<&Pager>,
) -> Result<usize> {
    let mut processors = Processors::new();
    let mut intake_processor = IntakeProcessor::default();
    let mut buried = Vec::new();
    let mut reports = super::versions::Reports::default();
    let mut limits = params.limits.clone();
    limits.poll_records = 1 << 20;
    let intake = IntakeParams {
        limits,
        ..params.intake()
    };
    let book = Arc::new(params.control_book());
    // Where the topics of what is said to all robots have been read to.
    let mut said = Positions::zero();
    let mut reader = Intake::open(&*ports.log, 0, intake, &Positions::zero())?;
    loop {
        let chunk = reader.poll()?;
        if chunk.is_empty() {
            break;
        }
        for entry in &chunk.entries {
            match *entry {
                Entry::Row { batch, row } => {
                    let (topic, batch) = &chunk.batches[batch as usize];
                    let robot = batch.robot_id(row as usize);
                    let (processor, outputs) =
                        processors.entry(robot.to_owned()).or_insert_with(|| {
                            let config = params.processor.clone();
                            let begun = Processor::begun(robot, config, &book, &said);
                            (begun, Outputs::default())
                        });
                    reports.note(batch, row as usize);
                    if control::partition_of(robot).is_none() {
                        processor.apply(*topic, batch, &[row], outputs);
                        continue;
                    }
                    book.note(*topic, batch, row as usize);
                    said.advance(*topic, batch.offsets[row as usize] + 1);
                    for (name, (processor, outputs)) in &mut processors {
                        if name == robot || control::is_robot(name) {
                            processor.apply(*topic, batch, &[row], outputs);
                        }
                    }
                }
                Entry::Dead(index) => {
                    intake_processor.dead_letter_row(&chunk.dead[index as usize]);
                    buried.push(chunk.dead[index as usize].clone());
                }
            }
        }
    }
    let now = ports.clock.now();
    let states = check_processors(ports, &mut processors, &intake_processor, now);
    let sent = pager.map(|pager| pager.check(alerts(&processors)));
    // What people are sent first: a wrong state says less.
    let sent = sent.transpose()?.unwrap_or(0);
    states?;
    check_outputs(ports, &processors)?;
    check_dead(ports, &processors, &buried)?;
    check_published(params, ports, &processors)?;
    let report = theatre_operations::reconcile::run(params, ports)?;
    ensure!(report.gaps.is_empty(), "reconcile: {:?}", report.gaps);
    check_warehouse(ports, &processors)?;
    reports.check(ports)?;
    Ok(sent)
}

/// All alerts that there must be, of each robot in order.
fn alerts(processors: &Processors) -> Vec<OutputEvent> {
    let events = processors.values().flat_map(|(_, outputs)| &outputs.events);
    let alerts = events.filter(|output| output.kind == OutputKind::Alert);
    alerts.cloned().collect()
}

type Processors = BTreeMap<String, (Processor, Outputs)>;

/// Whether a recomputed processor is as the stored one, once it knows the time up to which that one
/// knew it. No record says so: what falls due after the last one is tried, one step after the
/// other.
fn catches_up(known: &mut (Processor, Outputs), stored: &[u8], now: LogTime) -> bool {
    let (processor, outputs) = known;
    while processor.snapshot() != stored {
        let read_to = LogTime(processor.next_due());
        if read_to > now {
            return false;
        }
        let silence = None;
        processor.advance_time(Tick { read_to, silence }, outputs);
    }
    true
}

fn check_processors(
    ports: &Ports,
    processors: &mut Processors,
    intake: &IntakeProcessor,
    now: LogTime,
) -> Result<()> {
    let mut other = None;
    for stored in ports.store.processors(0)? {
        let is_same = match processors.get_mut(&stored.processor) {
            Some(known) => catches_up(known, &stored.state, now),
            None => intake.snapshot() == stored.state,
        };
        if !is_same {
            other.get_or_insert(stored.processor);
        }
    }
    ensure!(
        other.is_none(),
        "the state of processor '{}' is not that of a recomputation",
        other.unwrap_or_default()
    );
    for robot in processors.keys() {
        ensure!(
            ports.store.processor(0, robot)?.is_some(),
            "processor '{robot}' was never saved"
        );
    }
    Ok(())
}

fn check_outputs(ports: &Ports, processors: &Processors) -> Result<()> {
    let stored = ports.store.outputs_after(0, 0, 1 << 30)?;
    for (robot, (_, outputs)) in processors {
        for kind in ALL.iter().map(|spec| spec.kind) {
            let got: Vec<_> = stored
                .iter()
                .map(|stored| &stored.output)
                .filter(|output| output.kind == kind && output.robot_id == *robot)
                .collect();
            let expected: Vec<_> = outputs
                .events
                .iter()
                .filter(|output| output.kind == kind)
                .collect();
            ensure!(
                got == expected,
                "{kind:?} outputs of '{robot}': {} stored, {} by recomputation, or other content",
                got.len(),
                expected.len()
            );
        }
    }
    Ok(())
}

/// The tables hold each output's highest revision once, and nothing else.
pub(super) fn check_tables(store: &MemoryStore) -> Result<()> {
    let stored = store.outputs_after(0, 0, 1 << 30)?;
    for spec in ALL.iter().filter(|spec| spec.kind != OutputKind::Window) {
        let mut highest = BTreeMap::new();
        for output in stored.iter().map(|stored| &stored.output) {
            if output.kind == spec.kind {
                let of_its_own = spec.table.keeps_every_row.then_some(output.revision);
                highest.insert((output.id.as_str(), of_its_own), u64::from(output.revision));
            }
        }
        let rows = store.rows(spec.kind);
        let revisions: u64 = (rows.iter())
            .filter_map(|row| row["revision"].parse::<u64>().ok())
            .sum();
        ensure!(
            (rows.len(), revisions) == (highest.len(), highest.values().sum()),
            "{}: {} rows with revisions up to {revisions} in sum, not {}",
            spec.table.name,
            rows.len(),
            highest.len()
        );
    }
    let windows = stored.iter().map(|stored| &stored.output);
    let windows = windows.filter(|output| output.kind == OutputKind::Window);
    let revisions: BTreeSet<_> = windows.map(|of| (of.event_time, of.revision)).collect();
    let rows = store.rows(OutputKind::Window);
    let number = |text: &str| text.parse::<i64>().unwrap_or(-1);
    let there = rows.iter().map(|row| {
        let (start, revision) = (number(&row["window_start"]), number(&row["revision"]));
        (start, revision as u32)
    });
    let there: BTreeSet<_> = there.collect();
    ensure!(
        there.is_subset(&revisions) && there.is_empty() == revisions.is_empty(),
        "windows: {} of {} moments and revisions have rows",
        there.len(),
        revisions.len()
    );
    Ok(())
}

fn check_dead(
    ports: &Ports,
    processors: &Processors,
    buried: &[theatre_actors::outputs::DeadRow],
) -> Result<()> {
    let key = |dead: &theatre_actors::outputs::DeadRow| (dead.topic, dead.offset, dead.reason);
    let mut got: Vec<(usize, u64, DeadReason)> = ports
        .store
        .dead_after(0, 0, 1 << 30)?
        .iter()
        .map(|stored| key(&stored.dead))
        .collect();
    let mut expected: Vec<_> = processors
        .values()
        .flat_map(|(_, outputs)| &outputs.dead)
        .chain(buried)
        .map(key)
        .collect();
    got.sort();
    expected.sort();
    ensure!(
        got == expected,
        "dead letters: {} stored, {} by recomputation, or others",
        got.len(),
        expected.len()
    );
    Ok(())
}

fn check_published(params: &PipelineParams, ports: &Ports, processors: &Processors) -> Result<()> {
    let published = crate::published_in(&*ports.log)?;
    let mut expected: crate::Published = crate::Published::new();
    for output in processors.values().flat_map(|(_, outputs)| &outputs.events) {
        let Topic::Named(topic) = output.kind.spec().topic else {
            continue;
        };
        let key = (output.kind.spec().key)(output);
        expected
            .entry((topic.to_owned(), key.as_bytes().to_vec()))
            .or_default()
            .push(output.payload.clone());
    }
    ensure!(params.partitions == 1);
    ensure!(
        published == expected,
        "what subscribers see is not what was concluded"
    );
    Ok(())
}

fn check_warehouse(ports: &Ports, processors: &Processors) -> Result<()> {
    let count = |kind: OutputKind| {
        processors
            .values()
            .flat_map(|(_, outputs)| &outputs.events)
            .filter(|output| output.kind == kind)
            .count() as u64
    };
    let rows = |sql: &str| -> Result<u64> {
        Ok(ports.warehouse.query(sql)?.rows[0][0].as_u64().unwrap_or(0))
    };
    ensure!(
        rows("SELECT count(*) FROM maintenance_alerts")? == count(OutputKind::Alert),
        "alerts in the warehouse"
    );
    let windows = "SELECT count(*) FROM (SELECT DISTINCT robot_id, dataset, window_name, window_start, revision FROM robot_windows)";
    ensure!(
        rows(windows)? == count(OutputKind::Window),
        "windows in the warehouse"
    );
    let twice = "SELECT count(*) FROM (SELECT 1 FROM robot_windows GROUP BY robot_id, dataset, window_name, window_start, revision, signal HAVING count(*) > 1)";
    ensure!(rows(twice)? == 0, "a window is in the warehouse twice");
    Ok(())
}
