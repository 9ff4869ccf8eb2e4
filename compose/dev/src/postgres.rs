//! A real PostgreSQL server on a folder, from the system's own binaries.
//!
//! PostgreSQL refuses to run as root; for root it runs as the user `postgres`, or `nobody`, who
//! then owns the data. Everybody on this machine may connect: for development and tests only.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use theatre_actors::ports::{Error, Result};

use super::process::{self, Life, Process};
use theatre_system::blocking::IoRuntime;

/// Names the folder of `initdb` and `postgres` where they are not found by themselves.
pub const BINARIES_VARIABLE: &str = "THEATRE_POSTGRES_BIN";
/// Versions that are looked for, the newest first.
const VERSIONS: [&str; 4] = ["18", "17", "16", "15"];
/// The superuser of the cluster.
const USER: &str = "theatre";
/// How long a start may take; recovery after a kill is part of it.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long a stop in order may take.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// What survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// A kill of the server, not of the machine: nothing is forced to disk. For tests.
    Fast,
    /// Also a loss of power.
    Safe,
}

/// What a server shows of itself over TLS, as PEM.
#[derive(Clone)]
pub struct Certificate {
    /// The certificate, and what leads from it to its authority.
    pub chain: String,
    /// Its private key.
    pub key: String,
}

/// As it is printed: without the key.
impl std::fmt::Debug for Certificate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Certificate")
            .field("chain", &self.chain)
            .finish_non_exhaustive()
    }
}

/// A PostgreSQL server.
#[derive(Debug)]
pub struct Postgres {
    binaries: PathBuf,
    root: PathBuf,
    account: Option<Account>,
    durability: Durability,
    /// True: over TLS only.
    secured: bool,
    life: Life,
    port: u16,
    process: Option<Process>,
    io: IoRuntime,
}

/// Whom the server runs as, when we are root.
#[derive(Debug, Clone)]
struct Account {
    name: String,
    user: u32,
    group: u32,
}

impl Postgres {
    /// Starts a server on `root` that ends with this value; an empty folder becomes a new cluster.
    ///
    /// # Errors
    /// Says what is missing and how to install it, or how the server's log ends.
    pub fn start(root: &Path, durability: Durability) -> Result<Self> {
        Self::start_for(root, durability, Life::Owned)
    }

