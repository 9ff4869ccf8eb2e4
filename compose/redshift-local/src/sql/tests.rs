use super::*;

fn command(sql: &str) -> String {
    match read(sql, 7) {
        Ok(Statement::Command(sql) | Statement::Query(sql)) => {
            sql.split_whitespace().collect::<Vec<_>>().join(" ")
        }
        other => panic!("{sql}: {other:?}"),
    }
}

#[test]
fn physical_layout_and_keys_are_taken_out_of_create_table() {
    let sql = "CREATE TABLE IF NOT EXISTS s.t (id BIGINT IDENTITY(1, 1) PRIMARY KEY, \"distkey\" VARCHAR(MAX) ENCODE zstd DISTKEY SORTKEY, n NUMERIC(10, 2) DEFAULT 0.5, \
               raw VARBYTE(1024), doc SUPER, name TEXT UNIQUE REFERENCES o (a), UNIQUE (n), FOREIGN KEY (n) REFERENCES o (b)) BACKUP NO DISTSTYLE KEY COMPOUND SORTKEY (id, n);";
    let expected = "CREATE TABLE IF NOT EXISTS s . t (id BIGINT GENERATED ALWAYS AS IDENTITY (START WITH 1 INCREMENT BY 1) NOT NULL, \"distkey\" varchar(65535), \
                    n NUMERIC ( 10 , 2 ) DEFAULT 0.5, raw bytea CHECK (octet_length(raw) <= 1024), doc jsonb, name varchar(256))";
    assert_eq!(command(sql), expected);
    assert_eq!(
        command("CREATE TABLE t (a int, b int, PRIMARY KEY (a, b)) SORTKEY AUTO"),
        "CREATE TABLE t (a int NOT NULL, b int NOT NULL)"
    );
}

#[test]
fn temporary_tables_like_another_and_tables_of_a_query_are_made() {
    assert_eq!(
        command("CREATE TEMP TABLE \"x\" (LIKE \"s\".\"t\")"),
        "CREATE TEMP TABLE \"x\" (LIKE \"s\" . \"t\" INCLUDING CONSTRAINTS)"
    );
    assert_eq!(
        command("create table t diststyle even sortkey (a) as select 1 as a"),
        "create table t as select 1 as a"
    );
    assert_eq!(
        command("create table t as select (1) as a"),
        "create table t as select ( 1 ) as a"
    );
}

#[test]
fn what_postgres_has_and_redshift_has_not_is_refused() {
    for (sql, part) in [
        ("CREATE INDEX i ON t (a)", "\"CREATE INDEX\" not supported"),
        ("create unique index i on t (a)", "not supported"),
        (
            "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING",
            "at or near \"ON\"",
        ),
        (
            "INSERT INTO t VALUES (1) RETURNING a",
            "at or near \"RETURNING\"",
        ),
        ("CREATE TABLE t (a jsonb)", "Column type \"jsonb\""),
        ("CREATE TABLE t (a int[])", "unsupported type \"array\""),
        ("CREATE TABLE t (a int CHECK (a > 0))", "CHECK constraints"),
        (
            "ALTER TABLE t ADD COLUMN IF NOT EXISTS a int",
            "at or near \"IF\"",
        ),
        (
            "ALTER TABLE t ADD COLUMN a int, ADD COLUMN b int",
            "one column",
        ),
        ("SELECT 1; SELECT 2", "multiple commands"),
        ("COMMIT", "one transaction"),
        ("UNLOAD ('select 1') TO 's3://b/p' IAM_ROLE 'r'", "UNLOAD"),
    ] {
        assert!(read(sql, 0).is_err_and(|why| why.contains(part)), "{sql}");
    }
}

#[test]
fn words_in_strings_change_nothing() {
    let sql = "INSERT INTO t VALUES ('on conflict; returning', \"returning\")";
    assert_eq!(command(sql), sql);
}

#[test]
fn casts_and_functions_are_rewritten() {
    assert_eq!(
        command("SELECT pg_last_copy_count ( ), a::super, CAST(b AS VARBYTE) FROM t"),
        "SELECT 7, a::jsonb, CAST(b AS bytea) FROM t"
    );
    assert_eq!(
        command("SELECT 'pg_last_copy_count()'"),
        "SELECT 'pg_last_copy_count()'"
    );
    assert_eq!(
        command("CREATE VIEW v AS SELECT 1 AS a WITH NO SCHEMA BINDING"),
        "CREATE VIEW v AS SELECT 1 AS a"
    );
}

#[test]
fn a_varbyte_holds_as_much_as_it_says() {
    assert_eq!(
        command("CREATE TABLE t (\"a b\" VARBINARY NOT NULL)"),
        "CREATE TABLE t (\"a b\" bytea NOT NULL CHECK (octet_length(\"a b\") <= 64000))"
    );
    assert_eq!(
        command("ALTER TABLE t ADD COLUMN raw VARBYTE(10)"),
        "ALTER TABLE t ADD COLUMN raw bytea CHECK (octet_length(raw) <= 10)"
    );
    for length in ["0", "16777217", "max"] {
        let why = read(&format!("CREATE TABLE t (raw VARBYTE({length}))"), 0)
            .err()
            .unwrap_or_default();
        assert!(
            why.contains("length for type varbyte must be between 1 and 16777216"),
            "{why}"
        );
    }
}

#[test]
fn columns_are_added_and_layout_changes_have_no_effect() {
    assert_eq!(
        command("ALTER TABLE s.t ADD COLUMN note VARCHAR(MAX) ENCODE lzo"),
        "ALTER TABLE s . t ADD COLUMN note varchar(65535)"
    );
    assert_eq!(
        command("ALTER TABLE t RENAME TO u"),
        "ALTER TABLE t RENAME TO u"
    );
    for sql in [
        "ALTER TABLE t ALTER DISTKEY a",
        "ALTER TABLE t ADD PRIMARY KEY (a)",
        "VACUUM t",
        "ANALYZE",
        "-- nothing",
    ] {
        assert_eq!(read(sql, 0), Ok(Statement::Nothing), "{sql}");
    }
}

#[test]
fn users_without_a_password_are_made() {
    for (sql, expected) in [
        (
            "CREATE USER \"IAMR:one\" PASSWORD DISABLE",
            "CREATE USER \"IAMR:one\" PASSWORD NULL",
        ),
        (
            "create user one with password disable valid until '2030-01-01';",
            "create user one with PASSWORD NULL valid until '2030-01-01'",
        ),
        (
            "ALTER USER one PASSWORD 'disable'",
            "ALTER USER one PASSWORD 'disable'",
        ),
        (
            "SELECT password disable FROM t",
            "SELECT password disable FROM t",
        ),
    ] {
        assert_eq!(command(sql), expected);
    }
}
