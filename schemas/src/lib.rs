//! Theatre's schemas: what a record is, how its bytes become Arrow columns, and how fields that
//! identify persons become pseudonyms.
//!
//! Reading order: [`dataset`] (columns and roles found from an Avro schema), [`declaration`] (the
//! same for schemas without Theatre's properties), [`framing`] (how a message names its schema),
//! [`registry`] (schema id to writer schema), [`decode`] (bytes to columns, by the writer's
//! schema), [`datums`] (records one behind another), [`encode`] (JSON to such bytes), [`batch`]
//! (the decoded columns), [`records`] (what Theatre publishes: alerts, outcomes, dead letters),
//! [`pseudonym`] (keyed pseudonyms and sealed bytes). The `.avsc` files live under
//! `avro/<subject>/vN.avsc`.
//!
//! Invariant: no I/O, no clock, no randomness; nothing here knows of Kafka, files or actors.

mod avro_type;

pub mod batch;
pub mod dataset;
pub mod datums;
pub mod declaration;
pub mod decode;
pub mod encode;
pub mod framing;
pub mod pseudonym;
pub mod records;
pub mod registry;
pub mod signal_rows;
