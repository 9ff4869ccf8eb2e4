//! Theatre's actors: pure state machines, the rules and windows they run, and the ports through
//! which the world reaches them.
//!
//! Reading order: [`time`], [`position`], [`outputs`] (what a processor emits), [`sequence`]
//! (duplicates and gaps), [`window`] (panes, windows, late fragments), [`rules`] (conditions),
//! [`robot`], [`procedure`], [`instrument`] and [`component`] (the actors), `alerts` (the life of conditions), [`registry`] (what people
//! and their systems say), [`processor`] (a robot and its procedures),
//! [`host`] (where processors live), [`questions`] (how they are asked from other threads; the only
//! file that names actix), [`ports`] (traits of log, store, lake and warehouse).
//!
//! Invariant: nothing outside [`questions`] names actix, nothing outside [`host`] reads a clock, and
//! nothing draws a random number or does I/O.

mod alerts;
pub mod component;
pub mod control;
pub mod host;
pub mod instrument;
pub mod metrics;
mod name_map;
pub mod outputs;
pub mod partitioner;
pub mod ports;
pub mod position;
pub mod procedure;
pub mod processor;
pub mod questions;
mod rare;
pub mod registry;
pub mod robot;
pub mod rows;
pub mod rules;
pub mod sequence;
pub mod state;
pub mod time;
pub mod window;
