//! Words that this repository is leaving behind, counted.

use crate::Findings;
use crate::source::find_word;

/// Counts words over texts and finds those that stand more often than their bound, with the places.
#[must_use]
pub fn check<'a>(
    bounds: &[(&str, usize)],
    texts: impl Iterator<Item = (&'a str, &'a str)> + Clone,
) -> Findings {
    let mut findings = Vec::new();
    for (word, most) in bounds {
        let places: Vec<String> = texts
            .clone()
            .filter_map(|(path, text)| {
                let count = find_word(&text.to_lowercase(), word).count();
                (count > 0).then(|| format!("{path} {count}"))
            })
            .collect();
        let count: usize = places
            .iter()
            .filter_map(|place| place.rsplit(' ').next()?.parse::<usize>().ok())
            .sum();
        if count > *most {
            findings.push(format!(
                "\"{word}\" stands {count} times, {most} at most; name the thing that is meant: {}",
                places.join(", ")
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn a_word_over_its_bound_is_found_with_its_places() {
        let texts = [("a.rs", "// Whoever asks is told."), ("b.md", "untold")];
        assert_eq!(check(&[("told", 1)], texts.into_iter()), [""; 0]);
        assert_eq!(
            check(&[("whoever", 0)], texts.into_iter()),
            ["\"whoever\" stands 1 times, 0 at most; name the thing that is meant: a.rs 1"]
        );
    }
}
