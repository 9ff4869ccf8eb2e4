//! The system tests: one binary.

mod crash;
mod hostile;
mod real_input;
mod simulation;
