//! One load: manifest, statement, and what its end means.

use aws_sdk_redshiftdata::types::StatusString;
use serde_json::json;
use sha2::{Digest, Sha256};
use theatre_actors::ports::{
    ColumnType, Error, Lake, LoadBatch, LoadReceipt, RegisteredFile, Result, TableSpec,
};

use super::poller::{Ended, failed, lies_in_a_file};
use super::session::{Session, unavailable};
use super::sql::{self, Load};

/// A load under way.
pub(super) struct Loading<'a> {
    pub(super) session: &'a Session,
    pub(super) schema: &'a str,
    pub(super) iam_role: &'a str,
    pub(super) table: &'a TableSpec,
    pub(super) batch: &'a LoadBatch,
    pub(super) lake: &'a dyn Lake,
    /// The types of the files' columns, where they are known to be older than the table's.
    pub(super) older: Option<Vec<ColumnType>>,
}

impl Loading<'_> {
    /// Loads the batch, or finds the outcome of an earlier attempt.
    pub(super) fn run(&self) -> Result<LoadReceipt> {
        // The API takes longer names than this, and the batch's id may be longer still. Another
        // deployment in the same database has batches of the same ids, in a schema of its own.
        let name = format!("theatre-{}", hash(&[self.schema, &self.batch.id]));
        let known = self
            .session
            .named(&name)
            .map_err(|error| not_of_a_file("looked for", error))?;
        let ended = |status: &StatusString| {
            matches!(
                status,
                StatusString::Finished | StatusString::Failed | StatusString::Aborted
            )
        };
        let id = match known.iter().find(|statement| !ended(&statement.status)) {
            Some(running) => running.id.clone(),
            None => {
                if !known.is_empty()
                    && let Some(receipt) = self.receipt()?
                {
                    return Ok(receipt);
                }
                // A failed statement stays failed, so the next attempt gets a new token. An attempt
                // of unknown outcome keeps its token: the API never runs the same token twice.
                let attempt = known
                    .iter()
                    .filter(|statement| statement.status != StatusString::Finished)
                    .count();
                self.submit(&name, attempt)?
            }
        };
        match self
            .session
            .wait(&id)
            .map_err(|error| not_of_a_file("waited for", error))?
        {
            Ended::Finished { parts } => self.receipt_of_statement(&format!("{id}:{parts}")),
            Ended::Failed { error, part } => match self.receipt()? {
                Some(receipt) => Ok(receipt),
                None if part == Some(sql::COPY) && self.older.is_none() && is_of_types(&error) => {
                    self.load_older(&error)
                }
                None => Err(self.fault(&error, part)),
            },
            Ended::Gone => self.receipt()?.ok_or_else(|| {
                unavailable(format!(
                    "the fate of batch '{}' is unknown, the ledger has not got it",
                    self.batch.id
                ))
            }),
        }
    }

    fn submit(&self, name: &str, attempt: usize) -> Result<String> {
        let manifest = self.write_manifest()?;
        let older = self
            .older
            .as_ref()
            .map_or(String::new(), |older| format!("{older:?}"));
        let token = hash(&[name, &self.table.name, &attempt.to_string(), &older]);
        let stage = format!("theatre_stage_{}", &token[..16]);
        let load = Load {
            schema: self.schema,
            table: self.table,
            batch: self.batch,
            manifest: &manifest,
            iam_role: self.iam_role,
            stage: &stage,
            older: self.older.as_deref(),
        };
        self.session
            .submit_batch(load.statements(), name, &token)
            .map_err(|error| not_of_a_file("submitted", error))
    }

    /// Writes the manifest beside the data, and returns its URL. It is the same, byte by byte,
    /// whenever the batch is.
    fn write_manifest(&self) -> Result<String> {
        let nowhere = || {
            Error::Refused(
                "the warehouse can only load from a lake on S3: set [lake] url".to_owned(),
            )
        };
        let entry = |file: &RegisteredFile| {
            let url = self.lake.location(&file.file.path).ok_or_else(nowhere)?;
            Ok(
                json!({ "url": url, "mandatory": true, "meta": { "content_length": file.file.bytes } }),
            )
        };
        let entries: Vec<serde_json::Value> =
            self.batch.files.iter().map(entry).collect::<Result<_>>()?;
        let path = format!("manifests/{}.json", self.batch.id);
        let url = self.lake.location(&path).ok_or_else(nowhere)?;
        let write = || {
            let mut upload = self.lake.begin(
                &path,
                &format!("p{}-load-{}", self.batch.partition, hash(&[&self.batch.id])),
            )?;
            upload.write(json!({ "entries": entries }).to_string().as_bytes())?;
            self.lake.complete(&path, &upload.seal()?)
        };
        write().map_err(|error| {
            let why = format!("the manifest of a load cannot be written: {error}");
            match error {
                Error::Unavailable { .. } | Error::StaleEpoch { .. } => unavailable(why),
                _ => Error::Refused(why),
            }
        })?;
        Ok(url)
    }

    fn receipt(&self) -> Result<Option<LoadReceipt>> {
        receipt(self.session, self.schema, &self.batch.id)
            .map_err(|error| not_of_a_file("looked up in the ledger", error))
    }

    fn receipt_of_statement(&self, id: &str) -> Result<LoadReceipt> {
        let rows = self
            .session
            .fetch(id)
            .map_err(|error| not_of_a_file("read back", error))?
            .rows;
        let rows = rows
            .first()
            .and_then(|row| row.first())
            .and_then(serde_json::Value::as_u64);
        let missing = || {
            unavailable(format!(
                "batch '{}' was loaded, but the ledger has not got it",
                self.batch.id
            ))
        };
        rows.map(|rows| LoadReceipt {
            batch: self.batch.id.clone(),
            rows,
        })
        .ok_or_else(missing)
    }

    /// Loads files that were written before the table was widened: through a stage of their own
    /// types, from which the rows are inserted into the wider columns. Files of several versions
    /// are separated by halving, as bad files are.
    fn load_older(&self, error: &str) -> Result<LoadReceipt> {
        let mut all: Option<Vec<ColumnType>> = None;
        for file in &self.batch.files {
            let path = &file.file.path;
            let bytes = self.lake.read(path)?;
            let types = theatre_parquet::column_types(path, bytes)
                .map_err(|error| Error::BadFile(error.to_string()))?;
            let known: Option<Vec<ColumnType>> = types.into_iter().collect();
            let fitting = known.filter(|types| {
                let columns = self.table.columns.iter().zip(types);
                types.len() <= self.table.columns.len()
                    && columns
                        .clone()
                        .all(|((_, wanted), there)| there.widens_to(*wanted))
            });
            let Some(types) = fitting else {
                return Err(self.fault(error, Some(sql::COPY)));
            };
            if all.get_or_insert_with(|| types.clone()) != &types {
                return Err(Error::BadFile(format!(
                    "the files of batch '{}' are of several versions of their schema",
                    self.batch.id
                )));
            }
        }
        Loading {
            session: self.session,
            schema: self.schema,
            iam_role: self.iam_role,
            table: self.table,
            batch: self.batch,
            lake: self.lake,
            older: all,
        }
        .run()
    }

    /// What a failed statement means: a file is at fault only where that is known.
    fn fault(&self, error: &str, part: Option<usize>) -> Error {
        match part {
            Some(sql::COPY) if lies_in_a_file(error) => Error::BadFile(self.file_at_fault(error)),
            Some(sql::ROW_CHECK) if error.to_lowercase().contains(sql::MISCOUNTED) => {
                self.miscounted()
            }
            _ => failed(error),
        }
    }

    /// The message with the path of the file that it names.
    fn file_at_fault(&self, error: &str) -> String {
        let named = |file: &&RegisteredFile| {
            self.lake
                .location(&file.file.path)
                .is_some_and(|url| error.contains(&url))
                || error.contains(&file.file.path)
        };
        match self.batch.files.iter().find(named) {
            Some(file) => format!(
                "lake file '{}' does not fit table '{}': {error}",
                file.file.path, self.table.name
            ),
            None => format!(
                "a file of batch '{}' does not fit table '{}': {error}",
                self.batch.id, self.table.name
            ),
        }
    }

    /// Finds the file with another number of rows than was registered. All are read for that, which
    /// happens only then.
    fn miscounted(&self) -> Error {
        for file in &self.batch.files {
            let path = &file.file.path;
            let rows = self
                .lake
                .read(path)
                .and_then(|bytes| theatre_parquet::rows(path, bytes));
            match rows {
                Ok(rows) if rows != file.file.rows => {
                    return Error::BadFile(format!(
                        "lake file '{path}' does not fit table '{}': it has {rows} rows, its registration says {}",
                        self.table.name, file.file.rows
                    ));
                }
                Ok(_) => {}
                Err(Error::Refused(why) | Error::Gone(why) | Error::BadFile(why)) => {
                    return Error::BadFile(format!("lake file '{path}' cannot be counted: {why}"));
                }
                // A lake that is away says nothing about its files.
                Err(error) => return error,
            }
        }
        Error::BadFile(format!(
            "the files of batch '{}' gave another number of rows than they have, or rows without a value in a column that tells rows apart",
            self.batch.id
        ))
    }
}

