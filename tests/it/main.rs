//! The system tests: one binary.

mod bounds;
mod contracts;
mod crash;
mod hostile;
mod real_input;
mod s3;
mod simulation;
mod simulator;
