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

/// Counts lines of comments that are wider than `columns`, and finds the files if there are more
/// than `most`.
#[must_use]
pub fn check_comments<'a>(
    columns: usize,
    most: usize,
    texts: impl Iterator<Item = (&'a str, &'a str)>,
) -> Findings {
    let is_wide =
        |line: &&str| line.trim_start().starts_with("//") && line.chars().count() > columns;
    let wide = texts.filter_map(|(path, text)| {
        let count = text.lines().filter(is_wide).count();
        (count > 0).then_some((path, count))
    });
    let wide: Vec<_> = wide.collect();
    let count: usize = wide.iter().map(|(_, count)| count).sum();
    if count <= most {
        return Findings::new();
    }
    let places = wide.iter().map(|(path, count)| format!("{path} {count}"));
    vec![format!(
        "{count} lines of comments are wider than {columns} columns, {most} at most: {}",
        places.collect::<Vec<_>>().join(", ")
    )]
}

#[cfg(test)]
mod tests {
    use super::{check, check_comments};

    #[test]
    fn comments_that_are_too_wide_are_found_and_code_is_not() {
        let text = "// short\n    /// a longer one\nlet code_may_be = 1;\n";
        let texts = || [("a.rs", text)].into_iter();
        assert_eq!(check_comments(20, 0, texts()), [""; 0]);
        assert_eq!(check_comments(12, 1, texts()), [""; 0]);
        assert_eq!(
            check_comments(12, 0, texts()),
            ["1 lines of comments are wider than 12 columns, 0 at most: a.rs 1"]
        );
    }

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
