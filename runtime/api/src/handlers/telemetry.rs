//! Rows of a robot's telemetry of a short range, from the files of the lake.
//!
//! What the lake does not have yet is not there: the answer says from which moment on rows may be
//! missing, and which files could not be read.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::web::{Json, Path, Query};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use theatre_actors::ports::{ColumnType, Error, FileStage, Lake, PollLimit, RegisteredFile};
use theatre_actors::position::Partition;
use theatre_parquet::records::{RecordPlace, RecordReader};
use theatre_schemas::batch::Batch;
use theatre_schemas::dataset::{Dataset, DatasetIndex, DatasetKind};

use super::pages::now;
use super::windows::moment;
use super::{Known, Shared, ask, fleet_of};
use crate::Parts;
use crate::cursor;
use crate::model::{MissingRows, TelemetryRow, TelemetryRows, Time};
use crate::problem::{Answer, Problem};
use crate::rows::date;

/// Longest range, microseconds.
const RANGE_MAX_US: i64 = 600_000_000;
/// How long a range is where its end is not given, microseconds.
const RANGE_US: i64 = 60_000_000;
/// Most rows of an answer.
pub(crate) const ROWS_MAX: usize = 2_000;
const ROWS: usize = 500;
/// Rows of files that are looked at for an answer, at most.
const LOOKED_AT: u64 = 2_000_000;
/// How often the log is asked for the first record that the lake does not have.
const POLLS: usize = 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TelemetryQuery {
    dataset: Option<String>,
    from: Option<String>,
    to: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

/// The place of a row: event time, topic, partition, offset. No other row has it.
type Place = (i64, String, Partition, u64);

/// A question that makes sense.
struct Question {
    robot: String,
    /// Where the robot is at home.
    home: Partition,
    dataset: Arc<Dataset>,
    index: DatasetIndex,
    from: i64,
    to: i64,
    after: Option<Place>,
    list: String,
    limit: usize,
}

pub(crate) async fn rows(
    robot: Path<String>,
    query: Query<TelemetryQuery>,
    caller: Known,
    state: Shared,
) -> Answer<Json<TelemetryRows>> {
    let fleet = fleet_of(&state).await?;
    let is_it = |saved: &crate::snapshot::Saved<'_>| saved.view.robot_id == *robot;
    let found = fleet.saved().filter(|_| caller.may(&robot)).find(is_it);
    let saved = found.ok_or_else(|| Problem::missing("robot", &robot))?;
    let clock = saved.view.clock.unwrap_or(fleet.as_of.0);
    let question = question(&state.parts, &query, &robot, saved.partition, clock)?;
    let permit = state.telemetry.take(&caller.id).map_err(|_| {
        let why = "rows of telemetry are read for others at the moment; try again";
        Problem::new("busy", why).after(1)
    })?;
    let answer = ask(&state, move |parts| {
        let _permit = permit;
        answer(parts, question)
    });
    Ok(Json(answer.await?))
}

fn question(
    parts: &Parts,
    query: &TelemetryQuery,
    robot: &str,
    home: Partition,
    clock: i64,
) -> Answer<Question> {
    let (index, dataset) = dataset(parts, query.dataset.as_deref())?;
    let begin = clock.saturating_sub(RANGE_US);
    let from = moment("from", query.from.as_deref(), begin)?;
    let to = moment("to", query.to.as_deref(), from.saturating_add(RANGE_US))?;
    if from >= to || to.saturating_sub(from) > RANGE_MAX_US {
        return Err(Problem::bad(
            "from is before to, and at most ten minutes: windows show longer stretches",
        ));
    }
    let limit = query.limit.unwrap_or(ROWS);
    if !(1..=ROWS_MAX).contains(&limit) {
        return Err(Problem::bad(format!(
            "limit {limit} is not within 1 to {ROWS_MAX}"
        )));
    }
    let list = format!(
        "telemetry {robot:?} {} {:?} {:?}",
        dataset.name, query.from, query.to
    );
    // A page after the first has to be of the same stretch: without its bounds it would move on.
    if query.after.is_some() && (query.from.is_none() || query.to.is_none()) {
        return Err(Problem::bad("with after, from and to are given, too"));
    }
    let after = query.after.as_deref();
    Ok(Question {
        robot: robot.to_owned(),
        home,
        after: after.map(|text| cursor::open(&list, text)).transpose()?,
        dataset,
        index,
        from,
        to,
        list,
        limit,
    })
}

/// The dataset of the question; where there is one of telemetry only, that one.
fn dataset(parts: &Parts, name: Option<&str>) -> Answer<(DatasetIndex, Arc<Dataset>)> {
    let all = parts.registry.datasets();
    if let Some(name) = name {
        let found = all.find(name);
        let found = found.filter(|(_, dataset)| dataset.kind == DatasetKind::Telemetry);
        let found = found.ok_or_else(|| Problem::missing("dataset of telemetry", name))?;
        return Ok((found.0, found.1.clone()));
    }
    let mut fed = all.iter().filter(|(_, dataset)| {
        dataset.kind == DatasetKind::Telemetry && parts.topics.contains_key(&dataset.name)
    });
    match (fed.next(), fed.next()) {
        (Some((index, dataset)), None) => Ok((index, dataset.clone())),
        (Some((_, first)), Some((_, second))) => Err(Problem::bad(format!(
            "there is telemetry in '{}' and '{}': say which with `dataset`",
            first.name, second.name
        ))),
        _ => Err(Problem::bad("no dataset has telemetry")),
    }
}

fn answer(parts: &Parts, question: Question) -> Answer<TelemetryRows> {
    let as_of = now(parts)?;
    let mut missing: BTreeMap<&'static str, MissingRows> = BTreeMap::new();
    let mut lacks = |why: &'static str, rows: u64| {
        let of_reason = missing.entry(why).or_insert_with(|| MissingRows {
            why: why.to_owned(),
            files: 0,
            rows: 0,
        });
        of_reason.files += 1;
        of_reason.rows += rows;
    };
    let mut found = Found::default();
    let complete_until = match &parts.lake {
        None => {
            lacks("lake_off", 0);
            Some(question.from)
        }
        Some(lake) => {
            // The log is asked first: what the lake gets meanwhile is there, and not said to be missing.
            let until = complete_until(parts, &question)?;
            let mut looked_at = 0;
            for file in files(parts, &question)? {
                let rows = file.file.rows;
                looked_at += rows;
                match file.stage {
                    FileStage::Lost => lacks("lost", rows),
                    _ if looked_at > LOOKED_AT => lacks("too_many_rows", rows),
                    stage => match found.read(&**lake, &file, &question) {
                        Ok(()) => {}
                        Err(Error::Gone(_)) if stage == FileStage::Registered => {
                            lacks("not_complete_yet", rows);
                        }
                        Err(Error::Gone(_)) => lacks("gone", rows),
                        Err(error) => return Err(error.into()),
                    },
                }
            }
            until
        }
    };
    let has_more = found.rows.len() > question.limit;
    let rows = found.rows.into_iter().take(question.limit);
    let mut last = None;
    let items: Vec<TelemetryRow> = rows
        .map(|(place, row)| {
            last = Some(place);
            row
        })
        .collect();
    let next = last.filter(|_| has_more);
    Ok(TelemetryRows {
        robot_id: question.robot,
        dataset: question.dataset.name.clone(),
        from: Time(question.from),
        to: Time(question.to),
        items,
        next: next.map(|place| cursor::seal(&question.list, &place)),
        complete_until: complete_until.map(Time),
        missing: missing.into_values().collect(),
        as_of,
    })
}

