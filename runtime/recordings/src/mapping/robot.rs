//! The robot from the name of a file.

/// A part of a pattern.
#[derive(Debug, PartialEq)]
enum Part {
    Text(String),
    Any,
    Robot,
}

/// A pattern such as `log_{robot}_*.csv`.
#[derive(Debug)]
pub(super) struct Pattern {
    parts: Vec<Part>,
    /// Folders that it names.
    folders: usize,
}

impl Pattern {
    pub(super) fn parse(pattern: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut pieces = pattern.split("{robot}");
        let push = |piece: &str, parts: &mut Vec<Part>| {
            for (at, text) in piece.split('*').enumerate() {
                if at > 0 {
                    parts.push(Part::Any);
                }
                if !text.is_empty() {
                    parts.push(Part::Text(text.to_owned()));
                }
            }
        };
        push(pieces.next().unwrap_or_default(), &mut parts);
        let mut robots = 0;
        for piece in pieces {
            robots += 1;
            parts.push(Part::Robot);
            push(piece, &mut parts);
        }
        if robots != 1 {
            return Err(format!(
                "robot_from_file = \"{pattern}\" must have {{robot}} in it once, as \"log_{{robot}}_*.csv\" has"
            ));
        }
        Ok(Self {
            parts,
            folders: pattern.matches('/').count(),
        })
    }

    /// The robot that a path names; none when the path does not fit.
    pub(super) fn robot(&self, path: &str) -> Option<String> {
        let path = path.replace('\\', "/");
        let segments: Vec<&str> = path.split('/').collect();
        let from = segments.len().checked_sub(self.folders + 1)?;
        let name = segments[from..].join("/");
        let bare = [".gz", ".zst"]
            .iter()
            .find_map(|ending| name.strip_suffix(ending));
        [Some(name.as_str()), bare]
            .into_iter()
            .flatten()
            .find_map(|name| fit(&self.parts, name, None))
    }
}

/// Tries the shortest text for each open part first. Names of files are short, and so are patterns.
fn fit(parts: &[Part], name: &str, robot: Option<&str>) -> Option<String> {
    match parts.first() {
        None => name.is_empty().then(|| robot.map(str::to_owned)).flatten(),
        Some(Part::Text(text)) => fit(&parts[1..], name.strip_prefix(text.as_str())?, robot),
        Some(open) => {
            let is_robot = *open == Part::Robot;
            let mut ends = name.char_indices().map(|(at, _)| at).chain([name.len()]);
            ends.find_map(|end| {
                let taken = &name[..end];
                if is_robot && (taken.is_empty() || taken.contains('/')) {
                    return None;
                }
                let robot = if is_robot { Some(taken) } else { robot };
                fit(&parts[1..], &name[end..], robot)
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    fn robot(pattern: &str, path: &str) -> Option<String> {
        Pattern::parse(pattern).unwrap().robot(path)
    }

    #[test]
    fn a_pattern_takes_the_robot_from_the_name_of_the_file() {
        let cases = [
            ("log_{robot}_*.csv", "a/log_ur3_2026.csv", Some("ur3")),
            ("log_{robot}_*.csv", "log_ur3_left_2026.csv", Some("ur3")),
            ("{robot}.csv", "data/r 1.csv.gz", Some("r 1")),
            ("{robot}/*.csv", "data/r1/joints.csv", Some("r1")),
            ("{robot}/*.csv", "joints.csv", None),
            ("unit-{robot}*", "unit-7", Some("7")),
            ("{robot}", "é.csv", Some("é.csv")),
            ("log_{robot}.csv", "log_.csv", None),
            ("log_{robot}.csv", "other.csv", None),
        ];
        for (pattern, path, wanted) in cases {
            assert_eq!(robot(pattern, path).as_deref(), wanted, "{pattern} {path}");
        }
        assert!(Pattern::parse("log.csv").unwrap_err().contains("{robot}"));
        assert!(Pattern::parse("{robot}{robot}").is_err());
    }
}
