//! The bridge to asynchronous clients from the pipeline's blocking threads: one small tokio
//! runtime, shared by the adapters that need one.

use std::future::Future;
use std::sync::Arc;

use theatre_actors::ports::{Error, Result};
use tokio::runtime::{Builder, Handle, Runtime};

/// A shared tokio runtime; cheap to clone. Never used from within asynchronous code.
#[derive(Debug, Clone)]
pub struct IoRuntime(Arc<Runtime>);

impl IoRuntime {
    /// A runtime with two worker threads: clients wait far more than they compute.
    ///
    /// # Errors
    /// When threads cannot be had.
    pub fn start() -> Result<Self> {
        let built = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("theatre-io")
            .enable_all()
            .build();
        built
            .map(|runtime| Self(Arc::new(runtime)))
            .map_err(|error| {
                Error::Refused(format!(
                    "threads for input and output cannot be started: {error}"
                ))
            })
    }

    /// Runs a future to its end on the calling thread.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.0.block_on(future)
    }

    /// For tasks of its own in the background.
    pub fn handle(&self) -> &Handle {
        self.0.handle()
    }
}
