CREATE TABLE layout (one INTEGER PRIMARY KEY CHECK (one = 1), topics BYTEA NOT NULL, partitions INTEGER NOT NULL);

CREATE TABLE partition (
    partition      INTEGER PRIMARY KEY,
    epoch          BIGINT NOT NULL,
    floor          BYTEA NOT NULL,
    last_fact      BIGINT NOT NULL DEFAULT 0,
    last_dead      BIGINT NOT NULL DEFAULT 0,
    relayed_fact   BIGINT NOT NULL DEFAULT 0,
    relayed_dead   BIGINT NOT NULL DEFAULT 0,
    exported_fact  BIGINT NOT NULL DEFAULT 0,
    lake_positions BYTEA NOT NULL,
    lake_state     BYTEA NOT NULL DEFAULT '',
    lake_cuts      BIGINT NOT NULL DEFAULT 0,
    last_file      BIGINT NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- No index on what changes, and room on each page: a save rewrites its row in place.
CREATE TABLE family (
    partition   INTEGER NOT NULL,
    family      TEXT NOT NULL,
    save_number BIGINT NOT NULL,
    positions   BYTEA NOT NULL,
    state       BYTEA NOT NULL,
    PRIMARY KEY (partition, family)
) WITH (fillfactor = 70);

CREATE TABLE home (robot TEXT PRIMARY KEY, partition INTEGER NOT NULL);

CREATE TABLE fact (
    partition    INTEGER NOT NULL,
    sequence     BIGINT NOT NULL,
    committed_at BIGINT NOT NULL,
    kind         SMALLINT NOT NULL,
    robot_id     TEXT NOT NULL,
    id           TEXT NOT NULL,
    subject      TEXT NOT NULL,
    revision     BIGINT NOT NULL,
    event_time   BIGINT NOT NULL,
    payload      BYTEA NOT NULL,
    PRIMARY KEY (partition, sequence)
);
CREATE UNIQUE INDEX fact_id ON fact (kind, id, revision);
CREATE INDEX fact_robot ON fact (robot_id, kind, event_time);

CREATE TABLE dead (
    partition INTEGER NOT NULL,
    sequence  BIGINT NOT NULL,
    dead      BYTEA NOT NULL,
    PRIMARY KEY (partition, sequence)
);

CREATE TABLE lake_file (
    partition INTEGER NOT NULL,
    number    BIGINT NOT NULL,
    stage     SMALLINT NOT NULL,
    dataset   TEXT NOT NULL,
    batch     TEXT,
    note      TEXT,
    file      BYTEA NOT NULL,
    PRIMARY KEY (partition, number)
) WITH (fillfactor = 70);
CREATE INDEX lake_file_stage ON lake_file (partition, stage, number);
