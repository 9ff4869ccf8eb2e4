//! The command `redshift-local`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Result;
use clap::Parser;
use redshift_local::{Options, RedshiftLocal, S3Access};

const EXAMPLES: &str = "Examples:
  redshift-local --postgres postgres://postgres@127.0.0.1:5432/postgres --database dev
  redshift-local --s3-endpoint http://127.0.0.1:9000 --path-style --database dev
Then point any AWS client at it:
  AWS_ENDPOINT_URL_REDSHIFT_DATA=http://127.0.0.1:8439 aws redshift-data execute-statement --workgroup-name any --database dev --sql 'SELECT 1'";

/// A local stand-in for Amazon Redshift: its Data API over PostgreSQL, with COPY of Parquet files
/// from S3.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Arguments {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8439")]
    listen: SocketAddr,
    /// PostgreSQL's URL; requests name the database.
    #[arg(
        long,
        env = "REDSHIFT_LOCAL_POSTGRES",
        hide_env_values = true,
        default_value = "postgres://postgres@127.0.0.1:5432/postgres"
    )]
    postgres: String,
    /// Database to create where it is missing; may be given more than once.
    #[arg(long = "database")]
    databases: Vec<String>,
    /// URL of an S3 look-alike; absent: AWS_ENDPOINT_URL_S3, or Amazon's.
    #[arg(long, env = "AWS_ENDPOINT_URL_S3")]
    s3_endpoint: Option<String>,
    /// Put the bucket into the path, not into the host name.
    #[arg(long)]
    path_style: bool,
    /// Statements that may be under way at a time.
    #[arg(long, default_value_t = 500)]
    active_max: usize,
    /// Rows on a page of a result.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    page_rows: u32,
}

fn main() -> Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    // Said explicitly: the first process of a container gets only signals that it handles. What is
    // under way is rolled back, as PostgreSQL loses its client.
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(
            signal,
            0,
            Arc::new(AtomicBool::new(true)),
        )?;
    }
    let s3 = S3Access {
        endpoint: arguments.s3_endpoint,
        path_style: arguments.path_style,
        ..S3Access::default()
    };
    let server = RedshiftLocal::start(Options {
        listen: arguments.listen,
        postgres: arguments.postgres,
        databases: arguments.databases,
        s3,
        active_max: arguments.active_max,
        page_rows: arguments.page_rows as usize,
    })?;
    println!("redshift-local answers at {}", server.endpoint());
    server.wait();
    Ok(())
}
