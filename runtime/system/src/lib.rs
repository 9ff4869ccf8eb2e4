//! What stands between the pure core and the operating system: the one place that reads wall-clock
//! time, and the bridge from blocking threads to asynchronous clients.

pub mod blocking;
pub mod clock;
