//! `theatre run`, and what other commands share with it: a pipeline on a data directory, its admin
//! server, its signals; the ports of commands that only look.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::{CheckpointStore, Error};
use theatre_schemas::records::Transition;

use super::event_printer::EventPrinter;
use super::process::{config_hash, note_own_parts, pseudonym_key};
use super::rule_file::{self, RuleFile, RuleWatch, Watcher};
use super::{Common, Failure, output, serving};
use crate::adapters::{Access, Adapters};
use crate::admin::{self, Admin, IfTaken};
use crate::gate;
use crate::traces::Tracing;
use theatre_config::Config;
use theatre_embedded::data_dir::{DataDir, DataLock};
use theatre_operations::drained::left_to;
use theatre_pipeline::ends::Ends;
use theatre_pipeline::{Pipeline, PipelineParams, Ports, start};

/// How long a stop may take before it is given up.
const STOP_DEADLINE: Duration = Duration::from_secs(60);
/// How often a wait for partitions of other processes is reported.
const REPORT_OTHERS_EVERY: Duration = Duration::from_secs(5);
const LOOK_AT_OTHERS_EVERY: Duration = Duration::from_millis(500);

/// The service itself.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// End as soon as everything in the log is read, saved, published and loaded, in the partitions
    /// of other processes too.
    #[arg(long)]
    until_drained: bool,
}

/// A pipeline that runs, and everything it needs.
pub(super) struct Service {
    pub(super) pipeline: Pipeline,
    pub(super) params: PipelineParams,
    /// As given, but for the rules: those on which recorded changes stand.
    pub(super) config: Config,
    pub(super) ports: Ports,
    pub(super) stop: Arc<AtomicBool>,
    /// When the start began.
    pub(super) started: Instant,
    admin: Admin,
    /// Where the command serves it.
    pub(super) api: Option<theatre_api::Server>,
    /// Where changes of the rule file are taken; no thread looks for more of them yet.
    watcher: Option<Watcher>,
    rule_watch: Option<RuleWatch>,
    tracing: Tracing,
    _lock: DataLock,
}

/// The configuration of a command and its data directory; ports are opened from both.
pub(super) struct Place {
    pub(super) config: Config,
    pub(super) dir: DataDir,
}

impl Place {
    /// As the command line says.
    pub(super) fn of(common: &Common) -> Result<Self, Failure> {
        let dir = DataDir::new(&common.data);
        Ok(Self {
            config: rule_file::on_base(config(common)?, &dir),
            dir,
        })
    }

    /// Adapters for looking only.
    pub(super) fn look(&self) -> Result<Adapters<'_>, Failure> {
        Ok(Adapters::new(&self.config, &self.dir, Access::Read)?)
    }

    /// Adapters for reading and writing.
    pub(super) fn write(&self) -> Result<Adapters<'_>, Failure> {
        self.dir.create()?;
        Ok(Adapters::new(&self.config, &self.dir, Access::Write)?)
    }
}

/// The configuration of a command: defaults, file, and the schemas that earlier runs on this data
/// directory used.
pub(super) fn config(common: &Common) -> Result<Config, Failure> {
    let (mut config, _) = Config::layered(common.config.as_deref(), std::env::vars())?;
    let kept = DataDir::new(&common.data).schemas()?;
    config.schemas.extend(kept.into_iter().map(Into::into));
    Ok(config)
}

/// The checkpoint store of a command that only looks.
pub(super) fn store(common: &Common) -> Result<Arc<dyn CheckpointStore>, Failure> {
    Ok(Place::of(common)?.look()?.store()?)
}

/// Is set by a signal that asks the process to stop.
fn on_signals() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // The second signal ends at once, with the code for it; the first is a request.
        signal_hook::flag::register_conditional_shutdown(signal, 130, stop.clone())?;
        signal_hook::flag::register(signal, stop.clone())?;
    }
    Ok(stop)
}

/// Says where a service is: a line for people, or an event where the log is for programs.
fn say_started(common: &Common, admin: &Admin, partitions: u32, config: &str) {
    let (version, data, admin) = (env!("CARGO_PKG_VERSION"), &common.data, admin.address);
    if theatre_telemetry::logs::is_json() {
        tracing::info!(
            target: theatre_telemetry::logs::START,
            version,
            data = %data.display(),
            %admin,
            partitions,
            config,
            "started"
        );
        return;
    }
    eprintln!(
        "theatre {version} on {} (admin: http://{admin}/metrics, /readyz); {partitions} partitions",
        data.display(),
    );
}

impl Service {
    /// Takes the data directory, starts the pipeline and the admin server. From the first time on
    /// changes of the rule file are recorded.
    pub(super) fn start(common: &Common, config: &Config) -> Result<Self, Failure> {
        Self::start_with(common, config, (IfTaken::Refuse, true), |_| {})
    }