    /// As [`Self::start`], for a `life`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_for(root: &Path, durability: Durability, life: Life) -> Result<Self> {
        Self::start_on(root, durability, life, None)
    }

    /// As [`Self::start`], with a server that refuses connections without TLS.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_secured(
        root: &Path,
        durability: Durability,
        certificate: &Certificate,
    ) -> Result<Self> {
        Self::start_on(root, durability, Life::Owned, Some(certificate))
    }

    fn start_on(
        root: &Path,
        durability: Durability,
        life: Life,
        certificate: Option<&Certificate>,
    ) -> Result<Self> {
        let binaries = binaries()?;
        let account = is_root()?.then(account).transpose()?;
        let root = process::folder(root)?;
        if let Some(account) = &account {
            give(&root, account)?;
        }
        let secured = certificate.is_some();
        let mut server = Self {
            binaries,
            root,
            account,
            durability,
            secured,
            life,
            port: 0,
            process: None,
            io: IoRuntime::start()?,
        };
        if !server.data().join("PG_VERSION").exists() {
            server.init()?;
        }
        if let Some(certificate) = certificate {
            server.secure(certificate)?;
        }
        [server.port] = process::ports(&server.root)?;
        server.launch()?;
        Ok(server)
    }

    /// The server that another process started on `root`; none if it has ended.
    ///
    /// # Errors
    /// When the binaries are missing.
    pub fn running(root: &Path) -> Result<Option<Self>> {
        let Ok(root) = root.canonicalize() else {
            return Ok(None);
        };
        let (Some(process), Some([port])) = (Process::running(&root), process::kept_ports(&root))
        else {
            return Ok(None);
        };
        let (binaries, io) = (binaries()?, IoRuntime::start()?);
        let durability = Durability::Safe;
        Ok(Some(Self {
            binaries,
            root,
            account: None,
            durability,
            secured: false,
            life: Life::Detached,
            port,
            process: Some(process),
            io,
        }))
    }

    /// Where a database is.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }

    /// Creates a database unless it is there; says its URL.
    ///
    /// # Errors
    /// When the name is not of lower-case letters, digits and underscores, or the server does not
    /// answer.
    pub fn create_database(&self, name: &str) -> Result<String> {
        create_database(&self.url("postgres"), name, &self.io)?;
        Ok(self.url(name))
    }

    /// True if it answers.
    pub fn answers(&self) -> bool {
        self.io
            .block_on(async {
                PgConnection::connect(&self.url("postgres"))
                    .await?
                    .ping()
                    .await
            })
            .is_ok()
    }

    /// Stops it in order.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(&mut self) -> Result<()> {
        // "fast": open transactions are rolled back, everything is written.
        self.process
            .take()
            .map_or(Ok(()), |process| process.end("INT", STOP_PATIENCE))
    }

    /// Ends it at once, as a crash would ("immediate"): the next start recovers from its log.
    ///
    /// # Errors
    /// When it does not end.
    pub fn kill(&mut self) -> Result<()> {
        self.process
            .take()
            .map_or(Ok(()), |process| process.end("QUIT", STOP_PATIENCE))
    }

    /// Starts it again on the same port, stopping it first if it runs.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.launch()
    }

    fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.join(program));
        command.current_dir(&self.root);
        if let Some(account) = &self.account {
            command.uid(account.user).gid(account.group);
        }
        command
    }

    fn init(&self) -> Result<()> {
        let mut command = self.command("initdb");
        command.arg("--pgdata").arg(self.data()).args([
            "--username",
            USER,
            "--auth",
            "trust",
            "--encoding",
            "UTF8",
            "--locale",
            "C",
            "--no-sync",
        ]);
        let output = command.output().map_err(|error| {
            Error::Refused(format!(
                "{}: {error}",
                self.binaries.join("initdb").display()
            ))
        })?;
        if output.status.success() {
            return Ok(());
        }
        Err(Error::Refused(format!(
            "initdb on {} failed: {}",
            self.data().display(),
            String::from_utf8_lossy(&output.stderr).trim()
        )))
    }

    /// Puts the certificate where the server looks for it, and shuts the door to everything that is
    /// not encrypted.
    fn secure(&self, certificate: &Certificate) -> Result<()> {
        let data = self.data();
        let files = [
            ("server.crt", certificate.chain.as_str()),
            ("server.key", certificate.key.as_str()),
            ("pg_hba.conf", "hostssl all all 127.0.0.1/32 trust\n"),
        ];
        for (name, text) in files {
            let path = data.join(name);
            let refused =
                |error: std::io::Error| Error::Refused(format!("{}: {error}", path.display()));
            fs::write(&path, text).map_err(refused)?;
            // The server refuses a key that belongs to others or that they may read.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(refused)?;
            if let Some(account) = &self.account {
                chown(&path, Some(account.user), Some(account.group)).map_err(refused)?;
            }
        }
        Ok(())
    }

    fn launch(&mut self) -> Result<()> {
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data());
        let mut settings = vec![format!("port={}", self.port)];
        // No socket file: its path may be longer than the system allows. Tests run in parallel,
        // each with a pool of connections.
        settings.extend(
            [
                "listen_addresses=127.0.0.1",
                "unix_socket_directories=",
                "max_connections=300",
                "synchronous_commit=on",
            ]
            .map(str::to_owned),
        );
        if self.durability == Durability::Fast {
            settings.extend(["fsync=off", "full_page_writes=off"].map(str::to_owned));
        }
        if self.secured {
            settings.push("ssl=on".to_owned());
        }
        for setting in settings {
            command.args(["-c", &setting]);
        }
        let mut process = Process::start(command, &self.root, self.life)?;
        let ready = process::wait_until(START_PATIENCE, || process.has_ended() || self.answers());
        if ready && !process.has_ended() {
            self.process = Some(process);
            return Ok(());
        }
        process.end("QUIT", STOP_PATIENCE)?;
        Err(Error::Refused(format!(
            "PostgreSQL on {} does not start; its log ends: {}",
            self.root.display(),
            process::log_tail(&self.root)
        )))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.life == Life::Owned
            && let Err(error) = self.stop()
        {
            tracing::warn!(%error, "PostgreSQL could not be stopped");
        }
    }
}

/// Creates a database on the server at `url` unless it is there.
///
/// # Errors
/// As [`Postgres::create_database`].
pub fn create_database(url: &str, name: &str, io: &IoRuntime) -> Result<()> {
    // The name becomes part of a statement: no parameter can stand there.
    if name.is_empty()
        || !name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    {
        return Err(Error::Refused(format!(
            "{name:?} is not a database name: lower-case letters, digits and underscores only"
        )));
    }
    let created = io.block_on(async {
        let mut connection = PgConnection::connect(url).await?;
        let there: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
                .bind(name)
                .fetch_one(&mut connection)
                .await?;
        if !there {
            connection
                .execute(AssertSqlSafe(format!("CREATE DATABASE \"{name}\"")))
                .await?;
        }
        connection.close().await
    });
    created.map_err(|error| Error::Unavailable {
        what: "PostgreSQL",
        why: format!("database {name} cannot be created: {error}"),
    })
}

