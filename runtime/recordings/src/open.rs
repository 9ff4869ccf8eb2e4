//! The reader for a file, by what it is.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};

use crate::column_search::ColumnSearch;
use crate::csv::CsvReader;
use crate::mapping::Mapping;
use crate::ndjson::Ndjson;
use crate::parquet::Parquet;
use crate::records::{Place, ReadError, Records};
use crate::source::{Input, Kind, Text, signs};

/// The forms of files that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A table of text.
    Text,
    /// JSON: an object a line, or an array of objects.
    Json,
    /// Parquet.
    Parquet,
    /// MCAP, what ROS 2 records.
    Mcap,
}

/// The form of an input, by its first bytes.
///
/// # Errors
/// When it is of no form that is read; says what to do.
pub fn form(input: &Input) -> Result<Form, ReadError> {
    match input.kind() {
        Kind::Text if is_json(input.head()) => Ok(Form::Json),
        Kind::Text => Ok(Form::Text),
        Kind::Parquet => Ok(Form::Parquet),
        Kind::Mcap => Ok(Form::Mcap),
        Kind::Foreign(what) => Err(fault(input, format!("is no table of text: it is {what}"))),
    }
}

/// Opens the records of an input.
///
/// # Errors
/// When it is of no kind that is read, or cannot be read; says what to do.
pub fn records(input: Input, mapping: &Mapping) -> Result<Box<dyn Records>, ReadError> {
    let wanted = mapping.wanted();
    let search = ColumnSearch {
        wanted: &wanted,
        // A pipe may be slow.
        records: if &**input.name() == "-" { 1 } else { 1000 },
    };
    let file = input.name().clone();
    match form(&input)? {
        Form::Text => {
            let dialect = mapping
                .dialect()
                .map_err(|error| fault(&input, error.to_string()))?;
            let reader = CsvReader::open(input, mapping.encoding.as_deref(), &dialect)?;
            Ok(Box::new(reader))
        }
        Form::Json => {
            let text = BufReader::new(Text::new(input, mapping.encoding.as_deref())?);
            Ok(Box::new(Ndjson::open(file, text, &search)?))
        }
        Form::Parquet => match on_disk(input)? {
            (whole, None) => Ok(Box::new(Parquet::open(file, whole)?)),
            // What says where its columns stand is at its end.
            (_, Some(why)) => Err(ReadError {
                place: Place { file, line: 0 },
                why: format!("cannot be copied to be read: {why}"),
            }),
        },
        Form::Mcap => mcap(input, mapping, &search),
    }
}

#[cfg(feature = "mcap")]
fn mcap(
    input: Input,
    mapping: &Mapping,
    search: &ColumnSearch<'_>,
) -> Result<Box<dyn Records>, ReadError> {
    let file = input.name().clone();
    let (bytes, broken) = on_disk(input)?;
    let bytes = BufReader::with_capacity(BUFFER_BYTES, bytes);
    let opened = crate::mcap::Mcap::open(file, bytes, mapping.topic.as_deref(), search)?;
    Ok(Box::new(opened.broken_off(broken)))
}

#[cfg(not(feature = "mcap"))]
fn mcap(input: Input, _: &Mapping, _: &ColumnSearch<'_>) -> Result<Box<dyn Records>, ReadError> {
    Err(fault(
        &input,
        "is an MCAP file, and this theatre was built without the feature 'mcap': build it with cargo build --release, which has all of them".to_owned(),
    ))
}

fn fault(input: &Input, why: String) -> ReadError {
    ReadError {
        place: Place {
            file: input.name().clone(),
            line: 0,
        },
        why,
    }
}

/// Whether a text begins as an object of JSON does, or an array of objects.
fn is_json(head: &[u8]) -> bool {
    let mut signs = signs(head);
    match (signs.next(), signs.next()) {
        (Some(b'{'), next) => matches!(next, None | Some(b'"' | b'}')),
        (Some(b'['), next) => matches!(next, None | Some(b'{')),
        _ => false,
    }
}

/// Bytes that are read at once from a file that is read from any place.
const BUFFER_BYTES: usize = 256 << 10;

/// An input that can be read from any place: the file itself, or a copy of what is packed or comes
/// from a pipe, which goes with the process. Of what breaks off, what came before, and why.
fn on_disk(mut input: Input) -> Result<(File, Option<String>), ReadError> {
    let name = input.name().clone();
    if &*name != "-" && input.packing().is_none() && std::path::Path::new(&*name).is_file() {
        return File::open(&*name)
            .map(|file| (file, None))
            .map_err(|error| fault(&input, format!("cannot be opened: {error}")));
    }
    let copied = tempfile::tempfile().and_then(|mut copy| {
        let broken = copy_to(&mut input, &mut copy)?;
        copy.rewind()?;
        Ok((copy, broken))
    });
    copied.map_err(|error| fault(&input, format!("cannot be copied to be read: {error}")))
}

/// Copies all that can be read, and gives why no more can be.
fn copy_to(input: &mut Input, copy: &mut File) -> io::Result<Option<String>> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return Ok(None),
            Ok(count) => copy.write_all(&buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Ok(Some(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_json;

    #[test]
    fn a_text_that_begins_like_json_is_told_from_a_table() {
        for json in ["{\"a\":1}", "\u{feff} \n{ \"a\"", "[\n {", "{}"] {
            assert!(is_json(json.as_bytes()), "{json}");
        }
        assert!(is_json(b"\xff\xfe{\0\"\0a\0"));
        for table in ["[Header]", "{x},y", "a,b", "", "[1,2]"] {
            assert!(!is_json(table.as_bytes()), "{table}");
        }
    }
}
