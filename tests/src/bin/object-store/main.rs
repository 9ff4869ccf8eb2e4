//! The object store of a stand-in image: takes what the official image takes, variables
//! `RUSTFS_ACCESS_KEY`, `RUSTFS_SECRET_KEY`, `RUSTFS_VOLUMES` and `RUSTFS_ADDRESS`, and serves S3.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, ensure};
use signal_hook::consts::{SIGINT, SIGTERM};
use theatre_dev::object_store::ObjectStore;

fn variable(name: &str) -> Result<String> {
    let value = std::env::var(name).with_context(|| format!("{name} is not set"))?;
    ensure!(!value.is_empty(), "{name} is empty");
    Ok(value)
}

fn main() -> Result<()> {
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(
            signal,
            0,
            Arc::new(AtomicBool::new(true)),
        )?;
    }
    let folder = variable("RUSTFS_VOLUMES")?;
    ensure!(
        Path::new(&folder).is_dir(),
        "{folder}, of RUSTFS_VOLUMES, is no folder"
    );
    let store = ObjectStore::start_for(
        Path::new(&folder),
        &variable("RUSTFS_ADDRESS")?,
        &variable("RUSTFS_ACCESS_KEY")?,
        &variable("RUSTFS_SECRET_KEY")?,
    )?;
    println!("object store: {} over {folder}", store.endpoint());
    loop {
        std::thread::park();
    }
}
