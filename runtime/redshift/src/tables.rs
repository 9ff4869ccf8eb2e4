//! Tables of outputs: made from their specifications, and given new columns at the end.

use std::collections::HashMap;

use theatre_actors::ports::{ColumnType, Error, Result, TableLimits, TableSpec};

use super::session::{BATCH_MAX, Session, unavailable};
use super::sql::{self, column_type, create_table};

/// What Redshift takes: columns of a table, names in bytes, and names that are its own or those of
/// the migrations.
pub const LIMITS: TableLimits = TableLimits {
    columns_max: 1600,
    name_bytes_max: 127,
    reserved_tables: &[
        "load_ledger",
        "theatre_schema_version",
        "dim_*",
        "fact_*",
        "star_*",
        "vw_*",
        "rollup_*",
        "pg_*",
        "stl_*",
        "stv_*",
        "svl_*",
        "svv_*",
        "sys_*",
    ],
    reserved_columns: &[
        "oid",
        "tableoid",
        "xmin",
        "cmin",
        "xmax",
        "cmax",
        "ctid",
        "insertxid",
        "deletexid",
    ],
};

/// The longest statement that the Data API takes.
const STATEMENT_BYTES_MAX: usize = 100_000;

/// Another process may be making the same tables: what it made is found when looking again.
const LOOKS_MAX: usize = 3;

/// Creates tables, appends columns, and widens the types of numbers; refuses any other change.
pub(super) fn ensure(session: &Session, schema: &str, tables: &[TableSpec]) -> Result<()> {
    let mut looks = 0;
    loop {
        let there = columns(session, schema)?;
        let (mut statements, mut rebuilt) = (Vec::new(), Vec::new());
        for table in tables {
            let changes = changes(schema, table, columns_of(&there, table))?;
            statements.extend(changes.statements);
            rebuilt.extend(changes.rebuilds);
        }
        // A table that is made anew is one transaction, before columns are added to it.
        let batches = rebuilt
            .into_iter()
            .chain(statements.chunks(BATCH_MAX).map(<[String]>::to_vec))
            .try_for_each(|batch| session.run_batch(batch, "theatre-tables").map(|_| ()));
        looks += 1;
        match batches {
            Err(_) if looks < LOOKS_MAX => {}
            done => return done,
        }
    }
}

/// Creates the tables that are not there at all, and leaves the others as they are.
pub(super) fn ensure_there(session: &Session, schema: &str, tables: &[TableSpec]) -> Result<()> {
    let there = columns(session, schema)?;
    let missing = tables
        .iter()
        .filter(|table| !there.contains_key(&table.name));
    let missing: Vec<TableSpec> = missing.cloned().collect();
    ensure(session, schema, &missing)
}

/// Refuses what [`ensure`] would refuse.
///
/// # Errors
/// `Refused`: a table cannot become what it should be. `Unavailable`: it is not known, whatever the
/// reason.
pub(super) fn check(session: &Session, schema: &str, tables: &[TableSpec]) -> Result<()> {
    for table in tables {
        LIMITS.check(table)?;
    }
    let there = columns(session, schema).map_err(|error| unavailable(error.to_string()))?;
    tables
        .iter()
        .try_for_each(|table| changes(schema, table, columns_of(&there, table)).map(drop))
}

type TableColumns = [(String, String)];

fn columns_of<'a>(
    there: &'a HashMap<String, Vec<(String, String)>>,
    table: &TableSpec,
) -> &'a TableColumns {
    there.get(&table.name).map_or(&[], Vec::as_slice)
}

