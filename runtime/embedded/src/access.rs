//! Tokens, requests and the audit trail as one SQLite file. Commands write it beside a process that
//! runs: SQLite lets one at a time.

use std::path::Path;
use std::sync::Mutex;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use theatre_actors::ports::{
    AccessStore, AuditEntry, AuditFilter, Begun, Error, Reservation, Result, Role, StoredToken,
};
use theatre_actors::time::LogTime;

use super::{fault, lock, open};

const WHAT: &str = "access store";
const SCHEMA: &str = include_str!("access.sql");
const TOKEN: &str = "id, hash, name, role, robots, created_at, expires_at, revoked_at";

/// The embedded access store.
pub struct EmbeddedAccess {
    connection: Mutex<Connection>,
}

impl EmbeddedAccess {
    /// Opens or creates the file at `path`.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        let connection = Mutex::new(open(path, WHAT, SCHEMA)?);
        Ok(Self { connection })
    }

    fn write<T>(&self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T> {
        let mut connection = lock(&self.connection);
        let done = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .and_then(|transaction| {
                let done = work(&transaction)?;
                transaction.commit()?;
                Ok(done)
            });
        done.map_err(fault(WHAT))
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        work(&lock(&self.connection)).map_err(fault(WHAT))
    }
}

fn token(row: &Row<'_>) -> rusqlite::Result<StoredToken> {
    let role: String = row.get(3)?;
    let robots: String = row.get(4)?;
    Ok(StoredToken {
        id: row.get(0)?,
        hash: row.get(1)?,
        name: row.get(2)?,
        // A role of a later build may do nothing that this one knows of but look.
        role: Role::parse(&role).unwrap_or(Role::Viewer),
        robots: robots.lines().map(str::to_owned).collect(),
        created_at: LogTime(row.get(5)?),
        expires_at: row.get::<_, Option<i64>>(6)?.map(LogTime),
        revoked_at: row.get::<_, Option<i64>>(7)?.map(LogTime),
    })
}

fn note(transaction: &Transaction<'_>, entry: &AuditEntry) -> rusqlite::Result<()> {
    let sql = "INSERT INTO audit (at, who, origin, action, target, before, after) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    transaction
        .execute(
            sql,
            params![
                entry.at.0,
                entry.who,
                entry.from,
                entry.action,
                entry.target,
                entry.before,
                entry.after
            ],
        )
        .map(drop)
}

/// A request that is known.
fn request(connection: &Connection, key: &str) -> rusqlite::Result<Begun> {
    let sql = "SELECT fingerprint, ends, begun_at, held_at, answer FROM request WHERE key = ?1";
    connection.query_row(sql, [key], |row| {
        let fingerprint = row.get(0)?;
        Ok(match row.get::<_, Option<Vec<u8>>>(4)? {
            Some(answer) => Begun::Answered {
                fingerprint,
                answer,
            },
            None => Begun::Unanswered(Reservation {
                key: key.to_owned(),
                fingerprint,
                ends: row.get(1)?,
                begun_at: LogTime(row.get(2)?),
                held_at: LogTime(row.get(3)?),
            }),
        })
    })
}

impl AccessStore for EmbeddedAccess {
    fn add_token(&self, token: &StoredToken, entry: &AuditEntry) -> Result<()> {
        if token.robots.iter().any(|robot| robot.contains('\n')) {
            return Err(Error::Refused(
                "a robot's id that has a line break cannot be in a token".to_owned(),
            ));
        }
        self.write(|transaction| {
            let sql =
                format!("INSERT INTO token ({TOKEN}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)");
            transaction.execute(
                &sql,
                params![
                    token.id,
                    token.hash,
                    token.name,
                    token.role.as_str(),
                    token.robots.join("\n"),
                    token.created_at.0,
                    token.expires_at.map(|at| at.0),
                    token.revoked_at.map(|at| at.0)
                ],
            )?;
            note(transaction, entry)
        })
    }

    fn revoke_token(&self, id: &str, at: LogTime, entry: &AuditEntry) -> Result<bool> {
        self.write(|transaction| {
            let sql = "UPDATE token SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL";
            let revoked = transaction.execute(sql, params![id, at.0])? == 1;
            if revoked {
                note(transaction, entry)?;
            }
            Ok(revoked)
        })
    }

