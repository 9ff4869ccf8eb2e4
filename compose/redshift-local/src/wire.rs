//! The Data API's shapes: requests, errors, and what the API says of a statement.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::statements::{Statement, SubStatement};

/// A statement may have this many bytes.
const SQL_BYTES_MAX: usize = 100_000;
/// A batch may have this many statements.
const BATCH_MAX: usize = 40;
/// Longest statement name and client token.
const NAME_MAX: usize = 500;
const TOKEN_MAX: usize = 64;

/// Fields of all requests; each operation uses some.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs, reason = "the names are the API's own")]
pub struct Request {
    pub sql: Option<String>,
    pub sqls: Option<Vec<String>>,
    pub cluster_identifier: Option<String>,
    pub workgroup_name: Option<String>,
    pub database: Option<String>,
    pub db_user: Option<String>,
    pub secret_arn: Option<String>,
    pub statement_name: Option<String>,
    pub client_token: Option<String>,
    pub parameters: Vec<Parameter>,
    pub execution_mode: Option<String>,
    pub id: Option<String>,
    pub next_token: Option<String>,
    pub max_results: Option<usize>,
    pub status: Option<String>,
}

/// A named value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, serde::Serialize)]
pub struct Parameter {
    /// Its name, without the colon.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A refusal in the API's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// HTTP status.
    pub status: u16,
    /// The exception's name.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
}

impl ApiError {
    /// The request is wrong.
    pub fn validation(message: impl Into<String>) -> Self {
        Self {
            status: 400,
            code: "ValidationException",
            message: message.into(),
        }
    }

    /// There is no such statement.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self {
            status: 400,
            code: "ResourceNotFoundException",
            message: message.into(),
        }
    }

    /// Its body.
    pub fn body(&self) -> Value {
        json!({ "__type": self.code, "message": self.message, "Message": self.message })
    }
}

impl Request {
    /// The statements of an ExecuteStatement or BatchExecuteStatement, checked.
    ///
    /// # Errors
    /// Says what the API refuses.
    pub fn statements(&self, batch: bool) -> Result<Vec<String>, ApiError> {
        match (&self.cluster_identifier, &self.workgroup_name) {
            (None, None) => {
                return Err(ApiError::validation(
                    "Either ClusterIdentifier or WorkgroupName is required.",
                ));
            }
            (Some(_), Some(_)) => {
                return Err(ApiError::validation(
                    "ClusterIdentifier and WorkgroupName exclude each other.",
                ));
            }
            _ => {}
        }
        if self.database.as_ref().is_none_or(String::is_empty) {
            return Err(ApiError::validation("Database is required."));
        }
        if self
            .statement_name
            .as_ref()
            .is_some_and(|name| name.len() > NAME_MAX)
        {
            return Err(ApiError::validation(format!(
                "StatementName must have at most {NAME_MAX} characters."
            )));
        }
        if self
            .client_token
            .as_ref()
            .is_some_and(|token| token.is_empty() || token.len() > TOKEN_MAX)
        {
            return Err(ApiError::validation(format!(
                "ClientToken must have 1 to {TOKEN_MAX} characters."
            )));
        }
        let sqls = if batch {
            self.sqls.clone().unwrap_or_default()
        } else {
            self.sql.clone().into_iter().collect()
        };
        if sqls.is_empty() || sqls.len() > BATCH_MAX {
            return Err(ApiError::validation(format!(
                "A batch must have 1 to {BATCH_MAX} statements, this has {}.",
                sqls.len()
            )));
        }
        match sqls
            .iter()
            .find(|sql| sql.trim().is_empty() || sql.len() > SQL_BYTES_MAX)
        {
            Some(sql) => Err(ApiError::validation(format!(
                "A statement must have 1 to {SQL_BYTES_MAX} bytes, this has {}.",
                sql.len()
            ))),
            None => Ok(sqls),
        }
    }
}

/// The answer to a submission.
pub fn submitted(statement: &Statement) -> Value {
    let mut answer = origin(statement);
    answer.insert("Id".to_owned(), statement.id.clone().into());
    answer.insert("CreatedAt".to_owned(), statement.created_at.into());
    Value::Object(answer)
}

/// DescribeStatement of a whole statement.
pub fn described(statement: &Statement) -> Value {
    let mut answer = origin(statement);
    let rows: i64 = if statement.is_batch {
        -1
    } else {
        statement.parts[0].rows
    };
    let common = json!({
        "Id": statement.id,
        "Status": statement.status,
        "CreatedAt": statement.created_at,
        "UpdatedAt": statement.updated_at,
        "Duration": statement.duration_ns(),
        "RedshiftPid": statement.pid,
        "RedshiftQueryId": 0,
        "ResultRows": rows,
        "ResultSize": if statement.is_batch { -1 } else { statement.parts[0].bytes() },
        "HasResultSet": statement.parts.iter().any(|part| part.result.is_some()),
        "ResultFormat": "JSON",
    });
    merge(&mut answer, common);
    if let Some(error) = &statement.error {
        answer.insert("Error".to_owned(), error.clone().into());
    }
    if !statement.parameters.is_empty() {
        answer.insert("QueryParameters".to_owned(), json!(statement.parameters));
    }
    if statement.is_batch {
        let parts = statement
            .parts
            .iter()
            .enumerate()
            .map(|(at, part)| described_part(&statement.id, at, part));
        answer.insert("SubStatements".to_owned(), parts.collect());
    } else {
        answer.insert(
            "QueryString".to_owned(),
            statement.parts[0].sql.clone().into(),
        );
    }
    Value::Object(answer)
}

fn described_part(id: &str, at: usize, part: &SubStatement) -> Value {
    let mut answer = Map::new();
    let common = json!({
        "Id": format!("{id}:{}", at + 1),
        "Status": part.status,
        "CreatedAt": part.created_at,
        "UpdatedAt": part.updated_at,
        "Duration": part.duration_ns(),
        "QueryString": part.sql,
        "RedshiftQueryId": 0,
        "ResultRows": part.rows,
        "ResultSize": part.bytes(),
        "HasResultSet": part.result.is_some(),
    });
    merge(&mut answer, common);
    if let Some(error) = &part.error {
        answer.insert("Error".to_owned(), error.clone().into());
    }
    Value::Object(answer)
}

/// One line of ListStatements.
pub fn listed(statement: &Statement) -> Value {
    let mut answer = Map::new();
    let common = json!({
        "Id": statement.id,
        "Status": statement.status,
        "CreatedAt": statement.created_at,
        "UpdatedAt": statement.updated_at,
        "IsBatchStatement": statement.is_batch,
        "QueryStrings": statement.parts.iter().map(|part| part.sql.as_str()).collect::<Vec<_>>(),
        "ResultFormat": "JSON",
    });
    merge(&mut answer, common);
    if let Some(name) = &statement.name {
        answer.insert("StatementName".to_owned(), name.clone().into());
    }
    Value::Object(answer)
}

fn origin(statement: &Statement) -> Map<String, Value> {
    let origin = &statement.origin;
    let fields = [
        ("ClusterIdentifier", &origin.cluster_identifier),
        ("WorkgroupName", &origin.workgroup_name),
        ("Database", &origin.database),
        ("DbUser", &origin.db_user),
        ("SecretArn", &origin.secret_arn),
    ];
    fields
        .into_iter()
        .filter_map(|(name, value)| value.clone().map(|value| (name.to_owned(), value.into())))
        .collect()
}

fn merge(into: &mut Map<String, Value>, from: Value) {
    if let Value::Object(from) = from {
        into.extend(from);
    }
}
