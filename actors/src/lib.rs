//! Theatre's actors: pure state machines, the rules and windows they run, and the ports through
//! which the world reaches them.
//!
//! Reading order: [`time`], [`position`], [`outputs`] (what a processor emits), [`sequence`]
//! (duplicates and gaps), [`window`] (panes, windows, late fragments), [`rules`] (conditions),
//! [`robot`], [`procedure`], [`instrument`] and [`component`] (the actors), `alerts` (the life of conditions), [`registry`] (what people
//! and their systems say), [`processor`] (a robot and its procedures in one
//! mailbox), [`actix_host`] (the only file that names actix), [`ports`] (traits of log, store, lake
//! and warehouse).
//!
//! Invariant: nothing outside [`actix_host`] names actix, reads a clock, draws a random number or
//! does I/O.

pub mod actix_host;
mod alerts;
pub mod component;
pub mod control;
pub mod instrument;
pub mod metrics;
mod name_map;
pub mod outputs;
pub mod partitioner;
pub mod ports;
pub mod position;
pub mod procedure;
pub mod processor;
mod rare;
pub mod registry;
pub mod robot;
pub mod rules;
pub mod sequence;
pub mod state;
pub mod time;
pub mod window;
