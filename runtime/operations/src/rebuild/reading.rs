//! The records of a partition in the order of the log: from the files of the lake, from the log.

use std::collections::BTreeMap;

use theatre_actors::ports::{Error, FileStage, RegisteredFile, Result};
use theatre_actors::position::{Partition, Positions};
use theatre_parquet::merge::Merge;
use theatre_parquet::records::{RecordPlace, RecordReader};
use theatre_pipeline::intake::Entry;
use theatre_pipeline::{PipelineParams, Ports, recovery};

use super::actors::Actors;
use super::copies::{self, Between, Rows};

/// A partition to be read.
pub(super) struct Reading<'a> {
    pub(super) params: &'a PipelineParams,
    pub(super) ports: &'a Ports,
    pub(super) partition: Partition,
    /// What is not there and should be, in words.
    pub(super) gaps: Vec<String>,
}

/// The files of a cut.
type Cut<'a> = (Positions, Vec<&'a RegisteredFile>);

impl Reading<'_> {
    /// Reads the files of the lake, cut by cut, up to these positions, where a cut ends, and with each
    /// what was sent again and is not in it.
    ///
    /// # Errors
    /// When lake or log do not answer, a file is damaged, or an actor panics.
    pub(super) fn lake(
        &mut self,
        files: &[RegisteredFile],
        until: &Positions,
        actors: &mut Actors<'_>,
    ) -> Result<()> {
        let mut cuts: BTreeMap<u64, Cut<'_>> = BTreeMap::new();
        for file in files.iter().filter(|file| file.partition == self.partition) {
            let is_record = file.file.path.starts_with("data/");
            let place = RecordPlace::of(&file.file.path).filter(|_| is_record);
            if let Some(place) = place.filter(|place| !place.from.covers(until)) {
                let cut = cuts
                    .entry(place.cut)
                    .or_insert_with(|| (place.from, Vec::new()));
                cut.1.push(file);
            }
        }
        if let Some((begins_at, _)) = cuts.values().next() {
            let begins_at = begins_at.clone();
            self.begins(&begins_at, "the lake begins");
        }
        let begins: Vec<&Positions> = cuts.values().map(|(from, _)| from).collect();
        let ends = begins.iter().skip(1).copied().chain([until]);
        for ((from, files), end) in cuts.values().zip(ends) {
            actors.note_read(from);
            let (log, store) = (&*self.ports.log, &*self.ports.store);
            let place = (log, store);
            let mut copies = copies::between(self.params, place, self.partition, (from, end))?;
            for file in files {
                copies.rows.extend(self.open(file)?.map(Rows::File));
            }
            self.cut(&mut copies, actors)?;
            for lost in copies.lost(&self.params.topics) {
                self.gap(lost);
            }
        }
        let store = &*self.ports.store;
        for doubt in copies::in_doubt(self.params, store, self.partition, until)? {
            self.gap(doubt);
        }
        Ok(())
    }

    /// Hands on the rows of a cut: each once, though a copy may be in the lake as well.
    fn cut(&self, copies: &mut Between<'_>, actors: &mut Actors<'_>) -> Result<()> {
        let mut next = Positions::zero();
        let sources = std::mem::take(&mut copies.rows);
        let mut merge = Merge::new(sources, &self.params.topics)?;
        while let Some(run) = merge.next_run()? {
            for row in run.rows {
                let offset = run.batch.offsets[row];
                copies.meet(run.topic, offset);
                if offset >= next.get(run.topic) {
                    actors.take(run.topic, &run.batch, row)?;
                    next.advance(run.topic, offset + 1);
                }
            }
        }
        Ok(())
    }

    /// Opens a file; one that cannot be read is a gap.
    fn open(&mut self, file: &RegisteredFile) -> Result<Option<RecordReader>> {
        let (path, rows) = (&file.file.path, file.file.rows);
        let known = self.params.registry.datasets().find(&file.file.dataset);
        let why = match (file.stage, known) {
            (FileStage::Registered, _) => "is registered and not in the lake yet",
            (FileStage::Lost, _) => "is lost",
            (_, None) => "is of a dataset that the configuration does not know",
            (_, Some((index, dataset))) => match self.ports.lake.read(path) {
                Ok(bytes) => {
                    let dataset = dataset.clone();
                    self.note_erased(file);
                    return RecordReader::open(path, bytes, dataset, index).map(Some);
                }
                Err(Error::Gone(_)) => "was deleted",
                Err(error) => return Err(error),
            },
        };
        self.gap(format!("lake file {path} ({rows} rows) {why}"));
        Ok(None)
    }

    /// What was erased is missing, and known to be.
    fn note_erased(&mut self, file: &RegisteredFile) {
        let of = &file.file;
        let rows = of.erased_rows() + of.erasing_rows();
        if rows > 0 {
            let all = of.erased.iter().chain(&of.erasing);
            let why: Vec<String> = all.map(|erased| erased.by.to_string()).collect();
            self.gap(format!(
                "lake file {} is without {rows} rows that were erased (theatre lake erase): those {}",
                of.path,
                why.join(", ")
            ));
        }
    }

    /// Reads the log from these positions to where the partition stands.
    ///
    /// # Errors
    /// When the log does not answer, or an actor panics.
    pub(super) fn log(
        &mut self,
        from: &Positions,
        until: &Positions,
        actors: &mut Actors<'_>,
    ) -> Result<()> {
        let mut begins_at = from.clone();
        for (topic, name) in self.params.topics.iter().enumerate() {
            let start = self.ports.log.range(name, self.partition)?.start;
            if start > from.get(topic) && from.get(topic) < until.get(topic) {
                self.gap(format!(
                    "the log begins at offset {start} of {name}, not at {}",
                    from.get(topic)
                ));
            }
            begins_at.advance(topic, start);
        }
        let place = (self.partition, self.params.intake());
        recovery::read(&*self.ports.log, place, &begins_at, until, |chunk| {
            actors.note_read(&chunk.from);
            for entry in &chunk.entries {
                if let Entry::Row { batch, row } = *entry
                    && let Some((topic, batch)) = chunk.batches.get(batch as usize)
                {
                    actors.take(*topic, batch, row as usize)?;
                }
            }
            Ok(())
        })
    }

    fn begins(&mut self, at: &Positions, what: &str) {
        let topics = self.params.topics.clone();
        for (topic, name) in topics.iter().enumerate() {
            let offset = at.get(topic);
            if offset > 0 {
                self.gap(format!("{what} at offset {offset} of {name}"));
            }
        }
    }

    fn gap(&mut self, what: String) {
        self.gaps
            .push(format!("partition {}: {what}", self.partition));
    }
}
