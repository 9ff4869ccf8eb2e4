//! Names of columns: made unique, and found by what a mapping calls them.

use std::collections::{HashMap, HashSet};

/// Makes the names of a header unique: trimmed, with blanks for line ends; `#3` for a blank one in
/// the third place; `name#1`, `name#2` for one that is there twice.
pub fn unique(names: &[String]) -> Vec<String> {
    if names.iter().any(|name| name.contains(['\n', '\r'])) {
        let in_line = |name: &String| name.lines().collect::<Vec<_>>().join(" ");
        return unique(&names.iter().map(in_line).collect::<Vec<_>>());
    }
    let mut count: HashMap<&str, usize> = HashMap::new();
    for name in names {
        *count.entry(name.trim()).or_default() += 1;
    }
    let mut taken: HashSet<String> = HashSet::new();
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut unique = Vec::with_capacity(names.len());
    for (at, name) in names.iter().enumerate() {
        let name = name.trim();
        let mut chosen = if name.is_empty() {
            format!("#{}", at + 1)
        } else if count[name] == 1 {
            name.to_owned()
        } else {
            let number = seen.entry(name).or_default();
            *number += 1;
            format!("{name}#{number}")
        };
        while !taken.insert(chosen.clone()) {
            chosen.push('\'');
        }
        unique.push(chosen);
    }
    unique
}

/// Finds the column that a mapping names: as it stands; by its place (`#5`); without the mark of a
/// comment before it (`%time`); with or without a unit in brackets behind it.
///
/// # Errors
/// When there is none, or several: says which there are, and how to tell them apart.
pub fn find(names: &[String], wanted: &str) -> Result<usize, String> {
    match all(names, wanted.trim()).as_slice() {
        [] => Err(missing(names, wanted.trim())),
        [only] => Ok(*only),
        several => {
            let several: Vec<&str> = several.iter().map(|at| names[*at].as_str()).collect();
            Err(format!(
                "column '{wanted}' is there {} times: name one of '{}'",
                several.len(),
                several.join("', '")
            ))
        }
    }
}

/// What is wrong with the names that a mapping wants, all of it at once; none when each is there.
pub fn missing_of(names: &[String], wanted: &[String]) -> Option<String> {
    let absent: Vec<&str> = wanted
        .iter()
        .filter(|wanted| !is_there(names, wanted))
        .map(|wanted| wanted.trim())
        .collect();
    match absent.as_slice() {
        [] => wanted.iter().find_map(|wanted| find(names, wanted).err()),
        [only] => Some(missing(names, only)),
        several => {
            let (last, others) = several.split_last()?;
            let rest = missing(names, last);
            let others = others.join("', '");
            Some(rest.replacen("no column '", &format!("no column '{others}', '"), 1))
        }
    }
}

/// Whether a column of this name is there, once or several times.
pub fn is_there(names: &[String], wanted: &str) -> bool {
    !all(names, wanted.trim()).is_empty()
}

/// The columns that a name fits by the first rule that any fits.
fn all(names: &[String], wanted: &str) -> Vec<usize> {
    if let Some(at) = names.iter().position(|name| name == wanted) {
        return vec![at];
    }
    if let Some(place) = wanted
        .strip_prefix('#')
        .and_then(|at| at.parse::<usize>().ok())
        && (1..=names.len()).contains(&place)
    {
        return vec![place - 1];
    }
    let has_unit = |name: &str| without_unit(name) != name;
    let rules: [&dyn Fn(&str) -> bool; 4] = [
        &|name| without_number(name) == wanted,
        &|name| without_mark(name) == without_mark(wanted),
        &|name| has_unit(name) != has_unit(wanted) && without_unit(name) == without_unit(wanted),
        &|name| {
            let bare = without_mark(name);
            has_unit(bare) != has_unit(wanted)
                && without_unit(bare) == without_unit(without_mark(wanted))
        },
    ];
    let fitting = rules.iter().map(|fits| -> Vec<usize> {
        let found = names.iter().enumerate().filter(|(_, name)| fits(name));
        found.map(|(at, _)| at).collect()
    });
    fitting
        .into_iter()
        .find(|found| !found.is_empty())
        .unwrap_or_default()
}

