//! Metrics as they are exposed to Prometheus, read back.

use std::collections::BTreeMap;

/// A series and its value.
#[derive(Debug, Clone, PartialEq)]
struct Series {
    labels: BTreeMap<String, String>,
    value: f64,
}

/// The metrics of one process at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Exposition(BTreeMap<String, Vec<Series>>);

impl Exposition {
    /// Reads the text format. What is no series is passed over: a later version may have more.
    pub fn parse(text: &str) -> Self {
        let mut all = BTreeMap::<String, Vec<Series>>::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some((name, series)) = series(line) {
                all.entry(name.to_owned()).or_default().push(series);
            }
        }
        Self(all)
    }

    fn of(&self, name: &str) -> &[Series] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// The sum over all series of a metric; none if there is none.
    pub fn sum(&self, name: &str) -> Option<f64> {
        let all = self.of(name);
        (!all.is_empty()).then(|| all.iter().map(|series| series.value).sum())
    }

    /// The sums by the value of a label.
    pub fn by(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for series in self.of(name) {
            if let Some(value) = series.labels.get(label) {
                *sums.entry(value.clone()).or_default() += series.value;
            }
        }
        sums
    }

    /// The value of a label of the only series of a metric.
    pub fn label(&self, name: &str, label: &str) -> Option<String> {
        self.of(name).first()?.labels.get(label).cloned()
    }
}

fn series(line: &str) -> Option<(&str, Series)> {
    let name_end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(name_end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    // A time may follow the value.
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some((name, Series { labels, value }))
}

/// Labels up to the closing brace, and what follows it.
fn labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, after) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut signs = after.char_indices();
        loop {
            match signs.next()? {
                (_, '\\') => match signs.next()? {
                    (_, 'n') => value.push('\n'),
                    (_, sign) => value.push(sign),
                },
                (at, '"') => {
                    rest = &after[at + 1..];
                    break;
                }
                (_, sign) => value.push(sign),
            }
        }
        labels.insert(name.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_read_with_their_labels_and_what_is_none_is_passed_over() {
        let read = Exposition::parse(
            "# HELP a_total Some.\n# TYPE a_total counter\n\
             a_total{partition=\"0\",topic=\"x\"} 3\na_total{partition=\"1\",topic=\"x\"} 4.5\n\
             a_total{partition=\"0\",topic=\"y\"} 1 1700000000\n\
             b 7\nc{text=\"a \\\"b\\\" \\\\ {c}\\n,\"} NaN\nd{broken=\"\ne notanumber\n\n",
        );
        assert_eq!(read.sum("a_total"), Some(8.5));
        let by = read.by("a_total", "partition");
        assert_eq!(by, [("0".to_owned(), 4.0), ("1".to_owned(), 4.5)].into());
        assert_eq!(read.sum("b"), Some(7.0));
        assert_eq!(read.label("c", "text").unwrap(), "a \"b\" \\ {c}\n,");
        assert!(read.sum("c").unwrap().is_nan());
        for missing in ["d", "e", "f"] {
            assert_eq!(read.sum(missing), None, "{missing}");
        }
    }
}
