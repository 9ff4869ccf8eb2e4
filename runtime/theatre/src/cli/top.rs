//! `theatre top`: processes that run, as they are each second, for who has only a shell.

mod terminal;

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use theatre_actors::rules::Micros;
use theatre_actors::time::Clock;
use theatre_system::clock::SystemClock;

use self::terminal::{Key, Terminal};
use super::output::{escaped, value, write};
use super::{Common, Failure, Output, service};
use crate::admin_client::AskError;
use crate::top::sample::Sample;
use crate::top::view::{CPU_OVER, ProcessView, lines};

/// Shows processes that run.
#[derive(Debug, Args)]
pub(super) struct Top {
    /// Print once, as text, and end; so it is, too, where standard output is no terminal.
    #[arg(long)]
    once: bool,
    /// Time between two looks.
    #[arg(long, default_value = "1s", value_parser = Micros::parse)]
    every: Micros,
}

impl Top {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        if self.every.0 < 100_000 {
            return Err(Failure::Usage("--every: at least 100ms".to_owned()));
        }
        let every = Duration::from_micros(self.every.0.unsigned_abs());
        let listens = match &common.admin {
            Some(addresses) => addresses.clone(),
            None => service::config(common)?.admin,
        };
        let mut watched = Watched::of(&listens)?;
        let is_once =
            self.once || common.output == Output::Json || !std::io::stdout().is_terminal();
        if is_once {
            return print_once(&mut watched, every, common.output);
        }
        show(&mut watched, every)
    }
}

/// The processes that are watched, and what they said last.
struct Watched(Vec<Process>);

struct Process {
    admin: String,
    /// What it said before, the last of it last; no more than rates are taken from.
    earlier: VecDeque<Sample>,
    now: Result<Sample, AskError>,
}

impl Watched {
    /// Of addresses with commas between them.
    fn of(addresses: &str) -> Result<Self, Failure> {
        let process = |admin: &str| Process {
            admin: admin.trim().to_owned(),
            earlier: VecDeque::new(),
            now: Err(AskError::Silent(format!("{admin} was not asked yet"))),
        };
        let mut watched = Self(addresses.split(',').map(process).collect());
        watched.look();
        let unusable = watched.0.iter().find_map(|process| match &process.now {
            Err(AskError::Unusable(why)) => Some(why.clone()),
            _ => None,
        });
        match unusable {
            Some(why) => Err(Failure::Usage(why)),
            None => Ok(watched),
        }
    }

    /// Asks all of them, side by side: one that hangs holds up no other.
    fn look(&mut self) {
        std::thread::scope(|scope| {
            for process in &mut self.0 {
                scope.spawn(|| {
                    let taken = Sample::take(&process.admin, SystemClock.now().0);
                    process.note(taken);
                });
            }
        });
    }

    fn lines(&self) -> Vec<String> {
        let mut all = Vec::new();
        for process in &self.0 {
            match process.view() {
                Ok(view) => all.extend(lines(&view)),
                Err(why) => all.push(format!("no process answers: {why}")),
            }
            all.push(String::new());
        }
        all.pop();
        all.iter().map(|line| escaped(line)).collect()
    }

    fn json(&self) -> Value {
        let process = |process: &Process| match process.view() {
            Ok(view) => serde_json::to_value(view).unwrap_or_default(),
            Err(why) => json!({"admin": process.admin, "error": why}),
        };
        self.0.iter().map(process).collect()
    }

    /// Why none of them answers, if so.
    fn silence(&self) -> Option<String> {
        let whys: Option<Vec<String>> = self.0.iter().map(|process| process.view().err()).collect();
        whys.map(|whys| whys.join("; "))
    }
}

impl Process {
    /// A process that did not answer is watched anew once it does.
    fn note(&mut self, taken: Result<Sample, AskError>) {
        match std::mem::replace(&mut self.now, taken) {
            Ok(last) => self.earlier.push_back(last),
            Err(_) => self.earlier.clear(),
        }
        let Ok(now) = &self.now else { return };
        let is_old = |sample: &Sample| now.at - sample.at >= CPU_OVER;
        while self.earlier.get(1).is_some_and(is_old) {
            self.earlier.pop_front();
        }
        self.earlier.make_contiguous();
    }

    fn view(&self) -> Result<ProcessView, String> {
        match &self.now {
            Ok(now) => Ok(ProcessView::of(
                &self.admin,
                now,
                self.earlier.as_slices().0,
            )),
            Err(AskError::Silent(why) | AskError::Unusable(why)) => Err(why.clone()),
        }
    }
}

/// Prints what is seen after one interval: rates need two looks.
fn print_once(watched: &mut Watched, every: Duration, output: Output) -> Result<(), Failure> {
    terminal::wait(every)?;
    watched.look();
    match output {
        Output::Json => value(&watched.json())?,
        Output::Table => write(&format!("{}\n", watched.lines().join("\n")))?,
    }
    match watched.silence() {
        Some(why) => Err(Failure::Unreachable(why)),
        None => Ok(()),
    }
}

/// Shows it until a key or a signal ends it.
fn show(watched: &mut Watched, every: Duration) -> Result<(), Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, stop.clone())?;
    }
    let mut terminal = Terminal::open()?;
    while !stop.load(Ordering::Acquire) {
        let mut lines = watched.lines();
        lines.insert(0, format!("every {every:?}; q quits"));
        terminal.draw(&lines)?;
        if terminal.key_within(every, &stop)? == Some(Key::Quit) {
            break;
        }
        watched.look();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_kept_for_as_long_as_rates_need_them() {
        let mut process = Watched::of("127.0.0.1:9").unwrap().0.remove(0);
        let at = |second: i64| Ok(Sample::of(second * 1_000_000, "", "", ""));
        for second in 0..60 {
            process.note(at(second));
        }
        assert_eq!(process.earlier.len(), 10);
        assert_eq!(process.earlier[0].at, 49_000_000);
        process.note(Err(AskError::Silent("away".to_owned())));
        process.note(at(61));
        assert!(process.earlier.is_empty());
    }

    #[test]
    fn an_address_that_cannot_be_asked_is_refused_and_a_silent_process_is_shown() {
        assert!(matches!(Watched::of("127.0.0.1:0"), Err(Failure::Usage(_))));
        // The discard port: nothing of ours listens there.
        let watched = Watched::of("127.0.0.1:9, http://127.0.0.1:9").unwrap();
        let shown = watched.lines();
        assert_eq!(shown.len(), 3, "{shown:?}");
        assert!(shown[0].starts_with("no process answers: 127.0.0.1:9/metrics"));
        assert!(watched.silence().is_some());
        assert!(watched.json()[1]["error"].is_string());
    }
}
