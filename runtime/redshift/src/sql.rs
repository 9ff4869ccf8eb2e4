//! The SQL that is sent: names and values quoted, tables made, batches loaded.

use std::borrow::Cow;

use theatre_actors::ports::{ColumnType, LoadBatch, LoadMode, TableSpec};

/// A name in double quotes.
pub(super) fn name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A value in single quotes.
pub(super) fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// A column's type in CREATE TABLE, and as the catalog names it.
pub(super) fn column_type(column_type: ColumnType) -> (Cow<'static, str>, &'static str) {
    let (name, in_catalog) = match column_type {
        ColumnType::Boolean => ("BOOLEAN", "boolean"),
        ColumnType::Int32 => ("INTEGER", "integer"),
        ColumnType::Int64 => ("BIGINT", "bigint"),
        ColumnType::Float32 => ("REAL", "real"),
        ColumnType::Float64 => ("DOUBLE PRECISION", "double precision"),
        ColumnType::Utf8 => ("VARCHAR(65535)", "character varying"),
        ColumnType::Binary => ("VARBYTE(1024000)", "binary varying"),
        ColumnType::TimestampMicros => ("TIMESTAMP", "timestamp without time zone"),
        ColumnType::Date => ("DATE", "date"),
        ColumnType::Decimal { precision, scale } => {
            return (format!("DECIMAL({precision},{scale})").into(), "numeric");
        }
    };
    (name.into(), in_catalog)
}

/// The columns that tell when a row happened, the first that a table has is the one it is sorted
/// by: questions are of a stretch of time, and Redshift leaves out the blocks of other times.
const SORTED_BY: [&str; 8] = [
    "event_time",
    "window_start",
    "valid_from",
    "reported_at",
    "changed_at",
    "ended_at",
    "last_seen",
    "as_of",
];

/// The column that a table is sorted by.
pub(super) fn sort_column(table: &TableSpec) -> Option<&'static str> {
    let has = |wanted: &&&str| table.columns.iter().any(|(column, _)| column == **wanted);
    SORTED_BY.iter().find(has).copied()
}

/// CREATE TABLE; tables are distributed by robot where they have one, so that joins on it stay on a
/// node. How columns are compressed is left to Redshift (`ENCODE AUTO`, the default).
pub(super) fn create_table(schema: &str, table: &TableSpec) -> String {
    let columns: Vec<String> = table
        .columns
        .iter()
        .map(|(column, kind)| format!("{} {}", name(column), column_type(*kind).0))
        .collect();
    let has = |wanted: &str| table.columns.iter().any(|(column, _)| column == wanted);
    let distribution = if has("robot_id") {
        " DISTSTYLE KEY DISTKEY (\"robot_id\")"
    } else {
        " DISTSTYLE AUTO"
    };
    let sort = sort_column(table).map_or(String::new(), |column| {
        format!(" SORTKEY ({})", name(column))
    });
    format!(
        "CREATE TABLE IF NOT EXISTS {}.{} ({}){distribution}{sort}",
        name(schema),
        name(&table.name),
        columns.join(", ")
    )
}

/// What a load needs beside its batch.
pub(super) struct Load<'a> {
    pub(super) schema: &'a str,
    pub(super) table: &'a TableSpec,
    pub(super) batch: &'a LoadBatch,
    pub(super) manifest: &'a str,
    pub(super) iam_role: &'a str,
    pub(super) stage: &'a str,
    /// The types of the files' columns where they were written before the table was widened: COPY
    /// converts nothing.
    pub(super) older: Option<&'a [ColumnType]>,
}

/// Where in a load's statements COPY is, and the check of its rows.
pub(super) const COPY: usize = 2;
pub(super) const ROW_CHECK: usize = 3;
/// What the check of rows fails with when they are not as many as they should be: part of "division
/// by zero" and of "divide by zero".
pub(super) const MISCOUNTED: &str = "by zero";

