//! Rules, datasets, partitions, files and dead letters.

use std::collections::BTreeMap;

use actix_web::web::{Json, Query};
use serde::Deserialize;
use serde_json::json;
use theatre_actors::outputs::DeadReason;
use theatre_actors::ports::{DeadReplay, StoredDead};
use theatre_schemas::dataset::Dataset;

use super::pages::now;
use super::{Known, Shared, ask, limited};
use crate::access::Caller;
use crate::cursor;
use crate::model::{
    ColumnInfo, DatasetInfo, DeadLetter, LakeStage, Page, Pipeline, PipelinePartition,
};
use crate::problem::{Answer, Problem};

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

pub(crate) async fn pipeline(state: Shared) -> Answer<Json<Pipeline>> {
    let answer = ask(&state, move |parts| {
        let as_of = now(parts)?;
        let (topics, _) = parts.store.layout()?.unwrap_or_default();
        let mut partitions = Vec::new();
        for partition in theatre_queries::partitions(&*parts.store)? {
            let end = |topic: &String| Ok(parts.log.range(topic, partition.partition)?.end);
            let ends: Answer<Vec<u64>> = topics.iter().map(end).collect();
            partitions.push(PipelinePartition::of(partition, ends?));
        }
        let mut files: BTreeMap<&'static str, LakeStage> = BTreeMap::new();
        for file in theatre_queries::lake_files(&*parts.store)? {
            let of_stage = files.entry(file.stage).or_insert_with(|| LakeStage {
                stage: file.stage.to_owned(),
                files: 0,
                rows: 0,
                bytes: 0,
            });
            of_stage.files += 1;
            of_stage.rows += file.rows;
            of_stage.bytes += file.bytes;
        }
        Ok(Pipeline {
            topics,
            partitions,
            lake_files: files.into_values().collect(),
            as_of,
        })
    });
    Ok(Json(answer.await?))
}

/// Names of the reasons why a record was not applied.
pub(crate) const REASONS: &[&str] = &{
    let mut names = [""; DeadReason::ALL.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = DeadReason::ALL[at].as_str();
        at += 1;
    }
    names
};
/// Dead letters that are looked at for a page, at most.
const LOOKED_AT: usize = 20_000;
/// Dead letters that are read at a time.
const READ_AT_ONCE: usize = 1_000;

/// Which dead letters are wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeadQuery {
    robot: Option<String>,
    reason: Option<String>,
    topic: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

impl DeadQuery {
    /// Whether it is wanted, and of a robot that the caller may see.
    fn takes(&self, stored: &StoredDead, topics: &[String], caller: &Caller) -> bool {
        let dead = &stored.dead;
        let is = |wanted: &Option<String>, known: Option<&str>| {
            wanted.is_none() || wanted.as_deref() == known
        };
        // One whose robot is not known may be of any.
        let may = match &dead.robot_id {
            Some(robot) => caller.may(robot),
            None => !caller.is_limited(),
        };
        may && is(&self.robot, dead.robot_id.as_deref())
            && is(&self.reason, Some(dead.reason.as_str()))
            && is(&self.topic, topics.get(dead.topic).map(String::as_str))
    }
}

pub(crate) async fn dead_letters(
    query: Query<DeadQuery>,
    caller: Known,
    state: Shared,
) -> Answer<Json<Page<DeadLetter>>> {
    let query = query.into_inner();
    if let Some(reason) = query.reason.as_deref()
        && !REASONS.contains(&reason)
    {
        let known = REASONS.join(", ");
        return Err(Problem::bad(format!(
            "reason '{reason}': there are {known}"
        )));
    }
    let limit = limited(query.limit)?;
    let list = format!(
        "dead {:?} {:?} {:?}",
        query.robot, query.reason, query.topic
    );
    let after = query.after.as_deref();
    let mut after: Option<(u64, u32)> = after.map(|text| cursor::open(&list, text)).transpose()?;
    let caller = caller.into_inner();
    let page = ask(&state, move |parts| {
        let as_of = now(parts)?;
        let (topics, _) = parts.store.layout()?.unwrap_or_default();
        let mut found = Vec::new();
        let mut looked_at = 0;
        let mut has_more = true;
        while has_more && found.len() < limit && looked_at < LOOKED_AT {
            let read = parts.store.dead_page(after, READ_AT_ONCE)?;
            has_more = read.len() == READ_AT_ONCE;
            for stored in read {
                if found.len() == limit {
                    has_more = true;
                    break;
                }
                looked_at += 1;
                after = Some((stored.sequence, stored.partition));
                if query.takes(&stored, &topics, &caller) {
                    found.push(stored);
                }
            }
        }
        let places: Vec<(u32, u64)> = found.iter().map(|it| (it.partition, it.sequence)).collect();
        let replays = parts.store.dead_replays(&places)?;
        let shown = |stored: StoredDead| {
            let is_it = |it: &&DeadReplay| {
                (it.partition, it.sequence) == (stored.partition, stored.sequence)
            };
            let replay = replays.iter().find(is_it);
            DeadLetter::of(stored.clone(), &topics, replay)
        };
        Ok(Page {
            items: found.into_iter().map(shown).collect(),
            next: after
                .filter(|_| has_more)
                .map(|place| cursor::seal(&list, &place)),
            as_of,
        })
    });
    Ok(Json(page.await?))
}
