-- Partition counts before the present one, oldest first: what `theatre state repartition` ended, and where each partition stood then.

CREATE TABLE past_layout (number INTEGER PRIMARY KEY, layout BYTEA NOT NULL);
