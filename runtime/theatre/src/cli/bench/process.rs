//! What Linux says of this process and its threads (`proc(5)`).

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::Path;

use super::Failure;

/// Clock ticks a second in `/proc`; 100 on every Linux.
const TICKS: f64 = 100.0;

/// CPU time of this process so far, user and system, seconds.
pub(super) fn cpu_seconds() -> Result<f64, Failure> {
    Ok(read_stat(Path::new("/proc/self/stat"))?.cpu)
}

/// CPU time of a process, of its children that live, and of those that ended; none once it has
/// ended itself.
pub(super) fn cpu_of_tree(process: u32) -> Option<f64> {
    let own = read_stat(Path::new(&format!("/proc/{process}/stat"))).ok()?;
    let children = processes()
        .filter_map(|(_, stat)| (stat.parent == process).then_some(stat.cpu + stat.cpu_of_ended));
    Some(own.cpu + own.cpu_of_ended + children.sum::<f64>())
}

/// The process that listens at an address of this machine; none if another machine does, or if it
/// may not be looked at.
pub(super) fn listener_at(address: &str) -> Option<u32> {
    let peer = TcpStream::connect(address).ok()?;
    let (there, here) = (peer.peer_addr().ok()?, peer.local_addr().ok()?);
    let inode = (there.ip() == here.ip())
        .then(|| listening_inode(there.port()))
        .flatten()?;
    let link = format!("socket:[{inode}]");
    let holds = |process: &u32| {
        let files = std::fs::read_dir(format!("/proc/{process}/fd"))
            .into_iter()
            .flatten()
            .flatten();
        files
            .filter_map(|file| std::fs::read_link(file.path()).ok())
            .any(|target| target.as_os_str() == link.as_str())
    };
    // Children inherit a listener: the oldest process is the server.
    processes().map(|(process, _)| process).filter(holds).min()
}

fn listening_inode(port: u16) -> Option<u64> {
    const LISTEN: &str = "0A";
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"]
        .map(|path| std::fs::read_to_string(path).unwrap_or_default());
    let suffix = format!(":{port:04X}");
    tables
        .iter()
        .flat_map(|table| table.lines())
        .find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let listens = fields.len() > 9 && fields[1].ends_with(&suffix) && fields[3] == LISTEN;
            listens.then(|| fields[9].parse().ok()).flatten()
        })
}

fn processes() -> impl Iterator<Item = (u32, Stat)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let process = entry.file_name().to_str()?.parse().ok()?;
        Some((process, read_stat(&entry.path().join("stat")).ok()?))
    })
}

/// CPU time of the threads that live, seconds, by name without its trailing number.
pub(super) fn cpu_by_thread() -> Result<BTreeMap<String, f64>, Failure> {
    let mut all = BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task")? {
        // A thread may end between being listed and being read.
        let Ok(stat) = read_stat(&task?.path().join("stat")) else {
            continue;
        };
        let plain = stat
            .name
            .trim_end_matches(|c: char| c.is_ascii_digit() || c == '-')
            .to_owned();
        *all.entry(plain).or_default() += stat.cpu;
    }
    Ok(all)
}

/// One line of `/proc`; times in seconds.
struct Stat {
    name: String,
    parent: u32,
    cpu: f64,
    /// Of children that ended and were waited for.
    cpu_of_ended: f64,
}

fn read_stat(path: &Path) -> Result<Stat, Failure> {
    let stat = std::fs::read_to_string(path)?;
    let malformed = || Failure::Failed(format!("{} is not as proc(5) says", path.display()));
    let (before, after) = stat.rsplit_once(')').ok_or_else(malformed)?;
    let name = before.split_once('(').ok_or_else(malformed)?.1.to_owned();
    let fields: Vec<f64> = after
        .split_whitespace()
        .skip(1)
        .take(14)
        .filter_map(|field| field.parse().ok())
        .collect();
    let [parent, .., user, system, ended_user, ended_system] = fields.as_slice() else {
        return Err(malformed());
    };
    Ok(Stat {
        name,
        parent: *parent as u32,
        cpu: (user + system) / TICKS,
        cpu_of_ended: (ended_user + ended_system) / TICKS,
    })
}

/// The most memory this process ever held, MiB.
pub(super) fn peak_mib() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| {
        line.trim()
            .trim_end_matches("kB")
            .trim()
            .parse::<u64>()
            .ok()
    });
    kib.map(|kib| kib / 1024)
        .ok_or_else(|| Failure::Failed("/proc/self/status has no VmHWM".to_owned()))
}

/// The machine in a few words.
pub(super) fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .and_then(|line| line.split_once(':'));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "{cores} x {}",
        model.map_or("unknown CPU", |(_, name)| name.trim())
    )
}

/// The commit of the working copy that the program was built in, if it still lies there: `-dirty`
/// with changes that are not committed, and named as newer when the program was built before it.
pub(super) fn commit() -> Option<String> {
    let program = std::env::current_exe().ok()?;
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git")
            .args(arguments)
            .current_dir(program.parent()?)
            .output()
            .ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["describe", "--always", "--exclude=*", "--dirty"])?;
    let committed: u64 = git(&["log", "-1", "--format=%ct"])?.parse().ok()?;
    let built = program
        .metadata()
        .and_then(|program| program.modified())
        .ok()?;
    let built = built.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
    Some(if built < committed {
        format!("{commit} (newer than this program)")
    } else {
        commit
    })
}
