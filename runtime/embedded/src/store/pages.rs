//! Pages of outputs and of dead letters.

use rusqlite::types::Value;
use rusqlite::{Row, params, params_from_iter};
use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::{
    OutputPage, OutputPlace, PageFilter, PageStore, Result, StoredDead, StoredOutput,
};
use theatre_actors::position::Partition;
use theatre_actors::time::LogTime;

use super::{EmbeddedStore, outputs};

/// A statement in the making, and its values.
struct Question {
    /// Which rows are looked at, in which order.
    looked_at: String,
    values: Vec<Value>,
}

impl Question {
    fn of(filter: &PageFilter) -> Self {
        let (time, order, beyond) = match filter.changed_since {
            Some(_) => ("committed_at", "ASC", ">"),
            None => ("event_time", "DESC", "<"),
        };
        let kind = filter.kind.code();
        // The index has no windows: it is used only where the statement says so, too.
        let mut sql = format!("FROM fact WHERE kind = {kind} AND kind <> 1");
        let mut values = Vec::new();
        let mut also = |condition: &str, value: Value| {
            values.push(value);
            sql.push_str(&condition.replace('?', &format!("?{}", values.len())));
        };
        if let (Some([robot]), None) = (filter.robots.as_deref(), filter.changed_since) {
            also(" AND robot_id = ?", robot.clone().into());
        }
        if let (Some(subject), None) = (&filter.subject, filter.changed_since) {
            also(" AND subject = ?", subject.clone().into());
        }
        if let Some(since) = filter.changed_since {
            also(" AND committed_at >= ?", since.0.into());
        } else {
            also(
                " AND event_time >= ?",
                filter.from.unwrap_or(i64::MIN).into(),
            );
            also(
                " AND event_time <= ?",
                filter
                    .until
                    .map_or(i64::MAX, |until| until.saturating_sub(1))
                    .into(),
            );
        }
        if let Some(after) = &filter.after {
            let place = [
                Value::from(after.time),
                after.id.clone().into(),
                i64::from(after.revision).into(),
            ];
            let first = values.len() + 1;
            values.extend(place);
            let (id, revision) = (first + 1, first + 2);
            sql.push_str(&format!(
                " AND ({time}, id, revision) {beyond} (?{first}, ?{id}, ?{revision})"
            ));
        }
        sql.push_str(&format!(
            " ORDER BY {time} {order}, id {order}, revision {order}"
        ));
        Self {
            looked_at: sql,
            values,
        }
    }

    fn value(&mut self, value: impl Into<Value>) -> usize {
        self.values.push(value.into());
        self.values.len()
    }

