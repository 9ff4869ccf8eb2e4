//! Tokens, requests and the audit trail.

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use theatre_actors::ports::{
    AccessStore, AuditEntry, AuditFilter, Begun, Reservation, Result, Role, StoredToken,
};
use theatre_actors::time::LogTime;

use super::failure::Attempt;
use super::session::{Session, Writer};
use super::text::{read_text, stored};

/// The access store; it has connections of its own, so that no request holds up a commit.
pub(super) struct PostgresAccess {
    pub(super) session: Session,
    pub(super) writer: Writer,
}

impl PostgresAccess {
    fn write<T>(&self, work: impl AsyncFn(&mut PgConnection) -> Attempt<T>) -> Result<T> {
        self.session.write(&self.writer, work)
    }
}

fn token(row: &PgRow) -> Attempt<StoredToken> {
    let text = |column: &str| row.try_get(column).map(read_text);
    let time = |column: &str| row.try_get::<Option<i64>, _>(column);
    let robots: Vec<String> = row.try_get("robots")?;
    Ok(StoredToken {
        id: text("id")?,
        hash: text("hash")?,
        name: text("name")?,
        // A role of a later build may do nothing that this one knows of but look.
        role: Role::parse(&text("role")?).unwrap_or(Role::Viewer),
        robots: robots.into_iter().map(read_text).collect(),
        created_at: LogTime(row.try_get("created_at")?),
        expires_at: time("expires_at")?.map(LogTime),
        revoked_at: time("revoked_at")?.map(LogTime),
    })
}

async fn note(connection: &mut PgConnection, entry: &AuditEntry) -> Attempt<()> {
    let sql = "INSERT INTO audit (at, who, origin, action, target, before, after) VALUES ($1, $2, $3, $4, $5, $6, $7)";
    sqlx::query(sql)
        .bind(entry.at.0)
        .bind(stored(&entry.who))
        .bind(entry.from.as_deref().map(stored))
        .bind(stored(&entry.action))
        .bind(stored(&entry.target))
        .bind(entry.before.as_deref().map(stored))
        .bind(entry.after.as_deref().map(stored))
        .execute(connection)
        .await?;
    Ok(())
}

/// A row of a request: fingerprint, ends, begun, held, answer.
type StoredRequest = (String, Vec<u8>, i64, i64, Option<Vec<u8>>);

/// A request that is known.
async fn request(connection: &mut PgConnection, key: &str) -> Attempt<Option<Begun>> {
    let sql = "SELECT fingerprint, ends, begun_at, held_at, answer FROM request WHERE key = $1";
    let found: Option<StoredRequest> = sqlx::query_as(sql)
        .bind(stored(key))
        .fetch_optional(connection)
        .await?;
    Ok(found.map(
        |(fingerprint, ends, begun_at, held_at, answer)| match answer {
            Some(answer) => Begun::Answered {
                fingerprint,
                answer,
            },
            None => Begun::Unanswered(Reservation {
                key: key.to_owned(),
                fingerprint,
                ends,
                begun_at: LogTime(begun_at),
                held_at: LogTime(held_at),
            }),
        },
    ))
}

impl AccessStore for PostgresAccess {
    fn add_token(&self, token: &StoredToken, entry: &AuditEntry) -> Result<()> {
        self.write(async |connection| {
            let sql = "INSERT INTO token (id, hash, name, role, robots, created_at, expires_at, revoked_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
            let robots: Vec<String> = token.robots.iter().map(|robot| stored(robot).into_owned()).collect();
            sqlx::query(sql)
                .bind(stored(&token.id))
                .bind(stored(&token.hash))
                .bind(stored(&token.name))
                .bind(token.role.as_str())
                .bind(robots)
                .bind(token.created_at.0)
                .bind(token.expires_at.map(|at| at.0))
                .bind(token.revoked_at.map(|at| at.0))
                .execute(&mut *connection)
                .await?;
            note(connection, entry).await
        })
    }

    fn revoke_token(&self, id: &str, at: LogTime, entry: &AuditEntry) -> Result<bool> {
        self.write(async |connection| {
            let sql = "UPDATE token SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";
            let query = sqlx::query(sql).bind(stored(id)).bind(at.0);
            let revoked = query.execute(&mut *connection).await?.rows_affected() == 1;
            if revoked {
                note(connection, entry).await?;
            }
            Ok(revoked)
        })
    }

    fn tokens(&self) -> Result<Vec<StoredToken>> {
        self.session.read(async |connection| {
            let sql = "SELECT id, hash, name, role, robots, created_at, expires_at, revoked_at FROM token ORDER BY created_at, id";
            let rows = sqlx::query(sql).fetch_all(connection).await?;
            rows.iter().map(token).collect()
        })
    }

