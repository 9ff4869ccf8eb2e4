//! Work on a deployment as a whole, over its ports: proving that every record is held once
//! ([`reconcile`]), giving every topic more partitions ([`repartition`]), building states anew
//! ([`rebuild`]), sending dead letters again or erasing them ([`dead_letters`]), and asking all of
//! its dependencies at once ([`checkup`]).

pub mod checkup;
pub mod dead_letters;
pub mod drained;
pub mod erasure;
pub mod rebuild;
pub mod reconcile;
pub mod repartition;
