//! Rules, datasets, partitions, files and dead letters.

use std::collections::BTreeMap;

use actix_web::web::{Json, Query};
use serde_json::{Value, json};
use theatre_schemas::dataset::Dataset;

use super::{Known, ListQuery, Shared, ask, looked_at};
use crate::model::{ColumnInfo, DatasetInfo, Page};
use crate::problem::Answer;

pub(crate) async fn datasets(state: Shared) -> Answer<Json<Page<DatasetInfo>>> {
    let parts = &state.parts;
    let info = |dataset: &Dataset| DatasetInfo {
        dataset: dataset.name.clone(),
        kind: json!(dataset.kind).as_str().unwrap_or_default().to_owned(),
        version: dataset.version,
        topic: (parts.topics.get(&dataset.name))
            .filter(|_| !dataset.kind.reaches_partitions())
            .cloned(),
        columns: columns(dataset),
    };
    let all = parts.registry.datasets().iter();
    Ok(Json(Page {
        items: all.map(|(_, dataset)| info(dataset)).collect(),
        next: None,
        as_of: parts.clock.now().into(),
    }))
}

fn columns(dataset: &Dataset) -> Vec<ColumnInfo> {
    let column = |(index, column): (usize, &theatre_schemas::dataset::ColumnSpec)| ColumnInfo {
        name: column.name.clone(),
        r#type: json!(column.column_type)
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        unit: column.unit.clone(),
        doc: column.doc.clone(),
        is_signal: dataset.signals.iter().any(|signal| signal.column == index),
    };
    dataset.columns.iter().enumerate().map(column).collect()
}

pub(crate) async fn pipeline(state: Shared) -> Answer<Json<Value>> {
    let as_of = crate::model::Time::from(state.parts.clock.now());
    let answer = ask(&state, move |parts| {
        let (topics, _) = parts.store.layout()?.unwrap_or_default();
        let partitions = theatre_queries::partitions(&*parts.store)?;
        let mut ends: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for partition in &partitions {
            let end = |topic: &String| Ok(parts.log.range(topic, partition.partition)?.end);
            let of_partition: Answer<Vec<u64>> = topics.iter().map(end).collect();
            ends.insert(partition.partition, of_partition?);
        }
        let mut files: BTreeMap<&'static str, (u64, u64, u64)> = BTreeMap::new();
        for file in theatre_queries::lake_files(&*parts.store)? {
            let of_stage = files.entry(file.stage).or_default();
            of_stage.0 += 1;
            of_stage.1 += file.rows;
            of_stage.2 += file.bytes;
        }
        let files: Vec<Value> = files
            .into_iter()
            .map(|(stage, (files, rows, bytes))| {
                json!({"stage": stage, "files": files, "rows": rows, "bytes": bytes})
            })
            .collect();
        let partitions: Vec<Value> = partitions
            .iter()
            .map(|partition| {
                let mut value = json!(partition);
                value["log_end"] = json!(ends.get(&partition.partition));
                value
            })
            .collect();
        Ok(json!({"topics": topics, "partitions": partitions, "lake_files": files, "as_of": as_of}))
    });
    Ok(Json(answer.await?))
}

pub(crate) async fn dead_letters(
    query: Query<ListQuery>,
    caller: Known,
    state: Shared,
) -> Answer<Json<Page<Value>>> {
    let limit = query.limit()?;
    let as_of = state.parts.clock.now();
    let read = looked_at(&caller, limit);
    let found = ask(&state, move |parts| {
        Ok(theatre_queries::dead_letters(&*parts.store, read)?)
    });
    let visible = found.await?.into_iter().filter(|dead| {
        // One whose robot is not known may be of any.
        dead.robot_id
            .as_ref()
            .map_or(!caller.is_limited(), |robot| caller.may(robot))
    });
    Ok(Json(Page {
        items: visible.take(limit).map(|dead| json!(dead)).collect(),
        next: None,
        as_of: as_of.into(),
    }))
}