    /// The same, with a line on standard error for each step: for commands at which a person looks,
    /// which end by themselves. They need no port of their own: unless `--admin` names one, any does.
    pub(super) fn start_visibly(common: &Common, config: &Config) -> Result<Self, Failure> {
        eprintln!("opening the data directory {}", common.data.display());
        let if_taken = match common.admin {
            Some(_) => IfTaken::Refuse,
            None => IfTaken::TakeAnother,
        };
        Self::start_with(common, config, (if_taken, false), |params| {
            eprintln!("starting the pipeline: {} partitions", params.partitions);
        })
    }

    /// The same, with a pipeline that differs from what the configuration says: benchmarks have
    /// topics of their own.
    #[cfg(feature = "tools")]
    pub(super) fn start_as(
        common: &Common,
        config: &Config,
        change: impl FnOnce(&mut PipelineParams),
    ) -> Result<Self, Failure> {
        Self::start_with(common, config, (IfTaken::Refuse, false), change)
    }

    fn start_with(
        common: &Common,
        config: &Config,
        (if_taken, records_rules): (IfTaken, bool),
        change: impl FnOnce(&mut PipelineParams),
    ) -> Result<Self, Failure> {
        let started = Instant::now();
        let dir = DataDir::new(&common.data);
        dir.create()?;
        let lock = dir.lock()?;
        // Of a process before this one.
        dir.note_api(None)?;
        // The same faults as `theatre config check` names, all at once.
        gate::faults(config).0.checked()?;
        let mut params = crate::adapters::params(config, &dir, pseudonym_key(config, &dir)?)?;
        for doubt in gate::doubts(config, &params) {
            tracing::warn!("{doubt}");
        }
        change(&mut params);
        let adapters = Adapters::new(config, &dir, Access::Write)?;
        let ports = adapters.ports()?;
        // Before a schema is kept or a record appended: what is refused leaves the directory as it
        // was.
        gate::check(&params, &ports)?;
        dir.keep_schemas(&config.schemas)?;
        let (rule_file, on_base) = RuleFile::prepare(config, &dir, records_rules, &mut params)?;
        let metrics = theatre_telemetry::install()
            .map_err(|error| Failure::Failed(format!("metrics cannot be set up: {error}")))?;
        let stop = on_signals()?;
        let tracing = Tracing::start(config)?;
        params.traces = tracing.traces.clone();
        let pipeline = start(params.clone(), ports.clone())?;
        note_own_parts(config, pipeline.progress());
        let watch = |file| -> Result<Watcher, Failure> {
            let (ports, access) = (ports.clone(), adapters.access()?);
            // The process that changed rules on this directory has ended.
            theatre_api::rule_changes::end_turns(&*access)?;
            Watcher::begin(file, &on_base, (&params, ports), access, &pipeline)
        };
        // Only the service says what of its file has changed: another command may bring another file.
        let of_service = rule_file.filter(|_| records_rules);
        let watcher = of_service.map(watch).transpose()?;
        let admin = admin::start(
            common.admin.as_deref().unwrap_or(&config.admin),
            if_taken,
            metrics,
            pipeline.progress().clone(),
            dir.clone(),
        )?;
        let hash = config_hash(config)?;
        theatre_telemetry::names::config(&hash);
        say_started(common, &admin, params.partitions, &hash);
        Ok(Self {
            pipeline,
            params,
            config: on_base,
            ports,
            stop,
            started,
            admin,
            api: None,
            watcher,
            rule_watch: None,
            tracing,
            _lock: lock,
        })
    }

    /// Looks for changes of the rule file from now on, where they are recorded.
    fn watch_rules(&mut self) -> Result<(), Failure> {
        if let Some(watcher) = self.watcher.take() {
            self.rule_watch = Some(watcher.watch()?);
        }
        Ok(())
    }

    /// True once a signal has asked it to stop.
    pub(super) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Waits until everything that the log holds now is read, saved, published and loaded, or a
    /// signal asks it to stop; calls `meanwhile` now and then. To be called after the last append:
    /// what is appended later is not waited for.
    pub(super) fn drain(
        &self,
        meanwhile: impl FnMut() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let ends = self.ends()?;
        self.drain_to(&ends, meanwhile)
    }

