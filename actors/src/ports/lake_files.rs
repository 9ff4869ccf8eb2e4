//! Lake files as the store registers them, and the batches in which they are loaded.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::ErasedRows;
use super::store::UnknownCode;
use crate::position::Partition;

/// A lake file whose parts are durable, to become visible once its registration is committed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LakeFile {
    /// Path below the lake's root, final and unique: holds dataset, date, partition, positions,
    /// epoch.
    pub path: String,
    /// Handle of the upload that holds the parts.
    pub upload: String,
    /// Dataset, which is also the warehouse table.
    pub dataset: String,
    /// Rows in it.
    pub rows: u64,
    /// Exact length in bytes.
    pub bytes: u64,
    /// Lowest event time in it, microseconds UTC.
    pub event_time_min: i64,
    /// Highest event time in it.
    pub event_time_max: i64,
    /// Rows that it had when it was registered and that are erased.
    pub erased: Vec<ErasedRows>,
    /// Rows that are being erased: until that is done, the file or the warehouse may have them.
    pub erasing: Vec<ErasedRows>,
}

impl LakeFile {
    /// Rows that are erased.
    pub fn erased_rows(&self) -> u64 {
        self.erased.iter().map(|erased| erased.rows).sum()
    }

    /// Rows that are being erased.
    pub fn erasing_rows(&self) -> u64 {
        self.erasing.iter().map(|erasing| erasing.rows).sum()
    }

    /// Whether a file of so many rows is the one that is registered: as long as rows are being
    /// erased it may have them or not.
    pub fn has_rows(&self, rows: u64) -> bool {
        rows == self.rows || rows + self.erasing_rows() == self.rows
    }
}

/// How far a lake file has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FileStage {
    /// Committed; its upload may not be completed yet.
    Registered = 1,
    /// Visible in the lake.
    Completed = 2,
    /// In the warehouse.
    Loaded = 3,
    /// Refused by the warehouse, set aside.
    Quarantined = 4,
    /// Registered, but neither its upload nor the file is there: its rows are missing in the lake.
    Lost = 5,
}

impl FileStage {
    /// Every stage, in order of their codes.
    pub const ALL: [Self; 5] = [
        Self::Registered,
        Self::Completed,
        Self::Loaded,
        Self::Quarantined,
        Self::Lost,
    ];

    /// The stage under a stored code.
    ///
    /// # Errors
    /// When no stage has this code.
    pub fn from_code(code: i64) -> std::result::Result<Self, UnknownCode> {
        let found = Self::ALL
            .into_iter()
            .find(|stage| i64::from(stage.code()) == code);
        found.ok_or(UnknownCode {
            what: "a lake file's stage",
            code,
        })
    }

    /// The code under which it is stored; never re-used.
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// A registered lake file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegisteredFile {
    /// Number within the partition, dense, from 1.
    pub number: u64,
    /// Its partition.
    pub partition: Partition,
    /// The file.
    pub file: LakeFile,
    /// How far it has come.
    pub stage: FileStage,
    /// The load batch that it was planned into.
    pub batch: Option<String>,
    /// Why it was set aside.
    pub note: Option<String>,
}

/// Which registered files to read: those that may have rows of a dataset within a range of event
/// times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFilter {
    /// The dataset.
    pub dataset: String,
    /// Only files of this partition.
    pub partition: Option<Partition>,
    /// Event time at or after, microseconds UTC.
    pub from: i64,
    /// Event time before.
    pub until: i64,
}

impl FileFilter {
    /// All files of a dataset, or of a kind's table.
    pub fn whole(dataset: &str) -> Self {
        Self {
            dataset: dataset.to_owned(),
            partition: None,
            from: i64::MIN,
            until: i64::MAX,
        }
    }

    /// Whether a file is one of those.
    pub fn takes(&self, file: &RegisteredFile) -> bool {
        let of = &file.file;
        of.dataset == self.dataset
            && self.partition.is_none_or(|only| only == file.partition)
            && of.event_time_max >= self.from
            && of.event_time_min < self.until
    }
}

/// A set of files of one table to be loaded in one warehouse transaction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadBatch {
    /// By [`Self::id_of`]: what is loaded under an id is always the same.
    pub id: String,
    /// Target table.
    pub dataset: String,
    /// Partition all its files come from.
    pub partition: Partition,
    /// The files.
    pub files: Vec<RegisteredFile>,
}

impl LoadBatch {
    /// The id of a batch of these files of a table, ascending by number. Files that follow each
    /// other are named by the first and the last; others also by a digest, since a batch that is
    /// taken apart may leave the same ends and the same number.
    pub fn id_of(dataset: &str, partition: Partition, files: &[u64]) -> String {
        let (first, last) = (
            files.first().copied().unwrap_or(0),
            files.last().copied().unwrap_or(0),
        );
        let dense = format!("{dataset}-p{partition}-{first}-{last}x{}", files.len());
        if last - first + 1 == files.len() as u64 {
            return dense;
        }
        let digest = files
            .iter()
            .fold(Sha256::new(), |digest, number| {
                digest.chain_update(number.to_be_bytes())
            })
            .finalize();
        digest[..8]
            .iter()
            .fold(dense + "-", |id, byte| id + &format!("{byte:02x}"))
    }

    /// A batch of files of one table, named by what is in it: each of them gets its id.
    pub fn new(partition: Partition, files: Vec<RegisteredFile>) -> Self {
        let dataset = files
            .first()
            .map(|file| file.file.dataset.as_str())
            .unwrap_or_default();
        let numbers: Vec<u64> = files.iter().map(|file| file.number).collect();
        let id = Self::id_of(dataset, partition, &numbers);
        let mut batch = Self::planned(id, partition, files);
        for file in &mut batch.files {
            file.batch = Some(batch.id.clone());
        }
        batch
    }

    /// A batch that was planned earlier under this id.
    pub fn planned(id: String, partition: Partition, files: Vec<RegisteredFile>) -> Self {
        let dataset = files
            .first()
            .map(|file| file.file.dataset.clone())
            .unwrap_or_default();
        Self {
            id,
            dataset,
            partition,
            files,
        }
    }

    /// What becomes of the files of a refused batch that were not found bad: two batches of half
    /// of them each, or none where a bad file was found or no half is left. In the second case
    /// they are to be unplanned.
    pub fn halves(
        partition: Partition,
        mut files: Vec<RegisteredFile>,
        bad: &[(u64, String)],
    ) -> Option<[Self; 2]> {
        if !bad.is_empty() || files.len() < 2 {
            return None;
        }
        let later = files.split_off(files.len() / 2);
        Some([files, later].map(|half| Self::new(partition, half)))
    }

    /// The numbers of its files.
    pub fn numbers(&self) -> Vec<u64> {
        self.files.iter().map(|file| file.number).collect()
    }
}

/// What a plan leaves alone, so that loads which fail hold up no others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeferredBatches {
    /// Ids of planned batches: they stay planned, as they are.
    pub batches: Vec<String>,
    /// None of their files that are in no batch yet is planned.
    pub datasets: Vec<String>,
}