    /// The rows that are wanted of those that are looked at.
    fn wanted(mut self, filter: &PageFilter) -> (String, Vec<Value>) {
        let look_at = self.value(filter.look_at as i64);
        let seen = self.value(serde_json::json!(filter.seen).to_string());
        let is_seen = |row: &str| {
            format!(
                "{row}.sequence <= coalesce(json_extract(?{seen}, '$[' || {row}.partition || ']'), 0)"
            )
        };
        let mut sql = format!(
            "SELECT {columns} FROM (SELECT {columns} {from} LIMIT ?{look_at}) AS here WHERE {is_seen}",
            columns = outputs::COLUMNS,
            from = self.looked_at,
            is_seen = is_seen("here"),
        );
        if !filter.every_revision {
            sql.push_str(&format!(
                " AND NOT EXISTS (SELECT 1 FROM fact AS later WHERE later.kind = here.kind AND later.id = here.id
                  AND later.revision > here.revision AND {})",
                is_seen("later")
            ));
        }
        if let Some(robots) = &filter.robots {
            let robots = self.value(serde_json::json!(robots).to_string());
            sql.push_str(&format!(
                " AND here.robot_id IN (SELECT value FROM json_each(?{robots}))"
            ));
        }
        if let Some(subject) = &filter.subject {
            let subject = self.value(subject.clone());
            sql.push_str(&format!(" AND here.subject = ?{subject}"));
        }
        if filter.changed_since.is_some() {
            let from = self.value(filter.from.unwrap_or(i64::MIN));
            let until = self.value(
                filter
                    .until
                    .map_or(i64::MAX, |until| until.saturating_sub(1)),
            );
            sql.push_str(&format!(
                " AND here.event_time BETWEEN ?{from} AND ?{until}"
            ));
        }
        let (time, order) = match filter.changed_since {
            Some(_) => ("committed_at", "ASC"),
            None => ("event_time", "DESC"),
        };
        let limit = self.value(filter.limit as i64 + 1);
        sql.push_str(&format!(
            " ORDER BY {time} {order}, id {order}, revision {order} LIMIT ?{limit}"
        ));
        (sql, self.values)
    }

    /// The last row that is looked at, where there are as many as may be.
    fn last(mut self, filter: &PageFilter) -> (String, Vec<Value>) {
        let before = self.value(filter.look_at.saturating_sub(1) as i64);
        let time = match filter.changed_since {
            Some(_) => "committed_at",
            None => "event_time",
        };
        let sql = format!(
            "SELECT {time}, id, revision {} LIMIT 1 OFFSET ?{before}",
            self.looked_at
        );
        (sql, self.values)
    }
}

fn place(row: &Row<'_>) -> rusqlite::Result<OutputPlace> {
    Ok(OutputPlace {
        time: row.get(0)?,
        id: row.get(1)?,
        revision: row.get(2)?,
    })
}

/// The question for all outputs of some subjects: no more of the index is read than theirs.
fn of_subjects(after: Option<&str>) -> String {
    let beyond = after.map_or("AND ?2 IS NULL", |_| "AND subject > ?2");
    format!(
        "SELECT {} FROM fact WHERE kind = ?1 AND kind <> 1 AND subject IN (
             SELECT DISTINCT subject FROM fact WHERE kind = ?1 AND kind <> 1 {beyond} ORDER BY subject LIMIT ?3
         ) ORDER BY subject, event_time, id, revision",
        outputs::COLUMNS
    )
}

impl PageStore for EmbeddedStore {
    fn time(&self) -> Result<Option<LogTime>> {
        Ok(None)
    }

