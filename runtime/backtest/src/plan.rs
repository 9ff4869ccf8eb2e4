//! Which files are read, in which order: by layout of the partitions, by partition, by cut.
//!
//! After a change of the partition count robots live elsewhere, so what each layout processed is
//! read by itself, one layout after the other.

use std::collections::BTreeMap;

use theatre_actors::ports::{FileStage, PastLayout, RegisteredFile};
use theatre_actors::position::{Partition, Positions, TopicIndex};
use theatre_parquet::records::RecordPlace;
use theatre_schemas::dataset::{DatasetKind, Datasets};

use super::Question;

/// The files of a cut that are wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cut {
    pub(crate) files: Vec<RegisteredFile>,
}

/// What one partition processed under one layout.
#[derive(Debug, Clone)]
pub(crate) struct Stretch {
    pub(crate) partition: Partition,
    /// Rows below were processed under a layout before.
    pub(crate) from: Positions,
    /// Rows from here on were processed under a later one.
    pub(crate) to: Option<Positions>,
    pub(crate) cuts: Vec<Cut>,
}

impl Stretch {
    /// Whether a row belongs to it.
    pub(crate) fn has(&self, topic: TopicIndex, offset: u64) -> bool {
        offset >= self.from.get(topic) && self.to.as_ref().is_none_or(|to| offset < to.get(topic))
    }

    /// Rows of its files.
    fn rows(&self) -> u64 {
        let files = self.cuts.iter().flat_map(|cut| &cut.files);
        files.map(|file| file.file.rows).sum()
    }
}

/// Files that cannot be read, by why: how many, and their rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Absent {
    pub(crate) files: u64,
    pub(crate) rows: u64,
}

impl Absent {
    pub(crate) fn count(&mut self, file: &RegisteredFile) {
        self.files += 1;
        self.rows += file.file.rows;
    }
}

/// What is read.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// By layout, oldest first.
    pub(crate) layouts: Vec<Vec<Stretch>>,
    /// Rows of all files.
    pub(crate) rows: u64,
    /// Earliest and latest event time of telemetry in the lake, by the register.
    pub(crate) lake: Option<(i64, i64)>,
    /// Registered, and not in the lake yet.
    pub(crate) pending: Absent,
    /// Given up: neither file nor upload is there.
    pub(crate) lost: Absent,
    /// Erased: files without some of their rows, and these.
    pub(crate) erased: Absent,
    /// Input positions at which the lake begins, by partition, where that is not the beginning of
    /// the log.
    pub(crate) begins_later: Vec<Partition>,
    /// Datasets of files that the configuration does not know.
    pub(crate) unknown: BTreeMap<String, Absent>,
}

impl Plan {
    /// Finds what is wanted among the files of the register.
    pub(crate) fn new(
        files: &[RegisteredFile],
        partitions: u32,
        past: &[PastLayout],
        datasets: &Datasets,
        question: &Question,
    ) -> Self {
        let mut plan = Self::default();
        let mut by_partition: BTreeMap<Partition, BTreeMap<u64, (Positions, Cut)>> =
            BTreeMap::new();
        for file in files {
            let Some(place) =
                RecordPlace::of(&file.file.path).filter(|_| file.file.path.starts_with("data/"))
            else {
                continue;
            };
            let cuts = by_partition.entry(file.partition).or_default();
            let (_, cut) = cuts
                .entry(place.cut)
                .or_insert_with(|| (place.from, Cut::default()));
            if plan.wants(file, datasets, question) {
                cut.files.push(file.clone());
            }
        }
        for (partition, cuts) in &by_partition {
            let first = cuts.first_key_value();
            let begins =
                first.is_some_and(|(_, (from, _))| from.as_slice().iter().any(|at| *at > 0));
            if begins {
                plan.begins_later.push(*partition);
            }
        }
        let mut from: Vec<Positions> = Vec::new();
        for layout in past {
            let stretches = stretches(&by_partition, layout.partitions, &from, |partition| {
                layout.ended_at.get(partition as usize).cloned()
            });
            plan.layouts.push(stretches);
            from.clone_from(&layout.ended_at);
        }
        let present = stretches(&by_partition, partitions, &from, |_| None);
        plan.layouts.push(present);
        plan.rows = plan.layouts.iter().flatten().map(Stretch::rows).sum();
        plan
    }

    /// Whether a file is to be read; notes why one cannot be.
    fn wants(&mut self, file: &RegisteredFile, datasets: &Datasets, question: &Question) -> bool {
        let of = &file.file;
        let Some((_, dataset)) = datasets.find(&of.dataset) else {
            self.unknown
                .entry(of.dataset.clone())
                .or_default()
                .count(file);
            return false;
        };
        // Facilities, surgeons and models are actors of their own: no rule of a robot asks them.
        if dataset.kind.entity().is_some() {
            return false;
        }
        let is_telemetry = dataset.kind == DatasetKind::Telemetry;
        if is_telemetry && of.rows > 0 {
            let (first, last) = self.lake.unwrap_or((i64::MAX, i64::MIN));
            let span = (first.min(of.event_time_min), last.max(of.event_time_max));
            self.lake = Some(span);
        }
        let is_before = question.from.is_some_and(|from| of.event_time_max < from);
        let is_after = question.to.is_some_and(|to| of.event_time_min >= to);
        if is_after || (is_telemetry && is_before) {
            return false;
        }
        let erased = of.erased_rows() + of.erasing_rows();
        if erased > 0 {
            self.erased.files += 1;
            self.erased.rows += erased;
        }
        match file.stage {
            FileStage::Registered => self.pending.count(file),
            FileStage::Lost => self.lost.count(file),
            FileStage::Completed | FileStage::Loaded | FileStage::Quarantined => return true,
        }
        false
    }
}