/// Files of the register that may have rows of the range.
fn files(parts: &Parts, question: &Question) -> Answer<Vec<RegisteredFile>> {
    // Before a change of the partition count a robot may have been at home elsewhere.
    let has_moved = !parts.store.past_layouts()?.is_empty();
    let may_have = |file: &RegisteredFile| {
        let of = &file.file;
        of.dataset == question.dataset.name
            && (has_moved || file.partition == question.home)
            && of.event_time_max >= question.from
            && of.event_time_min < question.to
            && of.path.starts_with("data/")
            && RecordPlace::of(&of.path).is_some()
    };
    let mut files = parts.store.all_files()?;
    files.retain(may_have);
    files.sort_by_key(|file| (file.file.event_time_min, file.partition, file.number));
    Ok(files)
}

/// When the first record was appended that the lake does not have: what was appended before is in
/// its files. `None`: it has all that is in the log.
fn complete_until(parts: &Parts, question: &Question) -> Answer<Option<i64>> {
    let (topics, _) = parts.store.layout()?.unwrap_or_default();
    let Some(topic) = parts.topics.get(&question.dataset.name) else {
        return Ok(None);
    };
    let Some(index) = topics.iter().position(|known| known == topic) else {
        return Ok(None);
    };
    let status = parts.store.status(question.home)?;
    let reached = status.lake_positions.get(index);
    let range = parts.log.range(topic, question.home)?;
    if reached >= range.end {
        return Ok(None);
    }
    let from = reached.max(range.start);
    let mut reader = parts.log.reader(topic, question.home, from)?;
    let one = PollLimit {
        records: 1,
        bytes: parts.record_bytes,
    };
    for _ in 0..POLLS {
        let mut appended = None;
        let end = reader.poll(one, &mut |record| appended = Some(record.append_time.0))?;
        if appended.is_some() || end.at_end {
            return Ok(appended);
        }
    }
    // A log that does not answer in time promises nothing.
    Ok(Some(question.from))
}

