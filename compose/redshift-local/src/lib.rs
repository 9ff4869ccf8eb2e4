//! A local stand-in for Amazon Redshift: its Data API over PostgreSQL.

pub mod sql;
