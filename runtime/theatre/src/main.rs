//! The `theatre` command.

use std::process::ExitCode;

#[cfg(feature = "jemalloc")]
use tikv_jemallocator::Jemalloc;

/// It stands in for C's `malloc` too: librdkafka allocates what Theatre frees.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Options of jemalloc, which reads this symbol when it starts; the environment's `MALLOC_CONF`
/// comes on top. An arena for each core: of the hundreds of threads, nearly all wait for a
/// server, and an arena of their own would keep what they freed. Freed memory goes back after 0.5
/// s, instead of 10: a stretch of records is read, aggregated and dropped in far less.
#[cfg(feature = "jemalloc")]
#[allow(unsafe_code, non_upper_case_globals)]
// SAFETY: jemalloc expects a pointer to a C string here, and nothing else defines the name.
#[unsafe(export_name = "malloc_conf")]
static malloc_conf: Option<&'static std::ffi::c_char> = {
    const OPTIONS: &std::ffi::CStr =
        c"percpu_arena:percpu,background_thread:true,dirty_decay_ms:500,muzzy_decay_ms:0";
    // SAFETY: the first of the string's characters, which live for ever.
    Some(unsafe { &*OPTIONS.as_ptr() })
};

fn main() -> ExitCode {
    // A heap of a few hundred KiB would hold 2 MiB.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        eprintln!("huge pages stay on ({error}): more memory will be held than is used");
    }
    theatre_telemetry::log_to_stderr();
    theatre::cli::main()
}
