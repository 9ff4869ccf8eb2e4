//! Values within values, as JSON and messages of robots have them, and their flat form.

use std::sync::Arc;

use theatre_schemas::dataset::ARRAY_LENGTH_MAX;

use crate::json::{Fault, shown_bytes};
use crate::records::Cell;

/// Deepest nesting that is read.
pub(crate) const DEPTH_MAX: usize = 32;

/// Most values of one object or message.
pub(crate) const VALUES_MAX: usize = 1 << 20;

/// Lists of names that name the elements of lists beside them: those of ROS.
const NAME_LISTS: &[&str] = &["name", "names", "joint_names"];

/// Fields of an element that name it.
const NAME_FIELDS: &[&str] = &["name", "key"];

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tree {
    /// A plain one.
    Leaf(Cell),
    /// Named ones, in order.
    Object(Vec<(Arc<str>, Tree)>),
    /// Counted ones.
    List(Vec<Tree>),
    /// So many elements that were not decoded, for no columns are made of them.
    #[cfg(feature = "mcap")]
    Long(usize),
}

/// What a flat form consists of.
pub(crate) enum Value {
    /// A value.
    Cell(Cell),
    /// A list of so many elements, which is left out.
    TooLong(usize),
}

/// Takes a value under its path.
pub(crate) type Take<'a> = dyn FnMut(&str, Value) -> Result<(), &'static str> + 'a;

impl Tree {
    /// Hands every plain value to `take`, in order, under its path: members of objects are `a.b`,
    /// elements of lists `a[0]`.
    ///
    /// With `named`, elements go by their names where they have any: a list of names beside lists
    /// of the same length (joint states: `position[elbow]`), elements with a field `name` or `key`
    /// (diagnostics: `status[arm].values[temperature]`); and seconds with nanoseconds under the
    /// name of a time are a time.
    ///
    /// # Errors
    /// The first of `take`.
    pub(crate) fn flatten(self, named: bool, take: &mut Take<'_>) -> Result<(), Fault> {
        let mut walk = Walk {
            path: String::new(),
            named,
            take,
        };
        walk.value(self, None)
    }
}

struct Walk<'a, 'b> {
    path: String,
    named: bool,
    take: &'a mut Take<'b>,
}

impl Walk<'_, '_> {
    fn give(&mut self, value: Value) -> Result<(), Fault> {
        (self.take)(&self.path, value).map_err(|kind| Fault {
            kind,
            found: shown_bytes(self.path.as_bytes()),
        })
    }

    /// `names` are those that lists of the same length go by here.
    fn value(&mut self, tree: Tree, names: Option<&[String]>) -> Result<(), Fault> {
        match tree {
            Tree::Leaf(cell) => self.give(Value::Cell(cell)),
            #[cfg(feature = "mcap")]
            Tree::Long(length) => self.give(Value::TooLong(length)),
            Tree::List(elements) if elements.len() > ARRAY_LENGTH_MAX => {
                self.give(Value::TooLong(elements.len()))
            }
            Tree::List(elements) => self.list(elements, names),
            Tree::Object(members) => self.object(members, names),
        }
    }

    fn object(
        &mut self,
        members: Vec<(Arc<str>, Tree)>,
        names: Option<&[String]>,
    ) -> Result<(), Fault> {
        if self.named
            && is_time_name(&self.path)
            && let Some(time) = time_of(&members)
        {
            return self.give(Value::Cell(time));
        }
        let found = self.named.then(|| names_among(&members)).flatten();
        let (names_at, own) = match &found {
            Some((at, own)) => (Some(*at), Some(own.as_slice())),
            None => (None, None),
        };
        let outer = self.path.len();
        for (index, (name, member)) in members.into_iter().enumerate() {
            if names_at == Some(index) {
                continue;
            }
            if outer > 0 {
                self.path.push('.');
            }
            self.path.push_str(&name);
            self.value(member, own.or(names))?;
            self.path.truncate(outer);
        }
        Ok(())
    }

