-- The tables of the version in migrations.rs. A change of them is a new version there.

CREATE TABLE IF NOT EXISTS layout (one INTEGER PRIMARY KEY CHECK (one = 1), topics BLOB NOT NULL, partitions INTEGER NOT NULL) STRICT;

-- Partition counts before the present one, oldest first.
CREATE TABLE IF NOT EXISTS past_layout (number INTEGER PRIMARY KEY, layout BLOB NOT NULL) STRICT;

CREATE TABLE IF NOT EXISTS partition (
    partition      INTEGER PRIMARY KEY,
    epoch          INTEGER NOT NULL,
    floor          BLOB NOT NULL,
    last_fact      INTEGER NOT NULL DEFAULT 0,
    last_dead      INTEGER NOT NULL DEFAULT 0,
    lake_positions BLOB NOT NULL,
    lake_state     BLOB NOT NULL DEFAULT x'',
    lake_cuts      INTEGER NOT NULL DEFAULT 0,
    last_file      INTEGER NOT NULL DEFAULT 0
) STRICT;

-- How far each consumer of the outbox is; one without a row has delivered nothing.
CREATE TABLE IF NOT EXISTS cursor (
    partition INTEGER NOT NULL,
    consumer  TEXT NOT NULL,
    position  INTEGER NOT NULL,
    PRIMARY KEY (partition, consumer)
) STRICT, WITHOUT ROWID;

-- Outputs that a consumer could not deliver and has passed over.
CREATE TABLE IF NOT EXISTS undelivered (
    consumer  TEXT NOT NULL,
    partition INTEGER NOT NULL,
    sequence  INTEGER NOT NULL,
    reason    TEXT NOT NULL,
    at        INTEGER NOT NULL,
    PRIMARY KEY (consumer, partition, sequence)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS family (
    partition   INTEGER NOT NULL,
    family      TEXT NOT NULL,
    save_number INTEGER NOT NULL,
    positions   BLOB NOT NULL,
    state       BLOB NOT NULL,
    -- When it was saved; 0 for what an earlier build has saved.
    saved_at    INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (partition, family)
) STRICT;

CREATE TABLE IF NOT EXISTS home (robot TEXT PRIMARY KEY, partition INTEGER NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS fact (
    partition    INTEGER NOT NULL,
    sequence     INTEGER NOT NULL,
    committed_at INTEGER NOT NULL,
    kind         INTEGER NOT NULL,
    robot_id     TEXT NOT NULL,
    id           TEXT NOT NULL,
    subject      TEXT NOT NULL,
    revision     INTEGER NOT NULL,
    event_time   INTEGER NOT NULL,
    payload      BLOB NOT NULL,
    PRIMARY KEY (partition, sequence)
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS fact_id ON fact (kind, id, revision);
CREATE INDEX IF NOT EXISTS fact_robot ON fact (robot_id, kind, event_time);
-- Lists by pages, without windows, of which there are far more (kind 1).
CREATE INDEX IF NOT EXISTS fact_latest ON fact (kind, event_time, id, revision) WHERE kind <> 1;
CREATE INDEX IF NOT EXISTS fact_subject ON fact (kind, subject, event_time, id, revision) WHERE kind <> 1;
CREATE INDEX IF NOT EXISTS fact_heard ON fact (partition, kind, sequence) WHERE kind <> 1;
CREATE INDEX IF NOT EXISTS fact_committed ON fact (kind, committed_at, id, revision) WHERE kind <> 1;

CREATE TABLE IF NOT EXISTS dead (
    partition INTEGER NOT NULL,
    sequence  INTEGER NOT NULL,
    dead      BLOB NOT NULL,
    -- Since when its content is erased.
    purged_at INTEGER,
    PRIMARY KEY (partition, sequence)
) STRICT;

-- Dead letters whose records were sent again: the copy stands in `to_partition` of the topic at
-- `copy_offset`, or, where that is not known, nowhere or at `after_offset` or above.
CREATE TABLE IF NOT EXISTS dead_replay (
    partition    INTEGER NOT NULL,
    sequence     INTEGER NOT NULL,
    count        INTEGER NOT NULL,
    topic        INTEGER NOT NULL,
    to_partition INTEGER NOT NULL,
    after_offset INTEGER NOT NULL,
    copy_offset  INTEGER,
    begun_at     INTEGER NOT NULL,
    PRIMARY KEY (partition, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS dead_replay_in_doubt ON dead_replay (partition, sequence) WHERE copy_offset IS NULL;
CREATE INDEX IF NOT EXISTS dead_replay_copy ON dead_replay (topic, to_partition, copy_offset) WHERE copy_offset IS NOT NULL;

CREATE TABLE IF NOT EXISTS lake_file (
    partition INTEGER NOT NULL,
    number    INTEGER NOT NULL,
    stage     INTEGER NOT NULL,
    dataset   TEXT NOT NULL,
    batch     TEXT,
    note      TEXT,
    file      BLOB NOT NULL,
    event_time_min INTEGER,
    event_time_max INTEGER,
    PRIMARY KEY (partition, number)
) STRICT;
CREATE INDEX IF NOT EXISTS lake_file_stage ON lake_file (partition, stage, number);