impl Load<'_> {
    /// The statements of a load, one transaction. The last gives the ledger's rows.
    pub(super) fn statements(&self) -> Vec<String> {
        let (target, ledger, stage) = (
            self.target(),
            format!("{}.load_ledger", name(self.schema)),
            name(self.stage),
        );
        let batch = text(&self.batch.id);
        let role = if self.iam_role == "default" {
            "default".to_owned()
        } else {
            text(self.iam_role)
        };
        let rows: u64 = self.batch.files.iter().map(|file| file.file.rows).sum();
        let unknown = format!("NOT EXISTS (SELECT 1 FROM {ledger} WHERE batch = {batch})");
        let mut statements = vec![
            format!("LOCK {ledger}"),
            format!("CREATE TEMP TABLE {stage} ({})", self.staged(&target)),
            format!(
                "COPY {stage} FROM {} IAM_ROLE {role} FORMAT AS PARQUET MANIFEST FILLRECORD",
                text(self.manifest)
            ),
            // Divides by zero, which rolls the transaction back, when the files hold another number
            // of rows than was registered.
            format!(
                "SELECT 1 / CASE WHEN {} THEN 1 ELSE 0 END FROM {stage}",
                self.counts(rows)
            ),
        ];
        statements.extend(self.merge(&unknown));
        let files = self.batch.files.len();
        statements.push(format!(
            "INSERT INTO {ledger} (batch, table_name, row_count, files, loaded_at) SELECT {batch}, {}, {rows}, {files}, GETDATE() WHERE {unknown}",
            text(&self.table.name)
        ));
        statements.push(format!("DROP TABLE {stage}"));
        statements.push(format!(
            "SELECT row_count FROM {ledger} WHERE batch = {batch}"
        ));
        statements
    }

    /// The condition that as many rows are staged as were registered, and that each has its key:
    /// rows without a key could not be distinguished.
    fn counts(&self, rows: u64) -> String {
        let LoadMode::MergeByRevision { key, .. } = &self.table.mode else {
            return format!("count(*) = {rows}");
        };
        let keys: String = key
            .iter()
            .map(|column| format!(" AND count({}) = {rows}", name(column)))
            .collect();
        format!("count(*) = {rows}{keys}")
    }

    /// What the stage consists of.
    fn staged(&self, target: &str) -> String {
        let Some(older) = self.older else {
            return format!("LIKE {target}");
        };
        let columns = self.table.columns.iter().zip(older);
        let columns: Vec<String> = columns
            .map(|((column, _), kind)| format!("{} {}", name(column), column_type(*kind).0))
            .collect();
        columns.join(", ")
    }

    /// The names of the columns that are staged.
    fn columns(&self) -> String {
        let staged = self.older.map_or(self.table.columns.len(), <[_]>::len);
        let columns = self.table.columns.iter().take(staged);
        let columns: Vec<String> = columns.map(|(column, _)| name(column)).collect();
        columns.join(", ")
    }

    fn target(&self) -> String {
        format!("{}.{}", name(self.schema), name(&self.table.name))
    }

    /// Brings the staged rows into the table.
    fn merge(&self, unknown: &str) -> Vec<String> {
        let (target, stage, table) = (self.target(), name(self.stage), name(&self.table.name));
        let columns = self.columns();
        let LoadMode::MergeByRevision { key, revision } = &self.table.mode else {
            if self.older.is_some() {
                return vec![format!(
                    "INSERT INTO {target} ({columns}) SELECT {columns} FROM {stage} WHERE {unknown}"
                )];
            }
            // All that the stage has, which is like the table: a process of a newer version may
            // have added columns that this one does not know.
            return vec![format!(
                "INSERT INTO {target} SELECT * FROM {stage} WHERE {unknown}"
            )];
        };
        let revision = name(revision);
        let keys: Vec<String> = key.iter().map(|column| name(column)).collect();
        let same = |one: &str, other: &str| {
            keys.iter()
                .map(|key| format!("{one}.{key} = {other}.{key}"))
                .collect::<Vec<_>>()
                .join(" AND ")
        };
        let older = format!(
            "DELETE FROM {target} USING {stage} WHERE {} AND {table}.{revision} < {stage}.{revision} AND {unknown}",
            same(&table, &stage)
        );
        let newest = format!(
            "SELECT *, ROW_NUMBER() OVER (PARTITION BY {} ORDER BY {revision} DESC) AS theatre_rank FROM {stage}",
            keys.join(", ")
        );
        let absent = format!(
            "NOT EXISTS (SELECT 1 FROM {target} kept WHERE {})",
            same("kept", "newest")
        );
        let insert = format!(
            "INSERT INTO {target} ({columns}) SELECT {columns} FROM ({newest}) newest WHERE theatre_rank = 1 AND {absent} AND {unknown}"
        );
        vec![older, insert]
    }
}

