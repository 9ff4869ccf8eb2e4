//! Calls of the Data API: submitting, finding, waiting, fetching; and which of its errors are
//! transient.

use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_sdk_redshiftdata::Client;
use aws_sdk_redshiftdata::config::timeout::TimeoutConfig;
use aws_sdk_redshiftdata::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_redshiftdata::types::{Field, SqlParameter, StatusString};
use theatre_actors::ports::{Error, QueryResult, Result};
use theatre_actors::rules::Micros;

use super::poller::{Ended, Poller};
use theatre_aws::{chain, identified};
use theatre_config::warehouse::{WarehouseConfig, WarehouseKind};
use theatre_system::blocking::IoRuntime;

pub(super) const WHAT: &str = "redshift";

/// Statements of a batch that the API takes.
pub(super) const BATCH_MAX: usize = 40;

/// A database reached through the Data API.
#[derive(Debug)]
pub(super) struct Session {
    client: Client,
    poller: Poller,
    kind: WarehouseKind,
    place: String,
    database: String,
    db_user: Option<String>,
    secret_arn: Option<String>,
    statement_timeout: Duration,
    io: IoRuntime,
}

/// A statement found by its name.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) id: String,
    pub(super) status: StatusString,
}

impl Session {
    /// Sets the client up, without a request.
    pub(super) fn open(
        url: &str,
        config: &WarehouseConfig,
        credentials: Option<Credentials>,
        io: &IoRuntime,
    ) -> Result<Self> {
        let (place, database) = place(url)?;
        let client = io.block_on(client(config, credentials))?;
        let poller = Poller::start(client.clone(), config, io);
        Ok(Self {
            client,
            poller,
            kind: config.kind,
            place: place.to_owned(),
            database: database.to_owned(),
            db_user: config.db_user.clone(),
            secret_arn: config.secret_arn.clone(),
            statement_timeout: duration(config.statement_timeout),
            io: io.clone(),
        })
    }

    /// The database's name.
    pub(super) fn database(&self) -> &str {
        &self.database
    }

    fn cluster(&self) -> Option<String> {
        (self.kind == WarehouseKind::Provisioned).then(|| self.place.clone())
    }

    fn workgroup(&self) -> Option<String> {
        (self.kind == WarehouseKind::Serverless).then(|| self.place.clone())
    }

    /// Submits statements as one transaction; returns the id. The same token never runs twice.
    pub(super) fn submit_batch(
        &self,
        sqls: Vec<String>,
        name: &str,
        token: &str,
    ) -> Result<String> {
        let call = self
            .client
            .batch_execute_statement()
            .set_sqls(Some(sqls))
            .statement_name(name)
            .client_token(token);
        let call = call
            .set_cluster_identifier(self.cluster())
            .set_workgroup_name(self.workgroup())
            .database(&self.database);
        let call = call
            .set_db_user(self.db_user.clone())
            .set_secret_arn(self.secret_arn.clone());
        let answer = self
            .io
            .block_on(call.send())
            .map_err(|error| fault(&error))?;
        answer
            .id
            .ok_or_else(|| unavailable("the answer names no statement"))
    }

    /// Runs statements as one transaction to its end.
    pub(super) fn run_batch(&self, sqls: Vec<String>, name: &str) -> Result<String> {
        let token = format!("{:032x}", rand::random::<u128>());
        let id = self.submit_batch(sqls, name, &token)?;
        self.wait(&id)?.finished()?;
        Ok(id)
    }

    /// Runs one query and fetches its rows.
    pub(super) fn rows(&self, sql: &str, parameters: &[(&str, &str)]) -> Result<QueryResult> {
        let parameter = |(name, value): &(&str, &str)| {
            SqlParameter::builder().name(*name).value(*value).build()
        };
        let parameters: std::result::Result<Vec<_>, _> = parameters.iter().map(parameter).collect();
        let parameters = parameters.map_err(|error| Error::Refused(error.to_string()))?;
        let call = self
            .client
            .execute_statement()
            .sql(sql)
            .set_parameters((!parameters.is_empty()).then_some(parameters));
        let call = call
            .set_cluster_identifier(self.cluster())
            .set_workgroup_name(self.workgroup())
            .database(&self.database);
        let call = call
            .set_db_user(self.db_user.clone())
            .set_secret_arn(self.secret_arn.clone());
        let answer = self
            .io
            .block_on(call.send())
            .map_err(|error| fault(&error))?;
        let id = answer
            .id
            .ok_or_else(|| unavailable("the answer names no statement"))?;
        self.wait(&id)?.finished()?;
        self.fetch(&id)
    }

    /// Waits for a statement's end, as long as a statement may take.
    pub(super) fn wait(&self, id: &str) -> Result<Ended> {
        self.io
            .block_on(self.poller.wait(id, self.statement_timeout))
    }

