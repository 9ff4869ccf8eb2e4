//! The system tests: one binary.

mod bounds;
mod contracts;
mod crash;
mod hostile;
mod real_input;
<<<<<<< HEAD
mod servers_parity;
=======
mod servers;
>>>>>>> dev
mod simulation;
mod simulator;
