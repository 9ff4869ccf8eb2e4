//! The terminal while `theatre top` has it: a screen of its own, keys without the return key, and
//! everything as it was before at the end.

use std::io::{Error, IsTerminal, Read, Result, Write, stdin, stdout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// The other screen, without a cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// How often a wait for a key looks whether a signal came.
const LOOK: Duration = Duration::from_millis(200);
/// What is assumed of a terminal that does not say how large it is.
const SIZE: (usize, usize) = (80, 24);
/// Ctrl-C, which is no signal while keys come one by one.
const CTRL_C: u8 = 3;

/// A key that means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// Ends the view.
    Quit,
    /// Looks at once.
    Other,
}

/// The terminal; as it was before once this is dropped.
pub(super) struct Terminal {
    /// How it was; none where no keys come from a terminal.
    before: Option<Termios>,
}

impl Terminal {
    /// Takes the terminal.
    pub(super) fn open() -> Result<Self> {
        let mut before = None;
        if stdin().is_terminal() {
            let mode = tcgetattr(stdin())?;
            let mut raw = mode.clone();
            raw.make_raw();
            tcsetattr(stdin(), OptionalActions::Flush, &raw)?;
            before = Some(mode);
        }
        let terminal = Self { before };
        print(ENTER)?;
        Ok(terminal)
    }

    /// Draws lines over what was there; those that have no room are left out.
    pub(super) fn draw(&mut self, lines: &[String]) -> Result<()> {
        let size = tcgetwinsize(stdout()).ok();
        let size = size.filter(|size| size.ws_col > 0 && size.ws_row > 0);
        let size = size.map_or(SIZE, |size| (size.ws_col.into(), size.ws_row.into()));
        print(&frame(lines, size))
    }

    /// Waits for a key; none if the time is over, or `stop` is set, before one comes.
    pub(super) fn key_within(&mut self, most: Duration, stop: &AtomicBool) -> Result<Option<Key>> {
        let mut left = most;
        while !left.is_zero() && !stop.load(Ordering::Acquire) {
            let step = left.min(LOOK);
            left -= step;
            if self.before.is_none() {
                wait(step)?;
            } else if is_readable_within(step)? {
                let mut typed = [0; 64];
                let count = stdin().read(&mut typed)?;
                return Ok(Some(meaning(&typed[..count])));
            }
        }
        Ok(None)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A terminal that went away needs nothing any more.
        drop(print(LEAVE));
        if let Some(before) = &self.before {
            let _ = tcsetattr(stdin(), OptionalActions::Flush, before);
        }
    }
}

/// Waits.
pub(super) fn wait(time: Duration) -> Result<()> {
    poll_for(&mut [], time).map(drop)
}

fn is_readable_within(time: Duration) -> Result<bool> {
    let stdin = stdin();
    let mut asked = [PollFd::new(&stdin, PollFlags::IN)];
    poll_for(&mut asked, time).map(|ready| ready > 0)
}

/// A signal ends the wait early, which is no failure.
fn poll_for(asked: &mut [PollFd<'_>], time: Duration) -> Result<usize> {
    let time = Timespec::try_from(time).map_err(Error::other)?;
    match poll(asked, Some(&time)) {
        Err(rustix::io::Errno::INTR) => Ok(0),
        other => Ok(other?),
    }
}

/// What was typed; nothing at all means that the terminal went away.
fn meaning(typed: &[u8]) -> Key {
    let quits = |key: &u8| matches!(key, b'q' | b'Q' | &CTRL_C);
    if typed.is_empty() || typed.iter().any(quits) {
        Key::Quit
    } else {
        Key::Other
    }
}

/// What draws lines on a screen of so many columns and rows.
fn frame(lines: &[String], (columns, rows): (usize, usize)) -> String {
    let mut frame = String::from("\x1b[H");
    for (at, line) in lines.iter().take(rows).enumerate() {
        if at > 0 {
            frame.push_str("\r\n");
        }
        frame.extend(line.chars().take(columns));
        frame.push_str("\x1b[K");
    }
    frame.push_str("\x1b[J");
    frame
}

fn print(text: &str) -> Result<()> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q_and_ctrl_c_and_a_terminal_that_went_away_quit() {
        for (typed, key) in [
            (&b"q"[..], Key::Quit),
            (b"Q", Key::Quit),
            (b"\x03", Key::Quit),
            (b"", Key::Quit),
            (b"xq", Key::Quit),
            (b"x", Key::Other),
            (b"\x1b[A", Key::Other),
        ] {
            assert_eq!(meaning(typed), key, "{typed:?}");
        }
    }

    #[test]
    fn a_frame_has_no_more_than_the_screen_has_room_for() {
        let lines = ["abcdef", "b", "c"].map(str::to_owned);
        let drawn = frame(&lines, (4, 2));
        assert_eq!(drawn, "\x1b[Habcd\x1b[K\r\nb\x1b[K\x1b[J");
    }
}
