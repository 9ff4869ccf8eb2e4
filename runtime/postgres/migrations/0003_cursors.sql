-- How far each consumer of the outbox is, in place of columns of the partition; one without a row has delivered nothing.
-- Narrow and rewritten all the time, as partitions are: mostly empty pages keep that in place.

CREATE TABLE cursor (
    partition INTEGER NOT NULL,
    consumer  TEXT COLLATE "C" NOT NULL,
    position  BIGINT NOT NULL,
    PRIMARY KEY (partition, consumer)
) WITH (fillfactor = 10);

INSERT INTO cursor (partition, consumer, position)
    SELECT number, 'relay', relayed_fact FROM partition WHERE relayed_fact > 0
    UNION ALL SELECT number, 'dead_letter_relay', relayed_dead FROM partition WHERE relayed_dead > 0
    UNION ALL SELECT number, 'exporter', exported_fact FROM partition WHERE exported_fact > 0;

ALTER TABLE partition DROP COLUMN relayed_fact, DROP COLUMN relayed_dead, DROP COLUMN exported_fact;

-- A user that may write the partitions may write their cursors: what was granted to the service goes on.
DO $$
DECLARE
    granted RECORD;
BEGIN
    FOR granted IN
        SELECT grantee, privilege_type FROM information_schema.role_table_grants
        WHERE table_schema = current_schema() AND table_name = 'partition' AND privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
    LOOP
        IF granted.grantee = 'PUBLIC' THEN
            EXECUTE format('GRANT %s ON cursor TO PUBLIC', granted.privilege_type);
        ELSE
            EXECUTE format('GRANT %s ON cursor TO %I', granted.privilege_type, granted.grantee);
        END IF;
    END LOOP;
END
$$;
