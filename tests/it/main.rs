//! The system tests: one binary.

mod bounds;
mod contracts;
mod crash;
mod hostile;
mod postgres;
mod real_input;
mod servers;
mod simulation;
mod simulator;
