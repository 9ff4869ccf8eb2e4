//! What Linux says of this process and its threads (`proc(5)`).

use std::collections::BTreeMap;
use std::path::Path;

use super::Failure;

/// Clock ticks a second in `/proc`; 100 on every Linux.
const TICKS: f64 = 100.0;

/// CPU time of this process so far, user and system, seconds.
pub(super) fn cpu_seconds() -> Result<f64, Failure> {
    Ok(read_stat(Path::new("/proc/self/stat"))?.1)
}

/// CPU time of the threads that live, seconds, by name without its trailing number.
pub(super) fn cpu_by_thread() -> Result<BTreeMap<String, f64>, Failure> {
    let mut all = BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task")? {
        // A thread may end between being listed and being read.
        let Ok((name, seconds)) = read_stat(&task?.path().join("stat")) else { continue };
        let plain = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-').to_owned();
        *all.entry(plain).or_default() += seconds;
    }
    Ok(all)
}

fn read_stat(path: &Path) -> Result<(String, f64), Failure> {
    let stat = std::fs::read_to_string(path)?;
    let malformed = || Failure::Failed(format!("{} is not as proc(5) says", path.display()));
    let (before, after) = stat.rsplit_once(')').ok_or_else(malformed)?;
    let name = before.split_once('(').ok_or_else(malformed)?.1.to_owned();
    let ticks: f64 = after.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    Ok((name, ticks / TICKS))
}

/// The most memory this process ever held, MiB.
pub(super) fn peak_mib() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.map(|kib| kib / 1024).ok_or_else(|| Failure::Failed("/proc/self/status has no VmHWM".to_owned()))
}

/// The machine in a few words.
pub(super) fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).and_then(|line| line.split_once(':'));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{cores} x {}", model.map_or("unknown processor", |(_, name)| name.trim()))
}

/// The commit of the working copy it runs in, if it runs in one.
pub(super) fn commit() -> Option<String> {
    let output = std::process::Command::new("git").args(["rev-parse", "--short", "HEAD"]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
