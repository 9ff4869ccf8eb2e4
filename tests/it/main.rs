//! The system tests: one binary.

mod contracts;
mod crash;
mod hostile;
mod real_input;
mod simulation;
