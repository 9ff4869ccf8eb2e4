//! Rows of PostgreSQL as the Data API's fields.

use serde_json::{Value, json};
use sqlx::postgres::{PgColumn, PgRow};
use sqlx::{
    AssertSqlSafe, Column, Executor, PgConnection, Row, SqlSafeStr, Statement, TypeInfo, ValueRef,
    raw_sql,
};

use super::message;
use crate::statements::ResultSet;

/// A row of a result may have this many bytes.
const ROW_BYTES_MAX: usize = 64 << 10;

/// Runs a query and takes all its rows.
///
/// # Errors
/// The server's message.
pub async fn fetch(connection: &mut PgConnection, sql: String) -> Result<ResultSet, String> {
    let rows = raw_sql(AssertSqlSafe(sql.clone()))
        .fetch_all(&mut *connection)
        .await
        .map_err(|error| message(&error))?;
    let columns = match rows.first() {
        Some(row) => row.columns().iter().map(metadata).collect(),
        // Without a row only a prepared statement knows the columns.
        None => match connection.prepare(AssertSqlSafe(sql).into_sql_str()).await {
            Ok(prepared) => prepared.columns().iter().map(metadata).collect(),
            Err(error) => return Err(message(&error)),
        },
    };
    let mut result = ResultSet {
        columns,
        ..ResultSet::default()
    };
    for row in &rows {
        let (fields, bytes) = fields(row)?;
        if bytes > ROW_BYTES_MAX {
            return Err(format!(
                "Result row of {bytes} bytes exceeds the limit of {ROW_BYTES_MAX}"
            ));
        }
        result.bytes += i64::try_from(bytes).unwrap_or(i64::MAX);
        result.rows.push(fields);
    }
    Ok(result)
}

fn metadata(column: &PgColumn) -> Value {
    let type_name = match column.type_info().name() {
        "BYTEA" => "varbyte".to_owned(),
        "JSONB" => "super".to_owned(),
        "TEXT" => "varchar".to_owned(),
        other => other.to_ascii_lowercase(),
    };
    json!({ "name": column.name(), "label": column.name(), "typeName": type_name, "nullable": 1, "length": 0, "precision": 0, "scale": 0,
        "isCaseSensitive": false, "isCurrency": false, "isSigned": false, "schemaName": "", "tableName": "" })
}

fn fields(row: &PgRow) -> Result<(Vec<Value>, usize), String> {
    let mut bytes = 0;
    let mut fields = Vec::with_capacity(row.len());
    for (at, column) in row.columns().iter().enumerate() {
        let value = row.try_get_raw(at).map_err(|error| error.to_string())?;
        if value.is_null() {
            fields.push(json!({ "isNull": true }));
            continue;
        }
        let text = value.as_str().map_err(|error| error.to_string())?;
        bytes += text.len();
        fields.push(field(column.type_info().name(), text));
    }
    Ok((fields, bytes))
}

fn field(type_name: &str, text: &str) -> Value {
    let number = match type_name {
        "BOOL" => return json!({ "booleanValue": text == "t" }),
        "INT2" | "INT4" | "INT8" => text
            .parse::<i64>()
            .ok()
            .map(|value| json!({ "longValue": value })),
        "FLOAT4" | "FLOAT8" => text
            .parse::<f64>()
            .ok()
            .filter(|value| value.is_finite())
            .map(|value| json!({ "doubleValue": value })),
        _ => None,
    };
    number.unwrap_or_else(|| json!({ "stringValue": text.strip_prefix("\\x").filter(|_| type_name == "BYTEA").unwrap_or(text) }))
}
