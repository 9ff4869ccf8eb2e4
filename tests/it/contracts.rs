//! The contract suite of each port, on the embedded adapters, on their twins in memory, and on the
//! production adapters against real servers.

use std::sync::Arc;

use anyhow::Result;
use theatre_actors::ports::CheckpointStore;
use theatre_config::log::{LogConfig, LogFetcher};
use theatre_config::store::StoreConfig;
use theatre_embedded::access::EmbeddedAccess;
use theatre_embedded::lake::DirectoryLake;
use theatre_embedded::log::EmbeddedLog;
use theatre_embedded::store::EmbeddedStore;
use theatre_embedded::warehouse::EmbeddedWarehouse;
use theatre_system::blocking::IoRuntime;
use theatre_system::clock::SystemClock;
use theatre_testkit::contract;
use theatre_testkit::memory::lake::MemoryLake;
use theatre_testkit::memory::log::MemoryLog;
use theatre_testkit::memory::store::MemoryStore;
use theatre_tests::servers;

#[test]
fn the_embedded_log_keeps_its_contract() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let log = EmbeddedLog::open(&folder.path().join("log"), Arc::new(SystemClock))?;
    contract::log_keeps_records(&log)?;
    contract::log_fences_lanes(&log)?;
    contract::log_grows_topics(&log)
}

#[test]
fn the_log_in_memory_keeps_its_contract() -> Result<()> {
    let log = MemoryLog::new(Arc::new(SystemClock));
    contract::log_keeps_records(&log)?;
    contract::log_fences_lanes(&log)?;
    contract::log_grows_topics(&log)
}

#[test]
fn the_log_on_kafka_keeps_its_contract() -> Result<()> {
    kafka_keeps_log_contract(LogFetcher::Lean)
}

#[test]
fn the_log_on_kafka_keeps_its_contract_with_the_fetcher_of_librdkafka() -> Result<()> {
    kafka_keeps_log_contract(LogFetcher::Librdkafka)
}

fn kafka_keeps_log_contract(fetcher: LogFetcher) -> Result<()> {
    let config = LogConfig {
        deployment: servers::unique("deployment"),
        fetcher,
        ..LogConfig::default()
    };
    let log = theatre_kafka::open(
        &format!("kafka://{}", servers::kafka()?),
        &config,
        &IoRuntime::start()?,
    )?;
    contract::log_keeps_records(&*log)?;
    contract::log_fences_lanes(&*log)?;
    contract::log_grows_topics(&*log)
}

#[test]
fn the_embedded_store_keeps_its_contract() -> Result<()> {
    let folder = tempfile::tempdir()?;
    keeps_store_contract(|name| Ok(Arc::new(EmbeddedStore::open(&folder.path().join(name))?)))
}

#[test]
fn the_embedded_access_store_keeps_its_contract() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("access");
    // Commands write it beside the process that runs.
    let (one, other) = (EmbeddedAccess::open(&path)?, EmbeddedAccess::open(&path)?);
    contract::access::keeps_its_contract(&one, &other)
}

#[test]
fn the_access_store_on_postgres_keeps_its_contract() -> Result<()> {
    let (url, io) = (servers::database()?, IoRuntime::start()?);
    let config = StoreConfig::default();
    theatre_postgres::migrate(&url, &config, &io)?;
    let open = || theatre_postgres::open_access(&url, &config, &io);
    contract::access::keeps_its_contract(&*open()?, &*open()?)
}

#[test]
fn the_store_in_memory_keeps_its_contract() -> Result<()> {
    keeps_store_contract(|_| Ok(Arc::new(MemoryStore::default())))
}

#[test]
fn the_store_on_postgres_keeps_its_contract() -> Result<()> {
    let (url, io) = (servers::database()?, IoRuntime::start()?);
    keeps_store_contract(|name| {
        let config = StoreConfig {
            schema: name.to_owned(),
            ..StoreConfig::default()
        };
        theatre_postgres::migrate(&url, &config, &io)?;
        Ok(theatre_postgres::open(&url, &config, &io)?)
    })
}

/// The whole contract, each part on an empty store of that name.
fn keeps_store_contract(empty: impl Fn(&str) -> Result<Arc<dyn CheckpointStore>>) -> Result<()> {
    contract::store_commits_once_and_fences(&*empty("commits")?)?;
    contract::store_numbers_densely(&*empty("numbers")?)?;
    contract::store_keeps_homes(&*empty("homes")?)?;
    contract::store_takes_any_name(&*empty("names")?)?;
    contract::store_expires_windows(&*empty("windows")?)?;
    contract::store_keeps_a_position_for_each_consumer(&*empty("cursors")?)?;
    contract::store_keeps_what_was_not_delivered(&*empty("undelivered")?)?;
    contract::store_keeps_what_is_done_about_dead_letters(&*empty("dead_letters")?)?;
    contract::store_gives_pages(&*empty("pages")?)?;
    contract::store_plans_loads(&*empty("loads")?)?;
    contract::store_finds_files(&*empty("found_files")?)?;
    contract::store_revises_files(&*empty("revised_files")?)?;
    contract::store_exports_each_output_once(&*empty("exports")?)?;
    contract::store_plans_beside_what_is_stuck(&*empty("stuck")?)?;
    contract::store_repartitions(&*empty("repartition")?)
}

#[test]
fn the_directory_lake_keeps_its_contract() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let lake = DirectoryLake::open(folder.path())?;
    contract::lake_completes_once(&lake)?;
    contract::lake_replaces(&lake)
}

#[test]
fn the_lake_in_memory_keeps_its_contract() -> Result<()> {
    let lake = MemoryLake::default();
    contract::lake_completes_once(&lake)?;
    contract::lake_replaces(&lake)
}

#[test]
fn the_s3_lake_keeps_its_contract() -> Result<()> {
    let lake = servers::lake()?;
    contract::lake_completes_once(&lake)?;
    contract::lake_replaces(&lake)
}

#[test]
fn the_embedded_warehouse_keeps_its_contract() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (warehouse, lake) = (
        EmbeddedWarehouse::open(&folder.path().join("warehouse"))?,
        MemoryLake::default(),
    );
    contract::warehouse_loads_once(&warehouse, &lake)?;
    contract::warehouse_widens(&warehouse, &lake)?;
    contract::warehouse_erases(&warehouse, &lake)?;
    contract::warehouse_tells_cases_apart(&warehouse, &lake)
}

#[test]
fn the_warehouse_in_memory_keeps_its_contract() -> Result<()> {
    let (warehouse, lake) = (EmbeddedWarehouse::in_memory()?, MemoryLake::default());
    contract::warehouse_loads_once(&warehouse, &lake)?;
    contract::warehouse_widens(&warehouse, &lake)?;
    contract::warehouse_erases(&warehouse, &lake)?;
    contract::warehouse_tells_cases_apart(&warehouse, &lake)
}

#[test]
fn the_redshift_warehouse_keeps_its_contract() -> Result<()> {
    let servers::Warehouse {
        warehouse, lake, ..
    } = &servers::warehouse()?;
    contract::warehouse_loads_once(warehouse, lake)?;
    contract::warehouse_widens(warehouse, lake)?;
    contract::warehouse_erases(warehouse, lake)?;
    contract::warehouse_tells_cases_apart(warehouse, lake)
}
