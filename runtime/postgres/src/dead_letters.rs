//! What is done about dead letters: records sent again, content erased.

use std::ops::Range;

use sqlx::PgConnection;
use theatre_actors::outputs::DeadRow;
use theatre_actors::ports::{DeadLetterStore, DeadReplay, Error, PlaceInLog, Result};
use theatre_actors::position::{Partition, TopicIndex};
use theatre_actors::time::LogTime;

use super::failure::Attempt;
use super::{PostgresStore, decode, encode};

impl DeadLetterStore for PostgresStore {
    fn begin_dead_replays(&self, replays: &[DeadReplay]) -> Result<Vec<(Partition, u64)>> {
        self.write(async |connection| {
            let erased = erased(connection, replays).await?;
            let letter = |replay: &DeadReplay| (replay.partition, replay.sequence);
            for replay in replays.iter().filter(|it| !erased.contains(&letter(it))) {
                begin(connection, replay).await?;
            }
            Ok(erased)
        })
    }

    fn forget_dead_replays(&self, absent: &[(Partition, u64)]) -> Result<()> {
        self.write(async |connection| {
            let partitions: Vec<i32> = absent.iter().map(|(of, _)| *of as i32).collect();
            let sequences: Vec<i64> = absent.iter().map(|(_, of)| *of as i64).collect();
            let sql = "DELETE FROM dead_replay
                       WHERE (partition, sequence) IN (SELECT * FROM UNNEST($1::integer[], $2::bigint[]))
                             AND copy_offset IS NULL";
            let query = sqlx::query(sql).bind(partitions).bind(sequences);
            query.execute(connection).await?;
            Ok(())
        })
    }

    fn finish_dead_replays(&self, sent: &[(Partition, u64, u64)]) -> Result<()> {
        self.write(async |connection| {
            let sql = "UPDATE dead_replay SET copy_offset = sent.copy_offset
                       FROM UNNEST($1::integer[], $2::bigint[], $3::bigint[]) AS sent (partition, sequence, copy_offset)
                       WHERE dead_replay.partition = sent.partition AND dead_replay.sequence = sent.sequence";
            let partitions: Vec<i32> = sent.iter().map(|(of, _, _)| *of as i32).collect();
            let sequences: Vec<i64> = sent.iter().map(|(_, of, _)| *of as i64).collect();
            let offsets: Vec<i64> = sent.iter().map(|(_, _, at)| *at as i64).collect();
            let query = sqlx::query(sql).bind(partitions).bind(sequences);
            query.bind(offsets).execute(connection).await?;
            Ok(())
        })
    }

    fn dead_replays(&self, dead: &[(Partition, u64)]) -> Result<Vec<DeadReplay>> {
        self.session.read(async |connection| {
            let partitions: Vec<i32> = dead.iter().map(|(of, _)| *of as i32).collect();
            let sequences: Vec<i64> = dead.iter().map(|(_, of)| *of as i64).collect();
            let sql = "SELECT partition, sequence, count, topic, to_partition, after_offset, copy_offset, begun_at
                       FROM dead_replay
                       WHERE (partition, sequence) IN (SELECT * FROM UNNEST($1::integer[], $2::bigint[]))
                       ORDER BY partition, sequence";
            let query = sqlx::query_as(sql).bind(partitions).bind(sequences);
            Ok(replays(query.fetch_all(connection).await?))
        })
    }

    fn dead_replays_in_doubt(&self) -> Result<Vec<DeadReplay>> {
        self.session.read(async |connection| {
            let sql = "SELECT partition, sequence, count, topic, to_partition, after_offset, copy_offset, begun_at
                       FROM dead_replay WHERE copy_offset IS NULL ORDER BY partition, sequence";
            Ok(replays(sqlx::query_as(sql).fetch_all(connection).await?))
        })
    }

    fn dead_replays_at(&self, places: &[PlaceInLog]) -> Result<Vec<DeadReplay>> {
        self.session.read(async |connection| {
            let topics: Vec<i32> = places.iter().map(|(topic, _, _)| *topic as i32).collect();
            let partitions: Vec<i32> = places.iter().map(|(_, to, _)| *to as i32).collect();
            let offsets: Vec<i64> = places.iter().map(|(_, _, at)| *at as i64).collect();
            let sql = "SELECT partition, sequence, count, topic, to_partition, after_offset, copy_offset, begun_at
                       FROM dead_replay
                       WHERE (topic, to_partition, copy_offset)
                             IN (SELECT * FROM UNNEST($1::integer[], $2::integer[], $3::bigint[]))
                       ORDER BY partition, sequence";
            let query = sqlx::query_as(sql).bind(topics).bind(partitions);
            Ok(replays(query.bind(offsets).fetch_all(connection).await?))
        })
    }