/// Why a statement is not one that only reads; `None` when it is.
pub(super) fn not_reading(sql: &str) -> Option<&'static str> {
    let words = words(sql);
    let first = words.first().map(String::as_str).unwrap_or_default();
    if !["SELECT", "WITH", "SHOW"].contains(&first) {
        return Some("only SELECT, WITH and SHOW are run here");
    }
    let writing = [
        "INTO", "INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE", ";",
    ];
    words
        .iter()
        .any(|word| writing.contains(&word.as_str()))
        .then_some("only one statement that reads is run here")
}

/// Words and semicolons outside strings, quoted names and comments, in capitals; closing semicolons
/// left out.
fn words(sql: &str) -> Vec<String> {
    let sql = sql.trim_end_matches(|c: char| c.is_whitespace() || c == ';');
    let (mut words, mut rest) = (Vec::new(), sql);
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' | '"' => rest[1..].find(first).map_or(rest.len(), |end| end + 2),
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            c if c.is_alphabetic() || c == '_' => rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        if first.is_alphabetic() || first == '_' || first == ';' {
            words.push(rest[..length].to_uppercase());
        }
        rest = &rest[length..];
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_hold_what_lake_files_may_hold() {
        use theatre_parquet::{BINARY_BYTES_MAX, TEXT_BYTES_MAX};
        assert_eq!(
            column_type(ColumnType::Utf8).0,
            format!("VARCHAR({TEXT_BYTES_MAX})")
        );
        assert_eq!(
            column_type(ColumnType::Binary).0,
            format!("VARBYTE({BINARY_BYTES_MAX})")
        );
    }

    #[test]
    fn every_table_is_sorted_by_when_its_rows_happened() {
        let tables = theatre_star::tables();
        for table in &tables {
            let column = sort_column(table).unwrap_or_else(|| panic!("{}", table.name));
            let create = create_table("s", table);
            assert!(
                create.ends_with(&format!(" SORTKEY (\"{column}\")")),
                "{create}"
            );
        }
        let of = |name: &str| {
            let table = tables.iter().find(|table| table.name == name);
            table.and_then(sort_column)
        };
        assert_eq!(of("robot_windows"), Some("window_start"));
        assert_eq!(of("robot_telemetry"), Some("event_time"));
        assert_eq!(of("procedure_phases"), Some("ended_at"));
        assert_eq!(of("procedures"), Some("changed_at"));
        assert_eq!(of("maintenance_records"), Some("reported_at"));
    }

    #[test]
    fn only_statements_that_read_are_queries() {
        for sql in [
            "SELECT 'delete; into' FROM \"update\"",
            "-- delete\nwith a as (select 1) select * from a;",
            "show search_path",
        ] {
            assert_eq!(not_reading(sql), None, "{sql}");
        }
        for sql in [
            "DELETE FROM t",
            "SELECT 1; DROP TABLE t",
            "SELECT * INTO u FROM t",
            "WITH x AS (DELETE FROM t) SELECT 1",
            "",
            "'SELECT'",
        ] {
            assert!(not_reading(sql).is_some(), "{sql}");
        }
    }
}
