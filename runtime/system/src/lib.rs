//! What stands between the pure core and the operating system: the one place that reads wall-clock
//! time, the bridge from blocking threads to asynchronous clients, and a small HTTP client.

pub mod blocking;
pub mod clock;
#[cfg(feature = "http")]
pub mod http;
