//! The reader for a file, by what it is.

use crate::csv::CsvReader;
use crate::mapping::Mapping;
use crate::records::{Place, ReadError, Records};
use crate::source::{Input, Kind};

/// Opens the records of an input.
///
/// # Errors
/// When it is of no kind that is read, or cannot be read; says what to do.
pub fn records(input: Input, mapping: &Mapping) -> Result<Box<dyn Records>, ReadError> {
    let place = Place {
        file: input.name().clone(),
        line: 0,
    };
    let fail = |why: String| ReadError {
        place: place.clone(),
        why,
    };
    match input.kind() {
        Kind::Text => {
            let dialect = mapping.dialect().map_err(|error| fail(error.to_string()))?;
            let reader = CsvReader::open(input, mapping.encoding.as_deref(), &dialect)?;
            Ok(Box::new(reader))
        }
        Kind::Parquet => Err(fail(
            "is a Parquet file, which this build does not read".to_owned(),
        )),
        Kind::Mcap => Err(fail(
            "is an MCAP file, which this build does not read".to_owned(),
        )),
        Kind::Foreign(what) => Err(fail(format!("is no table of text: it is {what}"))),
    }
}
