-- Event times of a lake file's rows, so that who asks for some of them need not read them all. Files
-- that were registered before have none here: who asks looks into them.
ALTER TABLE lake_file ADD COLUMN event_time_min BIGINT;
ALTER TABLE lake_file ADD COLUMN event_time_max BIGINT;
CREATE INDEX lake_file_times ON lake_file (dataset, partition, event_time_max, event_time_min);
