-- Who may use the HTTP interface, and what was asked there.

CREATE TABLE token (
    id         TEXT COLLATE "C" PRIMARY KEY,
    hash       TEXT COLLATE "C" NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    role       TEXT NOT NULL,
    robots     TEXT[] NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT
);

CREATE TABLE request (
    key         TEXT COLLATE "C" PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    ends        BYTEA NOT NULL,
    begun_at    BIGINT NOT NULL,
    held_at     BIGINT NOT NULL,
    answer      BYTEA
);
CREATE INDEX request_by_age ON request (begun_at);

CREATE TABLE audit (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at     BIGINT NOT NULL,
    who    TEXT NOT NULL,
    origin TEXT,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    before TEXT,
    after  TEXT
);

-- Nobody who has the service's rights can change the trail; its owner would have to drop the trigger first.
CREATE FUNCTION audit_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit trail is not changed';
END
$$;
CREATE TRIGGER audit_is_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_is_kept();

-- A user that may write the partitions is the service: it gets what the interface needs, and no more of the audit trail than adding to it.
DO $$
DECLARE
    granted RECORD;
BEGIN
    FOR granted IN
        SELECT grantee, privilege_type FROM information_schema.role_table_grants
        WHERE table_schema = current_schema() AND table_name = 'partition' AND privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
            AND grantee <> 'PUBLIC'
    LOOP
        EXECUTE format('GRANT %s ON token, request TO %I', granted.privilege_type, granted.grantee);
        IF granted.privilege_type IN ('SELECT', 'INSERT') THEN
            EXECUTE format('GRANT %s ON audit TO %I', granted.privilege_type, granted.grantee);
        END IF;
    END LOOP;
END
$$;
