//! The `theatre` command.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    theatre_runtime::telemetry::log_to_stderr();
    theatre_runtime::cli::main()
}
