-- Outputs that a consumer could not deliver and has passed over: few, and read by people.

CREATE TABLE undelivered (
    consumer  TEXT COLLATE "C" NOT NULL,
    partition INTEGER NOT NULL,
    sequence  BIGINT NOT NULL,
    reason    TEXT NOT NULL,
    at        BIGINT NOT NULL,
    PRIMARY KEY (consumer, partition, sequence)
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
            EXECUTE format('GRANT %s ON undelivered TO PUBLIC', granted.privilege_type);
        ELSE
            EXECUTE format('GRANT %s ON undelivered TO %I', granted.privilege_type, granted.grantee);
        END IF;
    END LOOP;
END
$$;
