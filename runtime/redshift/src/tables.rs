//! Tables of outputs: made from their specifications, and given new columns at the end.

use std::collections::HashMap;

use theatre_actors::ports::{Error, Result, TableSpec};

use super::session::{BATCH_MAX, Session};
use super::sql::{self, column_type, create_table};

/// Another process may be making the same tables: what it made is found when looking again.
const LOOKS_MAX: usize = 3;

/// Creates tables and appends columns; refuses any other change.
pub(super) fn ensure(session: &Session, schema: &str, tables: &[TableSpec]) -> Result<()> {
    let mut looks = 0;
    loop {
        let there = columns(session, schema)?;
        let mut statements = Vec::new();
        for table in tables {
            statements.extend(changes(
                schema,
                table,
                there.get(&table.name).map_or(&[], Vec::as_slice),
            )?);
        }
        let batches = statements.chunks(BATCH_MAX).try_for_each(|batch| {
            session
                .run_batch(batch.to_vec(), "theatre-tables")
                .map(|_| ())
        });
        looks += 1;
        match batches {
            Err(_) if looks < LOOKS_MAX => {}
            done => return done,
        }
    }
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

fn changes(schema: &str, table: &TableSpec, there: &[(String, String)]) -> Result<Vec<String>> {
    if there.is_empty() {
        return Ok(vec![create_table(schema, table)]);
    }
    for (at, (name, kind)) in there.iter().enumerate() {
        let wanted = table
            .columns
            .get(at)
            .map(|(name, kind)| (name.as_str(), column_type(*kind).1));
        if wanted != Some((name.as_str(), kind.as_str())) {
            return Err(Error::Refused(format!(
                "warehouse table '{}': column {} is '{name} {kind}', the schema has {wanted:?} there: new columns may only be added at the end",
                table.name,
                at + 1
            )));
        }
    }
    let (schema, target) = (sql::name(schema), sql::name(&table.name));
    let add = |(name, kind): &(String, _)| {
        format!(
            "ALTER TABLE {schema}.{target} ADD COLUMN {} {}",
            sql::name(name),
            column_type(*kind).0
        )
    };
    Ok(table.columns[there.len()..].iter().map(add).collect())
}
