//! Recordings: files that people have, read as rows of telemetry.
//!
//! Data flows one way: bytes are opened, decompressed and decoded ([`source`]), become records of
//! cells under named columns ([`records`] is the trait of every kind of file: [`csv`], [`ndjson`],
//! [`parquet`] and MCAP), a [`mapping`] gives each column its field and its meaning ([`columns`],
//! [`cells`], [`times`]), and rows come out ([`rows`]), or refusals that say what, where and what to
//! do. [`look`] says what a file seems to be, [`infer`] writes schema, mapping and rules for it.

pub mod cells;
pub mod column_search;
pub mod columns;
pub mod csv;
pub mod identity;
pub mod infer;
mod json;
pub mod look;
pub mod mapping;
#[cfg(feature = "mcap")]
pub mod mcap;
mod names;
pub mod ndjson;
pub mod open;
pub mod parquet;
pub mod records;
pub mod rows;
pub mod sort;
pub mod source;
pub mod spool;
pub mod times;
mod tree;
