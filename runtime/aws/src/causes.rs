//! Errors of the SDK in words: their own text leaves out what went wrong, and their debug form is
//! for who writes programs.

use std::error::Error;

/// An error and its causes, each once.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut words: Vec<String> = Vec::new();
    for cause in causes(error) {
        let cause = cause.to_string();
        if words.last().is_none_or(|last| !last.contains(&cause)) {
            words.push(cause);
        }
    }
    words.join(": ")
}

/// An error and what it comes from, one after the other.
pub fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| {
        (*error).source()
    })
}

#[cfg(test)]
mod tests {
    use super::chain;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Caused(&'static str, #[source] Option<Box<Caused>>);

    #[test]
    fn each_cause_is_said_once() {
        let refused = Caused("connection refused", None);
        let io = Caused("io error: connection refused", Some(Box::new(refused)));
        let whole = Caused("dispatch failure", Some(Box::new(io)));
        assert_eq!(
            chain(&whole),
            "dispatch failure: io error: connection refused"
        );
    }
}