    fn token(&self, hash: &str) -> Result<Option<StoredToken>> {
        self.session.read(async |connection| {
            let sql = "SELECT id, hash, name, role, robots, created_at, expires_at, revoked_at FROM token WHERE hash = $1";
            let row = sqlx::query(sql).bind(stored(hash)).fetch_optional(connection).await?;
            row.as_ref().map(token).transpose()
        })
    }

    fn request(&self, key: &str) -> Result<Option<Begun>> {
        self.session
            .read(async |connection| request(connection, key).await)
    }

    fn begin_request(&self, reservation: &Reservation) -> Result<Begun> {
        self.write(async |connection| {
            let sql = "INSERT INTO request (key, fingerprint, ends, begun_at, held_at) VALUES ($1, $2, $3, $4, $4) ON CONFLICT DO NOTHING";
            let query = sqlx::query(sql)
                .bind(stored(&reservation.key))
                .bind(&reservation.fingerprint)
                .bind(&reservation.ends)
                .bind(reservation.begun_at.0);
            if query.execute(&mut *connection).await?.rows_affected() == 1 {
                return Ok(Begun::New);
            }
            let found = request(connection, &reservation.key).await?;
            Ok(found.ok_or(sqlx::Error::RowNotFound)?)
        })
    }

    fn take_over_request(&self, key: &str, seen: LogTime, now: LogTime) -> Result<bool> {
        self.write(async |connection| {
            let sql = "UPDATE request SET held_at = $3 WHERE key = $1 AND held_at = $2 AND answer IS NULL";
            let query = sqlx::query(sql).bind(stored(key)).bind(seen.0).bind(now.0);
            Ok(query.execute(connection).await?.rows_affected() == 1)
        })
    }

    fn keep_in_request(&self, key: &str, held: LogTime, ends: &[u8]) -> Result<bool> {
        self.write(async |connection| {
            let sql =
                "UPDATE request SET ends = $3 WHERE key = $1 AND held_at = $2 AND answer IS NULL";
            let query = sqlx::query(sql).bind(stored(key)).bind(held.0).bind(ends);
            Ok(query.execute(connection).await?.rows_affected() == 1)
        })
    }

    fn release_requests(&self) -> Result<()> {
        self.write(async |connection| {
            let sql = "UPDATE request SET held_at = 0 WHERE answer IS NULL AND fingerprint <> ''";
            sqlx::query(sql).execute(connection).await?;
            Ok(())
        })
    }

    fn finish_request(&self, key: &str, answer: &[u8]) -> Result<()> {
        self.write(async |connection| {
            let sql = "UPDATE request SET answer = $2 WHERE key = $1";
            let query = sqlx::query(sql).bind(stored(key)).bind(answer);
            query.execute(connection).await?;
            Ok(())
        })
    }

    fn forget_requests(&self, before: LogTime) -> Result<u64> {
        self.write(async |connection| {
            let sql = "DELETE FROM request WHERE begun_at < $1 AND fingerprint <> ''";
            let query = sqlx::query(sql).bind(before.0);
            Ok(query.execute(connection).await?.rows_affected())
        })
    }

    fn note(&self, entry: &AuditEntry) -> Result<()> {
        self.write(async |connection| note(connection, entry).await)
    }

    fn audit_page(&self, filter: &AuditFilter) -> Result<Vec<(u64, AuditEntry)>> {
        let is_folder = filter.action.as_ref().is_some_and(|it| it.ends_with('.'));
        self.session.read(async |connection| {
            let sql = "SELECT number, at, who, origin, action, target, before, after FROM audit
                       WHERE number < $1 AND ($2::text IS NULL OR who = $2) AND ($3::text IS NULL OR action = $3 OR ($4 AND starts_with(action, $3)))
                       AND ($5::text IS NULL OR target = $5) ORDER BY number DESC LIMIT $6";
            let rows = sqlx::query(sql)
                .bind(filter.before.map_or(i64::MAX, |number| number as i64))
                .bind(filter.who.as_deref().map(stored))
                .bind(filter.action.as_deref().map(stored))
                .bind(is_folder)
                .bind(filter.target.as_deref().map(stored))
                .bind(super::limited(filter.limit))
                .fetch_all(connection)
                .await?;
            rows.iter().map(audit_entry).collect()
        })
    }
}

fn audit_entry(row: &PgRow) -> Attempt<(u64, AuditEntry)> {
    let text = |column: &str| row.try_get(column).map(read_text);
    let optional = |column: &str| -> Attempt<Option<String>> {
        Ok(row.try_get::<Option<String>, _>(column)?.map(read_text))
    };
    let entry = AuditEntry {
        at: LogTime(row.try_get("at")?),
        who: text("who")?,
        from: optional("origin")?,
        action: text("action")?,
        target: text("target")?,
        before: optional("before")?,
        after: optional("after")?,
    };
    Ok((row.try_get::<i64, _>("number")? as u64, entry))
}
