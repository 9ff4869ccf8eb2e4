//! The program: commands ([`cli`]), what they ask of stored data ([`queries`]), the admin server
//! ([`admin`]), what it refuses before it begins ([`gate`]), and which adapter stands behind which
//! port ([`adapters`]).
//!
//! Adapters of servers are features, all of them in the default build: a build for the
//! demo alone needs none of Kafka, PostgreSQL and AWS.

pub mod adapters;
pub mod admin;
pub mod cli;
pub mod gate;
pub mod queries;
mod traces;
