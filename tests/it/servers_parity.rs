//! The same input gives the same on Kafka, PostgreSQL, S3 and Redshift as it does embedded, whoever produced it.

use anyhow::{Result, ensure};
use theatre_actors::ports::EventLog;
use theatre_runtime::config::INPUT_TOPICS;
use theatre_tests::broker::{Partitioner, kcat};
use theatre_tests::conclusions::Conclusions;
use theatre_tests::deployment::Deployment;
use theatre_tests::fleet::{self, Fleet};

const ROBOTS: u64 = 10;
const TICKS: u64 = 600;
const PARTITIONS: u32 = 4;

/// What the fleet's first ticks come to on embedded adapters.
fn embedded(step: u64) -> Result<Conclusions> {
    let deployment = Deployment::new(&fleet::settings(PARTITIONS))?;
    std::fs::write(deployment.path("rules.toml"), fleet::RULES)?;
    {
        let log = deployment.writing_ports("embedded")?.log;
        log.ensure_topics(&INPUT_TOPICS.map(str::to_owned), PARTITIONS)?;
        let fleet = Fleet::new(ROBOTS, PARTITIONS)?;
        for begin in (0..TICKS).step_by(step as usize) {
            fleet.feed(&*log, begin..(begin + step).min(TICKS))?;
        }
    }
    deployment.drain("embedded")?;
    deployment.run("embedded", &["reconcile"])?;
    Conclusions::read(&deployment.config()?, &deployment.ports("embedded")?)
}

#[test]
fn try_embedded() -> Result<()> {
    let one = embedded(10)?;
    let alerts: usize = one.alerts.values().map(Vec::len).sum();
    println!("{} alerts {} outcomes {} windows {} dead {:?} {:?}", alerts, one.outcomes.len(), one.windows.len(), one.dead.len(), one.counters, one.lake.iter().map(|(n, r)| (n, r.values().sum::<u64>())).collect::<Vec<_>>());
    println!("{:?}", one.warehouse.iter().map(|(n, r)| (n, r.values().sum::<u64>())).collect::<Vec<_>>());
    one.must_equal(&embedded(600)?)
}