    fn dead_replays_within(
        &self,
        topic: TopicIndex,
        to: Partition,
        offsets: Range<u64>,
    ) -> Result<Vec<DeadReplay>> {
        let bound = |offset: u64| i64::try_from(offset).unwrap_or(i64::MAX);
        self.session.read(async |connection| {
            let sql = "SELECT partition, sequence, count, topic, to_partition, after_offset, copy_offset, begun_at
                       FROM dead_replay
                       WHERE topic = $1 AND to_partition = $2 AND copy_offset >= $3 AND copy_offset < $4
                       ORDER BY copy_offset";
            let query = sqlx::query_as(sql).bind(topic as i32).bind(to as i32);
            let query = query.bind(bound(offsets.start)).bind(bound(offsets.end));
            Ok(replays(query.fetch_all(connection).await?))
        })
    }

    fn purge_dead(&self, dead: &[(Partition, u64)], at: LogTime) -> Result<u64> {
        self.write(async |connection| purge(connection, dead, at).await)
    }
}

/// Those of which the dead letter is erased. The dead letters are held until the transaction ends,
/// so that none is erased meanwhile.
async fn erased(
    connection: &mut PgConnection,
    replays: &[DeadReplay],
) -> Attempt<Vec<(Partition, u64)>> {
    let partitions: Vec<i32> = replays.iter().map(|it| it.partition as i32).collect();
    let sequences: Vec<i64> = replays.iter().map(|it| it.sequence as i64).collect();
    let sql = "SELECT partition, sequence, purged_at IS NOT NULL FROM dead
               JOIN UNNEST($1::integer[], $2::bigint[]) AS asked (partition, sequence) USING (partition, sequence)
               ORDER BY partition, sequence FOR UPDATE OF dead";
    let query = sqlx::query_as(sql).bind(partitions).bind(sequences);
    let found: Vec<(i32, i64, bool)> = query.fetch_all(connection).await?;
    let erased = found.into_iter().filter(|(_, _, is_erased)| *is_erased);
    Ok(erased
        .map(|(partition, sequence, _)| (partition as u32, sequence as u64))
        .collect())
}

async fn begin(connection: &mut PgConnection, replay: &DeadReplay) -> Attempt<()> {
    let sql = "INSERT INTO dead_replay (partition, sequence, count, topic, to_partition, after_offset, copy_offset, begun_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING";
    let done = sqlx::query(sql)
        .bind(replay.partition as i32)
        .bind(replay.sequence as i64)
        .bind(replay.count as i32)
        .bind(replay.topic as i32)
        .bind(replay.to as i32)
        .bind(replay.after as i64)
        .bind(replay.offset.map(|offset| offset as i64))
        .bind(replay.begun_at.0)
        .execute(connection)
        .await?;
    if done.rows_affected() == 1 {
        Ok(())
    } else {
        Err(Error::overtaken(replay.partition, "the replay of a dead letter").into())
    }
}

/// A row of `dead_replay`.
type Row = (i32, i64, i32, i32, i32, i64, Option<i64>, i64);

fn replays(found: Vec<Row>) -> Vec<DeadReplay> {
    let read = |(partition, sequence, count, topic, to, after, offset, begun_at): Row| DeadReplay {
        partition: partition as u32,
        sequence: sequence as u64,
        count: count as u32,
        topic: topic as usize,
        to: to as u32,
        after: after as u64,
        offset: offset.map(|offset| offset as u64),
        begun_at: LogTime(begun_at),
    };
    found.into_iter().map(read).collect()
}

/// Erases those that are not erased yet; returns how many.
async fn purge(
    connection: &mut PgConnection,
    dead: &[(Partition, u64)],
    at: LogTime,
) -> Attempt<u64> {
    let partitions: Vec<i32> = dead.iter().map(|(of, _)| *of as i32).collect();
    let sequences: Vec<i64> = dead.iter().map(|(_, of)| *of as i64).collect();
    let sql = "SELECT partition, sequence, letter FROM dead
               JOIN UNNEST($1::integer[], $2::bigint[]) AS asked (partition, sequence) USING (partition, sequence)
               WHERE purged_at IS NULL ORDER BY partition, sequence FOR UPDATE OF dead";
    let query = sqlx::query_as(sql).bind(partitions).bind(sequences);
    let found: Vec<(i32, i64, Vec<u8>)> = query.fetch_all(&mut *connection).await?;
    let (mut partitions, mut sequences, mut erased) = (Vec::new(), Vec::new(), Vec::new());
    for (partition, sequence, letter) in found {
        partitions.push(partition);
        sequences.push(sequence);
        erased.push(encode(&decode::<DeadRow>(&letter)?.erased()));
    }
    let sql = "UPDATE dead SET letter = erased.letter, purged_at = $4
               FROM UNNEST($1::integer[], $2::bigint[], $3::bytea[]) AS erased (partition, sequence, letter)
               WHERE dead.partition = erased.partition AND dead.sequence = erased.sequence";
    let query = sqlx::query(sql).bind(partitions).bind(sequences);
    let done = query.bind(erased).bind(at.0).execute(connection).await?;
    Ok(done.rows_affected())
}
