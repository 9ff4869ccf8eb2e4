//! The past that rules are tried on, or learn from: a period of the lake, and the actors run over it.

use std::collections::BTreeSet;
use std::time::Instant;

use clap::Args;
use serde::Serialize;
use theatre_actors::ports::CheckpointStore;
use theatre_actors::position::Partition;
use theatre_actors::rules::Micros;
use theatre_backtest::{Archive, Past, Question};
use theatre_pipeline::PipelineParams;

use crate::cli::Failure;
use crate::cli::moment::moment;
use crate::cli::output::{progress, progress_done};
use crate::cli::service::Place;

/// A period of the lake, and robots.
#[derive(Debug, Clone, Args)]
pub(super) struct Period {
    /// Event time at which the period begins: a date, or a time such as 2026-01-31T08:00:00Z
    /// [default: where the lake begins].
    #[arg(long, value_name = "DATE", value_parser = moment)]
    pub(super) from: Option<i64>,
    /// Event time before which the period ends [default: where the lake ends].
    #[arg(long, value_name = "DATE", value_parser = moment)]
    pub(super) to: Option<i64>,
    /// Only these robots, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "ROBOT")]
    pub(super) robots: Vec<String>,
}

/// How fast it went.
#[derive(Debug, Serialize)]
pub(super) struct Speed {
    pub(super) rows: u64,
    pub(super) seconds: f64,
    pub(super) rows_per_s: u64,
    /// CPU time, user and system; absent where the system does not tell it.
    pub(super) cpu_seconds: Option<f64>,
}

impl Period {
    /// Refuses a period in which nothing can be, and a place without a lake.
    pub(super) fn check(&self, place: &Place) -> Result<(), Failure> {
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from >= to
        {
            return Err(Failure::Usage(
                "--to must be after --from: what is at --to is not in the period".to_owned(),
            ));
        }
        if !place.config.lake.enabled {
            return Err(Failure::Usage(
                "[lake] enabled is false: there is no past to try rules on".to_owned(),
            ));
        }
        Ok(())
    }

    /// The same period with so much before it.
    pub(super) fn earlier_by(&self, span: Micros) -> Self {
        Self {
            from: self.from.map(|from| from.saturating_sub(span.0)),
            ..self.clone()
        }
    }

    /// Runs the actors over the lake's files.
    pub(super) fn look_back(
        &self,
        place: &Place,
        params: &PipelineParams,
    ) -> Result<(Past, Speed), Failure> {
        let adapters = place.look()?;
        let (store, lake) = (adapters.store()?, adapters.lake()?);
        let (topics, partitions) = store.layout()?.unwrap_or_default();
        let (files, past) = (store.all_files()?, store.past_layouts()?);
        let home = |robot: &str, among: &[Partition]| home(&*store, robot, among);
        let question = Question {
            from: self.from,
            to: self.to,
            robots: self.robots.iter().cloned().collect::<BTreeSet<_>>(),
        };
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        let (begun, cpu_before) = (Instant::now(), cpu_seconds());
        let result = theatre_backtest::run(
            &Archive {
                lake: &*lake,
                files: &files,
                topics: &topics,
                partitions,
                past: &past,
                home: &home,
            },
            &params.processor,
            params.registry.datasets(),
            &question,
            threads,
            &|rows| progress(format_args!("{rows} rows")),
        );
        progress_done();
        let past = result?;
        let seconds = begun.elapsed().as_secs_f64().max(1e-9);
        let speed = Speed {
            rows: past.rows,
            seconds,
            rows_per_s: (past.rows as f64 / seconds) as u64,
            cpu_seconds: cpu_seconds()
                .zip(cpu_before)
                .map(|(now, before)| now - before),
        };
        Ok((past, speed))
    }
}

/// In which of these partitions a robot has a processor.
fn home(store: &dyn CheckpointStore, robot: &str, among: &[Partition]) -> Option<Partition> {
    let is_there = |partition: &Partition| {
        let stored = store.processor(*partition, robot);
        stored.is_ok_and(|stored| stored.is_some())
    };
    among.iter().copied().find(is_there)
}

/// CPU time of this process so far, user and system; `None` where Linux does not tell it.
fn cpu_seconds() -> Option<f64> {
    const TICKS: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in parentheses, may hold anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut times = rest.split(' ').skip(11).map(str::parse::<f64>);
    let (user, system) = (times.next()?.ok()?, times.next()?.ok()?);
    Some((user + system) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_given_in_dates_or_times() {
        for (text, at) in [
            ("1970-01-02", 86_400_000_000),
            ("1970-01-01T00:00:01Z", 1_000_000),
            ("1970-01-01T01:00:01+01:00", 1_000_000),
        ] {
            assert_eq!(moment(text), Ok(at), "{text}");
        }
        for text in ["yesterday", "1970-13-01", "1970-01-01T00:00:01", ""] {
            assert!(moment(text).is_err(), "{text}");
        }
    }
}