    fn tokens(&self) -> Result<Vec<StoredToken>> {
        self.read(|connection| {
            let sql = format!("SELECT {TOKEN} FROM token ORDER BY created_at, id");
            let mut statement = connection.prepare(&sql)?;
            statement.query_map([], token)?.collect()
        })
    }

    fn token(&self, hash: &str) -> Result<Option<StoredToken>> {
        self.read(|connection| {
            let sql = format!("SELECT {TOKEN} FROM token WHERE hash = ?1");
            let mut statement = connection.prepare_cached(&sql)?;
            statement.query_row([hash], token).optional()
        })
    }

    fn request(&self, key: &str) -> Result<Option<Begun>> {
        self.read(|connection| request(connection, key).optional())
    }

    fn begin_request(&self, reservation: &Reservation) -> Result<Begun> {
        self.write(|transaction| {
            let sql =
                "INSERT INTO request VALUES (?1, ?2, ?3, ?4, ?4, NULL) ON CONFLICT DO NOTHING";
            let (key, ends) = (&reservation.key, &reservation.ends);
            let values = params![key, reservation.fingerprint, ends, reservation.begun_at.0];
            if transaction.execute(sql, values)? == 1 {
                return Ok(Begun::New);
            }
            request(transaction, key)
        })
    }

    fn take_over_request(&self, key: &str, seen: LogTime, now: LogTime) -> Result<bool> {
        self.write(|transaction| {
            let sql = "UPDATE request SET held_at = ?3 WHERE key = ?1 AND held_at = ?2 AND answer IS NULL";
            Ok(transaction.execute(sql, params![key, seen.0, now.0])? == 1)
        })
    }

    fn keep_in_request(&self, key: &str, held: LogTime, ends: &[u8]) -> Result<bool> {
        self.write(|transaction| {
            let sql =
                "UPDATE request SET ends = ?3 WHERE key = ?1 AND held_at = ?2 AND answer IS NULL";
            Ok(transaction.execute(sql, params![key, held.0, ends])? == 1)
        })
    }

    fn release_requests(&self) -> Result<()> {
        self.write(|transaction| {
            let sql = "UPDATE request SET held_at = 0 WHERE answer IS NULL AND fingerprint <> ''";
            transaction.execute(sql, []).map(drop)
        })
    }

    fn finish_request(&self, key: &str, answer: &[u8]) -> Result<()> {
        self.write(|transaction| {
            let sql = "UPDATE request SET answer = ?2 WHERE key = ?1";
            transaction.execute(sql, params![key, answer]).map(drop)
        })
    }

    fn forget_requests(&self, before: LogTime) -> Result<u64> {
        self.write(|transaction| {
            let sql = "DELETE FROM request WHERE begun_at < ?1 AND fingerprint <> ''";
            Ok(transaction.execute(sql, [before.0])? as u64)
        })
    }

    fn note(&self, entry: &AuditEntry) -> Result<()> {
        self.write(|transaction| note(transaction, entry))
    }

    fn audit_page(&self, filter: &AuditFilter) -> Result<Vec<(u64, AuditEntry)>> {
        let before = filter.before.map(|number| number as i64);
        let (is_folder, action) = match &filter.action {
            Some(action) => (action.ends_with('.'), Some(action)),
            None => (false, None),
        };
        self.read(|connection| {
            let sql = "SELECT number, at, who, origin, action, target, before, after FROM audit
                       WHERE number < coalesce(?1, 9223372036854775807) AND (?2 IS NULL OR who = ?2)
                       AND (?3 IS NULL OR action = ?3 OR (?4 AND substr(action, 1, length(?3)) = ?3)) AND (?5 IS NULL OR target = ?5)
                       ORDER BY number DESC LIMIT ?6";
            let mut statement = connection.prepare_cached(sql)?;
            let entry = |row: &Row<'_>| {
                let entry = AuditEntry {
                    at: LogTime(row.get(1)?),
                    who: row.get(2)?,
                    from: row.get(3)?,
                    action: row.get(4)?,
                    target: row.get(5)?,
                    before: row.get(6)?,
                    after: row.get(7)?,
                };
                Ok((row.get::<_, i64>(0)? as u64, entry))
            };
            let values = params![before, filter.who, action, is_folder, filter.target, filter.limit as i64];
            statement.query_map(values, entry)?.collect()
        })
    }
}
