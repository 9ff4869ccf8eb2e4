//! The program: commands ([`cli`]), the admin server ([`admin`]) and who asks it
//! ([`admin_client`]), the HTTP interface ([`api`]), what is refused before it begins ([`gate`]),
//! what is asked of everything it depends on ([`doctor`]), what is shown of processes that run
//! ([`top`]), which adapter stands behind which port ([`adapters`]), and who else receives outputs
//! ([`sinks`]).
//!
//! Adapters of servers are features, all of them in the default build: a build for the
//! demo alone needs none of Kafka, PostgreSQL and AWS.

pub mod adapters;
pub mod admin;
pub mod admin_client;
pub mod api;
pub mod cli;
pub mod doctor;
mod foreseen;
pub mod gate;
mod letters;
mod open_files;
mod reports;
pub mod sinks;
pub mod top;
mod traces;
