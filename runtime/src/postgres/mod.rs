//! The checkpoint store on PostgreSQL.
//!
//! Every write is one transaction on a connection of its own that locks the partition's row and checks its epoch first; facts, dead letters and
//! files are numbered densely inside it. Reads take connections of a pool. The schema is made by `theatre migrate`; a start only checks it.

mod files;
mod save;
mod session;

use std::sync::Arc;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use theatre_actors::effect::{Fact, FactKind};
use theatre_actors::ports::{
    CheckpointStore, CommitOutcome, Epoch, Error, FactFilter, FileStage, LakeCut, LakeFile, Lane, LoadBatch, PartitionCommit, PartitionStatus, RegisteredFile,
    Result, StoredDead, StoredFact, StoredFamily,
};
use theatre_actors::position::{Partition, Positions};
use theatre_actors::time::LogTime;

use self::session::{Session, broken, damaged};
use crate::drive::Drive;

const FACT_COLUMNS: &str = "partition, sequence, committed_at, kind, robot_id, id, subject, revision, event_time, payload";

/// Opens the store at `url` and checks its schema.
///
/// # Errors
/// Says what of the URL or the schema does not fit, or what does not answer.
pub fn open(url: &str, drive: &Drive) -> Result<Arc<dyn CheckpointStore>> {
    let session = Session::open(url, drive)?;
    session.check_schema()?;
    Ok(Arc::new(PostgresStore(session)))
}

/// Makes or renews the schema.
///
/// # Errors
/// As [`open`].
pub fn migrate(url: &str, drive: &Drive) -> Result<()> {
    Session::open(url, drive)?.migrate()
}

struct PostgresStore(Session);

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    theatre_actors::state::decode(bytes).map_err(|error| damaged(&error))
}

fn encode<T: serde::Serialize>(value: &T) -> Vec<u8> {
    theatre_actors::state::encode(value)
}

async fn current_epoch(connection: &mut PgConnection, partition: Partition) -> Result<Epoch> {
    let found: Option<i64> = sqlx::query_scalar("SELECT epoch FROM partition WHERE partition = $1 FOR UPDATE")
        .bind(partition as i32)
        .fetch_optional(connection)
        .await
        .map_err(broken)?;
    Ok(found.unwrap_or(0) as u64)
}

async fn layout(connection: &mut PgConnection) -> Result<Option<(Vec<String>, u32)>> {
    let found: Option<(Vec<u8>, i32)> = sqlx::query_as("SELECT topics, partitions FROM layout").fetch_optional(connection).await.map_err(broken)?;
    found.map(|(topics, partitions)| Ok((decode(&topics)?, partitions as u32))).transpose()
}

fn stored_fact(row: &PgRow) -> Result<StoredFact> {
    let kind = match row.get::<i16, _>(3) {
        1 => FactKind::Window,
        2 => FactKind::Alert,
        _ => FactKind::Outcome,
    };
    let (revision, event_time) = (row.get::<i64, _>(7) as u32, row.get(8));
    let fact = Fact { kind, robot_id: row.get(4), id: row.get(5), subject: row.get(6), revision, event_time, payload: row.get(9) };
    Ok(StoredFact { partition: row.get::<i32, _>(0) as u32, sequence: row.get::<i64, _>(1) as u64, committed_at: LogTime(row.get(2)), fact })
}

fn stored_dead(row: &PgRow) -> Result<StoredDead> {
    Ok(StoredDead { partition: row.get::<i32, _>(0) as u32, sequence: row.get::<i64, _>(1) as u64, dead: decode(row.get(2))? })
}

fn stored_family(row: &PgRow) -> Result<StoredFamily> {
    Ok(StoredFamily { family: row.get(0), save_number: row.get::<i64, _>(1) as u64, positions: decode(row.get(2))?, state: row.get(3) })
}

