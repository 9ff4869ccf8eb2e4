//! What a query of Prometheus names: its metrics, and the labels it goes by. The query is read sign
//! by sign, so that names of functions, labels and texts are not taken for metrics; whether it is a
//! query at all is for promtool to say.

use std::collections::BTreeSet;

/// What a query names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Metrics and recorded series, each with the labels that it is chosen by.
    pub selectors: Vec<(String, BTreeSet<String>)>,
    /// Labels by which series are grouped or matched.
    pub grouping: BTreeSet<String>,
}

/// Words that are followed by a list of labels.
const LISTS: [&str; 6] = [
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
];
/// Words that stand between operands, and numbers that are words.
const OPERATORS: [&str; 8] = [
    "and", "or", "unless", "bool", "offset", "atan2", "inf", "nan",
];
/// Aggregations, which `by` may follow instead of their operand.
const AGGREGATIONS: [&str; 12] = [
    "sum",
    "min",
    "max",
    "avg",
    "group",
    "stddev",
    "stdvar",
    "count",
    "count_values",
    "bottomk",
    "topk",
    "quantile",
];

/// Reads a query.
#[must_use]
pub fn read(query: &str) -> Query {
    let signs: Vec<char> = query.chars().collect();
    let mut reader = Reader { signs, at: 0 };
    let mut found = Query::default();
    while let Some(sign) = reader.peek() {
        match sign {
            '"' | '\'' | '`' => reader.skip_text(),
            '#' => reader.skip_to('\n'),
            '[' => reader.skip_to(']'),
            '{' => {
                // The labels of the selector before it.
                let labels = reader.labels('}');
                match found.selectors.last_mut() {
                    Some((_, known)) => known.extend(labels),
                    None => found.grouping.extend(labels),
                }
            }
            sign if sign.is_ascii_digit() => drop(reader.word()),
            sign if is_part(sign) => {
                let word = reader.word();
                if LISTS.contains(&word.as_str()) {
                    if reader.next_is('(') {
                        found.grouping.extend(reader.labels(')'));
                    }
                } else if is_metric(&word, &mut reader) {
                    found.selectors.push((word, BTreeSet::new()));
                }
            }
            _ => reader.at += 1,
        }
    }
    found
}

/// Bounds of histograms and quantiles of summaries that are written as one version of Prometheus
/// keeps them: whole numbers, which Prometheus 2 keeps as they are exposed, such as `30`, and
/// Prometheus 3 with a fraction, `30.0`. The pattern `30(\\.0)?` finds both.
#[must_use]
pub fn bounds_of_one_version(query: &str) -> Vec<String> {
    let mut found = Vec::new();
    for label in ["le", "quantile"] {
        for (at, _) in query.match_indices(label) {
            let (before, after) = (&query[..at], &query[at + label.len()..]);
            let after = after.trim_start();
            if before.ends_with(is_part) || !after.starts_with(['=', '!']) {
                continue;
            }
            let after = after.trim_start_matches(['=', '!', '~']).trim_start();
            let Some(mark) = after.chars().next() else {
                continue;
            };
            let value = after.split(mark).nth(1).unwrap_or_default();
            let is_whole = |text: &str| text.parse::<f64>().is_ok_and(|bound| bound.fract() == 0.0);
            if value.split('|').any(is_whole) {
                found.push(format!("{label} {value}"));
            }
        }
    }
    found
}

fn is_metric(word: &str, reader: &mut Reader) -> bool {
    let known = OPERATORS.contains(&word.to_lowercase().as_str()) || AGGREGATIONS.contains(&word);
    !known && !reader.next_is('(')
}

fn is_part(sign: char) -> bool {
    sign.is_ascii_alphanumeric() || sign == '_' || sign == ':'
}

struct Reader {
    signs: Vec<char>,
    at: usize,
}

impl Reader {
    fn peek(&self) -> Option<char> {
        self.signs.get(self.at).copied()
    }

    /// Whether this sign comes next, blanks apart.
    fn next_is(&mut self, sign: char) -> bool {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
        self.peek() == Some(sign)
    }

    /// A name or a number.
    fn word(&mut self) -> String {
        let rest = &self.signs[self.at..];
        let word: String = rest
            .iter()
            .take_while(|sign| is_part(**sign) || **sign == '.')
            .collect();
        self.at += word.chars().count();
        word
    }

    fn skip_to(&mut self, end: char) {
        while self.peek().is_some_and(|sign| sign != end) {
            self.at += 1;
        }
        self.at += 1;
    }

    fn skip_text(&mut self) {
        let mark = self.signs[self.at];
        self.at += 1;
        while let Some(sign) = self.peek() {
            self.at += if sign == '\\' && mark != '`' { 2 } else { 1 };
            if sign == mark {
                return;
            }
        }
    }

    /// The names of a list that begins here and goes on to a bracket; values are left out.
    fn labels(&mut self, end: char) -> BTreeSet<String> {
        let mut labels = BTreeSet::new();
        self.at += 1;
        while let Some(sign) = self.peek() {
            match sign {
                sign if sign == end => {
                    self.at += 1;
                    break;
                }
                '"' | '\'' | '`' => self.skip_text(),
                sign if is_part(sign) => {
                    labels.insert(self.word());
                }
                _ => self.at += 1,
            }
        }
        labels
    }
}

#[cfg(test)]
mod tests {
    use super::{bounds_of_one_version, read};

    #[test]
    fn metrics_are_told_from_functions_labels_texts_and_words() {
        let query = read(
            "sum by (job, le) (rate(a_bucket{stage=\"publish, b_total\", le='1'}[5m])) # c_total\n\
             / on (job) group_left () (max_over_time(d:e:f[6h:]) offset 1h > bool 14.4 * 1e3)\n\
             or count(g) by (hash) and absent(h{}) unless vector(1) == inf",
        );
        let names: Vec<&str> = query
            .selectors
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names, ["a_bucket", "d:e:f", "g", "h"]);
        let labels: Vec<&str> = query.selectors[0].1.iter().map(String::as_str).collect();
        assert_eq!(labels, ["le", "stage"]);
        let grouping: Vec<&str> = query.grouping.iter().map(String::as_str).collect();
        assert_eq!(grouping, ["hash", "job", "le"]);
    }

    #[test]
    fn texts_may_hold_quotation_marks() {
        let query = read(r#"a{b="\"}", c=~`\`} + d"#);
        assert_eq!(query.selectors.len(), 2, "{query:?}");
        assert_eq!(query.selectors[0].1.len(), 2, "{query:?}");
    }

    #[test]
    fn a_bound_that_one_version_of_prometheus_alone_keeps_is_found() {
        for query in [
            r#"rate(a_bucket{stage="x", le="30"}[5m])"#,
            r#"a_bucket{le!="1.0"}"#,
            r#"a_bucket{le =~ "0.5|30"}"#,
            "a{quantile='1'}",
        ] {
            assert_eq!(bounds_of_one_version(query).len(), 1, "{query}");
        }
        for query in [
            r#"a_bucket{le=~"30(\\.0)?"} / on (le) b{le="+Inf"}"#,
            r#"sum by (le) (rate(a_bucket{le="0.5", stale="1"}[5m]))"#,
            r#"histogram_quantile(0.5, a{quantile="0.99"})"#,
        ] {
            assert_eq!(bounds_of_one_version(query), [""; 0], "{query}");
        }
    }
}
