//! The system tests: one binary.

mod bench;
mod bounds;
mod contracts;
mod crash;
mod hostile;
mod real_input;
mod schemas;
mod servers;
mod simulation;
mod simulator;