/// The folder of the newest server this machine has.
fn binaries() -> Result<PathBuf> {
    let has_both = |folder: &PathBuf| {
        ["initdb", "postgres"]
            .iter()
            .all(|program| folder.join(program).exists())
    };
    if let Some(folder) = std::env::var_os(BINARIES_VARIABLE).map(PathBuf::from) {
        let missing = || {
            Error::Refused(format!(
                "{BINARIES_VARIABLE}={}: initdb and postgres are not there",
                folder.display()
            ))
        };
        return has_both(&folder)
            .then(|| folder.clone())
            .ok_or_else(missing);
    }
    let packaged = VERSIONS
        .iter()
        .map(|version| Path::new("/usr/lib/postgresql").join(version).join("bin"));
    let configured = Command::new("pg_config").arg("--bindir").output().ok();
    let configured =
        configured.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    let path = std::env::var_os("PATH").unwrap_or_default();
    packaged.chain(configured).chain(std::env::split_paths(&path)).find(has_both).ok_or_else(|| {
        Error::Refused(format!(
            "PostgreSQL 15 to 18 is not installed (initdb and postgres are looked for in /usr/lib/postgresql, by pg_config and on PATH). \
             Debian or Ubuntu: apt-get install postgresql; macOS: brew install postgresql; or name the folder in {BINARIES_VARIABLE}"
        ))
    })
}

fn is_root() -> Result<bool> {
    let output = Command::new("id")
        .arg("-u")
        .output()
        .map_err(|error| Error::Refused(format!("id cannot be started: {error}")))?;
    Ok(output.stdout.trim_ascii() == b"0")
}

/// The user PostgreSQL runs as for root.
fn account() -> Result<Account> {
    let users = fs::read_to_string("/etc/passwd")
        .map_err(|error| Error::Refused(format!("/etc/passwd: {error}")))?;
    let find = |name: &str| {
        let mut fields = users
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|fields| fields.len() > 3 && fields[0] == name)?;
        fields.truncate(4);
        Some(Account {
            name: name.to_owned(),
            user: fields[2].parse().ok()?,
            group: fields[3].parse().ok()?,
        })
    };
    let missing = || {
        Error::Refused("PostgreSQL does not run as root, and there is neither a user postgres nor nobody to run it as".to_owned())
    };
    find("postgres")
        .or_else(|| find("nobody"))
        .ok_or_else(missing)
}

/// Gives `root` to `account`, and sees that it can be reached by it.
fn give(root: &Path, account: &Account) -> Result<()> {
    let refused = |path: &Path, error: &std::io::Error| {
        Error::Refused(format!("{}: {error}", path.display()))
    };
    chown(root, Some(account.user), Some(account.group)).map_err(|error| refused(root, &error))?;
    let temporary = std::env::temp_dir();
    for folder in root.ancestors().skip(1) {
        let mode = fs::metadata(folder)
            .map_err(|error| refused(folder, &error))?
            .permissions()
            .mode();
        if mode & 0o001 != 0 {
            continue;
        }
        if !folder.starts_with(&temporary) {
            return Err(Error::Refused(format!(
                "PostgreSQL does not run as root but as the user {}, who may not enter {}: choose another folder, such as --data /var/tmp/theatre",
                account.name,
                folder.display()
            )));
        }
        // A temporary folder above, made for this: it may be passed through, not listed.
        fs::set_permissions(folder, fs::Permissions::from_mode(mode | 0o011))
            .map_err(|error| refused(folder, &error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Durability, PgConnection, Postgres};
    use sqlx::{Connection, Executor};

    fn count(server: &Postgres, url: &str) -> i64 {
        server.io.block_on(async {
            let mut connection = PgConnection::connect(url).await.unwrap();
            sqlx::query_scalar("SELECT count(*) FROM kept")
                .fetch_one(&mut connection)
                .await
                .unwrap()
        })
    }

    #[test]
    fn what_was_committed_survives_a_kill_at_the_same_address() {
        let folder = tempfile::tempdir().unwrap();
        let mut server =
            Postgres::start(&folder.path().join("postgres"), Durability::Safe).unwrap();
        let url = server.create_database("a_test").unwrap();
        server.create_database("a_test").unwrap();
        server.io.block_on(async {
            let mut connection = PgConnection::connect(&url).await.unwrap();
            connection
                .execute("CREATE TABLE kept AS SELECT generate_series(1, 1000)")
                .await
                .unwrap();
        });
        server.kill().unwrap();
        assert!(!server.answers());
        server.restart().unwrap();
        assert_eq!(count(&server, &url), 1000, "after a kill");
        server.restart().unwrap();
        assert_eq!(count(&server, &url), 1000, "after a stop in order");
        assert!(
            server.create_database("a\"b").is_err(),
            "a name that would end the statement"
        );
    }
}
