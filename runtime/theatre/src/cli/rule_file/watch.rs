//! The rule file is looked at while the process runs.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use theatre_actors::ports::AccessStore;
use theatre_config::Config;
use theatre_pipeline::progress::Progress;
use theatre_pipeline::{Pipeline, PipelineParams, Ports};
use theatre_telemetry::rule_file;

use super::RuleFile;
use super::saying::Sayer;
use crate::cli::Failure;

/// Between two looks at the file.
const EVERY: Duration = Duration::from_millis(500);
/// What was refused is tried again after so many looks: it may have been the other rules, or the log.
const AGAIN: u32 = 60;
/// What readiness calls it.
const ABOUT: &str = "rule file";

/// Looks at the rule file and says what of it has changed.
pub(in crate::cli) struct Watcher {
    file: RuleFile,
    config: Config,
    sayer: Sayer,
    progress: Arc<Progress>,
    seen: Seen,
}

/// The thread that does it now and then; it ends when this is dropped.
pub(in crate::cli) struct RuleWatch {
    /// Its end is that of the thread, too.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What was read, or why nothing could be.
type Reading = Result<String, String>;

/// Which reading is to be handled: one that two looks have found alike, so that a file that an editor
/// has written in part is not taken.
#[derive(Default)]
struct Seen {
    last: Option<Reading>,
    handled: Option<Reading>,
    /// So many looks ago it was refused.
    refused: Option<u32>,
}

impl Seen {
    /// A look has found this; true when it is to be handled now.
    fn look(&mut self, reading: &Reading) -> bool {
        let is_stable = self.last.as_ref() == Some(reading);
        if !is_stable {
            self.last = Some(reading.clone());
        }
        let is_known = self.handled.as_ref() == Some(reading);
        if is_known && let Some(looks) = &mut self.refused {
            *looks += 1;
            return *looks >= AGAIN;
        }
        is_stable && !is_known
    }

    fn handled(&mut self, reading: Reading, is_refused: bool) {
        self.refused = is_refused.then_some(0);
        self.handled = Some(reading);
    }
}

impl Watcher {
    /// Takes the file as it is: what was changed while nothing ran counts from here on. `config` names
    /// the rules on which the recorded changes stand.
    ///
    /// # Errors
    /// When these rules cannot be read; a wrong file is no error here.
    pub(in crate::cli) fn begin(
        file: RuleFile,
        config: &Config,
        (params, ports): (&PipelineParams, Ports),
        access: Arc<dyn AccessStore>,
        pipeline: &Pipeline,
    ) -> Result<Self, Failure> {
        let mut watcher = Self {
            file,
            sayer: Sayer::new(config, params.clone(), ports, access)?,
            config: config.clone(),
            progress: pipeline.progress().clone(),
            seen: Seen::default(),
        };
        rule_file::begin();
        let reading = watcher.file.read(&watcher.config);
        watcher.handle(reading);
        Ok(watcher)
    }

    fn handle(&mut self, reading: Reading) {
        let text = reading.as_ref().map_err(Clone::clone);
        let said = text.and_then(|text| self.sayer.say(&self.file, text));
        let is_again = self.seen.refused.is_some() && self.seen.handled.as_ref() == Some(&reading);
        match &said {
            Ok(0) => self.progress.clear_notice(ABOUT),
            Ok(changes) => {
                self.progress.clear_notice(ABOUT);
                rule_file::taken();
                tracing::info!(
                    changes,
                    "the rule file was changed, and its changes are said"
                );
            }
            Err(why) => {
                self.progress
                    .set_notice(ABOUT, format!("nothing of it was taken: {why}"));
                if !is_again {
                    rule_file::refused();
                    tracing::error!("the rule file was changed, and nothing of it is taken: {why}");
                }
            }
        }
        self.seen.handled(reading, said.is_err());
    }

    /// Goes on looking, in a thread of its own.
    ///
    /// # Errors
    /// When the thread cannot be had.
    pub(in crate::cli) fn watch(mut self) -> Result<RuleWatch, Failure> {
        let (stop, stopped) = mpsc::channel();
        let look = move || {
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                let reading = self.file.read(&self.config);
                if self.seen.look(&reading) {
                    self.handle(reading);
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("rule-file".to_owned())
            .spawn(look)?;
        Ok(RuleWatch {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for RuleWatch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that looks at the rule file panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_handled_once_it_has_stood_still_and_again_only_where_it_was_refused() {
        let text = |text: &str| -> Reading { Ok(text.to_owned()) };
        let mut seen = Seen::default();
        seen.handled(text("old"), false);
        let looks = |seen: &mut Seen, readings: &[Reading]| -> Vec<bool> {
            readings.iter().map(|reading| seen.look(reading)).collect()
        };
        let old = [text("old"), text("old"), text("old")];
        assert_eq!(looks(&mut seen, &old), [false; 3]);
        let written = [text("ne"), text("new"), text("new")];
        assert_eq!(looks(&mut seen, &written), [false, false, true]);
        seen.handled(text("new"), true);
        let many: Vec<Reading> = (0..AGAIN).map(|_| text("new")).collect();
        let looked = looks(&mut seen, &many);
        assert_eq!(
            looked.iter().position(|again| *again),
            Some(AGAIN as usize - 1)
        );
        // A file that is away for one look is being replaced.
        seen.handled(text("new"), false);
        let away = [Err("away".to_owned()), text("new"), text("new")];
        assert_eq!(looks(&mut seen, &away), [false; 3]);
        let gone = [Err("away".to_owned()), Err("away".to_owned())];
        assert_eq!(looks(&mut seen, &gone), [false, true]);
    }
}
