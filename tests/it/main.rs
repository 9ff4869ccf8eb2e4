//! The system tests: one binary.

mod bench;
mod bounds;
mod checkpointer;
mod contracts;
mod crash;
mod done;
mod fetchers;
mod health;
mod hostile;
mod kafka;
mod postgres;
mod real_input;
mod recordings;
mod redshift;
mod repartition;
mod s3;
mod schema_changes;
mod schemas;
mod secure;
mod servers;
mod servers_chaos;
mod servers_parity;
mod servers_sharing;
mod simulation;
mod simulator;
mod stores_of_before;
