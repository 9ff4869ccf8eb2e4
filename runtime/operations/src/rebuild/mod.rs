//! States of actors built anew: from nothing, by the present rules and schemas, out of the records
//! that lake and log hold, up to where their partition stands.
//!
//! What is built is compared with what is stored. Nothing is written unless it is to be switched:
//! then the new states go into one commit for each partition, under an epoch that fences every
//! earlier owner, together with the outputs that were never sent. An output was sent if the store
//! has one of its kind, id and revision: ids are functions of what happened.
//!
//! A state whose records are not all there is refused. They are all there if it has counted as many
//! records of each input as the stored one. Where that cannot be read, or has counted fewer, they
//! are if nothing is known to be missing: the log from its beginning, every file of the lake. The
//! lake does not keep repetitions of records, so these are counted as the stored state has counted
//! them, and a state that differs then is refused, too. Memory holds the actors of one partition,
//! an entry for each of their outputs, and the files of one cut.

mod actor;
mod actors;
mod copies;
mod judging;
mod moved;
mod reading;
mod report;
mod sent;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;
use theatre_actors::control::{self, ControlBook};
use theatre_actors::ports::{
    CommitOutcome, Epoch, Error, PartitionCommit, PartitionStatus, ProcessorSave, RegisteredFile,
    Result, StoredProcessor,
};
use theatre_actors::position::{Partition, Positions};
use theatre_actors::state::StateError;
use theatre_pipeline::{PipelineParams, Ports, partition};

use crate::drained;
use actor::Actor;
use actors::{Actors, Setting};
use moved::Past;
use reading::Reading;
pub use report::{Family, FamilyState, OutputList, OutputName, Report};
use sent::Sent;

/// Gaps that a refusal names.
const NAMED: usize = 5;

/// Where records are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// From the lake's files, then from the log what the lake does not have yet.
    Lake,
    /// From the log.
    Log,
}

/// Which actors.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Those of this partition; `None`: of all.
    pub partition: Option<Partition>,
    /// These; empty: all.
    pub actors: BTreeSet<String>,
}

impl Selection {
    fn has(&self, actor: &str) -> bool {
        self.actors.is_empty() || self.actors.contains(actor)
    }
}

/// A rebuild that is wanted.
pub struct Rebuilding<'a> {
    /// The pipeline, with the store's inputs and partition count.
    pub params: &'a PipelineParams,
    /// Log, store, lake and clock.
    pub ports: &'a Ports,
    /// Where records are read.
    pub source: Source,
    /// Which actors.
    pub selection: Selection,
    /// Goes on where records are missing.
    pub allow_gap: bool,
}

/// What a partition came to.
struct Built {
    families: Vec<Family>,
    saves: Vec<ProcessorSave>,
    /// Actors that the store has no state of, by the place of their save.
    newcomers: Vec<String>,
    gaps: Vec<String>,
}

