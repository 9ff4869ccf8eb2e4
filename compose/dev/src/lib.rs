//! Local servers for a person and for the tests, without a container engine: PostgreSQL, Kafka, an
//! object store, a warehouse.
//!
//! Each server keeps everything in one folder and its ports across restarts, so that addresses stay
//! valid. [`process`] says how long it lives.

pub mod kafka;
pub mod object_store;
pub mod postgres;
pub mod process;
pub mod stack;