/// The first rows of the range, by place: one more than are wanted at most.
#[derive(Default)]
struct Found {
    rows: BTreeMap<Place, TelemetryRow>,
}

impl Found {
    fn read(
        &mut self,
        lake: &dyn Lake,
        file: &RegisteredFile,
        question: &Question,
    ) -> Result<(), Error> {
        let path = &file.file.path;
        let bytes = lake.open_file(path)?;
        let (dataset, index) = (question.dataset.clone(), question.index);
        let mut reader = RecordReader::open_some(path, &*bytes, dataset, index, |_| true)?;
        while let Some(records) = reader.read_next()? {
            let mut begin = 0;
            for (topic, end) in &records.topics {
                for row in begin..*end {
                    self.take(&records.batch, row, topic, file.partition, question);
                }
                begin = *end;
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        batch: &Batch,
        row: usize,
        topic: &str,
        partition: Partition,
        question: &Question,
    ) {
        let time = batch.event_times()[row];
        if !(question.from..question.to).contains(&time) || batch.robot_id(row) != question.robot {
            return;
        }
        let place = (time, topic.to_owned(), partition, batch.offsets[row]);
        let is_shown = question.after.as_ref().is_some_and(|after| place <= *after);
        let last = self.rows.last_key_value();
        let is_full = self.rows.len() > question.limit;
        if is_shown || (is_full && last.is_some_and(|(last, _)| *last <= place)) {
            return;
        }
        let shown = TelemetryRow {
            event_time: Time(time),
            appended_at: Time(batch.append_times[row]),
            topic: topic.to_owned(),
            partition,
            offset: batch.offsets[row],
            values: values(batch, row),
        };
        self.rows.insert(place, shown);
        if self.rows.len() > question.limit + 1 {
            self.rows.pop_last();
        }
    }
}

/// The values of a row by the names of its columns; those that are missing are left out.
fn values(batch: &Batch, row: usize) -> Map<String, Value> {
    let cell = |column: usize, column_type: ColumnType| match column_type {
        ColumnType::Utf8 => batch.text(column, row).map(|text| json!(text)),
        ColumnType::Boolean => batch.number(column, row).map(|value| json!(value != 0.0)),
        ColumnType::Float32 | ColumnType::Float64 => {
            let value = batch.number(column, row);
            value
                .filter(|value| value.is_finite())
                .map(|value| json!(value))
        }
        ColumnType::Int32 | ColumnType::Int64 => batch.int(column, row).map(|value| json!(value)),
        ColumnType::TimestampMicros => batch.int(column, row).map(|at| json!(Time(at))),
        ColumnType::Decimal { scale, .. } => {
            let unit = 10_f64.powi(i32::from(scale));
            let units = batch.decimal(column, row);
            units.map(|units| json!(units as f64 / unit))
        }
        ColumnType::Date => batch.date(column, row).and_then(date).map(|day| json!(day)),
        ColumnType::Binary => None,
    };
    let columns = batch.dataset.columns.iter().enumerate();
    columns
        .filter_map(|(at, spec)| Some((spec.name.clone(), cell(at, spec.column_type)?)))
        .collect()
}
