-- What is asked about records that were sent again, without going through all of them: which are in
-- doubt, and whether a record of the log is such a copy. Rights are those of the table.
CREATE INDEX dead_replay_in_doubt ON dead_replay (partition, sequence) WHERE copy_offset IS NULL;
CREATE INDEX dead_replay_copy ON dead_replay (topic, to_partition, copy_offset) WHERE copy_offset IS NOT NULL;