impl Rebuilding<'_> {
    /// Says what differs, and changes nothing. `progress` is called with each step.
    ///
    /// # Errors
    /// `Refused` when something is not drained, when records are missing, or when another process
    /// works on the partitions; others when a port does not answer.
    pub fn look(&self, progress: &dyn Fn(&str)) -> Result<Report> {
        let mut report = Report::of(self.source);
        self.carry_out(&mut report, progress)?;
        Ok(report)
    }

    /// Switches what differs.
    ///
    /// # Errors
    /// As [`Self::look`]. What `report` has by then was switched and stays so.
    pub fn switch(&self, report: &mut Report, progress: &dyn Fn(&str)) -> Result<()> {
        report.switched = true;
        self.carry_out(report, progress)
    }

    fn carry_out(&self, report: &mut Report, progress: &dyn Fn(&str)) -> Result<()> {
        self.check()?;
        let files = match self.source {
            Source::Lake => self.ports.store.all_files()?,
            Source::Log => Vec::new(),
        };
        for partition in self.partitions() {
            let built = self.partition(partition, report.switched, &files, progress)?;
            report.families.extend(built.families);
            report.gaps.extend(built.gaps);
        }
        Ok(())
    }

    fn partitions(&self) -> impl Iterator<Item = Partition> {
        let of = self.selection.partition;
        (0..self.params.partitions)
            .filter(move |partition| of.is_none_or(|chosen| chosen == *partition))
    }

    /// Refuses names that no chosen partition knows, before anything is switched.
    fn check_names(&self) -> Result<()> {
        let mut strangers = Vec::new();
        for actor in &self.selection.actors {
            let mut is_known = false;
            for partition in self.partitions() {
                is_known |= self.ports.store.processor(partition, actor)?.is_some();
            }
            if !is_known {
                strangers.push(actor.as_str());
            }
        }
        if strangers.is_empty() {
            return Ok(());
        }
        let place = match self.selection.partition {
            Some(partition) => format!(" in partition {partition}"),
            None => String::new(),
        };
        Err(Error::Refused(format!(
            "the store knows nothing of {}{place}: `theatre robots list` names the robots",
            strangers.join(", ")
        )))
    }

    /// Refuses what cannot be begun.
    fn check(&self) -> Result<()> {
        if self.source == Source::Lake && !self.params.lake {
            return Err(Error::Refused(
                "the lake is off in the configuration (lake.enabled): rebuild from the log"
                    .to_owned(),
            ));
        }
        if let Some(partition) = self.selection.partition
            && partition >= self.params.partitions
        {
            let partitions = self.params.partitions;
            return Err(Error::Refused(format!(
                "there is no partition {partition}: there are {partitions}, from 0 on"
            )));
        }
        self.check_names()?;
        // What the lake does not have yet is read from the log, and no one asks the warehouse.
        let mut params = self.params.clone();
        (params.lake, params.warehouse) = (false, false);
        let (log, store) = (&*self.ports.log, &*self.ports.store);
        drained::check(&params, log, store, params.partitions)
    }

    fn partition(
        &self,
        partition: Partition,
        switches: bool,
        files: &[RegisteredFile],
        progress: &dyn Fn(&str),
    ) -> Result<Built> {
        let store = &self.ports.store;
        let looked = store.status(partition)?;
        // The process that owned the partition until now cannot change it from here on.
        let epoch = match switches {
            true => Some(store.acquire(partition)?),
            false => None,
        };
        let status = store.status(partition)?;
        let before = PartitionStatus {
            epoch: looked.epoch,
            ..status.clone()
        };
        if before != looked {
            return Err(taken(partition));
        }
        let built = self.build(partition, &status, files, progress)?;
        if !built.gaps.is_empty() && !self.allow_gap {
            return Err(self.incomplete(&built.gaps));
        }
        match epoch {
            Some(epoch) => self.commit(partition, epoch, status.floor, &built, progress)?,
            None if store.status(partition)? != status => return Err(taken(partition)),
            None => {}
        }
        Ok(built)
    }

    /// Builds the actors of a partition, and compares.
    fn build(
        &self,
        partition: Partition,
        status: &PartitionStatus,
        files: &[RegisteredFile],
        progress: &dyn Fn(&str),
    ) -> Result<Built> {
        let store = &*self.ports.store;
        let all = store.processors(partition)?;
        let end = all.iter().fold(status.floor.clone(), |end, stored| {
            end.highest(&stored.positions)
        });
        let own = control::name(partition);
        let remembered = all.iter().find(|stored| stored.processor == own);
        let book = Arc::new(self.book(partition, remembered)?);
        // The intake processor is the partition's own: it has refused what no actor has met.
        let is_wanted = |actor: &str| !actor.is_empty() && self.selection.has(actor);
        let wanted = all.into_iter().filter(|it| is_wanted(&it.processor));
        let past = Past::read(self)?;
        let (movers, stored): (Vec<_>, Vec<_>) =
            wanted.partition(|it| past.has_moved(&it.processor, partition));
        let elsewhere = || {
            let others = (0..self.params.partitions).filter(|other| *other != partition);
            others.filter(|_| !past.is_empty())
        };
        let mut sent = Sent::read(store, partition, elsewhere(), &is_wanted)?;
        let movers = movers.into_iter().map(|stored| {
            let commits = sent.take_commits(&stored.processor);
            Actor::new(&stored.processor.clone(), partition, Some(stored), commits)
        });
        let movers = movers.collect();
        let mut moved = past.go_through(self, (movers, sent), files, progress)?;
        moved.sent.turn_to(store, partition)?;
        let on_rows = |rows| progress(&format!("partition {partition}: {rows} rows"));
        let processor = &self.params.processor;
        let mut actors = Actors::new(Setting {
            partition,
            config: processor,
            book,
            stored,
            // After a repartition a robot without a state here lives in another partition.
            takes_newcomers: past.is_empty() && self.selection.actors.is_empty(),
            sent: moved.sent,
            end: end.clone(),
            silence_us: processor.rules.silence_us(processor.time.silence_after_us),
            on_rows: &on_rows,
        });
        for actor in moved.actors {
            actors.adopt(actor, &past.ended_at(partition))?;
        }
        let gaps = self.read(partition, (status, &end), files, &mut actors)?;
        moved.gaps.extend(gaps);
        let places = std::iter::once(partition).chain(elsewhere());
        let rest = actors.sent.rest(store, places, &actors.names())?;
        judging::judge(self, partition, actors.all, rest, &moved.gaps)
    }

    /// Has actors of a partition do what its records say, up to the end; returns what is missing.
    fn read(
        &self,
        partition: Partition,
        (status, end): (&PartitionStatus, &Positions),
        files: &[RegisteredFile],
        actors: &mut Actors<'_>,
    ) -> Result<Vec<String>> {
        let mut reading = Reading {
            params: self.params,
            ports: self.ports,
            partition,
            gaps: Vec::new(),
        };
        if !actors.all.is_empty() || actors_may_come(status) {
            let mut from = Positions::zero();
            if self.source == Source::Lake {
                from = status.lake_positions.clone();
                reading.lake(files, &from, actors)?;
            }
            reading.log(&from, end, actors)?;
            actors.end()?;
        }
        Ok(reading.gaps)
    }

    /// What was said to all robots of a partition, as far as no record says it; `own` is what is stored
    /// of the partition's actor.
    fn book(&self, partition: Partition, own: Option<&StoredProcessor>) -> Result<ControlBook> {
        let book = self.params.control_book();
        partition::inherit(partition, &*self.ports.store, &book)?;
        if let Some(own) = own {
            let read = self.remember(&book, &own.state);
            read.map_err(|why| {
                let name = control::name(partition);
                Error::Refused(format!("partition {partition}, {name}: {why}"))
            })?;
        }
        Ok(book)
    }

    /// Takes from what the partition's actor remembers what the records do not say, or may not.
    fn remember(&self, book: &ControlBook, state: &[u8]) -> std::result::Result<(), StateError> {
        match self.allow_gap {
            // What was said to all robots may be among what is missing.
            true => book.restore(state),
            // A change of rules needed approval, or not, when it came.
            false => book.approve_as(state),
        }
    }

    fn commit(
        &self,
        partition: Partition,
        epoch: Epoch,
        floor: Positions,
        built: &Built,
        progress: &dyn Fn(&str),
    ) -> Result<()> {
        if built.saves.is_empty() {
            return Ok(());
        }
        let store = &self.ports.store;
        let newcomers: Vec<&str> = built.newcomers.iter().map(String::as_str).collect();
        if !newcomers.is_empty() {
            let homes = store.claim_homes(partition, epoch, &newcomers)?;
            let strangers = newcomers
                .iter()
                .zip(homes)
                .find(|(_, home)| *home != partition);
            if let Some((name, home)) = strangers {
                return Err(Error::Refused(format!(
                    "'{name}' has records in partition {partition} and is at home in {home}: rebuild --partition {home}"
                )));
            }
        }
        let commit = PartitionCommit {
            partition,
            epoch,
            processors: built.saves.clone(),
            floor,
        };
        let outcomes = store.commit(&[commit], self.ports.clock.now())?;
        if !matches!(outcomes.first(), Some(CommitOutcome::Committed { .. })) {
            return Err(taken(partition));
        }
        let count = built.saves.len();
        progress(&format!(
            "partition {partition}: {count} states were switched"
        ));
        Ok(())
    }

    fn incomplete(&self, gaps: &[String]) -> Error {
        let source = match self.source {
            Source::Lake => "lake",
            Source::Log => "log",
        };
        let more = match gaps.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        let named: Vec<&str> = gaps.iter().take(NAMED).map(String::as_str).collect();
        Error::Refused(format!(
            "the {source} does not hold everything that the stored states were made of: {}{more}. Rebuild from the other of lake and log, or go on without it (--allow-gap); this partition was left as it is",
            named.join("; ")
        ))
    }
}

/// Whether the partition has read anything.
fn actors_may_come(status: &PartitionStatus) -> bool {
    status.floor.as_slice().iter().any(|offset| *offset > 0)
}

fn taken(partition: Partition) -> Error {
    Error::Refused(format!(
        "partition {partition} was changed by another process meanwhile: stop everything that runs on this store and repeat"
    ))
}
