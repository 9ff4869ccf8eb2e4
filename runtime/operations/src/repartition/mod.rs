//! A larger partition count: topics grow, and robots move to where their producers will write from
//! then on.
//!
//! Only what is drained can be moved: then nothing of a robot lies unread in its old partition, and
//! all that comes later comes to the new one. What moves is a robot's processor, its home and its
//! share of the lake writer's duplicate check; outputs, dead letters and files stay where they are
//! numbered. The topics grow first and the store changes last, in one transaction: until then
//! everything is as it was but for longer topics, and the command can be repeated.

mod plan;

use serde::Serialize;
use theatre_actors::ports::{CheckpointStore, Error, EventLog, ProcessorMove, Result};
use theatre_actors::position::Partition;

use crate::drained;
use plan::Plan;
use theatre_pipeline::PipelineParams;
use theatre_pipeline::actor_keys::ActorKeys;

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Looked at only: nothing was changed.
    Planned,
    /// Done.
    Done,
    /// There was nothing to do: the store has so many partitions.
    Already,
}

/// A robot that moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Move {
    /// Its id.
    pub robot_id: String,
    /// Its partition before.
    pub from: Partition,
    /// Its partition afterwards.
    pub to: Partition,
}

/// What was done, or would be.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What became of it.
    pub state: State,
    /// Partitions before.
    pub partitions_before: u32,
    /// Partitions afterwards.
    pub partitions: u32,
    /// Robots in all.
    pub robots: u64,
    /// Those that move, in order of their partitions.
    pub moved: Vec<Move>,
}

/// A change of the partition count that is wanted.
pub struct Repartitioning<'a> {
    /// The pipeline whose topics grow. Its own partition count is not looked at: the store knows
    /// the present one.
    pub params: &'a PipelineParams,
    /// The log.
    pub log: &'a dyn EventLog,
    /// The store.
    pub store: &'a dyn CheckpointStore,
    /// Partitions afterwards.
    pub partitions: u32,
}

impl Repartitioning<'_> {
    /// Says what would be done, and changes nothing.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn look(&self) -> Result<Report> {
        let before = self.partitions_before()?;
        if before == self.partitions {
            return Ok(self.already());
        }
        let plan = self.plan(before)?;
        self.check_topics()?;
        Ok(self.report(State::Planned, before, &plan))
    }

    /// Carries it out and calls `report` with each step. Steps that are done already are left as
    /// they are.
    ///
    /// # Errors
    /// Refused, with nothing but perhaps the topics' partitions changed, when the count would not
    /// grow, when something is not drained, when a robot is not where its name puts it, or when
    /// another process works on the partitions.
    pub fn run(&self, report: &dyn Fn(&str)) -> Result<Report> {
        let before = self.partitions_before()?;
        if before == self.partitions {
            return Ok(self.already());
        }
        report(&format!("looking whether {before} partitions are drained"));
        self.plan(before)?;
        self.check_topics()?;
        // A process that still owns a partition cannot change it from here on; what it saved until
        // now is looked at anew.
        for partition in 0..before {
            self.store.acquire(partition)?;
        }
        let plan = self.plan(before)?;
        let topics = self.params.all_topics();
        report(&format!(
            "giving {} topics {} partitions",
            topics.len(),
            self.partitions
        ));
        self.log.grow_topics(&topics, self.partitions)?;
        report(&format!(
            "moving {} of {} robots",
            plan.change.moves.len(),
            plan.robots
        ));
        self.store.repartition(&plan.change).map_err(|error| match error {
            Error::StaleEpoch { partition, .. } => {
                Error::Refused(format!("partition {partition} was taken by another process: stop everything that runs on this store and repeat"))
            }
            other => other,
        })?;
        Ok(self.report(State::Done, before, &plan))
    }

    /// The store's count, if it can become the wanted one.
    fn partitions_before(&self) -> Result<u32> {
        let Some((topics, before)) = self.store.layout()? else {
            let partitions = self.partitions;
            return Err(Error::Refused(format!(
                "nothing has run on this store yet: set partitions = {partitions} in the configuration and start"
            )));
        };
        if !self.params.topics.starts_with(&topics) {
            return Err(Error::Refused(format!(
                "the store was made for the inputs {}, the configuration names {}: use the configuration that it runs with",
                topics.join(", "),
                self.params.topics.join(", ")
            )));
        }
        if self.partitions < before {
            return Err(Error::Refused(format!(
                "the store has {before} partitions, {} are fewer: a log cannot take partitions back, so the count can only grow",
                self.partitions
            )));
        }
        Ok(before)
    }

    fn plan(&self, before: u32) -> Result<Plan> {
        drained::check(self.params, self.log, self.store, before)?;
        let keys = ActorKeys::read(self.params, self.log, before)?;
        plan::make(self.store, &keys, before, self.partitions)
    }

    /// Refuses a topic that has more partitions than are wanted; one that was grown already may
    /// have as many.
    fn check_topics(&self) -> Result<()> {
        for topic in self.params.all_topics() {
            if let Some(there) = self
                .log
                .partitions(&topic)?
                .filter(|there| *there > self.partitions)
            {
                return Err(Error::Refused(format!(
                    "topic '{topic}' has {there} partitions, {} are fewer: a log cannot take partitions back; repeat with --partitions {there} or more",
                    self.partitions
                )));
            }
        }
        Ok(())
    }

    fn already(&self) -> Report {
        Report {
            state: State::Already,
            partitions_before: self.partitions,
            partitions: self.partitions,
            robots: 0,
            moved: Vec::new(),
        }
    }

    fn report(&self, state: State, before: u32, plan: &Plan) -> Report {
        let reported = |processor: &ProcessorMove| Move {
            robot_id: processor.robot.clone(),
            from: processor.from,
            to: processor.to,
        };
        let mut moved: Vec<Move> = plan.change.moves.iter().map(reported).collect();
        moved.sort_by(|left, right| {
            (left.from, left.to, &left.robot_id).cmp(&(right.from, right.to, &right.robot_id))
        });
        Report {
            state,
            partitions_before: before,
            partitions: self.partitions,
            robots: plan.robots,
            moved,
        }
    }
}
