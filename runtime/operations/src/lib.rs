//! Work on a deployment as a whole, over its ports: proving that every record is held once
//! ([`reconcile`]), giving every topic more partitions ([`repartition`]), building states anew
//! ([`rebuild`]), sending dead letters again or erasing them ([`dead_letters`]), erasing rows of the
//! lake and the warehouse ([`erasure`]), and asking all of its dependencies at once ([`checkup`]).
//! Of some there may be one at a time ([`lease`]).

pub mod checkup;
pub mod dead_letters;
pub mod drained;
pub mod erasure;
pub mod lease;
pub mod rebuild;
pub mod reconcile;
pub mod repartition;
