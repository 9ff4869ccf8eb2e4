//! The lean fetcher against bytes of all kinds, and against a broker that does everything wrong that a
//! broker and a network can.

mod encode;
mod fake_broker;
mod faults;
mod parsing;
mod planning;
