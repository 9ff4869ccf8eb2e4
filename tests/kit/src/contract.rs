//! The contract of each port, as functions over the trait: what every adapter must do, without a
//! branch for any of them.

use anyhow::Result;
use arrow_array::RecordBatch;
use theatre_actors::outputs::{OutputEvent, OutputKind};
use theatre_actors::ports::*;
use theatre_actors::position::Positions;
use theatre_parquet::file_schema;
use theatre_parquet::writer::FileWriter;

pub mod access;
mod commits;
mod consumers;
mod dead_letters;
mod erasure;
mod lake;
mod loads;
mod log;
mod outcomes;
mod pages;
mod repartition;
mod undelivered;
mod warehouse;
mod widening;

pub use commits::{
    store_commits_once_and_fences, store_keeps_homes, store_numbers_densely, store_takes_any_name,
};
pub use consumers::{
    store_expires_windows, store_exports_each_output_once, store_keeps_a_position_for_each_consumer,
};
pub use dead_letters::store_keeps_what_is_done_about_dead_letters;
pub use erasure::{lake_replaces, store_revises_files, warehouse_erases};
pub use lake::lake_completes_once;
pub use loads::{store_finds_files, store_plans_beside_what_is_stuck, store_plans_loads};
pub use log::{log_fences_lanes, log_keeps_records};
pub use outcomes::warehouse_tells_cases_apart;
pub use pages::store_gives_pages;
pub use repartition::{log_grows_topics, store_repartitions};
pub use undelivered::store_keeps_what_was_not_delivered;
pub use warehouse::warehouse_loads_once;
pub use widening::warehouse_widens;

fn record(text: &str) -> NewRecord {
    NewRecord {
        key: text.as_bytes().to_vec(),
        value: text.as_bytes().to_vec(),
        headers: vec![("name".to_owned(), text.to_owned())],
    }
}

fn save(processor: &str, number: u64, outputs: &[(&str, u32)]) -> ProcessorSave {
    let output = |(id, revision): &(&str, u32)| OutputEvent {
        kind: OutputKind::Alert,
        robot_id: processor.to_owned(),
        id: (*id).to_owned(),
        subject: "rule".to_owned(),
        revision: *revision,
        event_time: 5,
        payload: vec![1],
    };
    ProcessorSave {
        processor: processor.to_owned(),
        save_number: number,
        positions: Positions::from(vec![number]),
        state: vec![number as u8],
        outputs: outputs.iter().map(output).collect(),
        dead: Vec::new(),
    }
}

fn commit(epoch: Epoch, processors: Vec<ProcessorSave>, floor: u64) -> PartitionCommit {
    PartitionCommit {
        partition: 0,
        epoch,
        processors,
        floor: Positions::from(vec![floor]),
    }
}

fn file(name: &str, dataset: &str) -> LakeFile {
    LakeFile {
        path: name.to_owned(),
        upload: format!("up-{name}"),
        dataset: dataset.to_owned(),
        rows: 1,
        bytes: 1,
        event_time_min: 0,
        event_time_max: 0,
        erased: Vec::new(),
        erasing: Vec::new(),
    }
}

fn completed(
    lake: &dyn Lake,
    table: &TableSpec,
    number: u64,
    rows: RecordBatch,
) -> Result<RegisteredFile> {
    let path = format!("data/{}/{number}.parquet", table.name);
    let mut writer = FileWriter::new(
        lake.begin(&path, &format!("p0-e1-{number}"))?,
        &file_schema(table),
        path.clone(),
        &table.name,
    )?;
    let times = vec![0; rows.num_rows()];
    writer.write(rows, times.into_iter())?;
    let file = writer.finish()?;
    lake.complete(&path, &file.upload)?;
    Ok(RegisteredFile {
        number,
        partition: 0,
        file,
        stage: FileStage::Completed,
        batch: None,
        note: None,
    })
}

fn batch(table: &TableSpec, id: &str, files: &[&RegisteredFile]) -> LoadBatch {
    LoadBatch {
        id: id.to_owned(),
        dataset: table.name.clone(),
        partition: 0,
        files: files.iter().map(|file| (*file).clone()).collect(),
    }
}
