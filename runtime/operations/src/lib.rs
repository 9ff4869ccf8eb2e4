//! Work on a deployment as a whole, over its ports: proving that every record is held once
//! ([`reconcile`]), and giving every topic more partitions ([`repartition`]).

pub mod drained;
pub mod reconcile;
pub mod repartition;