/// Columns and their types of all tables of the schema, in order.
fn columns(session: &Session, schema: &str) -> Result<HashMap<String, Vec<(String, String)>>> {
    let sql = "SELECT table_name, column_name, data_type FROM svv_columns WHERE table_schema = :schema ORDER BY table_name, ordinal_position";
    let mut tables: HashMap<String, Vec<(String, String)>> = HashMap::new();
    for row in session.rows(sql, &[("schema", schema)])?.rows {
        let text = |at: usize| {
            row.get(at)
                .and_then(serde_json::Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        tables.entry(text(0)).or_default().push((text(1), text(2)));
    }
    Ok(tables)
}

/// What makes a table what it should be.
#[derive(Debug, Default, PartialEq)]
struct Changes {
    /// Statements that make the table anew, in one transaction.
    rebuilds: Option<Vec<String>>,
    /// Further statements, each by itself.
    statements: Vec<String>,
}

fn changes(schema: &str, table: &TableSpec, there: &TableColumns) -> Result<Changes> {
    LIMITS.check(table)?;
    let create = create_table(schema, table);
    if create.len() > STATEMENT_BYTES_MAX {
        return Err(Error::Refused(format!(
            "table '{}': its columns take a statement of {} bytes, the Data API takes {STATEMENT_BYTES_MAX}: split the schema into several datasets, or shorten its names",
            table.name,
            create.len()
        )));
    }
    if there.is_empty() {
        return Ok(Changes {
            rebuilds: None,
            statements: vec![create],
        });
    }
    let mut widens = false;
    for (at, (name, kind)) in there.iter().enumerate() {
        let wanted = table.columns.get(at);
        let Some((_, column)) = wanted.filter(|(wanted, _)| wanted == name) else {
            return Err(misfit(table, at, (name, kind)));
        };
        if column_type(*column).1 == kind {
            continue;
        }
        let narrower = |known: &&ColumnType| column_type(**known).1 == kind;
        if !NUMBERS
            .iter()
            .find(narrower)
            .is_some_and(|known| known.widens_to(*column))
        {
            return Err(misfit(table, at, (name, kind)));
        }
        widens = true;
    }
    let target = sql::name(&table.name);
    let schema_name = sql::name(schema);
    let add = |(name, kind): &(String, _)| {
        format!(
            "ALTER TABLE {schema_name}.{target} ADD COLUMN {} {}",
            sql::name(name),
            column_type(*kind).0
        )
    };
    Ok(Changes {
        rebuilds: widens.then(|| rebuild(schema, table, there.len())),
        statements: table.columns[there.len()..].iter().map(add).collect(),
    })
}

/// The types that widen.
const NUMBERS: [ColumnType; 4] = [
    ColumnType::Int32,
    ColumnType::Int64,
    ColumnType::Float32,
    ColumnType::Float64,
];

/// Makes a table anew with wider types, with what is in it. `ALTER TABLE` changes the length of
/// texts only; a new column with the values of the old one would stand behind all others, and COPY
/// goes by position. Loads wait for the ledger's lock meanwhile.
fn rebuild(schema: &str, table: &TableSpec, columns: usize) -> Vec<String> {
    let wider = TableSpec {
        name: format!("{}_theatre_wider", table.name),
        columns: table.columns[..columns].to_vec(),
        mode: table.mode.clone(),
    };
    let schema_name = sql::name(schema);
    let (old, new) = (sql::name(&table.name), sql::name(&wider.name));
    vec![
        format!("LOCK {schema_name}.load_ledger"),
        create_table(schema, &wider),
        format!("INSERT INTO {schema_name}.{new} SELECT * FROM {schema_name}.{old}"),
        format!("DROP TABLE {schema_name}.{old}"),
        format!("ALTER TABLE {schema_name}.{new} RENAME TO {old}"),
    ]
}

fn misfit(table: &TableSpec, at: usize, (name, kind): (&str, &str)) -> Error {
    let wanted = table
        .columns
        .get(at)
        .map_or("none".to_owned(), |(name, kind)| {
            format!("'{name} {}'", column_type(*kind).1)
        });
    Error::Refused(format!(
        "warehouse table '{}': column {} is '{name} {kind}', the schema has {wanted} there: columns may be added at the end and numbers may widen; for anything else give the dataset another name (theatre.dataset), or the warehouse another schema ([warehouse] schema)",
        table.name,
        at + 1
    ))
}

#[cfg(test)]
mod tests {
    use theatre_actors::ports::LoadMode;

    use super::*;

    fn spec(columns: &[(&str, ColumnType)]) -> TableSpec {
        TableSpec {
            name: "t".to_owned(),
            columns: columns
                .iter()
                .map(|(name, kind)| ((*name).to_owned(), *kind))
                .collect(),
            mode: LoadMode::Append,
        }
    }

    fn there(columns: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(name, kind): &(&str, &str)| ((*name).to_owned(), (*kind).to_owned());
        columns.iter().map(owned).collect()
    }

    #[test]
    fn numbers_widen_columns_are_added_and_nothing_else_changes() {
        let wide = spec(&[("a", ColumnType::Int64), ("b", ColumnType::Float64)]);
        let same = changes(
            "s",
            &wide,
            &there(&[("a", "bigint"), ("b", "double precision")]),
        );
        assert_eq!(same, Ok(Changes::default()));
        let wider = changes("s", &wide, &there(&[("a", "integer")])).unwrap();
        assert_eq!(
            (wider.rebuilds.map(|made| made.len()), wider.statements),
            (
                Some(5),
                vec!["ALTER TABLE \"s\".\"t\" ADD COLUMN \"b\" DOUBLE PRECISION".to_owned()]
            )
        );
        for columns in [
            &[("a", "double precision"), ("b", "double precision")][..],
            &[("b", "bigint")],
            &[("a", "bigint"), ("b", "character varying")],
            &[("a", "bigint"), ("b", "double precision"), ("c", "bigint")],
        ] {
            let refused = changes("s", &wide, &there(columns));
            assert!(
                matches!(&refused, Err(Error::Refused(why)) if why.contains("another name")),
                "{columns:?}: {refused:?}"
            );
        }
    }

    #[test]
    fn what_redshift_cannot_have_is_refused_before_it_is_asked() {
        let columns: Vec<(String, ColumnType)> = (0..1601)
            .map(|at| (format!("c{at}"), ColumnType::Int32))
            .collect();
        let named = |name: &str| TableSpec {
            name: name.to_owned(),
            ..spec(&[("a", ColumnType::Int64)])
        };
        let many = TableSpec {
            columns,
            ..named("many")
        };
        for table in [
            many,
            named("load_ledger"),
            named("dim_date"),
            named(&"x".repeat(128)),
            spec(&[("xmin", ColumnType::Int64)]),
        ] {
            let refused = changes("s", &table, &[]);
            assert!(matches!(refused, Err(Error::Refused(_))), "{}", table.name);
        }
    }
}
