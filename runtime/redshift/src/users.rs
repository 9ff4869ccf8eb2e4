//! Users of the warehouse's database: those that load, and those that only read.
//!
//! On AWS each role of IAM is a user of its own, `IAMR:` and the role's name. It is made when the
//! role logs in for the first time, may then make tables, as everyone may in the schema `public`,
//! and reads none of those that others have made. So who administers the database says beforehand
//! what each may do.

use theatre_actors::ports::{Error, Result};

use super::session::{BATCH_MAX, Session};
use super::sql::name;

/// Longest name of a user in Redshift, bytes.
const NAME_BYTES_MAX: usize = 127;

/// Users by what they may do with the schema. One in both loads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Users {
    /// Make tables and views, and do everything with those of each other.
    pub load: Vec<String>,
    /// Read the tables and views that those make, and nothing else.
    pub read: Vec<String>,
}

impl Users {
    fn all(&self) -> impl Iterator<Item = &String> {
        self.load.iter().chain(&self.read)
    }

    fn check(&self) -> Result<()> {
        if self.load.is_empty() {
            return Err(Error::Refused(
                "no user loads: name the one that `theatre migrate --warehouse` and the pipeline run as"
                    .to_owned(),
            ));
        }
        let odd = |user: &&String| {
            user.is_empty() || user.len() > NAME_BYTES_MAX || user.chars().any(char::is_control)
        };
        match self.all().find(odd) {
            Some(user) => Err(Error::Refused(format!(
                "'{}' is no name of a user: 1 to {NAME_BYTES_MAX} bytes",
                user.escape_default()
            ))),
            None => Ok(()),
        }
    }
}

/// Makes the users that are missing and gives all of them their rights, also on what will be made;
/// returns the names of those that were made. No one else may make anything in the schema then.
pub(super) fn let_in(session: &Session, schema: &str, users: &Users) -> Result<Vec<String>> {
    users.check()?;
    let known = session.rows("SELECT usename FROM pg_user", &[])?;
    let known: Vec<String> = known
        .rows
        .iter()
        .filter_map(|row| Some(row.first()?.as_str()?.to_lowercase()))
        .collect();
    let mut missing: Vec<String> = users
        .all()
        .filter(|user| !known.contains(&user.to_lowercase()))
        .cloned()
        .collect();
    // Names are one whatever their letters' case.
    missing.sort_by_key(|user| user.to_lowercase());
    missing.dedup_by_key(|user| user.to_lowercase());
    let statements = statements(session.database(), schema, users, &missing);
    if statements.len() > BATCH_MAX {
        return Err(Error::Refused(format!(
            "{} users are to be made, which one transaction of the Data API cannot: name them in parts, \
             those that load in each",
            missing.len()
        )));
    }
    session
        .run_batch(statements, "theatre-users")
        .map(|_| missing)
}

/// The statements of one transaction.
fn statements(database: &str, schema: &str, users: &Users, missing: &[String]) -> Vec<String> {
    let list = |users: &[String]| {
        let quoted: Vec<String> = users.iter().map(|user| name(user)).collect();
        quoted.join(", ")
    };
    let (database, schema, load) = (name(database), name(schema), list(&users.load));
    // They log in with what IAM gives them, and never with a password.
    let mut all: Vec<String> = missing
        .iter()
        .map(|user| format!("CREATE USER {} PASSWORD DISABLE", name(user)))
        .collect();
    let later = format!("ALTER DEFAULT PRIVILEGES FOR USER {load} IN SCHEMA {schema} GRANT");
    all.extend([
        format!("CREATE SCHEMA IF NOT EXISTS {schema}"),
        format!("REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC"),
        format!("REVOKE TEMP ON DATABASE {database} FROM PUBLIC"),
        format!("GRANT TEMP ON DATABASE {database} TO {load}"),
        format!("GRANT USAGE, CREATE ON SCHEMA {schema} TO {load}"),
        format!("GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {load}"),
        format!("{later} ALL ON TABLES TO {load}"),
    ]);
    if !users.read.is_empty() {
        let read = list(&users.read);
        all.extend([
            format!("GRANT USAGE ON SCHEMA {schema} TO {read}"),
            format!("GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {read}"),
            format!("{later} SELECT ON TABLES TO {read}"),
        ]);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(load: &[&str], read: &[&str]) -> Users {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Users {
            load: owned(load),
            read: owned(read),
        }
    }

    /// What the statements give a user, or everyone: what comes before ON, with what it is on.
    fn rights(statements: &[String], to: &str) -> Vec<String> {
        let given = statements.iter().filter(|one| one.contains("GRANT"));
        given
            .filter(|one| one.rsplit(" TO ").next().unwrap().contains(to))
            .map(|one| {
                let begin = one.find("GRANT ").unwrap() + "GRANT ".len();
                let end = one.rfind(" TO ").unwrap();
                one[begin..end].to_owned()
            })
            .collect()
    }

    #[test]
    fn who_reads_may_read_what_there_is_and_what_will_be_and_nothing_else() {
        let users = users(&["IAMR:a-pipeline", "IAMR:a-shell"], &["IAMR:a-api"]);
        let all = statements("theatre", "public", &users, &["IAMR:a-api".to_owned()]);
        assert_eq!(all[0], "CREATE USER \"IAMR:a-api\" PASSWORD DISABLE");
        assert_eq!(
            rights(&all, "IAMR:a-api"),
            [
                "USAGE ON SCHEMA \"public\"",
                "SELECT ON ALL TABLES IN SCHEMA \"public\"",
                "SELECT ON TABLES",
            ]
        );
        let of_load = rights(&all, "IAMR:a-pipeline");
        assert!(of_load.contains(&"USAGE, CREATE ON SCHEMA \"public\"".to_owned()));
        assert!(of_load.contains(&"ALL ON TABLES".to_owned()), "{of_load:?}");
        assert_eq!(of_load, rights(&all, "IAMR:a-shell"));
        let makers = "FOR USER \"IAMR:a-pipeline\", \"IAMR:a-shell\" IN SCHEMA \"public\"";
        assert_eq!(all.iter().filter(|one| one.contains(makers)).count(), 2);
        assert!(rights(&all, "PUBLIC").is_empty());
    }

    #[test]
    fn without_readers_no_one_else_gets_anything() {
        let all = statements("d", "s", &users(&["a\"b"], &[]), &[]);
        assert!(all.iter().all(|one| !one.contains("SELECT")), "{all:?}");
        assert!(all.iter().all(|one| !one.starts_with("CREATE USER")));
        assert!(all.iter().any(|one| one.ends_with("TO \"a\"\"b\"")));
        assert!(all.len() <= BATCH_MAX);
    }

    #[test]
    fn names_that_no_user_has_are_refused() {
        for (load, read, part) in [
            (vec![], vec!["a"], "no user loads"),
            (vec!["a"], vec![""], "'' is no name"),
            (vec!["a\nb"], vec![], "'a\\nb' is no name"),
        ] {
            let why = users(&load, &read).check().unwrap_err().to_string();
            assert!(why.contains(part), "{why}");
        }
        assert!(users(&["a"], &["b"]).check().is_ok());
        let long = "a".repeat(NAME_BYTES_MAX + 1);
        assert!(users(&[&long], &[]).check().is_err());
    }
}
