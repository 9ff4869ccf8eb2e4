//! Arrow values in PostgreSQL's binary COPY format.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};

/// What a binary COPY begins with: signature, flags, no extension.
pub const HEADER: [u8; 19] = *b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with.
pub const TRAILER: [u8; 2] = (-1i16).to_be_bytes();

/// Days and microseconds between 1970-01-01 and PostgreSQL's epoch, 2000-01-01.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;
/// Days from PostgreSQL's epoch to the end of Redshift's dates, AD 294276; PostgreSQL's go on.
const END_DAYS: i32 = 106_751_983;

/// True when a column of this type takes Parquet values of that type; Redshift converts nothing
/// here.
pub fn fits(data: &DataType, column: &str) -> bool {
    match data {
        DataType::Boolean => column == "boolean",
        DataType::Int16 => column == "smallint",
        DataType::Int32 => column == "integer",
        DataType::Int64 => column == "bigint",
        DataType::Float32 => column == "real",
        DataType::Float64 => column == "double precision",
        DataType::Utf8 => ["character varying", "character", "text"].contains(&column),
        DataType::Binary => column == "bytea",
        DataType::Date32 => column == "date",
        DataType::Decimal128(..) => column == "numeric",
        DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Millisecond, _) => {
            column.starts_with("timestamp")
        }
        _ => false,
    }
}

/// PostgreSQL's binary numeric: groups of four digits, the exponent of the first group, the sign,
/// and how many digits are shown after the point.
fn numeric(units: i128, scale: i8) -> Vec<u8> {
    let digits_after = usize::from(scale.unsigned_abs());
    let text = format!(
        "{:0>width$}",
        units.unsigned_abs(),
        width = digits_after + 1
    );
    let (whole, fraction) = text.split_at(text.len() - digits_after);
    let padded = format!(
        "{:0>left$}{:0<right$}",
        whole,
        fraction,
        left = whole.len().div_ceil(4) * 4,
        right = digits_after.div_ceil(4) * 4
    );
    let groups: Vec<i16> = (padded.as_bytes().chunks(4))
        .map(|four| (four.iter()).fold(0, |sum, digit| sum * 10 + i16::from(digit - b'0')))
        .collect();
    let weight = whole.len().div_ceil(4) as i16 - 1;
    let sign: i16 = if units < 0 { 0x4000 } else { 0 };
    let head = [groups.len() as i16, weight, sign, i16::from(scale)];
    let numbers = head.into_iter().chain(groups);
    numbers.flat_map(i16::to_be_bytes).collect()
}

/// Writes one value; returns its bytes.
///
/// # Errors
/// When the value has no form in PostgreSQL.
pub fn value(array: &ArrayRef, row: usize, out: &mut Vec<u8>) -> Result<usize, String> {
    if array.is_null(row) {
        out.extend_from_slice(&(-1i32).to_be_bytes());
        return Ok(0);
    }
    let mut put = |bytes: &[u8]| {
        out.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
        out.extend_from_slice(bytes);
        Ok(bytes.len())
    };
    match array.data_type() {
        DataType::Boolean => put(&[u8::from(array.as_boolean().value(row))]),
        DataType::Int16 => put(&array.as_primitive::<Int16Type>().value(row).to_be_bytes()),
        DataType::Int32 => put(&array.as_primitive::<Int32Type>().value(row).to_be_bytes()),
        DataType::Int64 => put(&array.as_primitive::<Int64Type>().value(row).to_be_bytes()),
        DataType::Float32 => put(&array.as_primitive::<Float32Type>().value(row).to_be_bytes()),
        DataType::Float64 => put(&array.as_primitive::<Float64Type>().value(row).to_be_bytes()),
        DataType::Utf8 => put(array.as_string::<i32>().value(row).as_bytes()),
        DataType::Binary => put(array.as_binary::<i32>().value(row)),
        DataType::Decimal128(_, scale) => put(&numeric(
            array.as_primitive::<Decimal128Type>().value(row),
            *scale,
        )),
        DataType::Date32 => {
            let days = array
                .as_primitive::<Date32Type>()
                .value(row)
                .checked_sub(EPOCH_DAYS)
                .filter(|days| *days < END_DAYS);
            let days = days.ok_or("a date out of range")?;
            put(&days.to_be_bytes())
        }
        DataType::Timestamp(unit, _) => {
            let micros = match unit {
                TimeUnit::Millisecond => array
                    .as_primitive::<TimestampMillisecondType>()
                    .value(row)
                    .checked_mul(1000),
                _ => Some(array.as_primitive::<TimestampMicrosecondType>().value(row)),
            };
            let micros = micros
                .and_then(|micros| micros.checked_sub(EPOCH_MICROS))
                .ok_or("a timestamp out of range")?;
            put(&micros.to_be_bytes())
        }
        other => Err(format!(
            "values of type {other}, which are not loaded by this stand-in"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::numeric;

    /// The number that PostgreSQL makes of the bytes.
    fn read(bytes: &[u8]) -> (f64, i16) {
        let at = |at: usize| i16::from_be_bytes([bytes[2 * at], bytes[2 * at + 1]]);
        let groups = 0..at(0);
        let sum: f64 = groups
            .map(|group| f64::from(at(4 + group as usize)) * 1e4_f64.powi(i32::from(at(1) - group)))
            .sum();
        (if at(2) == 0 { sum } else { -sum }, at(3))
    }

    #[test]
    fn a_decimal_is_the_numeric_of_its_digits() {
        for (units, scale, number) in [
            (0, 2, 0.0),
            (5, 2, 0.05),
            (-123_456, 2, -1234.56),
            (100_000_000, 2, 1_000_000.0),
            (123_456_789_012, 3, 123_456_789.012),
            (-42, 0, -42.0),
            (99_999_999, 0, 99_999_999.0),
        ] {
            let (found, shown) = read(&numeric(units, scale));
            assert!((found - number).abs() < 1e-6, "{units} {scale}: {found}");
            assert_eq!(shown, i16::from(scale));
        }
    }
}
