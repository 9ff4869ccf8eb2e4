//! The reference fleet has the counts, ranges and shares that the reference platform has, parts of
//! the others wear, and all fleets give the same bytes whatever interrupts them.

mod causes;
mod degrading;
mod kit;
mod picture;
mod reference;
mod resuming;
mod stories;
