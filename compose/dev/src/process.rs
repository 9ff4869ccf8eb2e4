//! A server as a child process: started with a log file, signalled, ended; and what becomes of it
//! when its owner is killed.
//!
//! Used by [`super::postgres`] and [`super::kafka`]. Nothing here knows what the server is.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand::RngExt;
use theatre_actors::ports::{Error, Result};

/// Below the range that the system takes outgoing ports from. Within it, a client that knocks at a
/// killed server's port may be given that very port for its own end, reach itself, and keep the
/// server from coming back.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// How often a condition is looked at while it is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long a server lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// As long as the value that started it, and never longer than this process, however that ends.
    Owned,
    /// Until it is stopped by a person or a command.
    Detached,
}

/// A shell line that is run when this process has ended, also by `kill -9`; dropped, it never runs.
#[derive(Debug)]
pub struct AtEnd(Child);

impl AtEnd {
    /// Runs `line` with `argument` as `$0`. The line waits at a pipe whose other end only this
    /// process holds.
    ///
    /// # Errors
    /// When there is no shell.
    pub fn run(line: &str, argument: &str) -> Result<Self> {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("read -r _; {line}"), argument])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        command
            .spawn()
            .map(Self)
            .map_err(|error| Error::Refused(format!("sh cannot be started: {error}")))
    }
}

impl Drop for AtEnd {
    fn drop(&mut self) {
        // Killed before `wait` closes its pipe, which would set it off.
        if self.0.kill().is_ok() {
            let _ = self.0.wait();
        }
    }
}

/// A server's process.
#[derive(Debug)]
pub struct Process {
    id: u32,
    /// Absent: started by another process.
    child: Option<Child>,
    watcher: Option<AtEnd>,
    pid_file: PathBuf,
}

impl Process {
    /// Starts `command`; its output is appended to `server.log` in `folder`, its process id kept in
    /// `server.pid` there.
    ///
    /// # Errors
    /// When it cannot be started; names the program.
    pub fn start(mut command: Command, folder: &Path, life: Life) -> Result<Self> {
        let log_path = log_file(folder);
        let refused = |path: &Path, error: &dyn std::fmt::Display| {
            Error::Refused(format!("{}: {error}", path.display()))
        };
        let log = File::options()
            .create(true)
            .append(true)
            .open(&log_path)
            .map_err(|error| refused(&log_path, &error))?;
        let second = log
            .try_clone()
            .map_err(|error| refused(&log_path, &error))?;
        // A group of its own: Ctrl-C at the terminal is for the owner, who then stops the server in
        // order.
        command
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(second)
            .process_group(0);
        let program = PathBuf::from(command.get_program());
        let child = command.spawn().map_err(|error| refused(&program, &error))?;
        let id = child.id();
        let watcher = match life {
            Life::Owned => Some(AtEnd::run("kill -KILL \"$0\"", &id.to_string())?),
            Life::Detached => None,
        };
        let pid_file = folder.join("server.pid");
        fs::write(&pid_file, id.to_string()).map_err(|error| refused(&pid_file, &error))?;
        Ok(Self {
            id,
            child: Some(child),
            watcher,
            pid_file,
        })
    }

    /// The process that runs on `folder`, started by another process; none if it has ended.
    pub fn running(folder: &Path) -> Option<Self> {
        let pid_file = folder.join("server.pid");
        let id: u32 = fs::read_to_string(&pid_file).ok()?.trim().parse().ok()?;
        let found = Self {
            id,
            child: None,
            watcher: None,
            pid_file,
        };
        // After a reboot the id may be another program's: a server of ours names its folder on its
        // command line.
        let ours = fs::read(format!("/proc/{id}/cmdline"))
            .map_or(!Path::new("/proc/self").exists(), |line| {
                String::from_utf8_lossy(&line).contains(&*folder.to_string_lossy())
            });
        (ours && found.signal("0").is_ok()).then_some(found)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Sends a signal, by its name without SIG.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&self, name: &str) -> Result<()> {
        let sent = Command::new("sh")
            .args(["-c", "kill -s \"$0\" \"$1\"", name, &self.id.to_string()])
            .stderr(Stdio::null())
            .status();
        match sent {
            Ok(status) if status.success() => Ok(()),
            Ok(_) => Err(Error::Refused(format!("process {} has ended", self.id))),
            Err(error) => Err(Error::Refused(format!("sh cannot be started: {error}"))),
        }
    }

