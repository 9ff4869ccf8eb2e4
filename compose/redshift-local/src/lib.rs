//! A local stand-in for Amazon Redshift: the wire protocol of its Data API over PostgreSQL.
//!
//! A request is taken in and answered at once (`server`, `wire`, `statements`), then run on a
//! connection of its own (`run`): its SQL is read as Redshift's, rewritten or refused (`sql`), and
//! COPY loads Parquet files from S3 (`copy`). What Redshift refuses is refused here.

mod copy;
mod run;
mod server;
pub mod sql;
mod statements;
mod wire;

pub use copy::S3Access;
pub use server::{Options, RedshiftLocal};
pub use wire::Parameter;
