//! Local servers for a person and for the tests, without a container engine: PostgreSQL, Kafka, an object store, a warehouse.

pub mod object_store;