    /// True once it has ended.
    pub fn has_ended(&mut self) -> bool {
        match &mut self.child {
            Some(child) => matches!(child.try_wait(), Ok(Some(_)) | Err(_)),
            None => self.signal("0").is_err(),
        }
    }

    /// Asks it to end by a signal; kills it if it does not within `patience`.
    ///
    /// # Errors
    /// When it does not even end when killed.
    pub fn end(mut self, signal: &str, patience: Duration) -> Result<()> {
        // First: a watcher of an ended process could hit another one that was given its id.
        self.watcher = None;
        for (signal, patience) in [(signal, patience), ("KILL", Duration::from_secs(10))] {
            // A failure means that it has ended by itself, which is what is asked for below.
            let _ = self.signal(signal);
            if wait_until(patience, || self.has_ended()) {
                let _ = fs::remove_file(&self.pid_file);
                return Ok(());
            }
        }
        Err(Error::Refused(format!("process {} does not end", self.id)))
    }
}

/// Where a server on `folder` writes its log.
pub fn log_file(folder: &Path) -> PathBuf {
    folder.join("server.log")
}

/// The last lines a server on `folder` wrote, for an error.
pub fn log_tail(folder: &Path) -> String {
    let bytes = fs::read(log_file(folder)).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}

/// Looks until `condition` holds; false if it does not within `patience`.
pub fn wait_until(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if start.elapsed() > patience {
            return false;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The ports of the server on `folder`: those of its last start while they are free, others
/// otherwise. Kept in the file `ports`.
///
/// # Errors
/// When no port is free or the file cannot be written.
pub fn ports<const N: usize>(folder: &Path) -> Result<[u16; N]> {
    let mut ports = [0; N];
    ports.copy_from_slice(&some_ports(folder, N)?);
    Ok(ports)
}

/// As [`ports`], where their number is not known beforehand.
///
/// # Errors
/// As [`ports`].
pub fn some_ports(folder: &Path, count: usize) -> Result<Vec<u16>> {
    let path = folder.join("ports");
    if let Some(ports) = all_kept_ports(folder)
        && ports.len() == count
        && ports.iter().all(|port| is_free(*port))
    {
        return Ok(ports);
    }
    let mut random = rand::rng();
    let mut ports = Vec::with_capacity(count);
    while ports.len() < count {
        let free = (0..1000)
            .map(|_| random.random_range(PORTS))
            .find(|port| !ports.contains(port) && is_free(*port));
        ports.push(
            free.ok_or_else(|| {
                Error::Refused(format!("no port in {PORTS:?} is free on 127.0.0.1"))
            })?,
        );
    }
    let text: Vec<String> = ports.iter().map(u16::to_string).collect();
    fs::write(&path, text.join(" "))
        .map_err(|error| Error::Refused(format!("{}: {error}", path.display())))?;
    Ok(ports)
}

/// The ports of the last start on `folder`.
pub fn kept_ports<const N: usize>(folder: &Path) -> Option<[u16; N]> {
    all_kept_ports(folder)?.try_into().ok()
}

fn all_kept_ports(folder: &Path) -> Option<Vec<u16>> {
    let text = fs::read_to_string(folder.join("ports")).ok()?;
    text.split_whitespace()
        .map(str::parse)
        .collect::<std::result::Result<_, _>>()
        .ok()
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Creates a folder and says its path from the root on: a server's working directory may be
/// another.
///
/// # Errors
/// Names the folder.
pub fn folder(path: &Path) -> Result<PathBuf> {
    fs::create_dir_all(path)
        .and_then(|()| path.canonicalize())
        .map_err(|error| Error::Refused(format!("{}: {error}", path.display())))
}
