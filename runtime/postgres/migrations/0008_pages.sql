-- Lists of outputs by pages, the latest first, of one subject too, or by commit, without going through windows, of which there are far more (kind 1), nor
-- through what the pages before have shown. Rights are those of the table.
CREATE INDEX fact_latest ON fact (kind, event_time, id, revision) WHERE kind <> 1;
CREATE INDEX fact_subject ON fact (kind, subject, event_time) WHERE kind <> 1;
CREATE INDEX fact_committed ON fact (kind, committed_at, id, revision) WHERE kind <> 1;
-- For those who follow some kinds from far behind.
CREATE INDEX fact_heard ON fact (partition, kind, sequence) WHERE kind <> 1;

-- When a processor was saved; 0 for what an earlier build has saved.
ALTER TABLE family ADD COLUMN saved_at BIGINT NOT NULL DEFAULT 0;