/// A name without the number that [`unique`] gave it.
fn without_number(name: &str) -> &str {
    match name.rsplit_once('#') {
        Some((base, number))
            if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            base
        }
        _ => name,
    }
}

fn missing(names: &[String], wanted: &str) -> String {
    if names.is_empty() {
        return format!(
            "there is no column '{wanted}', nor any other: no record could be read at all; of JSON, \
             each line is one whole object"
        );
    }
    let alike = names
        .iter()
        .find(|name| without_unit(name).eq_ignore_ascii_case(without_unit(wanted)));
    let hint = alike.map_or(String::new(), |name| format!(" (is '{name}' meant?)"));
    let mut listed: Vec<&str> = names.iter().take(40).map(String::as_str).collect();
    if names.len() > listed.len() {
        listed.push("...");
    }
    let header: String = listed.join(", ").chars().take(1000).collect();
    format!("there is no column '{wanted}'{hint}; the columns are: {header}")
}

/// A name without the unit in brackets at its end.
pub fn without_unit(name: &str) -> &str {
    let brackets = [('[', ']'), ('(', ')'), ('{', '}'), ('<', '>')];
    let Some((open, close)) = brackets.into_iter().find(|(_, end)| name.ends_with(*end)) else {
        return name;
    };
    let mut depth = 0;
    for (at, sign) in name.char_indices().rev() {
        depth += i32::from(sign == close) - i32::from(sign == open);
        if depth == 0 {
            return if at > 0 { name[..at].trim_end() } else { name };
        }
    }
    name
}

/// The unit in brackets at the end of a name.
pub fn unit(name: &str) -> Option<&str> {
    let bare = without_unit(name);
    let rest = name[bare.len()..].trim();
    let unit = rest.get(1..rest.len().checked_sub(1)?)?.trim();
    (!unit.is_empty()).then_some(unit)
}

/// A name without the mark that makes its line a comment for others.
pub fn without_mark(name: &str) -> &str {
    name.trim_start_matches(['#', '%', '/']).trim_start()
}

#[cfg(test)]
mod tests {
    use super::{find, unique, unit, without_unit};

    fn names(names: &[&str]) -> Vec<String> {
        unique(
            &names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn names_become_unique_and_a_repeated_one_must_be_told_apart() {
        let names = names(&["a", "b ", "a", "", "a#1"]);
        assert_eq!(names, ["a#1", "b", "a#2", "#4", "a#1'"]);
        let error = find(&names, "a").unwrap_err();
        assert!(
            error.contains("is there 2 times") && error.contains("'a#2'"),
            "{error}"
        );
        assert_eq!(find(&names, "a#2"), Ok(2));
        assert_eq!(find(&names, "#4"), Ok(3));
        assert_eq!(find(&names, "#2"), Ok(1));
        assert!(find(&names, "#9").is_err());
    }

    #[test]
    fn units_and_marks_may_be_left_out() {
        let names = names(&[
            "#timestamp [ns]",
            "F_x [N]",
            "temp (degC)",
            "F_x [kN]",
            "Speed",
        ]);
        assert_eq!(find(&names, "timestamp"), Ok(0));
        assert_eq!(find(&names, "timestamp [ns]"), Ok(0));
        assert_eq!(find(&names, "temp"), Ok(2));
        assert_eq!(find(&names, "F_x [N]"), Ok(1));
        assert!(find(&names, "F_x").unwrap_err().contains("2 times"));
        assert_eq!(find(&names, "Speed [m/s]"), Ok(4));
        assert!(
            find(&names, "speed")
                .unwrap_err()
                .contains("is 'Speed' meant?")
        );
        for (name, bare) in [
            ("F {N}", "F"),
            ("F <N>", "F"),
            ("U (V) (filtered)", "U (V)"),
            ("a [m/s(2)]", "a"),
            ("a (rad (mean))", "a"),
            ("F N)", "F N)"),
        ] {
            assert_eq!(without_unit(name), bare, "{name}");
        }
        assert_eq!(
            (without_unit("(x)"), unit("v [m/s]"), unit("v")),
            ("(x)", Some("m/s"), None)
        );
    }
}
