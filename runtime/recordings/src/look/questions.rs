//! What is asked of a file that has no rows, or is one row as a whole.

use super::seen::Seen;
use crate::mapping::Mapping;
use crate::open::Form;

/// Adds what is to be asked of the rows as a whole. Where there are none, nothing else is.
pub(super) fn of_rows(form: Form, seen: &Seen, mapping: &Mapping, unclear: &mut Vec<String>) {
    if seen.rows == 0 {
        let what = if seen.refused > 0 {
            "none of its lines is a row: see above why the first one is refused"
        } else {
            "there are no rows in it"
        };
        *unclear = vec![what.to_owned()];
        return;
    }
    if form != Form::Json || seen.rows > 1 {
        return;
    }
    let listed = mapping
        .time_column
        .as_deref()
        .and_then(|name| name.strip_suffix("[0]"));
    if seen.names.iter().any(|name| name.contains("[1].")) {
        unclear.push(
            "the file is one object with a list of objects in it, and rows are objects: write the list by itself, one object a line, such as with jq -c '.data[]'"
                .to_owned(),
        );
    } else if let Some(list) = listed {
        unclear.push(format!(
            "the file is one object with a list for each column, and rows are objects: write one object a line for each row, such as with jq -c '. as $all | range($all.{list} | length) as $row | $all | map_values(.[$row])'"
        ));
    }
}
