//! The data directory: where everything embedded lives, and the lock that lets one process run on
//! it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use theatre_actors::ports::Error;

/// Paths below a data directory.
#[derive(Debug, Clone)]
pub struct DataDir {
    root: PathBuf,
}

/// A lock of a data directory, such as that of the process that runs on it; released when the
/// process ends, however it ends.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
}

impl DataDir {
    /// A data directory that is there, or will be once it is created.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// A data directory at `path`, which is created when it is not there.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn created(path: &Path) -> Result<Self, Error> {
        let dir = Self::new(path);
        dir.create()?;
        Ok(dir)
    }

    /// Creates the directory and its folders.
    ///
    /// # Errors
    /// When that cannot be done.
    pub fn create(&self) -> Result<(), Error> {
        for path in [self.root.clone(), self.lake(), self.root.join("keys")] {
            std::fs::create_dir_all(&path)
                .map_err(|error| at(&path, "cannot be created", &error))?;
        }
        Ok(())
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The file of tokens, requests and the audit trail.
    pub fn access(&self) -> PathBuf {
        self.root.join("access.sqlite")
    }

    /// Where the process that runs on the directory serves its HTTP interface, if it does, such as
    /// `http://127.0.0.1:8080`; without one that runs it means nothing.
    pub fn api_address(&self) -> Option<String> {
        let noted = std::fs::read_to_string(self.api_note()).ok()?;
        match noted.trim() {
            "" => None,
            // As a build noted it that served without TLS only.
            address if !address.contains("://") => Some(format!("http://{address}")),
            url => Some(url.to_owned()),
        }
    }

    /// Notes that address, and whether TLS is spoken there, for other commands: for the process
    /// that has the lock. An address that stands for all of the machine's is noted as that of the
    /// machine itself.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn note_api(&self, address: Option<(SocketAddr, bool)>) -> Result<(), Error> {
        let path = self.api_note();
        let done = match address {
            Some((mut address, is_tls)) => {
                if address.ip().is_unspecified() {
                    address.set_ip(match address.ip() {
                        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
                    });
                }
                let scheme = if is_tls { "https" } else { "http" };
                std::fs::write(&path, format!("{scheme}://{address}"))
            }
            None => match std::fs::remove_file(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                other => other,
            },
        };
        done.map_err(|error| at(&path, "cannot be written", &error))
    }

    fn api_note(&self) -> PathBuf {
        self.root.join("api-address")
    }

    /// The event log's file.
    pub fn log(&self) -> PathBuf {
        self.root.join("log.sqlite")
    }

    /// The store's file.
    pub fn store(&self) -> PathBuf {
        self.root.join("store.sqlite")
    }

    /// The warehouse's file.
    pub fn warehouse(&self) -> PathBuf {
        self.root.join("warehouse.sqlite")
    }

    /// The lake's folder.
    pub fn lake(&self) -> PathBuf {
        self.root.join("lake")
    }

    /// Schemas that runs on this directory used, for commands that look at it later without their
    /// configuration.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn schemas(&self) -> Result<Vec<PathBuf>, Error> {
        let folder = self.root.join("schemas");
        if !folder.exists() {
            return Ok(Vec::new());
        }
        let entries =
            std::fs::read_dir(&folder).map_err(|error| at(&folder, "cannot be read", &error))?;
        let mut paths: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|end| end == "avsc"))
            .collect();
        paths.sort();
        Ok(paths)
    }

    /// Keeps copies of schemas, under their ids.
    ///
    /// # Errors
    /// When one cannot be read or written.
    pub fn keep_schemas(&self, schemas: &[impl AsRef<Path>]) -> Result<(), Error> {
        let folder = self.root.join("schemas");
        std::fs::create_dir_all(&folder)
            .map_err(|error| at(&folder, "cannot be created", &error))?;
        for path in schemas.iter().map(AsRef::as_ref) {
            let json = std::fs::read_to_string(path)
                .map_err(|error| at(path, "cannot be read", &error))?;
            let id = theatre_schemas::registry::schema_id(&json)
                .map_err(|error| Error::Refused(format!("{}: {error}", path.display())))?;
            let copy = folder.join(format!("{id}.avsc"));
            if !copy.exists() {
                std::fs::write(&copy, json)
                    .map_err(|error| at(&copy, "cannot be written", &error))?;
            }
        }
        Ok(())
    }

    /// Takes the lock.
    ///
    /// # Errors
    /// When another process holds it: names that process.
    pub fn lock(&self) -> Result<DataLock, Error> {
        self.lock_file("lock")?.map_err(|holder| {
            Error::Refused(format!(
                "the data directory {} is in use by process {holder}: stop it, or give this one another directory with --data",
                self.root.display(),
            ))
        })
    }

    /// Takes the lock of commands that work on dead letters, which a process that runs on the
    /// directory does not need. Who has it knows that no other such command lives here.
    ///
    /// # Errors
    /// When another command holds it: names its process.
    pub fn lock_dead_letters(&self) -> Result<DataLock, Error> {
        self.lock_file("dead-letters.lock")?.map_err(|holder| {
            Error::Refused(format!(
                "another command, process {holder}, replays or purges dead letters in {}: let it end, or stop it, and repeat this",
                self.root.display(),
            ))
        })
    }

    /// Takes the lock of commands that erase rows, which a process that runs on the directory does
    /// not need. Who has it knows that no other such command lives here.
    ///
    /// # Errors
    /// When another command holds it: names its process.
    pub fn lock_erasure(&self) -> Result<DataLock, Error> {
        self.lock_file("erasure.lock")?.map_err(|holder| {
            Error::Refused(format!(
                "another command, process {holder}, erases rows in {}: let it end, or stop it, and repeat this",
                self.root.display(),
            ))
        })
    }

    /// Takes the lock that a file stands for, or says which process has it.
    fn lock_file(&self, name: &str) -> Result<Result<DataLock, String>, Error> {
        let path = self.root.join(name);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| at(&path, "cannot be opened", &error))?;
        if file.try_lock().is_err() {
            let mut holder = String::new();
            file.read_to_string(&mut holder)
                .map_err(|error| at(&path, "cannot be read", &error))?;
            return Ok(Err(holder.trim().to_owned()));
        }
        let mut note = || -> std::io::Result<()> {
            file.set_len(0)?;
            file.rewind()?;
            write!(file, "{}", std::process::id())
        };
        note().map_err(|error| at(&path, "cannot be written", &error))?;
        Ok(Ok(DataLock { _file: file }))
    }

    /// The key of pseudonyms and seals: 32 bytes, made from the system's randomness at first use,
    /// readable by the owner only.
    ///
    /// # Errors
    /// When it cannot be read or made, or is damaged.
    pub fn pseudonym_key(&self) -> Result<[u8; 32], Error> {
        let path = self.root.join("keys").join("pseudonym.key");
        if !path.exists() {
            let mut key = [0_u8; 32];
            let mut source = File::open("/dev/urandom")
                .map_err(|error| at(Path::new("/dev/urandom"), "cannot be opened", &error))?;
            source
                .read_exact(&mut key)
                .map_err(|error| at(Path::new("/dev/urandom"), "cannot be read", &error))?;
            let made = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path);
            match made {
                Ok(mut file) => {
                    file.write_all(&key)
                        .and_then(|()| file.sync_all())
                        .map_err(|error| at(&path, "cannot be written", &error))?;
                }
                // Another command was faster: its key counts.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(at(&path, "cannot be made", &error)),
            }
        }
        let bytes = std::fs::read(&path).map_err(|error| at(&path, "cannot be read", &error))?;
        <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| {
            Error::Refused(format!("{} has {} bytes instead of 32: restore it from a backup; without it pseudonyms change", path.display(), bytes.len()))
        })
    }
}

fn at(path: &Path, what: &str, error: &std::io::Error) -> Error {
    Error::Refused(format!("{} {what}: {error}", path.display()))
}
