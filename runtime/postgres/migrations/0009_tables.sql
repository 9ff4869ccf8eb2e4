-- Which tables for people to read were made here: they follow the kinds of output of a build, not these migrations.
CREATE TABLE tables_made (fingerprint TEXT COLLATE "C" PRIMARY KEY, made_at TIMESTAMPTZ NOT NULL DEFAULT now());

-- A user that may read the partitions may see whether the tables are those of its build.
DO $$
DECLARE
    granted RECORD;
BEGIN
    FOR granted IN
        SELECT grantee, privilege_type FROM information_schema.role_table_grants
        WHERE table_schema = current_schema() AND table_name = 'partition' AND privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
            AND grantee <> 'PUBLIC'
    LOOP
        EXECUTE format('GRANT %s ON tables_made TO %I', granted.privilege_type, granted.grantee);
    END LOOP;
END
$$;

-- Whoever opens the schema sees which tables are for people.
COMMENT ON TABLE layout IS 'Of Theatre itself: input topics and partition count.';
COMMENT ON TABLE past_layout IS 'Of Theatre itself: earlier partition counts.';
COMMENT ON TABLE partition IS 'Of Theatre itself: where each partition stands.';
COMMENT ON TABLE cursor IS 'Of Theatre itself: how far each consumer of outputs is.';
COMMENT ON TABLE lake_state IS 'Of Theatre itself: what the lake writers have seen.';
COMMENT ON TABLE lake_file IS 'Of Theatre itself: files of the lake. theatre lake list prints it.';
COMMENT ON TABLE family IS 'Of Theatre itself: the actors'' states, encoded.';
COMMENT ON TABLE home IS 'Of Theatre itself: the partition of each robot.';
COMMENT ON TABLE fact IS 'Of Theatre itself: committed outputs, encoded. The tables for people have them in columns.';
COMMENT ON TABLE dead IS 'Of Theatre itself: dead letters, encoded. theatre dlq list prints it.';
COMMENT ON TABLE dead_replay IS 'Of Theatre itself: dead letters that were sent again.';
COMMENT ON TABLE undelivered IS 'Of Theatre itself: outputs that could not be delivered. theatre notify list prints it.';
COMMENT ON TABLE token IS 'Of Theatre itself: hashes of the tokens of the HTTP interface. Grant no one to read it.';
COMMENT ON TABLE request IS 'Of Theatre itself: requests with a key, and their answers.';
COMMENT ON TABLE audit IS 'Of Theatre itself: the audit trail. theatre trail prints it.';
COMMENT ON TABLE tables_made IS 'Of Theatre itself: builds that made the tables for people.';
