//! The `theatre` command.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // A thread's heap of a few hundred KiB would hold 2 MiB, and there are hundreds of threads: each client of librdkafka has half a dozen.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        eprintln!("huge pages stay on ({error}): more memory will be held than is used");
    }
    theatre_runtime::telemetry::log_to_stderr();
    theatre_runtime::cli::main()
}
