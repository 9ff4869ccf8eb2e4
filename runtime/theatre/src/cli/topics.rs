//! `theatre topics`: makes the topics on Kafka, and compares what is there with what Theatre needs.

use clap::Subcommand;
use serde_json::json;

use super::output::rows;
use super::{Common, Failure};
use theatre_embedded::data_dir::DataDir;
use theatre_kafka::{ExpectedTopic, TopicAudit};
use theatre_system::blocking::IoRuntime;

/// Topics of a log on Kafka.
#[derive(Debug, Subcommand)]
pub(super) enum Topics {
    /// Makes those that are missing; changes none that is there, and makes none, exit code 4, if
    /// one that is there has another number of partitions.
    #[command(after_help = "Example: theatre topics create --dry-run --config theatre.toml")]
    Create {
        /// Only say what would be made.
        #[arg(long)]
        dry_run: bool,
    },
    /// Compares partitions and settings; exits with 4 on a difference.
    #[command(after_help = "Example: theatre topics check --config theatre.toml --output json")]
    Check,
}

impl Topics {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let config = super::service::config(common)?;
        let Some(url) = &config.log.url else {
            return Err(Failure::Usage("log.url is not set: the embedded log makes its topics by itself; `theatre topics` is for a log on Kafka".to_owned()));
        };
        let dir = DataDir::new(&common.data);
        let params = crate::adapters::params(&config, &dir, [0; 32])?;
        let wanted = TopicAudit::wanted(
            &config.log,
            params.all_topics(),
            &params.topics,
            params.partitions,
        );
        let audit = TopicAudit::open(url, &config.log, &IoRuntime::start()?)?;
        match self {
            Self::Create { dry_run } => create(common, &audit, &wanted, dry_run),
            Self::Check => check(common, &audit, &wanted),
        }
    }
}

fn create(
    common: &Common,
    audit: &TopicAudit,
    wanted: &[ExpectedTopic],
    dry_run: bool,
) -> Result<(), Failure> {
    let found: Vec<Option<u32>> = wanted
        .iter()
        .map(|one| audit.partitions(&one.topic))
        .collect::<Result<_, _>>()?;
    let differs = |one: &ExpectedTopic, there: &Option<u32>| {
        there.is_some_and(|there| there != one.partitions)
    };
    let any_differs = wanted
        .iter()
        .zip(&found)
        .any(|(one, there)| differs(one, there));
    let missing = found.iter().filter(|there| there.is_none()).count();
    let mut made = 0;
    let mut lines = Vec::new();
    for (one, there) in wanted.iter().zip(&found) {
        let state = match there {
            Some(_) if differs(one, there) => "differs",
            Some(_) => "there",
            None if dry_run || any_differs => "missing",
            None => {
                audit.create(one)?;
                made += 1;
                // Brokers with a quota of new partitions take minutes for all of them.
                eprintln!("{made} of {missing} made: {}", one.topic);
                "created"
            }
        };
        lines.push(vec![
            json!(one.topic),
            json!(one.partitions),
            json!(there),
            json!(state),
        ]);
    }
    rows(
        common.output,
        &["topic", "wanted", "found", "state"],
        &lines,
    )?;
    if any_differs {
        eprintln!(
            "nothing was made: all topics need one number of partitions; set `partitions` to what your inputs have, before the first start \
             (later: `theatre state repartition`)"
        );
        return Err(Failure::Difference);
    }
    eprintln!("topics that were there are as they were; `theatre topics check` compares them");
    Ok(())
}

fn check(common: &Common, audit: &TopicAudit, wanted: &[ExpectedTopic]) -> Result<(), Failure> {
    let differences = audit.differences(wanted)?;
    let lines: Vec<_> = differences
        .iter()
        .map(|one| {
            vec![
                json!(one.topic),
                json!(one.setting),
                json!(one.wanted),
                json!(one.found),
            ]
        })
        .collect();
    rows(
        common.output,
        &["topic", "setting", "wanted", "found"],
        &lines,
    )?;
    if differences.is_empty() {
        eprintln!("{} topics are as they should be", wanted.len());
        return Ok(());
    }
    Err(Failure::Difference)
}
