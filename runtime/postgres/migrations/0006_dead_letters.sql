-- What is done about dead letters: their content is erased, or their records are sent again.

-- Since when its content is erased.
ALTER TABLE dead ADD COLUMN purged_at BIGINT;

-- The copy stands in to_partition of the topic at copy_offset, or, where that is not known, nowhere
-- or at after_offset or above.
CREATE TABLE dead_replay (
    partition    INTEGER NOT NULL,
    sequence     BIGINT NOT NULL,
    count        INTEGER NOT NULL,
    topic        INTEGER NOT NULL,
    to_partition INTEGER NOT NULL,
    after_offset BIGINT NOT NULL,
    copy_offset  BIGINT,
    begun_at     BIGINT NOT NULL,
    PRIMARY KEY (partition, sequence)
);

-- A user that may write the partitions may write these: what was granted to the service goes on.
DO $$
DECLARE
    granted RECORD;
BEGIN
    FOR granted IN
        SELECT grantee, privilege_type FROM information_schema.role_table_grants
        WHERE table_schema = current_schema() AND table_name = 'partition' AND privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
    LOOP
        IF granted.grantee = 'PUBLIC' THEN
            EXECUTE format('GRANT %s ON dead_replay TO PUBLIC', granted.privilege_type);
        ELSE
            EXECUTE format('GRANT %s ON dead_replay TO %I', granted.privilege_type, granted.grantee);
        END IF;
    END LOOP;
END
$$;
