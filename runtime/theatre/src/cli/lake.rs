//! `theatre lake`: the lake's files, those that were set aside, records that it never had, and rows
//! that are erased.

mod erase;

use clap::Subcommand;
use serde_json::json;

use super::output::{rows, value, write};
use super::service::{Place, store};
use super::{Common, Failure, Output};
use theatre_pipeline::lake_gap::{self, LogGap};
use theatre_queries::{self as queries, LakeFileStatus};

/// Looks at the lake, puts back what was set aside, and erases rows.
#[derive(Debug, Subcommand)]
pub(super) enum Lake {
    /// Makes the bucket if it is missing; one that is there stays as it is.
    #[command(after_help = "Example: theatre lake create --config theatre.toml")]
    Create,
    /// Registered files: how far each is, and why one was set aside.
    #[command(after_help = "Example: theatre lake list --output json")]
    List,
    /// Puts all files back that were set aside, once what was wrong is put right: quarantined ones
    /// to be loaded, lost ones to be completed. Theatre may be running.
    #[command(
        after_help = "Example: theatre lake list (stage and note say what was refused, and why), then\n         theatre lake requeue --config theatre.toml"
    )]
    Requeue,
    /// Erases rows of the lake, and the same rows of the warehouse, for good: those of robots, or those
    /// that happened before a date. Says first what would go, by table. Theatre may be running.
    #[command(
        after_help = "Examples: theatre lake erase --robot robot-0007 --dry-run   (what would go)\n          \
                            theatre lake erase --robot robot-0007 --reason 'returned to its owner'\n          \
                            theatre lake erase --before 2024-01-01 --dataset robot_telemetry --yes"
    )]
    Erase(erase::Erase),
    /// Lets the lake go on where records are gone from the log that it never had: it was away, or
    /// switched off, for longer than the log keeps them. Theatre may be running.
    #[command(
        after_help = "Example: theatre lake skip --dry-run --config theatre.toml (which records are gone), then\n         \
                            theatre lake skip --config theatre.toml"
    )]
    Skip {
        /// Only say which records are gone.
        #[arg(long)]
        dry_run: bool,
    },
}

impl Lake {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        match self {
            Self::Create => create(common),
            Self::List => list(common),
            Self::Requeue => requeue(common),
            Self::Erase(erase) => erase.run(common),
            Self::Skip { dry_run } => skip(common, dry_run),
        }
    }
}

#[cfg(feature = "s3")]
fn create(common: &Common) -> Result<(), Failure> {
    let config = super::service::config(common)?;
    let Some(url) = &config.lake.url else {
        eprintln!("[lake] url is not set: the embedded lake needs no bucket");
        return super::output::if_json(common.output, &json!({"url": null, "created": false}));
    };
    let io = theatre_system::blocking::IoRuntime::start()?;
    let created = theatre_s3::create_bucket(url, &config.lake, &io)?;
    if common.output == Output::Json {
        value(&json!({"url": url, "created": created}))
    } else if created {
        write(&format!("created the bucket of {url}\n"))
    } else {
        eprintln!("the bucket of {url} is there already");
        Ok(())
    }
}

#[cfg(not(feature = "s3"))]
fn create(_: &Common) -> Result<(), Failure> {
    Err(super::left_out::refusal("theatre lake create", "s3"))
}

fn list(common: &Common) -> Result<(), Failure> {
    let line = |file: LakeFileStatus| {
        vec![
            json!(file.path),
            json!(file.rows),
            json!(file.erased),
            json!(file.bytes),
            json!(file.stage),
            json!(file.note),
        ]
    };
    let files = queries::lake_files(&*store(common)?)?;
    rows(
        common.output,
        &["path", "rows", "erased", "bytes", "stage", "note"],
        &files.into_iter().map(line).collect::<Vec<_>>(),
    )
}

fn requeue(common: &Common) -> Result<(), Failure> {
    let place = Place::of(common)?;
    // The store is opened for reading first, which fails where there is none: opening it for
    // writing would create one.
    place.look()?.store()?;
    // The lock of the data directory is not taken, so that a running process can go on: what it
    // plans meanwhile is not touched.
    let files = place.write()?.store()?.requeue_quarantined()?;
    match common.output {
        Output::Json => value(&json!({ "files": files })),
        Output::Table => write(&format!("{files} files are to be tried again\n")),
    }
}

fn skip(common: &Common, dry_run: bool) -> Result<(), Failure> {
    let place = Place::of(common)?;
    let (log, reading) = (place.look()?.log()?, place.look()?.store()?);
    let gaps = if dry_run {
        queries::lake_gaps(&*log, &*reading)?
    } else {
        let (topics, partitions) = reading.layout()?.unwrap_or_default();
        let writing = place.write()?.store()?;
        let mut skipped = Vec::new();
        for partition in 0..partitions {
            skipped.extend(lake_gap::skip(&*log, &*writing, &topics, partition)?);
        }
        skipped
    };
    let line = |gap: LogGap| {
        vec![
            json!(gap.topic),
            json!(gap.partition),
            json!(gap.from),
            json!(gap.to),
            json!(gap.to - gap.from),
        ]
    };
    rows(
        common.output,
        &["topic", "partition", "from", "to", "records"],
        &gaps.into_iter().map(line).collect::<Vec<_>>(),
    )
}
