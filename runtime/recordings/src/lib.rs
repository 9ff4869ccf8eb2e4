//! Recordings: files that people have, read as rows of telemetry.
//!
//! Data flows one way: bytes are opened, decompressed and decoded ([`source`]), become records of
//! cells under named columns ([`records`] is the trait of every kind of file, [`csv`] the one for
//! text), a [`mapping`] gives each column its field and its meaning ([`columns`], [`cells`],
//! [`times`]), and rows come out ([`rows`]), or refusals that say what, where and what to do.

pub mod column_search;
mod json;
#[cfg(feature = "mcap")]
pub mod mcap;
pub mod ndjson;
pub mod parquet;
pub mod records;
mod tree;
