//! A deployment under test: one configuration, a data directory for each process on it, and the
//! processes themselves.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use tempfile::TempDir;
use theatre::adapters::{Access, Adapters};
use theatre_actors::ports::{EventLog, Lake, Warehouse};
use theatre_config::Config;
use theatre_dev::object_store::ObjectStore;
use theatre_embedded::data_dir::DataDir;
use theatre_pipeline::Ports;
use theatre_redshift::RedshiftWarehouse;
use theatre_s3::S3Lake;
use theatre_system::blocking::IoRuntime;
use theatre_system::clock::SystemClock;

/// How long anything may take that must happen. Generous: it is a limit for a machine that does ten
/// things at once.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// How often a condition is looked at while it is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Pseudonyms of all deployments are made with the same key, so that what they conclude can be
/// compared.
const KEY: [u8; 32] = [7; 32];
/// The data directory of commands that only look.
const LOOKING: &str = "looking";

/// One configuration and what runs on it.
#[derive(Debug)]
pub struct Deployment {
    folder: TempDir,
    config: PathBuf,
}

impl Deployment {
    /// A deployment with these settings and rules (both TOML) and the key all deployments share.
    pub fn new(settings: &str, rules: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("pseudonym.key"), KEY)?;
        let config = folder.path().join("theatre.toml");
        std::fs::write(folder.path().join("rules.toml"), rules)?;
        // Keys come before tables.
        std::fs::write(
            &config,
            format!("pseudonym_key_file = \"pseudonym.key\"\nrules = \"rules.toml\"\n{settings}"),
        )?;
        Ok(Self { folder, config })
    }

    /// Where a file of this deployment is, such as the rules that its settings name.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The configuration, as a process reads it.
    pub fn config(&self) -> Result<Config> {
        Ok(Config::layered(Some(&self.config), std::iter::empty())?.0)
    }

    /// The ports, for reading, with the data directory of process `name` where they are embedded.
    pub fn ports(&self, name: &str) -> Result<Ports> {
        let (config, dir) = (self.config()?, DataDir::new(self.path(name)));
        let adapters = Adapters::new(&config, &dir, Access::Read)?;
        // Credentials are handed over: variables belong to the whole test process.
        let (credentials, io) = (Some(ObjectStore::credentials()), IoRuntime::start()?);
        let lake: Arc<dyn Lake> = match &config.lake.url {
            Some(url) => Arc::new(S3Lake::open(url, &config.lake, credentials.clone(), &io)?),
            None => adapters.lake()?,
        };
        let warehouse: Arc<dyn Warehouse> = match &config.warehouse.url {
            Some(url) => Arc::new(RedshiftWarehouse::open(
                url,
                &config.warehouse,
                credentials,
                &io,
            )?),
            None => adapters.warehouse()?,
        };
        Ok(Ports {
            log: adapters.log()?,
            store: adapters.store()?,
            lake,
            warehouse,
            clock: Arc::new(SystemClock),
        })
    }

    /// The log, to write into; an embedded one is created.
    pub fn log(&self, name: &str) -> Result<Arc<dyn EventLog>> {
        let dir = DataDir::new(self.path(name));
        dir.create()?;
        Ok(Adapters::new(&self.config()?, &dir, Access::Write)?.log()?)
    }

    fn command(&self, name: &str, arguments: &[&str]) -> Result<Command> {
        let mut command = crate::theatre(&self.path(name), arguments)?;
        let credentials = ObjectStore::credentials();
        command
            .env("AWS_ACCESS_KEY_ID", credentials.access_key_id())
            .env("AWS_SECRET_ACCESS_KEY", credentials.secret_access_key());
        command.arg("--config").arg(&self.config);
        Ok(command)
    }

    /// Runs a command as process `name`, however it ends.
    pub fn output(&self, name: &str, arguments: &[&str]) -> Result<Output> {
        Ok(self.command(name, arguments)?.output()?)
    }

    /// Runs a command as process `name` and wants it to succeed.
    pub fn run(&self, name: &str, arguments: &[&str]) -> Result<Output> {
        let output = self.command(name, arguments)?.output()?;
        let said = || {
            format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            )
        };
        ensure!(
            output.status.success(),
            "theatre {arguments:?} ended with {}: {}",
            output.status,
            said()
        );
        Ok(output)
    }

    /// Runs a command as process `name` that has to end with this exit code.
    pub fn ends_with(&self, code: i32, name: &str, arguments: &[&str]) -> Result<Output> {
        let output = self.command(name, arguments)?.output()?;
        let said = || {
            format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            )
        };
        ensure!(
            output.status.code() == Some(code),
            "theatre {arguments:?} ended with {}, not with {code}: {}",
            output.status,
            said()
        );
        Ok(output)
    }

    /// Runs a command as process `name` that has to fail; returns what it says.
    pub fn refused(&self, name: &str, arguments: &[&str]) -> Result<String> {
        let output = self.command(name, arguments)?.output()?;
        ensure!(
            !output.status.success(),
            "theatre {arguments:?} was not refused: {}",
            String::from_utf8_lossy(&output.stdout)
        );
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Changes the settings, as an operator does between two starts.
    pub fn reconfigure(&self, old: &str, new: &str) -> Result<()> {
        let settings = std::fs::read_to_string(&self.config)?;
        ensure!(settings.contains(old), "the settings have no '{old}'");
        Ok(std::fs::write(
            &self.config,
            settings.replacen(old, new, 1),
        )?)
    }

    /// Runs a command that only looks, on servers.
    pub fn look(&self, arguments: &[&str]) -> Result<Output> {
        self.run(LOOKING, arguments)
    }

    /// Processes everything that is in the log, and ends.
    pub fn drain(&self, name: &str) -> Result<()> {
        self.run(name, &["run", "--until-drained"]).map(drop)
    }

    /// Starts the service as process `name`, with variables of its own such as its place in the
    /// group.
    pub fn start(&self, name: &str, variables: &[(&str, &str)]) -> Result<Member> {
        self.start_command(name, &["run"], variables)
    }

    /// Starts a command that goes on for a while as process `name`.
    pub fn start_command(
        &self,
        name: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<Member> {
        let log = self.path(&format!("{name}.log"));
        let said = File::options().create(true).append(true).open(&log)?;
        let begins_at = said.metadata()?.len();
        let mut command = self.command(name, arguments)?;
        command
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said);
        Ok(Member {
            name: name.to_owned(),
            started: Instant::now(),
            child: command.spawn()?,
            log,
            begins_at: begins_at as usize,
        })
    }
}