    fn list(&mut self, elements: Vec<Tree>, names: Option<&[String]>) -> Result<(), Fault> {
        let own = self.named.then(|| names_within(&elements)).flatten();
        let beside = names.filter(|names| names.len() == elements.len());
        let by = own.as_deref().or(beside);
        let outer = self.path.len();
        for (index, element) in elements.into_iter().enumerate() {
            self.path.push('[');
            match by {
                Some(names) => self.path.push_str(&names[index]),
                None => self.path.push_str(&index.to_string()),
            }
            self.path.push(']');
            let element = if own.is_some() {
                without_name(element)
            } else {
                element
            };
            self.value(element, None)?;
            self.path.truncate(outer);
        }
        Ok(())
    }
}

/// Texts that can name things: none is blank, none comes twice.
fn usable(names: Vec<String>) -> Option<Vec<String>> {
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort_unstable();
    sorted.dedup();
    let good = sorted.len() == names.len() && names.iter().all(|name| !name.trim().is_empty());
    (good && !names.is_empty()).then_some(names)
}

fn text_of(tree: &Tree) -> Option<String> {
    match tree {
        Tree::Leaf(Cell::Text(text)) => Some(text.clone()),
        _ => None,
    }
}

/// The list of names among the members of an object: which member it is, and the names.
fn names_among(members: &[(Arc<str>, Tree)]) -> Option<(usize, Vec<String>)> {
    members.iter().enumerate().find_map(|(at, (name, member))| {
        let Tree::List(elements) = member else {
            return None;
        };
        if !NAME_LISTS.contains(&&**name) || elements.len() > ARRAY_LENGTH_MAX {
            return None;
        }
        let names = elements.iter().map(text_of).collect::<Option<Vec<_>>>()?;
        Some((at, usable(names)?))
    })
}

/// The names of elements that carry one.
fn names_within(elements: &[Tree]) -> Option<Vec<String>> {
    let name_of = |element: &Tree| match element {
        Tree::Object(members) => members
            .iter()
            .find(|(name, _)| NAME_FIELDS.contains(&&**name))
            .and_then(|(_, member)| text_of(member)),
        _ => None,
    };
    usable(elements.iter().map(name_of).collect::<Option<Vec<_>>>()?)
}

/// An element without the field that names it; what is left of a key and its value is the value.
fn without_name(element: Tree) -> Tree {
    let Tree::Object(mut members) = element else {
        return element;
    };
    if let Some(at) = members
        .iter()
        .position(|(name, _)| NAME_FIELDS.contains(&&**name))
    {
        members.remove(at);
    }
    match members.as_slice() {
        [(name, _)] if &**name == "value" => members.remove(0).1,
        _ => Tree::Object(members),
    }
}

/// Whether a path names a time: `header.stamp`, `timestamp`, `start_time`.
fn is_time_name(path: &str) -> bool {
    let last = path.rsplit('.').next().unwrap_or(path).to_ascii_lowercase();
    last.contains("stamp") || last == "time" || last.ends_with("_time")
}

/// The time that seconds and nanoseconds make; zero is none in ROS.
fn time_of(members: &[(Arc<str>, Tree)]) -> Option<Cell> {
    let [
        (seconds_name, Tree::Leaf(Cell::Integer(seconds))),
        (nanos_name, Tree::Leaf(Cell::Integer(nanos))),
    ] = members
    else {
        return None;
    };
    let pair = (&**seconds_name, &**nanos_name);
    let known = [("sec", "nanosec"), ("sec", "nsec"), ("secs", "nsecs")];
    known.contains(&pair).then(|| time(*seconds, *nanos))
}

/// The time of seconds and nanoseconds since 1970; one of zero was never set, as ROS has it.
pub(crate) fn time(seconds: i64, nanos: i64) -> Cell {
    match i128::from(seconds) * 1_000_000_000 + i128::from(nanos) {
        0 => Cell::Missing,
        nanos => Cell::Time(nanos),
    }
}
