CREATE TABLE IF NOT EXISTS token (id TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, name TEXT NOT NULL, role TEXT NOT NULL, robots TEXT NOT NULL,
    created_at INTEGER NOT NULL, expires_at INTEGER, revoked_at INTEGER) STRICT;
CREATE TABLE IF NOT EXISTS request (key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, ends BLOB NOT NULL, begun_at INTEGER NOT NULL, held_at INTEGER NOT NULL, answer BLOB) STRICT;
CREATE INDEX IF NOT EXISTS request_by_age ON request (begun_at);
CREATE TABLE IF NOT EXISTS audit (number INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, who TEXT NOT NULL, origin TEXT, action TEXT NOT NULL,
    target TEXT NOT NULL, before TEXT, after TEXT) STRICT;
CREATE TRIGGER IF NOT EXISTS audit_is_not_changed BEFORE UPDATE ON audit BEGIN SELECT raise(ABORT, 'the audit trail is not changed'); END;
CREATE TRIGGER IF NOT EXISTS audit_is_not_deleted BEFORE DELETE ON audit BEGIN SELECT raise(ABORT, 'the audit trail is not deleted'); END;
