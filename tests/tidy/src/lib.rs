//! Checkers of this repository's rules. Each is a function over text that returns what it found,
//! as `place: what`; an empty answer means that the rule holds. The unit tests beside the checkers
//! show each of them a violation; `tests/repository.rs` runs them over this repository and holds
//! the rules themselves, as tables: what is allowed where, and why.
//!
//! The crate depends on none of the others (its tests on the configuration and the metrics, which
//! are leaves), so `cargo test -p theatre-tidy` answers within seconds.

pub mod alerts;
pub mod boards;
pub mod calls;
pub mod chart;
pub mod crates;
pub mod documents;
pub mod items;
pub mod licences;
pub mod promql;
pub mod sizes;
pub mod source;
pub mod words;

/// What a checker found: one line for each finding, which begins with its place.
pub type Findings = Vec<String>;

/// Fails the test with what a checker found, unless that is nothing.
///
/// # Panics
/// When there are findings.
pub fn none(findings: Findings) {
    assert!(
        findings.is_empty(),
        "{} findings:\n{}",
        findings.len(),
        findings.join("\n")
    );
}