/// What `/readyz` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Whether all is well.
    pub ready: bool,
    /// What is not.
    pub reasons: Vec<String>,
    /// What works and should be looked into.
    pub notices: Vec<String>,
}

/// A process of a deployment; killed when dropped.
#[derive(Debug)]
pub struct Member {
    /// Its name, and its data directory's.
    pub name: String,
    /// When it was started.
    pub started: Instant,
    child: Child,
    log: PathBuf,
    begins_at: usize,
}

impl Member {
    /// Asks it to end and waits until it has.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        let sent = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()?;
        ensure!(
            sent.success(),
            "{} had ended already: {}",
            self.name,
            self.said()
        );
        self.wait()
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        ensure!(
            self.child.try_wait()?.is_none(),
            "{} had ended by itself: {}",
            self.name,
            self.said()
        );
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Stops it where it stands, as a machine that hangs would; or lets it go on.
    pub fn freeze(&self, frozen: bool) -> Result<()> {
        let signal = if frozen { "-STOP" } else { "-CONT" };
        ensure!(
            Command::new("kill")
                .args([signal, &self.child.id().to_string()])
                .status()?
                .success(),
            "{} had ended already: {}",
            self.name,
            self.said()
        );
        Ok(())
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        bail!("{} does not end: {}", self.name, self.said())
    }

