-- One row for each batch of lake files that was loaded, written in the load's own transaction: the proof of the load.
CREATE TABLE {schema}.load_ledger (
    batch VARCHAR(1024) NOT NULL,
    table_name VARCHAR(256) NOT NULL,
    row_count BIGINT NOT NULL,
    files INTEGER NOT NULL,
    loaded_at TIMESTAMP NOT NULL,
    PRIMARY KEY (batch)
) DISTSTYLE ALL SORTKEY (batch);
