//! The lean fetcher against bytes of all kinds, and against a broker that does everything wrong
//! that a broker and a network can.

mod encode;
mod fake_broker;
mod fake_sessions;
mod faults;
mod parsing;
mod planning;
mod session_faults;
mod sessions;