    /// What it wrote to its log since it was started.
    pub fn said(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(bytes.get(self.begins_at..).unwrap_or_default()).into_owned()
    }

    /// Waits until it has written something to its log.
    pub fn wait_until_it_says(&mut self, what: &str) -> Result<()> {
        wait_for(PATIENCE, || {
            ensure!(self.child.try_wait()?.is_none(), "it has ended");
            Ok(self.said().contains(what).then_some(()))
        })
        .with_context(|| {
            format!(
                "{}: waiting for it to say '{what}': {}",
                self.name,
                self.said()
            )
        })
    }

    /// True if it has not ended.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// What its admin server answers to a path; none before it listens.
    pub fn get(&self, path: &str) -> Option<String> {
        let said = self.said();
        let address = said.split("admin: http://").nth(1)?.split('/').next()?;
        let mut stream = TcpStream::connect(address).ok()?;
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .ok()?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        )
        .ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        answer
            .split_once("\r\n\r\n")
            .map(|(_, body)| body.to_owned())
    }

    /// What its readiness says; none before it listens.
    pub fn readiness(&self) -> Option<Readiness> {
        let body = self.get("/readyz")?;
        let value: serde_json::Value =
            serde_json::from_str(body.get(body.find('{')?..=body.rfind('}')?)?).ok()?;
        let texts = |name: &str| {
            Some(
                value[name]
                    .as_array()?
                    .iter()
                    .filter_map(|text| text.as_str().map(str::to_owned))
                    .collect(),
            )
        };
        Some(Readiness {
            ready: value["ready"].as_bool()?,
            reasons: texts("reasons")?,
            notices: texts("notices")?,
        })
    }

    /// Waits until its readiness is as wanted, and says it.
    pub fn wait_for_readiness(
        &mut self,
        what: &str,
        wanted: impl Fn(&Readiness) -> bool,
    ) -> Result<Readiness> {
        let mut last = None;
        let found = wait_for(PATIENCE, || {
            last = self.readiness();
            Ok(last.clone().filter(|readiness| wanted(readiness)))
        });
        found.with_context(|| {
            format!(
                "{}: waiting for {what}; it says {last:?}; {}",
                self.name,
                self.said()
            )
        })
    }

    /// Waits until it is ready.
    pub fn wait_until_ready(&mut self) -> Result<()> {
        self.wait_for_readiness("it to be ready", |readiness| readiness.ready)
            .map(drop)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have ended already; either way nothing is left to do.
        if self.child.kill().is_ok() {
            let _ = self.child.wait();
        }
    }
}

/// Looks until there is something to see.
pub fn wait_for<T>(patience: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let until = Instant::now() + patience;
    loop {
        if let Some(seen) = look()? {
            return Ok(seen);
        }
        if Instant::now() > until {
            return Err(anyhow!("it did not come within {patience:?}"));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Wants two values to be equal, and says where they differ rather than all they hold.
pub fn same<K: std::fmt::Debug + Ord, V: std::fmt::Debug + PartialEq>(
    what: &str,
    expected: &std::collections::BTreeMap<K, V>,
    got: &std::collections::BTreeMap<K, V>,
) -> Result<()> {
    let missing = expected.keys().filter(|key| !got.contains_key(key)).count();
    let more = got.keys().filter(|key| !expected.contains_key(key)).count();
    let first = expected
        .iter()
        .find(|(key, value)| got.get(key) != Some(value))
        .map(|(key, _)| key)
        .or_else(|| got.keys().find(|key| !expected.contains_key(key)));
    let Some(key) = first else { return Ok(()) };
    let differing = expected
        .iter()
        .filter(|(key, value)| got.get(key).is_some_and(|other| other != *value))
        .count();
    bail!(
        "{what}: {missing} missing, {more} too many, {differing} others of {}; {key:?}: expected {:?}, got {:?}",
        expected.len(),
        expected.get(key),
        got.get(key)
    )
}
