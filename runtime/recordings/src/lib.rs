//! Recordings: files that people have, read as rows of telemetry.
//!
//! Data flows one way: bytes are opened, decompressed and decoded ([`records`] says what every kind
//! of file becomes), a mapping gives each column its field and its meaning, and rows come out, or
//! refusals that say what, where and what to do.

pub mod identity;
pub mod records;
pub mod sort;
pub mod spool;