    /// The rows of a finished statement, or of a part of one: `id:number`.
    pub(super) fn fetch(&self, id: &str) -> Result<QueryResult> {
        let mut result = QueryResult {
            columns: Vec::new(),
            rows: Vec::new(),
        };
        let mut next = None;
        loop {
            let call = self
                .client
                .get_statement_result()
                .id(id)
                .set_next_token(next);
            let page = self
                .io
                .block_on(call.send())
                .map_err(|error| fault(&error))?;
            let columns = page.column_metadata.unwrap_or_default();
            let numeric: Vec<bool> = columns
                .iter()
                .map(|column| column.type_name.as_deref() == Some("numeric"))
                .collect();
            if result.columns.is_empty() {
                result.columns = columns
                    .into_iter()
                    .map(|column| column.label.or(column.name).unwrap_or_default())
                    .collect();
            }
            let row = |fields: Vec<Field>| {
                fields
                    .into_iter()
                    .enumerate()
                    .map(|(at, field)| json(field, numeric.get(at) == Some(&true)))
                    .collect()
            };
            result.rows.extend(page.records.into_iter().map(row));
            next = page.next_token;
            if next.is_none() {
                return Ok(result);
            }
        }
    }

    /// All statements of this name that the API still knows.
    pub(super) fn named(&self, name: &str) -> Result<Vec<Known>> {
        let (mut found, mut next) = (Vec::new(), None);
        loop {
            let call = self
                .client
                .list_statements()
                .statement_name(name)
                .status(StatusString::All)
                .set_next_token(next);
            let call = call
                .set_cluster_identifier(self.cluster())
                .set_workgroup_name(self.workgroup())
                .database(&self.database);
            let page = self
                .io
                .block_on(call.send())
                .map_err(|error| fault(&error))?;
            let exact = page
                .statements
                .into_iter()
                .filter(|statement| statement.statement_name.as_deref() == Some(name));
            found.extend(exact.map(|statement| Known {
                id: statement.id,
                status: statement.status.unwrap_or(StatusString::Submitted),
            }));
            next = page.next_token;
            if next.is_none() {
                return Ok(found);
            }
        }
    }
}

pub(super) fn duration(time: Micros) -> Duration {
    Duration::from_micros(time.0.unsigned_abs())
}

fn place(url: &str) -> Result<(&str, &str)> {
    let parts = url
        .strip_prefix("redshift://")
        .and_then(|rest| rest.split_once('/'));
    let parts = parts.filter(|(place, database)| {
        !place.is_empty() && !database.is_empty() && !database.contains('/') && !place.contains('@')
    });
    parts.ok_or_else(|| {
        Error::Refused(
            "warehouse.url is not of the form redshift://workgroup-or-cluster/database".to_owned(),
        )
    })
}

async fn client(config: &WarehouseConfig, credentials: Option<Credentials>) -> Result<Client> {
    let mut loader = identified(
        aws_config::defaults(BehaviorVersion::latest()),
        "warehouse",
        credentials,
        config.credentials_file.as_deref(),
    )?;
    // With a region in the configuration the SDK does not look for one: outside of AWS that would
    // mean waiting for the metadata service of an instance that does not exist.
    if let Some(region) = &config.region {
        loader = loader.region(Region::new(region.clone()));
    }
    let shared = loader.load().await;
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(duration(config.request_timeout))
        .connect_timeout(duration(config.request_timeout));
    let mut own =
        aws_sdk_redshiftdata::config::Builder::from(&shared).timeout_config(timeouts.build());
    if shared.region().is_none() {
        own = own.region(Region::new("us-east-1"));
    }
    if let Some(endpoint) = &config.endpoint {
        own = own.endpoint_url(endpoint);
    }
    Ok(Client::from_conf(own.build()))
}

pub(super) fn unavailable(why: impl Into<String>) -> Error {
    Error::Unavailable {
        what: WHAT,
        why: why.into(),
    }
}

/// Codes of transient errors, beside all of 5xx.
const TRANSIENT: [&str; 9] = [
    "ActiveStatementsExceededException",
    "ActiveSessionsExceededException",
    "ActiveWaitingRequestsExceededException",
    "DatabaseConnectionException",
    "InternalServerException",
    "ThrottlingException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "ExpiredTokenException",
];

/// The error of a call as the error of the port.
pub(super) fn fault<E>(error: &SdkError<E>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let SdkError::ServiceError(service) = error else {
        return unavailable(chain(error));
    };
    let (code, message) = (
        service.err().code().unwrap_or_default(),
        service.err().message().unwrap_or_default(),
    );
    let status = service.raw().status().as_u16();
    match TRANSIENT.contains(&code) || status >= 500 || status == 429 {
        true => unavailable(
            format!("answered {status} {code} {message}")
                .trim_end()
                .to_owned(),
        ),
        false => Error::Refused(format!("redshift refuses the request: {code}: {message}")),
    }
}

fn json(field: Field, numeric: bool) -> serde_json::Value {
    match field {
        Field::BooleanValue(value) => value.into(),
        Field::LongValue(value) => value.into(),
        Field::DoubleValue(value) => {
            serde_json::Number::from_f64(value).map_or_else(|| value.to_string().into(), Into::into)
        }
        Field::StringValue(value) if numeric => {
            let number = value.parse().ok().and_then(serde_json::Number::from_f64);
            number.map_or_else(|| value.into(), Into::into)
        }
        Field::StringValue(value) => value.into(),
        Field::BlobValue(bytes) => format!("{} bytes", bytes.as_ref().len()).into(),
        _ => serde_json::Value::Null,
    }
}
