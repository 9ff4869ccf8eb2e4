//! Event-time windows of one robot and one dataset: tumbling and hopping windows over shared panes,
//! and session windows, which are described in `session.rs`.
//!
//! A *pane* is a slice of event time as wide as the greatest common divisor of all hops, so every
//! window of every [`WindowSpec`] is a whole number of panes and a row is aggregated once, however
//! many windows it is in. Called by the robot actor with rows that are neither duplicate, nor
//! beyond the allowed lateness, nor from the future.
//!
//! **Closing.** A window closes when the robot's clock minus the reorder bound reaches its end, or
//! by [`Windows::flush`]. It is then emitted as a [`WindowRow`] of revision 0, unless it holds no
//! row. Panes live as long as a window that is still open needs them.
//!
//! **Late rows.** Whether a row is late is a question to each window, not to the pane. With a long
//! hopping window over short panes the same row may be late for some windows and in time for
//! others:
//!
//! | windows that contain the row's pane | the row goes to |
//! |---|---|
//! | all open | the pane |
//! | all closed | a fragment |
//! | some closed, some open | both: the open windows count it at revision 0, the closed ones by the fragment |
//!
//! A *fragment* is a second pane over the same slice of time, for the windows that had closed when
//! it was opened, and for no other. A row that finds more windows closed than the open fragment
//! covers opens another fragment; so no window ever counts a row twice or not at all. A fragment is
//! opened at the robot's clock at its first row and finalised when the clock reaches that plus the
//! longer of pane width and reorder bound, or at a flush. Finalising emits one [`WindowRow`] per
//! window that the fragment covers, with the window's next revision, holding *only* the fragment's
//! rows; [`merge_revisions`] gives the whole. Revision 0 is kept for what was in time: a window
//! whose rows were all late begins at revision 1.
//!
//! **A new clock.** After the end of a recording the robot's clock begins anew, and windows open
//! again, also those of earlier times. A window that may have been emitted under an earlier clock is
//! emitted with a later revision, once, which holds only what came under the present one. So of a
//! recording that is older than the one before it each window is one row.
//!
//! **Invariants.** State and rows are a function of the sequence of (row, clock) alone: not of how
//! it is cut into calls, nor of when the state is saved. What falls due between two rows is emitted
//! in order of the clock at which it fell due. No work is done per empty pane or empty window, so a
//! clock may jump by years. Event times beyond about ±73,000 years count as that. Nothing panics on
//! any event time, clock or value.

mod aggregate;
mod cell;
mod cells;
mod closing;
mod pane;
mod plan;
mod row;
mod run;
mod session;
mod sketch;
mod spec;
mod state;

#[cfg(test)]
mod tests;

pub use aggregate::SignalAggregate;
pub use plan::{AggregateSet, WindowError, WindowPlan, WindowSpec};
pub use row::{RowDecodeError, WindowRow, merge_revisions};
pub use session::{SessionRow, SessionSpec, Sessions};
pub use sketch::Sketch;
pub use state::Windows;
pub(crate) use state::WindowsV1;
