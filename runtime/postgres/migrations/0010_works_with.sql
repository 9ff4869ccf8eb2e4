-- Which builds can still work with the schema: those that know this version of it, or a later one. A migration that a build before it cannot work with
-- raises it to its own number; one that only adds what such a build leaves alone does not. So an upgrade can be taken back, and a process of before that
-- is started again in the middle of one goes on.
CREATE TABLE works_with (one SMALLINT PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL);
INSERT INTO works_with (one, version) VALUES (1, 10);
COMMENT ON TABLE works_with IS 'Of Theatre itself: the oldest builds that can work with the schema.';

-- A user that may read the partitions may read it.
DO $$
DECLARE
    granted RECORD;
BEGIN
    FOR granted IN
        SELECT grantee FROM information_schema.role_table_grants
        WHERE table_schema = current_schema() AND table_name = 'partition' AND privilege_type = 'SELECT' AND grantee <> 'PUBLIC'
    LOOP
        EXECUTE format('GRANT SELECT ON works_with TO %I', granted.grantee);
    END LOOP;
END
$$;
