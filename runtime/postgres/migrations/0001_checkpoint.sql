-- Names and ids are compared byte by byte, as the embedded store does: COLLATE "C".

CREATE TABLE layout (one SMALLINT PRIMARY KEY CHECK (one = 1), topics BYTEA NOT NULL, partitions INTEGER NOT NULL);

-- One row per partition, rewritten by every commit: narrow, without an index on what changes, and mostly empty pages, so that it is rewritten in place.
CREATE TABLE partition (
    number         INTEGER PRIMARY KEY,
    epoch          BIGINT NOT NULL,
    floor          BYTEA NOT NULL,
    last_fact      BIGINT NOT NULL DEFAULT 0,
    last_dead      BIGINT NOT NULL DEFAULT 0,
    relayed_fact   BIGINT NOT NULL DEFAULT 0,
    relayed_dead   BIGINT NOT NULL DEFAULT 0,
    exported_fact  BIGINT NOT NULL DEFAULT 0,
    lake_positions BYTEA NOT NULL,
    lake_cuts      BIGINT NOT NULL DEFAULT 0,
    last_file      BIGINT NOT NULL DEFAULT 0
) WITH (fillfactor = 10);

-- Apart from its partition: it is large, and changes only with a cut.
CREATE TABLE lake_state (partition INTEGER PRIMARY KEY, state BYTEA NOT NULL);

CREATE TABLE family (
    partition   INTEGER NOT NULL,
    name        TEXT COLLATE "C" NOT NULL,
    save_number BIGINT NOT NULL,
    positions   BYTEA NOT NULL,
    state       BYTEA NOT NULL,
    PRIMARY KEY (partition, name)
) WITH (fillfactor = 70);

CREATE TABLE home (robot TEXT COLLATE "C" PRIMARY KEY, partition INTEGER NOT NULL);

CREATE TABLE fact (
    partition    INTEGER NOT NULL,
    revision     BIGINT NOT NULL,
    sequence     BIGINT NOT NULL,
    committed_at BIGINT NOT NULL,
    event_time   BIGINT NOT NULL,
    kind         SMALLINT NOT NULL,
    robot_id     TEXT COLLATE "C" NOT NULL,
    id           TEXT COLLATE "C" NOT NULL,
    subject      TEXT COLLATE "C" NOT NULL,
    payload      BYTEA NOT NULL,
    PRIMARY KEY (partition, sequence),
    CONSTRAINT fact_id UNIQUE (kind, id, revision)
);
CREATE INDEX fact_robot ON fact (robot_id, kind, event_time);

CREATE TABLE dead (
    partition INTEGER NOT NULL,
    sequence  BIGINT NOT NULL,
    letter    BYTEA NOT NULL,
    PRIMARY KEY (partition, sequence)
);

CREATE TABLE lake_file (
    partition INTEGER NOT NULL,
    number    BIGINT NOT NULL,
    stage     SMALLINT NOT NULL,
    dataset   TEXT COLLATE "C" NOT NULL,
    batch     TEXT COLLATE "C",
    note      TEXT,
    file      BYTEA NOT NULL,
    PRIMARY KEY (partition, number)
) WITH (fillfactor = 70);
CREATE INDEX lake_file_stage ON lake_file (partition, stage, number);

-- States are rewritten all the time: lz4 costs a fraction of the default where the server was built with it.
DO $$
BEGIN
    IF (SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression') THEN
        ALTER TABLE family ALTER COLUMN state SET COMPRESSION lz4;
        ALTER TABLE lake_state ALTER COLUMN state SET COMPRESSION lz4;
        ALTER TABLE fact ALTER COLUMN payload SET COMPRESSION lz4;
        ALTER TABLE dead ALTER COLUMN letter SET COMPRESSION lz4;
    END IF;
END
$$;
