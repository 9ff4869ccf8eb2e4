//! Theatre's actors: pure state machines, the rules and windows they run, and the ports through
//! which the world reaches them.
//!
//! Reading order: [`time`], [`position`], [`effect`] (what a family wants told), [`sequence`]
//! (duplicates and gaps), [`window`] (panes, windows, late fragments), [`rules`] (conditions),
//! [`robot`] and [`procedure`] (the actors), [`family`] (a robot and its procedures in one
//! mailbox), [`shell`] (the only file that knows actix), [`ports`] (traits of log, store, lake and
//! warehouse).
//!
//! Invariant: nothing outside [`shell`] names actix, reads a clock, draws a random number or does
//! I/O.

pub mod effect;
pub mod family;
pub mod ports;
pub mod position;
pub mod procedure;
pub mod robot;
pub mod rules;
pub mod sequence;
pub mod shell;
pub mod state;
pub mod time;
pub mod window;
