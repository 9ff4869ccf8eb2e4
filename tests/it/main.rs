//! The system tests: one binary.

mod bounds;
mod contracts;
mod crash;
mod hostile;
mod real_input;
mod redshift;
mod schemas;
mod servers;
mod servers_parity;
mod simulation;
mod simulator;