    fn last_outputs(&self) -> Result<Vec<u64>> {
        let sql = "SELECT coalesce(last_fact, 0) FROM generated LEFT JOIN partition USING (partition) ORDER BY partition";
        let sql = format!(
            "WITH RECURSIVE generated (partition) AS (
                SELECT 0 FROM layout WHERE partitions > 0 UNION ALL
                SELECT partition + 1 FROM generated WHERE partition + 1 < (SELECT partitions FROM layout)
            ) {sql}"
        );
        self.query(&sql, [], |row| row.get::<_, i64>(0).map(|last| last as u64))
    }

    fn output_page(&self, filter: &PageFilter) -> Result<OutputPage> {
        let (sql, values) = Question::of(filter).wanted(filter);
        let mut found = self.query(&sql, params_from_iter(values), outputs::read)?;
        if found.len() > filter.limit {
            found.truncate(filter.limit);
            let next = found.last().map(|last| filter.place(last));
            return Ok(OutputPage {
                outputs: found,
                next,
            });
        }
        let (sql, values) = Question::of(filter).last(filter);
        let last = self.query(&sql, params_from_iter(values), place)?;
        Ok(OutputPage {
            outputs: found,
            next: last.into_iter().next(),
        })
    }

    fn last_revisions(
        &self,
        kind: OutputKind,
        ids: &[String],
        seen: &[u64],
    ) -> Result<Vec<StoredOutput>> {
        let sql = format!(
            "SELECT {columns} FROM (
                 SELECT {columns}, row_number() OVER (PARTITION BY id ORDER BY revision DESC) AS place FROM fact
                 WHERE kind = ?1 AND id IN (SELECT value FROM json_each(?2))
                 AND sequence <= coalesce(json_extract(?3, '$[' || partition || ']'), 0)
             ) WHERE place = 1",
            columns = outputs::COLUMNS
        );
        let (ids, seen) = (serde_json::json!(ids), serde_json::json!(seen));
        let values = params![kind.code(), ids.to_string(), seen.to_string()];
        self.query(&sql, values, outputs::read)
    }

    fn of_subjects(
        &self,
        kind: OutputKind,
        after: Option<&str>,
        subjects: usize,
    ) -> Result<Vec<StoredOutput>> {
        let sql = of_subjects(after);
        let limit = i64::try_from(subjects).unwrap_or(i64::MAX);
        self.query(&sql, params![kind.code(), after, limit], outputs::read)
    }

    fn dead_page(&self, after: Option<(u64, Partition)>, limit: usize) -> Result<Vec<StoredDead>> {
        let partitions = self.query("SELECT partition FROM partition", [], |row| {
            row.get::<_, Partition>(0)
        })?;
        let sql = "SELECT partition, sequence, dead, purged_at FROM dead WHERE partition = ?1 AND sequence <= ?2
                   ORDER BY sequence DESC LIMIT ?3";
        let mut found = Vec::new();
        for partition in partitions {
            let up_to = after.map_or(i64::MAX, |(sequence, last)| {
                let sequence = i64::try_from(sequence).unwrap_or(i64::MAX);
                sequence.saturating_sub(i64::from(partition <= last))
            });
            let values = params![partition, up_to, limit as i64];
            found.extend(self.query(sql, values, outputs::read_dead)?);
        }
        found.sort_by_key(|stored| (std::cmp::Reverse(stored.sequence), stored.partition));
        found.truncate(limit);
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_looked_at_is_found_by_an_index_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(&folder.path().join("store")).unwrap();
        let latest = PageFilter {
            after: Some(OutputPlace {
                time: 3,
                id: "x".to_owned(),
                revision: 1,
            }),
            ..PageFilter::latest(OutputKind::Outcome, vec![9], 10)
        };
        let changed = PageFilter {
            changed_since: Some(LogTime(1)),
            ..latest.clone()
        };
        let of_subject = PageFilter {
            subject: Some("case".to_owned()),
            ..latest.clone()
        };
        for (filter, index) in [
            (latest, "fact_latest"),
            (changed, "fact_committed"),
            (of_subject, "fact_subject"),
        ] {
            let (sql, values) = Question::of(&filter).last(&filter);
            let plan = store
                .query(
                    &format!("EXPLAIN QUERY PLAN {sql}"),
                    params_from_iter(values),
                    |row| row.get::<_, String>(3),
                )
                .unwrap();
            assert!(
                plan.len() == 1 && plan[0].contains(index),
                "{sql}: {plan:?}"
            );
        }
        let sql = of_subjects(Some("x"));
        let plan = store
            .query(
                &format!("EXPLAIN QUERY PLAN {sql}"),
                params![OutputKind::FacilityVersion.code(), "x", 10],
                |row| row.get::<_, String>(3),
            )
            .unwrap();
        let reads = |line: &&String| line.contains("fact");
        let searches = plan.iter().filter(reads).collect::<Vec<_>>();
        assert!(
            searches.len() == 2 && searches.iter().all(|it| it.contains("fact_subject")),
            "{sql}: {plan:?}"
        );
        let sql = outputs::of_kind_after(OutputKind::Procedure);
        let plan = store
            .query(
                &format!("EXPLAIN QUERY PLAN {sql}"),
                params![0, 5, OutputKind::Procedure.code(), 10],
                |row| row.get::<_, String>(3),
            )
            .unwrap();
        assert!(
            plan.len() == 1 && plan[0].contains("fact_heard"),
            "{sql}: {plan:?}"
        );
    }
}
