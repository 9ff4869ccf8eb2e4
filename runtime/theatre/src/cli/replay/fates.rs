//! What became of the rows of a recording in the pipeline: by its robots' own counters, before and
//! after.

use std::collections::BTreeMap;

use theatre_actors::outputs::Counters;
use theatre_actors::partitioner::partition_of;
use theatre_actors::ports::{Error, Result};
use theatre_actors::position::Partition;
use theatre_actors::processor::{IntakeProcessor, ProcessorView};

use super::super::service::Service;

/// How the telemetry of a recording's robots was counted before it.
pub(super) struct Fates {
    robots: BTreeMap<String, Counters>,
    /// By partition: records that no robot accounts for.
    others: Vec<Counters>,
}

impl Fates {
    /// Notes how records are counted so far that name no robot.
    pub(super) fn begin(service: &Service) -> Result<Self> {
        let partitions = 0..service.params.partitions;
        let others = partitions.map(|partition| counters(service, partition, ""));
        Ok(Self {
            robots: BTreeMap::new(),
            others: others.collect::<Result<_>>()?,
        })
    }

    /// Notes how the records of robots are counted so far; to be called before any of the recording
    /// are appended.
    pub(super) fn note(&mut self, service: &Service, robots: &[String]) -> Result<()> {
        for robot in robots {
            let counted = counters(service, home(service, robot), robot)?;
            self.robots.insert(robot.clone(), counted);
        }
        Ok(())
    }

    /// What was counted since.
    pub(super) fn since(&self, service: &Service) -> Result<Counters> {
        let mut sum = Counters::default();
        for (partition, before) in (0..).zip(&self.others) {
            sum.add(&counters(service, partition, "")?.since(before));
        }
        for (robot, before) in &self.robots {
            sum.add(&counters(service, home(service, robot), robot)?.since(before));
        }
        Ok(sum)
    }
}

fn home(service: &Service, robot: &str) -> Partition {
    partition_of(robot.as_bytes(), service.params.partitions)
}

/// The saved counters of a processor's telemetry; the name of that without a robot is empty.
fn counters(service: &Service, partition: Partition, processor: &str) -> Result<Counters> {
    let Some(stored) = service.ports.store.processor(partition, processor)? else {
        return Ok(Counters::default());
    };
    let unreadable = |error| {
        Error::Refused(format!(
            "the state of processor '{processor}' cannot be read: {error}"
        ))
    };
    let counters = if processor.is_empty() {
        let intake = IntakeProcessor::restore(&stored.state).map_err(unreadable)?;
        intake.counters().first().cloned()
    } else {
        let view = ProcessorView::from_state(processor, &stored.state).map_err(unreadable)?;
        view.counters.first().cloned()
    };
    Ok(counters.unwrap_or_default())
}
