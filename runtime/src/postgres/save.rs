//! The group commit: families, facts and dead letters of several partitions in one transaction, a statement for each kind.

use sqlx::{PgConnection, Row};
use theatre_actors::effect::{DeadRow, Fact};
use theatre_actors::ports::{CommitOutcome, Error, PartitionCommit, Result};
use theatre_actors::position::Positions;
use theatre_actors::time::LogTime;

use super::session::broken;
use super::{current_epoch, decode, encode};

/// Commits in order of partition, so that two processes that both think they own some do not wait for each other; outcomes in the order given.
pub(super) async fn commit(connection: &mut PgConnection, commits: &[PartitionCommit], at: LogTime) -> Result<Vec<CommitOutcome>> {
    let mut order: Vec<usize> = (0..commits.len()).collect();
    order.sort_by_key(|index| commits[*index].partition);
    let mut outcomes: Vec<Option<CommitOutcome>> = vec![None; commits.len()];
    for index in order {
        outcomes[index] = Some(commit_partition(connection, &commits[index], at).await?);
    }
    Ok(outcomes.into_iter().flatten().collect())
}

async fn commit_partition(connection: &mut PgConnection, commit: &PartitionCommit, at: LogTime) -> Result<CommitOutcome> {
    let current = current_epoch(connection, commit.partition).await?;
    if current != commit.epoch {
        return Ok(CommitOutcome::Stale { current });
    }
    let partition = commit.partition as i32;
    let sql = "SELECT floor, last_fact, last_dead FROM partition WHERE partition = $1";
    let row = sqlx::query(sql).bind(partition).fetch_one(&mut *connection).await.map_err(broken)?;
    let (floor, mut last_fact, mut last_dead): (Positions, i64, i64) = (decode(row.get(0))?, row.get(1), row.get(2));
    let saved = save_families(connection, commit).await?;
    let new = commit.families.iter().filter(|save| saved.contains(&save.family));
    let (mut facts, mut dead): (Vec<&Fact>, Vec<&DeadRow>) = (Vec::new(), Vec::new());
    for save in new {
        facts.extend(&save.facts);
        dead.extend(&save.dead);
    }
    insert_facts(connection, partition, last_fact, at, &facts).await?;
    insert_dead(connection, partition, last_dead, &dead).await?;
    last_fact += facts.len() as i64;
    last_dead += dead.len() as i64;
    let sql = "UPDATE partition SET floor = $2, last_fact = $3, last_dead = $4 WHERE partition = $1";
    let query = sqlx::query(sql).bind(partition).bind(encode(&floor.highest(&commit.floor))).bind(last_fact).bind(last_dead);
    query.execute(connection).await.map_err(broken)?;
    Ok(CommitOutcome::Committed { last_fact: last_fact as u64, last_dead: last_dead as u64 })
}

/// Saves families unless this or a later save is there; says which were new.
async fn save_families(connection: &mut PgConnection, commit: &PartitionCommit) -> Result<Vec<String>> {
    let families: Vec<&str> = commit.families.iter().map(|save| save.family.as_str()).collect();
    let numbers: Vec<i64> = commit.families.iter().map(|save| save.save_number as i64).collect();
    let positions: Vec<Vec<u8>> = commit.families.iter().map(|save| encode(&save.positions)).collect();
    let states: Vec<&[u8]> = commit.families.iter().map(|save| save.state.as_slice()).collect();
    let sql = "INSERT INTO family SELECT $1, * FROM UNNEST($2::text[], $3::bigint[], $4::bytea[], $5::bytea[])
               ON CONFLICT (partition, family) DO UPDATE
               SET save_number = excluded.save_number, positions = excluded.positions, state = excluded.state
               WHERE family.save_number < excluded.save_number RETURNING family";
    let query = sqlx::query_scalar(sql).bind(commit.partition as i32).bind(families).bind(numbers).bind(positions).bind(states);
    query.fetch_all(connection).await.map_err(broken)
}

async fn insert_facts(connection: &mut PgConnection, partition: i32, last: i64, at: LogTime, facts: &[&Fact]) -> Result<()> {
    if facts.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO fact SELECT $1, number, $2, kind, robot_id, id, subject, revision, event_time, payload
               FROM UNNEST($3::bigint[], $4::smallint[], $5::text[], $6::text[], $7::text[], $8::bigint[], $9::bigint[], $10::bytea[])
               AS new (number, kind, robot_id, id, subject, revision, event_time, payload)";
    let query = sqlx::query(sql)
        .bind(partition)
        .bind(at.0)
        .bind((1..=facts.len() as i64).map(|number| last + number).collect::<Vec<i64>>())
        .bind(facts.iter().map(|fact| fact.kind as i16).collect::<Vec<i16>>())
        .bind(facts.iter().map(|fact| fact.robot_id.as_str()).collect::<Vec<&str>>())
        .bind(facts.iter().map(|fact| fact.id.as_str()).collect::<Vec<&str>>())
        .bind(facts.iter().map(|fact| fact.subject.as_str()).collect::<Vec<&str>>())
        .bind(facts.iter().map(|fact| i64::from(fact.revision)).collect::<Vec<i64>>())
        .bind(facts.iter().map(|fact| fact.event_time).collect::<Vec<i64>>())
        .bind(facts.iter().map(|fact| fact.payload.as_slice()).collect::<Vec<&[u8]>>());
    query.execute(connection).await.map(drop).map_err(|error| match error.as_database_error() {
        Some(told) if told.is_unique_violation() => {
            Error::Refused("a fact is there already: two owners, or a conclusion that differs on replay; report this".to_owned())
        }
        _ => broken(error),
    })
}

async fn insert_dead(connection: &mut PgConnection, partition: i32, last: i64, dead: &[&DeadRow]) -> Result<()> {
    if dead.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO dead SELECT $1, * FROM UNNEST($2::bigint[], $3::bytea[])";
    let numbers: Vec<i64> = (1..=dead.len() as i64).map(|number| last + number).collect();
    let rows: Vec<Vec<u8>> = dead.iter().map(encode).collect();
    sqlx::query(sql).bind(partition).bind(numbers).bind(rows).execute(connection).await.map(drop).map_err(broken)
}
