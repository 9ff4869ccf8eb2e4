//! The program: commands ([`cli`]), the admin server ([`admin`]), recorded input ([`replay`]), and
//! which adapter stands behind which port ([`adapters`]).
//!
//! Adapters of servers are features, all of them in the default build: who tries the demo builds
//! none of Kafka, PostgreSQL and AWS.

pub mod adapters;
pub mod admin;
pub mod cli;
pub mod replay;