/// Beyond what fits into a column: all.
fn limited(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

impl PostgresStore {
    /// One fenced transaction.
    fn fenced<T>(&self, partition: Partition, epoch: Epoch, work: impl AsyncFnOnce(&mut PgConnection) -> Result<T>) -> Result<T> {
        self.0.write(async |connection| {
            let current = current_epoch(connection, partition).await?;
            if current != epoch {
                return Err(Error::StaleEpoch { partition, ours: epoch, current });
            }
            work(connection).await
        })
    }
}

impl CheckpointStore for PostgresStore {
    fn ensure_layout(&self, topics: &[String], partitions: u32) -> Result<()> {
        self.0.write(async |connection| {
            sqlx::query("LOCK TABLE layout IN EXCLUSIVE MODE").execute(&mut *connection).await.map_err(broken)?;
            if let Some((known, count)) = layout(connection).await?
                && !(topics.starts_with(&known) && count == partitions)
            {
                return Err(Error::Refused(format!(
                    "this store was made for {count} partitions of {}; the configuration says {partitions} of {}: \
                     keys would move between owners. Set partitions and inputs back (new inputs may be added at the end)",
                    known.join(", "),
                    topics.join(", ")
                )));
            }
            let sql = "INSERT INTO layout VALUES (1, $1, $2) ON CONFLICT (one) DO UPDATE SET topics = excluded.topics";
            sqlx::query(sql).bind(encode(&topics.to_vec())).bind(partitions as i32).execute(connection).await.map_err(broken)?;
            Ok(())
        })
    }

    fn layout(&self) -> Result<Option<(Vec<String>, u32)>> {
        self.0.read(async |connection| layout(connection).await)
    }

    fn acquire(&self, partition: Partition) -> Result<Epoch> {
        self.0.write(async |connection| {
            let sql = "INSERT INTO partition (partition, epoch, floor, lake_positions) VALUES ($1, 1, $2, $2)
                       ON CONFLICT (partition) DO UPDATE SET epoch = partition.epoch + 1 RETURNING epoch";
            let nothing = encode(&Positions::zero());
            let epoch: i64 = sqlx::query_scalar(sql).bind(partition as i32).bind(nothing).fetch_one(connection).await.map_err(broken)?;
            Ok(epoch as u64)
        })
    }

    fn claim_homes(&self, partition: Partition, epoch: Epoch, robots: &[&str]) -> Result<Vec<Partition>> {
        self.fenced(partition, epoch, async |connection| {
            // In order, so that two claims of the same robots do not wait for each other.
            let mut sorted: Vec<String> = robots.iter().map(|robot| (*robot).to_owned()).collect();
            sorted.sort_unstable();
            sorted.dedup();
            let sql = "INSERT INTO home SELECT robot, $2 FROM UNNEST($1::text[]) AS robot ORDER BY robot ON CONFLICT DO NOTHING";
            sqlx::query(sql).bind(&sorted).bind(partition as i32).execute(&mut *connection).await.map_err(broken)?;
            let found: Vec<(String, i32)> =
                sqlx::query_as("SELECT robot, partition FROM home WHERE robot = ANY($1)").bind(&sorted).fetch_all(connection).await.map_err(broken)?;
            let homes: std::collections::HashMap<String, i32> = found.into_iter().collect();
            let home = |robot: &&str| homes.get(*robot).map(|home| *home as u32).ok_or_else(|| damaged(&"a claimed home is not there"));
            robots.iter().map(home).collect()
        })
    }

    fn status(&self, partition: Partition) -> Result<PartitionStatus> {
        let sql = "SELECT epoch, floor, last_fact, last_dead, relayed_fact, relayed_dead, exported_fact, lake_positions, lake_cuts
                   FROM partition WHERE partition = $1";
        let read = |row: &PgRow| {
            let number = |index: usize| row.get::<i64, _>(index) as u64;
            Ok(PartitionStatus {
                epoch: number(0),
                floor: decode(row.get(1))?,
                last_fact: number(2),
                last_dead: number(3),
                relayed_fact: number(4),
                relayed_dead: number(5),
                exported_fact: number(6),
                lake_positions: decode(row.get(7))?,
                lake_cuts: number(8),
            })
        };
        Ok(self.0.rows(sqlx::query(sql).bind(partition as i32), read)?.pop().unwrap_or_default())
    }

    fn families(&self, partition: Partition) -> Result<Vec<StoredFamily>> {
        let sql = "SELECT family, save_number, positions, state FROM family WHERE partition = $1 ORDER BY family COLLATE \"C\"";
        self.0.rows(sqlx::query(sql).bind(partition as i32), stored_family)
    }

    fn family(&self, partition: Partition, family: &str) -> Result<Option<StoredFamily>> {
        let sql = "SELECT family, save_number, positions, state FROM family WHERE partition = $1 AND family = $2";
        Ok(self.0.rows(sqlx::query(sql).bind(partition as i32).bind(family), stored_family)?.pop())
    }

    fn commit(&self, commits: &[PartitionCommit], committed_at: LogTime) -> Result<Vec<CommitOutcome>> {
        self.0.write(async |connection| save::commit(connection, commits, committed_at).await)
    }

    fn facts_after(&self, partition: Partition, after: u64, limit: usize) -> Result<Vec<StoredFact>> {
        let sql = format!("SELECT {FACT_COLUMNS} FROM fact WHERE partition = $1 AND sequence > $2 ORDER BY sequence LIMIT $3");
        self.0.rows(sqlx::query(sqlx::AssertSqlSafe(sql)).bind(partition as i32).bind(after as i64).bind(limited(limit)), stored_fact)
    }

    fn dead_after(&self, partition: Partition, after: u64, limit: usize) -> Result<Vec<StoredDead>> {
        let sql = "SELECT partition, sequence, dead FROM dead WHERE partition = $1 AND sequence > $2 ORDER BY sequence LIMIT $3";
        self.0.rows(sqlx::query(sql).bind(partition as i32).bind(after as i64).bind(limited(limit)), stored_dead)
    }

    fn note_relayed(&self, partition: Partition, epoch: Epoch, lane: Lane, sequence: u64) -> Result<()> {
        let sql = match lane {
            Lane::Results => "UPDATE partition SET relayed_fact = GREATEST(relayed_fact, $2) WHERE partition = $1",
            Lane::DeadLetters => "UPDATE partition SET relayed_dead = GREATEST(relayed_dead, $2) WHERE partition = $1",
        };
        self.fenced(partition, epoch, async |connection| {
            sqlx::query(sql).bind(partition as i32).bind(sequence as i64).execute(connection).await.map_err(broken)?;
            Ok(())
        })
    }

    fn lake_state(&self, partition: Partition) -> Result<Vec<u8>> {
        let sql = "SELECT lake_state FROM partition WHERE partition = $1";
        Ok(self.0.rows(sqlx::query(sql).bind(partition as i32), |row| Ok(row.get(0)))?.pop().unwrap_or_default())
    }

    fn commit_cut(&self, partition: Partition, epoch: Epoch, cut: &LakeCut) -> Result<()> {
        let sql = "UPDATE partition SET lake_cuts = $2, lake_positions = $3, lake_state = $4 WHERE partition = $1 AND lake_cuts < $2";
        self.fenced(partition, epoch, async |connection| {
            let query = sqlx::query(sql).bind(partition as i32).bind(cut.cut_number as i64).bind(encode(&cut.positions)).bind(&cut.state);
            let changed = query.execute(&mut *connection).await.map_err(broken)?.rows_affected();
            if changed == 0 { Ok(()) } else { files::register(connection, partition, &cut.files).await }
        })
    }

    fn commit_export(&self, partition: Partition, epoch: Epoch, exported_fact: u64, files: &[LakeFile]) -> Result<()> {
        let sql = "UPDATE partition SET exported_fact = $2 WHERE partition = $1 AND exported_fact < $2";
        self.fenced(partition, epoch, async |connection| {
            let query = sqlx::query(sql).bind(partition as i32).bind(exported_fact as i64);
            let changed = query.execute(&mut *connection).await.map_err(broken)?.rows_affected();
            if changed == 0 { Ok(()) } else { files::register(connection, partition, files).await }
        })
    }

    fn files(&self, partition: Partition, stage: FileStage, limit: usize) -> Result<Vec<RegisteredFile>> {
        let sql = "SELECT number, partition, file, stage, batch, note FROM lake_file WHERE partition = $1 AND stage = $2 ORDER BY number LIMIT $3";
        self.0.rows(sqlx::query(sql).bind(partition as i32).bind(stage as i16).bind(limited(limit)), files::read)
    }

    fn mark_completed(&self, partition: Partition, epoch: Epoch, numbers: &[u64]) -> Result<()> {
        let numbers: Vec<i64> = numbers.iter().map(|number| *number as i64).collect();
        self.fenced(partition, epoch, async |connection| {
            let sql = "UPDATE lake_file SET stage = 2 WHERE partition = $1 AND number = ANY($2) AND stage = 1";
            sqlx::query(sql).bind(partition as i32).bind(&numbers).execute(connection).await.map_err(broken)?;
            Ok(())
        })
    }

    fn plan_load(&self, partition: Partition, epoch: Epoch, max_files: usize) -> Result<Option<LoadBatch>> {
        self.fenced(partition, epoch, async |connection| files::plan(connection, partition, max_files).await)
    }

    fn mark_loaded(&self, partition: Partition, epoch: Epoch, batch: &str) -> Result<()> {
        self.fenced(partition, epoch, async |connection| {
            let sql = "UPDATE lake_file SET stage = 3 WHERE partition = $1 AND batch = $2 AND stage = 2";
            sqlx::query(sql).bind(partition as i32).bind(batch).execute(connection).await.map_err(broken)?;
            Ok(())
        })
    }

    fn split_load(&self, partition: Partition, epoch: Epoch, batch: &str, bad: &[(u64, String)]) -> Result<()> {
        self.fenced(partition, epoch, async |connection| files::split(connection, partition, batch, bad).await)
    }

    fn find_facts(&self, filter: &FactFilter) -> Result<Vec<StoredFact>> {
        let sql = format!(
            "SELECT * FROM (SELECT {FACT_COLUMNS} FROM fact WHERE ($1::smallint IS NULL OR kind = $1) AND ($2::text IS NULL OR robot_id = $2)
             AND ($3::text IS NULL OR subject = $3) AND ($4::bigint IS NULL OR event_time >= $4) AND ($5::bigint IS NULL OR event_time < $5)
             ORDER BY committed_at DESC, partition, sequence DESC LIMIT $6) AS found ORDER BY event_time, robot_id, kind, id, revision"
        );
        let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(filter.kind.map(|kind| kind as i16)).bind(&filter.robot_id).bind(&filter.subject);
        let limit = (filter.limit > 0).then(|| limited(filter.limit));
        self.0.rows(query.bind(filter.from).bind(filter.until).bind(limit), stored_fact)
    }

    fn find_dead(&self, limit: usize) -> Result<Vec<StoredDead>> {
        let limit = (limit > 0).then(|| limited(limit));
        self.0.rows(sqlx::query("SELECT partition, sequence, dead FROM dead ORDER BY sequence DESC, partition LIMIT $1").bind(limit), stored_dead)
    }

    fn all_files(&self) -> Result<Vec<RegisteredFile>> {
        self.0.rows(sqlx::query("SELECT number, partition, file, stage, batch, note FROM lake_file ORDER BY partition, number"), files::read)
    }
}