/// A refused request, such as for a missing right, and what it was for.
fn not_of_a_file(what: &str, error: Error) -> Error {
    match error {
        Error::Refused(why) => Error::Refused(format!("a load cannot be {what}: {why}")),
        other => other,
    }
}

/// True for an error of COPY that says that a file's columns have other types than the table's.
fn is_of_types(error: &str) -> bool {
    error.to_lowercase().contains("incompatible parquet s")
}

/// What the ledger says of a batch.
pub(super) fn receipt(session: &Session, schema: &str, batch: &str) -> Result<Option<LoadReceipt>> {
    let ledger = sql::name(schema);
    let found = session.rows(
        &format!("SELECT row_count FROM {ledger}.load_ledger WHERE batch = :batch"),
        &[("batch", batch)],
    )?;
    let rows = found
        .rows
        .first()
        .and_then(|row| row.first())
        .and_then(serde_json::Value::as_u64);
    Ok(rows.map(|rows| LoadReceipt {
        batch: batch.to_owned(),
        rows,
    }))
}

/// A SHA-256 in hexadecimal, 56 characters: it stays within a client token and, with a prefix,
/// within a name.
fn hash(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_be_bytes());
        hasher.update(part);
    }
    hasher
        .finalize()
        .iter()
        .take(28)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
