//! The reference fleet has the counts, ranges and shares that the reference platform has, and all
//! fleets give the same bytes whatever interrupts them.

mod degrading;
mod kit;
mod reference;
mod resuming;
