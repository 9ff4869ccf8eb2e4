//! One load: manifest, statement, and what its end means.

use aws_sdk_redshiftdata::types::StatusString;
use serde_json::json;
use sha2::{Digest, Sha256};
use theatre_actors::ports::{
    Error, Lake, LoadBatch, LoadReceipt, RegisteredFile, Result, TableSpec,
};

use super::poller::{Ended, lies_in_a_file};
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
        let token = hash(&[name, &self.table.name, &attempt.to_string()]);
        let stage = format!("theatre_stage_{}", &token[..16]);
        let load = Load {
            schema: self.schema,
            table: self.table,
            batch: self.batch,
            manifest: &manifest,
            iam_role: self.iam_role,
            stage: &stage,
        };
        self.session
            .submit_batch(load.statements(), name, &token)
            .map_err(|error| not_of_a_file("submitted", error))
    }

    /// Writes the manifest beside the data, and returns its URL. It is the same, byte by byte,
    /// whenever the batch is.
    fn write_manifest(&self) -> Result<String> {
        let nowhere =
            || unavailable("the warehouse can only load from a lake on S3: set [lake] url");
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
            unavailable(format!("the manifest of a load cannot be written: {error}"))
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

    /// What a failed statement means: only what is known to lie in the files is refused.
    fn fault(&self, error: &str, part: Option<usize>) -> Error {
        match part {
            Some(sql::COPY) if lies_in_a_file(error) => Error::Refused(self.file_at_fault(error)),
            Some(sql::ROW_CHECK) if error.to_lowercase().contains(sql::MISCOUNTED) => {
                self.miscounted()
            }
            _ => unavailable(error),
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
                    return Error::Refused(format!(
                        "lake file '{path}' does not fit table '{}': it has {rows} rows, its registration says {}",
                        self.table.name, file.file.rows
                    ));
                }
                Ok(_) => {}
                Err(Error::Refused(why)) => {
                    return Error::Refused(format!("lake file '{path}' cannot be counted: {why}"));
                }
                // A lake that is away says nothing about its files.
                Err(error) => return error,
            }
        }
        Error::Refused(format!(
            "the files of batch '{}' gave another number of rows than they have, or rows without a value in a column that tells rows apart",
            self.batch.id
        ))
    }
}

/// A refused request, such as for a missing right, as a fault that passes: refused loads put their
/// files into quarantine, and no file is to blame.
fn not_of_a_file(what: &str, error: Error) -> Error {
    match error {
        Error::Refused(why) => unavailable(format!("a load cannot be {what}: {why}")),
        other => other,
    }
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