fn stretches(
    cuts: &BTreeMap<Partition, BTreeMap<u64, (Positions, Cut)>>,
    partitions: u32,
    from: &[Positions],
    to: impl Fn(Partition) -> Option<Positions>,
) -> Vec<Stretch> {
    let mut stretches = Vec::new();
    for partition in 0..partitions {
        let Some(of_partition) = cuts.get(&partition) else {
            continue;
        };
        let from = from.get(partition as usize).cloned().unwrap_or_default();
        let to = to(partition);
        let begins: Vec<&Positions> = of_partition.values().map(|(begins, _)| begins).collect();
        let mut wanted = Vec::new();
        for (at, (begins_at, cut)) in of_partition.values().enumerate() {
            // A cut ends where the next one begins.
            let is_before = begins.get(at + 1).is_some_and(|ends| from.covers(ends));
            let is_after = to.as_ref().is_some_and(|to| begins_at.covers(to));
            if !cut.files.is_empty() && !is_before && !is_after {
                wanted.push(cut.clone());
            }
        }
        stretches.push(Stretch {
            partition,
            from,
            to,
            cuts: wanted,
        });
    }
    // The largest first, so that no thread is left with it at the end.
    stretches.sort_by_key(|stretch| std::cmp::Reverse(stretch.rows()));
    stretches
}

#[cfg(test)]
mod tests {
    use theatre_actors::ports::LakeFile;
    use theatre_schemas::registry::Registry;

    use super::*;

    fn file(
        dataset: &str,
        partition: u32,
        cut: u64,
        from: u64,
        times: (i64, i64),
    ) -> RegisteredFile {
        RegisteredFile {
            number: cut,
            partition,
            file: LakeFile {
                path: format!(
                    "data/{dataset}/theatre_version=1/theatre_date=2026-01-01/p{partition}-from-{from}-e1-c{cut}.parquet"
                ),
                upload: String::new(),
                dataset: dataset.to_owned(),
                rows: 10,
                bytes: 1,
                event_time_min: times.0,
                event_time_max: times.1,
                erased: Vec::new(),
                erasing: Vec::new(),
            },
            stage: FileStage::Completed,
            batch: None,
            note: None,
        }
    }

    fn read(plan: &Plan) -> Vec<Vec<(u32, Vec<u64>)>> {
        let numbers = |stretch: &Stretch| {
            let cuts = stretch.cuts.iter().flat_map(|cut| &cut.files);
            (stretch.partition, cuts.map(|file| file.number).collect())
        };
        let layout = |of: &Vec<Stretch>| {
            let mut read: Vec<(u32, Vec<u64>)> = of.iter().map(numbers).collect();
            read.sort();
            read
        };
        plan.layouts.iter().map(layout).collect()
    }

    #[test]
    fn telemetry_outside_of_the_period_is_not_read_what_services_said_before_it_is() {
        let files = [
            file("robot_telemetry", 0, 1, 0, (0, 9)),
            file("maintenance_logs", 0, 2, 3, (0, 9)),
            file("robot_telemetry", 0, 3, 5, (9, 20)),
            file("facility_registry", 0, 3, 5, (10, 12)),
            file("robot_telemetry", 0, 4, 7, (30, 40)),
            file("maintenance_logs", 0, 4, 7, (30, 40)),
            file("gone_dataset", 0, 4, 7, (10, 12)),
        ];
        let question = Question {
            from: Some(10),
            to: Some(30),
            ..Question::default()
        };
        let registry = Registry::builtin();
        let plan = Plan::new(&files, 1, &[], registry.datasets(), &question);
        assert_eq!(read(&plan), [[(0, vec![2, 3])]]);
        assert_eq!(plan.lake, Some((0, 40)));
        assert_eq!(plan.unknown.keys().collect::<Vec<_>>(), ["gone_dataset"]);
        assert!(plan.begins_later.is_empty());
    }

    #[test]
    fn what_each_layout_processed_is_read_by_itself() {
        let files = [
            file("robot_telemetry", 0, 1, 0, (0, 9)),
            file("robot_telemetry", 0, 2, 100, (0, 9)),
            file("robot_telemetry", 0, 3, 200, (0, 9)),
            file("robot_telemetry", 1, 1, 0, (0, 9)),
        ];
        let past = [PastLayout {
            partitions: 1,
            ended_at: vec![Positions::from(vec![200])],
        }];
        let registry = Registry::builtin();
        let question = Question::default();
        let plan = Plan::new(&files, 2, &past, registry.datasets(), &question);
        assert_eq!(
            read(&plan),
            [vec![(0, vec![1, 2])], vec![(0, vec![3]), (1, vec![1])],]
        );
        let old = &plan.layouts[0][0];
        assert!(old.has(0, 199) && !old.has(0, 200));
    }

    #[test]
    fn files_that_are_not_there_are_counted() {
        let mut files = [
            file("robot_telemetry", 0, 1, 4, (0, 9)),
            file("robot_telemetry", 0, 2, 9, (0, 9)),
        ];
        files[0].stage = FileStage::Lost;
        files[1].stage = FileStage::Registered;
        let registry = Registry::builtin();
        let plan = Plan::new(&files, 1, &[], registry.datasets(), &Question::default());
        assert_eq!((plan.lost.rows, plan.pending.files, plan.rows), (10, 1, 0));
        assert_eq!(plan.begins_later, [0]);
    }
}
