//! Where writers' schemas come from: a folder, a Confluent-compatible registry, AWS Glue. Each is
//! a [`theatre_actors::ports::SchemaSource`], opened from its section of the configuration by
//! [`Sources`].

#[cfg(feature = "servers")]
pub mod confluent;
pub mod directory;
#[cfg(feature = "servers")]
pub mod glue;
#[cfg(feature = "servers")]
mod http;
mod sources;

pub use sources::Sources;