    /// The log's ends as of now; asked for again while the log is away.
    fn ends(&self) -> Result<Ends, Failure> {
        loop {
            match self.pipeline.ends() {
                Ok(ends) => return Ok(ends),
                Err(Error::Unavailable { .. }) if !self.is_stopping() => {
                    std::thread::sleep(LOOK_AT_OTHERS_EVERY);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The same up to these ends, in partitions of other processes too: the store knows how far
    /// they have come.
    pub(super) fn drain_to(
        &self,
        ends: &Ends,
        mut meanwhile: impl FnMut() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut reported = Instant::now();
        // In the past, so that others are looked at as soon as all that is here is done.
        let mut looked: Option<Instant> = None;
        self.pipeline.flush(true);
        while !self.is_drained_to(ends, &mut looked)? && !self.is_stopping() {
            let failures = self.pipeline.progress().failures();
            if !failures.is_empty() {
                return Err(Failure::Failed(failures.join("; ")));
            }
            let own = self.pipeline.owned().len();
            let others = (ends.iter().count()).saturating_sub(own);
            if others > 0 && reported.elapsed() > REPORT_OTHERS_EVERY {
                reported = Instant::now();
                eprintln!(
                    "{others} of {} partitions are with other processes, or on their way here: waiting until they are drained, too",
                    self.params.partitions
                );
            }
            meanwhile()?;
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn is_drained_to(&self, ends: &Ends, looked: &mut Option<Instant>) -> Result<bool, Failure> {
        let own = self.pipeline.owned();
        let (ours, others): (Vec<_>, Vec<_>) = ends
            .iter()
            .partition(|(partition, _)| own.contains(partition));
        let here = ours
            .iter()
            .all(|(partition, end)| self.pipeline.is_partition_drained_to(*partition, end));
        if !here || others.is_empty() {
            return Ok(here);
        }
        if looked.is_some_and(|looked| looked.elapsed() < LOOK_AT_OTHERS_EVERY) {
            return Ok(false);
        }
        *looked = Some(Instant::now());
        let (log, store) = (&*self.ports.log, &*self.ports.store);
        for (partition, end) in others {
            match left_to(&self.params, log, store, partition, end) {
                Ok(left) if left.is_empty() => {}
                // Readiness names what is away, too.
                Ok(_) | Err(Error::Unavailable { .. }) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.pipeline.owned() == own)
    }

    /// The same until the log has not grown meanwhile.
    fn drain_all(&self) -> Result<(), Failure> {
        let mut ends = self.ends()?;
        loop {
            self.drain_to(&ends, || Ok(()))?;
            let now = self.ends()?;
            if now.are_within(&ends) || self.is_stopping() {
                return Ok(());
            }
            ends = now;
        }
    }

    /// Stops; everything read is saved and published. A fault that passed is no failure, one that
    /// stopped a component is.
    pub(super) fn end(self) -> Result<(), Failure> {
        let progress = self.pipeline.progress().clone();
        // Nothing comes in any more that would not be read.
        drop(self.api);
        drop(self.rule_watch);
        let whole = self.pipeline.stop(STOP_DEADLINE);
        drop(self.admin);
        drop(self.tracing);
        let failures = progress.failures();
        if !failures.is_empty() {
            return Err(Failure::Failed(failures.join("; ")));
        }
        if whole {
            return Ok(());
        }
        let mut why = format!(
            "not everything could be closed within {STOP_DEADLINE:?}; the next start goes on from the last save"
        );
        for trouble in progress.troubles() {
            why.push_str(&format!("\n  {trouble}"));
        }
        Err(Failure::Failed(why))
    }
}

impl Run {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let config = config(common)?;
        let mut service = Service::start(common, &config)?;
        if self.until_drained {
            service.drain_all()?;
            let interrupted = service.is_stopping();
            let took = service.started.elapsed().as_secs_f64();
            service.end()?;
            if interrupted {
                return Err(Failure::Interrupted);
            }
            if theatre_telemetry::logs::is_json() {
                tracing::info!(took_s = took, "drained");
            } else {
                eprintln!("drained in {took:.1} s");
            }
            return output::if_json(common.output, &json!({"drained": true}));
        }
        serving::serve(&mut service, common, None)?;
        service.watch_rules()?;
        while !service.is_stopping() {
            std::thread::sleep(Duration::from_millis(50));
        }
        service.end()
    }
}

/// Prints what a run has read, raised and stored.
pub(super) fn summary(service: &Service, event_printer: &EventPrinter) {
    use std::sync::atomic::Ordering::Relaxed;
    let progress = service.pipeline.progress();
    let raised = event_printer
        .seen
        .iter()
        .filter(|alert| alert.transition == Transition::Raised)
        .count();
    eprintln!(
        "{} records read, {} dead-lettered; {raised} conditions raised, {} outcomes, {} windows; {} lake files, {} warehouse rows",
        progress.records_in.load(Relaxed),
        progress.dead.load(Relaxed),
        event_printer.outcomes_seen,
        progress.outputs(OutputKind::Window),
        progress.lake_files.load(Relaxed),
        progress.warehouse_rows.load(Relaxed),
    );
}

/// Names commands that look at what has been stored.
pub(super) fn look_further(common: &Common) {
    let config = common.config.as_ref().map_or(String::new(), |path| {
        format!(" --config {}", path.display())
    });
    let data = common.data.display();
    eprintln!("look further:");
    for command in [
        "robots list",
        "alerts list",
        "procedures list",
        "warehouse query \"SELECT rule_id, count(*) FROM maintenance_alerts GROUP BY 1\"",
        "reconcile",
    ] {
        eprintln!("  theatre --data {data}{config} {command}");
    }
}
