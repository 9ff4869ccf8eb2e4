//! Theatre's runtime: everything that touches the world, and the wiring that makes a pipeline of it.
//!
//! Reading order: [`config`], [`pipeline`] (the way of the data), [`embedded`] and [`memory`] (the adapters of the
//! ports), [`parquet`] (columns to files), [`simulator`] and [`replay`] (sources), [`telemetry`] and [`admin`] (being watched),
//! [`cli`] (commands).

pub mod admin;
pub mod cli;
pub mod clock;
pub mod config;
pub mod embedded;
pub mod memory;
pub mod parquet;
pub mod partitioner;
pub mod pipeline;
pub mod reconcile;
pub mod replay;
pub mod simulator;
pub mod telemetry;
