//! Theatre's runtime: everything that touches the world, and the wiring that makes a pipeline of
//! it.
//!
//! Reading order: [`config`], [`pipeline`] (the way of the data), [`adapters`] (which adapter
//! stands behind which port): [`embedded`], [`kafka`], [`postgres`], [`s3`], [`redshift`], and
//! their twins in [`memory`]; [`dev`] (local servers), [`parquet`] (columns to files),
//! [`simulator`] and [`replay`] (sources), [`telemetry`] and [`admin`] (being watched), [`cli`]
//! (commands).

pub mod adapters;
pub mod admin;
mod aws;
pub mod cli;
pub mod clock;
pub mod config;
pub mod dev;
pub mod drive;
pub mod embedded;
mod gate;
pub mod kafka;
pub mod memory;
pub mod parquet;
pub mod partitioner;
pub mod pipeline;
pub mod postgres;
pub mod reconcile;
pub mod redshift;
pub mod repartition;
pub mod replay;
pub mod s3;
pub mod schema_source;
pub mod simulator;
pub mod telemetry;
